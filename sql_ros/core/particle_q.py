"""The target Q-networks arranged for the many particles at which the soft value is probed: no gradient, and bfloat16 if asked for."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sql_ros.core.affine import is_large, product
from sql_ros.core.networks import StackedLayerNorm, StackedLinear, TwinQ

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
        self._copy = source if precision == torch.float32 else copy.deepcopy(source)
        for module in (self._copy.first, *self._copy.norms, *self._copy.layers):
            module.to(precision)  # not the scaling of observations, which come in SI units
        self._last = _linear(source.layers[-1])
        width = self._last.weight.shape[1]
        part = torch.arange(width, device=self._last.weight.device) * PARTIAL_SUMS // width
        self._parts = nn.functional.one_hot(part, PARTIAL_SUMS).to(self._last.weight)  # (H, P)
        self._sums = (self._last.weight * self._parts).detach().to(precision)  # (N, H, P)
        self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Takes over the weights that the source has now."""
        if self._copy is not self._source:
            torch._foreach_copy_(list(self._copy.parameters()), list(self._source.parameters()))
            self._sums.copy_(self._last.weight * self._parts)

    @torch.no_grad()
    def __call__(self, observation: Tensor, action: Tensor) -> Tensor:
        """The smallest Q of the members: observations (B, S), actions (B, K, A) -> (B, K), float32."""
        state = self._copy.scaled(observation).to(self._precision)
        weight, bias = self._copy.first.weight[:, : self._copy.state_size], self._copy.first.bias
        first = torch.baddbmm(bias, state.expand(len(weight), -1, -1), weight)  # the state's part, (N, B, H)
        rows = action.to(self._precision).view(-1, action.shape[-1])  # (B K, A)
        values = [self._member(index, of_state, rows) for index, of_state in enumerate(first)]
        return torch.stack(values).amin(0).view(action.shape[:-1])

    def _member(self, index: int, of_state: Tensor, rows: Tensor) -> Tensor:
        """Q of one member: the state's part of its first layer (B, H), actions (B K, A) -> (B K,)."""
        norms, layers = self._copy.norms, [_linear(module) for module in self._copy.layers[:-1]]
        hidden = _map(rows, self._copy.first.weight[index, self._copy.state_size :])  # (B K, H)
        hidden.view(len(of_state), -1, hidden.shape[1]).add_(of_state.unsqueeze(1))
        hidden = _activated(hidden, norms[0], index)
        for norm, layer in zip(norms[1:], layers):
            plain = not isinstance(norm, StackedLayerNorm)
            hidden = _map(hidden, layer.weight[index], layer.bias[index, 0], relu=plain)
            hidden = hidden if plain else _activated(hidden, norm, index)
        if self._precision == torch.float32:
            return _map(hidden, self._last.weight[index], self._last.bias[index, 0]).squeeze(1)
        return (hidden @ self._sums[index]).sum(-1, dtype=torch.float32) + self._last.bias[index, 0]


def _map(rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Rows (R, in), weight (in, out), bias (out,) -> (R, out)."""
    if is_large(len(rows), weight):
        return product(rows, weight, bias, relu=relu)
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return _relu(result) if relu else result


def _activated(hidden: Tensor, norm: nn.Module, index: int) -> Tensor:
    """Normalised, if the network does so, and through a ReLU; the rows given are lost."""
    if isinstance(norm, StackedLayerNorm):
        hidden = torch.addcmul(norm.bias[index], nn.functional.layer_norm(hidden, hidden.shape[-1:]), norm.gain[index])
    return _relu(hidden)


def _relu(hidden: Tensor) -> Tensor:
    """In place. A bfloat16 is negative where its bits are a negative integer, and torch is three times as fast with integers."""
    (hidden.view(torch.int16) if hidden.dtype == torch.bfloat16 else hidden).clamp_min_(0)
    return hidden


def _linear(module: nn.Module) -> StackedLinear:
    assert isinstance(module, StackedLinear)
    return module
