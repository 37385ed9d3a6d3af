"""Adam by torch's fused operator, without the class `torch.optim.Adam`.

The class computes the same. But it imports torch's compiler, which this package does not use, and
that takes two to four seconds at every start of a process. A crashed learner must restart quickly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sql_ros.learning.kernels.torch_private import add_to_all, fused_adam

BETA1 = 0.9  # torch's defaults, which the paper keeps
BETA2 = 0.999
EPSILON = 1e-8


class Adam:
    """Fused Adam, bit-equal to `torch.optim.Adam(groups, fused=True)` with default options.

    Args:
        groups: Pairs of several parameters and the learning rate of these parameters.
    """

    def __init__(self, groups: Iterable[tuple[Iterable[Tensor], float]]) -> None:
        self._groups = [(list(parameters), rate) for parameters, rate in groups]
        # of each parameter: steps made, mean of its gradients, mean of their squares
        self._state = {
            parameter: (
                torch.zeros((), dtype=torch.float32, device=parameter.device),
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
            )
            for parameters, _ in self._groups
            for parameter in parameters
        }

    @torch.no_grad()
    def step(self, gradients: Iterable[Tensor | None]) -> None:
        """Make one descent step. The parameters, their step counts and their running means change
        in place.

        Args:
            gradients: One gradient per parameter, in the order of the groups. A parameter whose
                gradient is None keeps its value and its step count.
        """
        remaining = iter(gradients)
        for parameters, rate in self._groups:
            pairs = [
                (parameter, gradient)
                for parameter, gradient in zip(parameters, remaining)
                if gradient is not None
            ]
            if not pairs:
                continue
            steps, means, squares = zip(*(self._state[parameter] for parameter, _ in pairs))
            add_to_all(steps, 1.0)
            fused_adam(
                [parameter for parameter, _ in pairs],
                [gradient for _, gradient in pairs],
                means,
                squares,
                [],
                steps,
                lr=rate,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return "step", "mean" and "square" of each parameter, by its position in the groups.

        The values are the number of steps made and the running means of the gradient and of its
        square. The tensors are those of the optimiser, not copies.
        """
        return {
            str(position): {"step": step, "mean": mean, "square": square}
            for position, (step, mean, square) in enumerate(self._state.values())
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy what `state_dict` of an optimiser with the same parameters returned.

        Args:
            state: Result of `state_dict`.

        Raises:
            KeyError: The state has fewer parameters.
            RuntimeError: A shape differs.
        """
        with torch.no_grad():
            for position, (step, mean, square) in enumerate(self._state.values()):
                saved = state[str(position)]
                step.copy_(saved["step"])
                mean.copy_(saved["mean"])
                square.copy_(saved["square"])
