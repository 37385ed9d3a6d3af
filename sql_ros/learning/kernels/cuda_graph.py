"""Replay of a whole update as one CUDA graph.

An update is some 250 kernels. Each takes far less time than its launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# calls before the capture, in which allocators, optimisers and libraries initialise, as torch asks
EAGER_CALLS = 3

Tensors = Mapping[str, Tensor]


class GraphedUpdate:
    """An update that runs eagerly `EAGER_CALLS` times, then is captured once and replayed.

    A capture executes nothing, so every call makes exactly one update. Each replay copies its
    inputs and writes into the same output tensors.

    Args:
        update: Function from tensors by name to tensors by name. It must neither wait for the
            device nor branch on values of tensors.
        generator: The only source of randomness in `update`, on the device.
    """

    def __init__(self, update: Callable[[Tensors], Tensors], generator: torch.Generator) -> None:
        self._update = update
        self._generator = generator
        self._calls = 0
        self._stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, Tensor] = {}
        self._outputs: Tensors = {}

    def __call__(self, inputs: Tensors) -> Tensors:
        """Make one update.

        Args:
            inputs: Tensors on the device, with the same names and shapes at every call.

        Returns:
            The outputs of `update`; the next call overwrites them.
        """
        self._calls += 1
        if self._calls <= EAGER_CALLS:
            return self._execute_eagerly(inputs)
        if self._graph is None:
            self._graph = self._capture(inputs)
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _execute_eagerly(self, inputs: Tensors) -> Tensors:
        """Run the update once without a graph, on the stream of the capture.

        Earlier work on the present stream is finished before, later work waits for the update.

        Args:
            inputs: Inputs of the update by name.

        Returns:
            The outputs of the update.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = self._update(inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def _capture(self, inputs: Tensors) -> torch.cuda.CUDAGraph:
        """Capture the update as a graph, without executing it.

        Copies of the inputs, and the outputs, are kept: a replay reads and writes these tensors.

        Args:
            inputs: Inputs of the update by name, for their shapes.

        Returns:
            The graph.
        """
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream):
            self._outputs = self._update(self._inputs)
        return graph
