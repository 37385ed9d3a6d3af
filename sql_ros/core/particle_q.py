"""The target Q-networks arranged for the many particles at which the soft value is probed: no gradient, and bfloat16 if asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sql_ros.core.affine import affine
from sql_ros.core.mlp import through
from sql_ros.core.networks import TwinQ

PARTIAL_SUMS = 16


class ParticleQ:
    """Q-networks evaluated member by member, every layer one product with its bias inside it.

    In bfloat16 the products of hidden layers take less than half the time. It has 8 significant bits: an output of -10 would be rounded to
    steps of 0.06, more than a temperature. The last layer is therefore summed in `PARTIAL_SUMS` parts of neighbouring units, whose own
    rounding is small, and these in float32.

    Args:
        source: the networks to follow.
        precision: of the products, torch.float32 or torch.bfloat16.
    """

    def __init__(self, source: TwinQ, precision: torch.dtype) -> None:
        self._source, self._precision = source, precision
        flat = source.mlp.flat.detach()
        self._flat = flat if precision == torch.float32 else torch.empty_like(flat, dtype=precision)
        self._members = source.mlp.matrices(self._flat)
        width = len(self._members[0][-1].weight)
        part = torch.arange(width, device=flat.device) * PARTIAL_SUMS // width
        self._parts = nn.functional.one_hot(part, PARTIAL_SUMS).to(self._flat)  # (H, P)
        self._sums = [torch.empty_like(self._parts) for _ in self._members]
        self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Takes over the weights that the source has now."""
        if self._precision != torch.float32:
            self._flat.copy_(self._source.mlp.flat)
            for sums, layers in zip(self._sums, self._members):
                torch.mul(layers[-1].weight, self._parts, out=sums)

    @torch.no_grad()
    def __call__(self, observation: Tensor, action: Tensor) -> Tensor:
        """The smallest Q of the members: observations (B, S), actions (B, K, A) -> (B, K), float32."""
        rows = self._rows(observation, action)
        smallest, *others = (self._member(index, rows) for index in range(len(self._members)))
        for other in others:
            smallest = torch.minimum(smallest, other)
        return smallest.view(action.shape[:-1])

    @torch.no_grad()
    def apart(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of each member at actions of its own: observations (B, S), actions (B, N, K, A) -> (B, N, K), float32."""
        shares = action.unbind(1)
        q = [self._member(index, self._rows(observation, share)).view(share.shape[:-1]) for index, share in enumerate(shares)]
        return torch.stack(q, dim=1)

    def _rows(self, observation: Tensor, action: Tensor) -> Tensor:
        """Scaled states with actions: (B, S), (B, K, A) -> (B K, S + A)."""
        count, size = action.shape[1:]
        states = self._source.scaled(observation).to(self._precision).unsqueeze(1).expand(-1, count, -1)
        return torch.cat([states, action.to(self._precision)], dim=-1).view(-1, states.shape[-1] + size)

    def _member(self, index: int, rows: Tensor) -> Tensor:
        """Q of one member: scaled states with actions (B K, S + A) -> (B K,)."""
        *layers, last = self._members[index]
        for layer in layers:
            rows = through(rows, layer, relu=True).result
        if self._precision == torch.float32:
            return affine(rows, last.weight, last.bias).squeeze(1)
        return (rows @ self._sums[index]).sum(-1, dtype=torch.float32) + self._source.mlp.members[index][-1].bias
