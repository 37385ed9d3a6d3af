"""Evaluation of the target Q-networks at the value particles, in float32 or bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sql_ros.learning.kernels.flat_mlp import layer_forward
from sql_ros.learning.kernels.linear_kernels import affine
from sql_ros.learning.networks import TwinQ

PARTIAL_SUMS = 16  # P in shape comments


class TargetQEvaluator:
    """Q-networks ("members") evaluated one after the other, without autograd.

    In bfloat16 the products of hidden layers take less than half the time. But bfloat16 has 8
    significant bits: an output near -10 would be rounded to steps of 0.06, more than a temperature.
    The product of the last layer is therefore split into `PARTIAL_SUMS` sums over neighbouring
    units, whose own rounding is small. These sums are added in float32.

    Args:
        source: The networks to evaluate. In float32 the evaluator reads their weights themselves,
            in bfloat16 a copy, which `copy_weights` renews.
        precision: Precision of the products, torch.float32 or torch.bfloat16.
    """

    def __init__(self, source: TwinQ, precision: torch.dtype) -> None:
        self._source = source
        self._precision = precision
        flat = source.mlp.flat.detach()
        self._flat = flat if precision == torch.float32 else torch.empty_like(flat, dtype=precision)
        self._members = source.mlp.matrices(self._flat)
        width = len(self._members[0][-1].weight)
        part = torch.arange(width, device=flat.device) * PARTIAL_SUMS // width
        self._parts = nn.functional.one_hot(part, PARTIAL_SUMS).to(self._flat)  # (H, P)
        # weights of the last layer of each member, one column per partial sum, (H, P)
        self._split_weights = [torch.empty_like(self._parts) for _ in self._members]
        self.copy_weights()

    @torch.no_grad()
    def copy_weights(self) -> None:
        """Copy the present weights of the source. Call it after each change of the source.

        In float32 it does nothing.
        """
        if self._precision == torch.float32:
            return  # the evaluator reads the source's own weights
        self._flat.copy_(self._source.mlp.flat)
        for split_weights, layers in zip(self._split_weights, self._members):
            torch.mul(layers[-1].weight, self._parts, out=split_weights)

    @torch.no_grad()
    def smallest(self, observation: Tensor, action: Tensor) -> Tensor:
        """Evaluate all members at the same actions and return the smallest Q.

        Args:
            observation: Observations (B, S).
            action: Actions (B, K, A).

        Returns:
            Smallest Q at each action, (B, K), float32.
        """
        rows = self._rows(observation, action)
        smallest = self._evaluate_member(0, rows)
        for index in range(1, len(self._members)):
            smallest = torch.minimum(smallest, self._evaluate_member(index, rows))
        return smallest.view(action.shape[:-1])

    @torch.no_grad()
    def each_at_its_share(self, observation: Tensor, action: Tensor) -> Tensor:
        """Evaluate each member at actions of its own.

        Args:
            observation: Observations (B, S).
            action: K actions for each of N members, (B, N, K, A).

        Returns:
            Q of each member at its own actions, (B, N, K), float32.
        """
        q = [
            self._evaluate_member(index, self._rows(observation, share)).view(share.shape[:-1])
            for index, share in enumerate(action.unbind(1))
        ]
        return torch.stack(q, dim=1)

    def _rows(self, observation: Tensor, action: Tensor) -> Tensor:
        """Join each action with its scaled state: (B, S), (B, K, A) -> input rows (B K, S + A)."""
        count, size = action.shape[1:]
        state = self._source.scaled(observation).to(self._precision)
        states = state.unsqueeze(1).expand(-1, count, -1)
        rows = torch.cat([states, action.to(self._precision)], dim=-1)
        return rows.view(-1, states.shape[-1] + size)

    def _evaluate_member(self, index: int, rows: Tensor) -> Tensor:
        """Return Q of one member at input rows: (B K, S + A) -> (B K,), float32.

        Args:
            index: Index of the member.
            rows: Input rows (B K, S + A), in the precision of the evaluator.
        """
        *layers, last = self._members[index]
        for layer in layers:
            rows = layer_forward(rows, layer, relu=True).output
        if self._precision == torch.float32:
            return affine(rows, last.weight, last.bias).squeeze(1)
        bias = self._source.mlp.members[index][-1].bias
        partial_sums = rows @ self._split_weights[index]  # (B K, P)
        return partial_sums.sum(-1, dtype=torch.float32) + bias
