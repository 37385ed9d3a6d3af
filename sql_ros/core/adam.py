"""Adam by torch's own operator.

The class `torch.optim.Adam` computes the same, but imports torch's compiler, which nothing here uses: two to four seconds at every start of
a process, and a learner that crashed is to be back soon. What it does around its operator takes longer than the operator, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch's defaults, which the paper keeps too


class Adam:
    """Fused Adam, to the bit as `torch.optim.Adam(groups, fused=True)`.

    Args:
        groups: parameters and their learning rate.
    """

    def __init__(self, groups: Iterable[tuple[Iterable[Tensor], float]]) -> None:
        self._groups = [(list(parameters), rate) for parameters, rate in groups]
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
        """One step down these gradients, in the order of the parameters; one without stays."""
        coming = iter(gradients)
        for parameters, rate in self._groups:
            moved = [(parameter, gradient) for parameter, gradient in zip(parameters, coming) if gradient is not None]
            steps, means, squares = ([self._state[parameter][i] for parameter, _ in moved] for i in range(3))
            if moved:
                torch._foreach_add_(steps, 1.0)
                torch._fused_adam_(
                    [parameter for parameter, _ in moved],
                    [gradient for _, gradient in moved],
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
        """Steps made and moments, by the place of the parameter."""
        return {str(i): {"step": step, "mean": mean, "square": square} for i, (step, mean, square) in enumerate(self._state.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave.

        Raises:
            KeyError: it is of fewer parameters.
            RuntimeError: a shape differs.
        """
        with torch.no_grad():
            for i, (step, mean, square) in enumerate(self._state.values()):
                saved = state[str(i)]
                step.copy_(saved["step"])
                mean.copy_(saved["mean"])
                square.copy_(saved["square"])
