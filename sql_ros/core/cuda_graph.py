"""Replays a whole update as one CUDA graph: an update is some hundred kernels, each far shorter than its launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

EAGER_CALLS = 3  # before the capture, as torch asks for: allocators, optimisers and libraries settle

Tensors = Mapping[str, Tensor]


class GraphedUpdate:
    """An update that launches kernel by kernel at first, is then captured, and from then on replayed.

    Capturing executes nothing, so every call is exactly one update. Each takes its inputs by copy and gives the same output tensors.

    Args:
        update: a function of tensors that neither waits for the device nor branches on what is in them.
        generator: the only source of randomness in it, on the device.
    """

    def __init__(self, update: Callable[[Tensors], Tensors], generator: torch.Generator) -> None:
        self._update, self._generator = update, generator
        self._calls = 0
        self._stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, Tensor] = {}
        self._outputs: Tensors = {}

    def __call__(self, inputs: Tensors) -> Tensors:
        """Makes one update; inputs of the same shapes each time, on the device."""
        self._calls += 1
        if self._calls <= EAGER_CALLS:
            return self._eagerly(inputs)
        if self._graph is None:
            self._capture(inputs)
        assert self._graph is not None
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _eagerly(self, inputs: Tensors) -> Tensors:
        """On a stream of its own, as a capture will be."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = self._update(inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def _capture(self, inputs: Tensors) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self._generator)
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._outputs = self._update(self._inputs)
