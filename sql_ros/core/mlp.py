"""N ReLU networks of equal shape in one vector of parameters, forward and backward, in as few operators as there is arithmetic.

Autograd over nn.Linear comes to the same by three times as many, and at the sizes of soft Q-learning an operator costs as much as its
arithmetic. One vector also makes one operator of what is done to all parameters alike: Adam, the target that follows, a copy in bfloat16.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.core.affine import affine

NORM_EPSILON = 1e-5  # of layer norm, torch's default


class Layer(NamedTuple):
    """One layer of one member, as views of a vector: rows (R, in) -> rows @ weight + bias, then, where there is one, the norm."""

    weight: Tensor  # (in, out)
    bias: Tensor  # (out,)
    gain: Tensor | None = None  # of the norm, (out,)
    shift: Tensor | None = None  # of the norm, (out,)


class Mlp(nn.Module):
    """N networks with a ReLU behind each layer but the last. Xavier uniform weights, biases zero.

    Attributes:
        flat: all parameters, member by member, layer by layer.
        members: the same as matrices, to read or to change in place without gradient.

    Args:
        members: how many networks, N.
        sizes: of the input, of every hidden layer, of the output.
        generator: source of the initial weights.
        layer_norm: normalise each hidden layer before its ReLU.
    """

    def __init__(self, members: int, sizes: Sequence[int], generator: torch.Generator, *, layer_norm: bool = False) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(sizes))
        self._shapes: list[tuple[int, ...]] = []
        for inputs, outputs in pairs:
            normed = layer_norm and len(self._shapes) // 4 < len(pairs) - 1
            self._shapes += [(inputs, outputs), (outputs,), *([(outputs,), (outputs,)] if normed else [])]
        self.layer_norm, self.depth = layer_norm, len(pairs)
        self.flat = nn.Parameter(torch.zeros(members * sum(math.prod(shape) for shape in self._shapes)))
        self._size = members
        self.members = self.matrices(self.flat.detach())
        for layers in zip(*self.members):
            weights = torch.rand(members, *layers[0].weight.shape, generator=generator)
            for layer, weight in zip(layers, weights):
                layer.weight.copy_((2.0 * weight - 1.0) * math.sqrt(6.0 / sum(weight.shape)))
                if layer.gain is not None:
                    layer.gain.fill_(1.0)

    def matrices(self, flat: Tensor) -> list[list[Layer]]:
        """Views of a vector that is laid out like `flat`: a layer for every member and depth."""
        sizes = [math.prod(shape) for shape in self._shapes]
        parts = iter(flat.split_with_sizes(sizes * self._size))
        members = []
        for _ in range(self._size):
            tensors = iter([next(parts).view(shape) for shape in self._shapes])
            members.append([Layer(*itertools.islice(tensors, 4 if self._normed(depth) else 2)) for depth in range(self.depth)])
        return members

    def forward(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        """Maps rows (R, in), the same for all members, to (N, R, out); `frozen`: with the gradient by the rows alone."""
        result: Tensor = _Pass.apply(rows, self.flat.detach() if frozen else self.flat, self)  # type: ignore[no-untyped-call]
        return result

    def _normed(self, depth: int) -> bool:
        return self.layer_norm and depth < self.depth - 1

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Mlp:
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.members = self.matrices(self.flat.detach())
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.members = self.matrices(self.flat.detach())  # a copied parameter has a memory of its own


class _Tape(NamedTuple):
    """What the gradient of one layer of one member needs."""

    rows: Tensor  # what came in
    normed: tuple[Tensor, Tensor, Tensor] | None  # what was normalised, its mean and inverse deviation
    result: Tensor  # what went out


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat: Tensor, network: Mlp) -> Tensor:
        ctx.network, ctx.tapes, results = network, [], []
        for layers in network.members:
            result, tape = rows, []
            for layer in layers:
                tape.append(_forward(result, layer, relu=layer is not layers[-1]))
                result = tape[-1].result
            ctx.tapes.append(tape)
            results.append(result)
        return torch.stack(results) if len(results) > 1 else results[0].unsqueeze(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        network, (by_rows, by_flat, _) = ctx.network, ctx.needs_input_grad
        of_flat = torch.empty_like(network.flat) if by_flat else None
        into = network.matrices(of_flat) if by_flat else [[None] * network.depth] * len(network.members)
        of_rows = None
        for flowing, layers, tape, results in zip(gradient.contiguous(), network.members, ctx.tapes, into):
            for depth in reversed(range(network.depth)):
                wanted = depth > 0 or by_rows
                flowing = _backward(flowing, tape[depth], layers[depth], results[depth], wanted, relu=depth < network.depth - 1)
            of_rows = flowing if of_rows is None else of_rows + flowing
        return of_rows if by_rows else None, of_flat, None


def _forward(rows: Tensor, layer: Layer, *, relu: bool) -> _Tape:
    if layer.gain is None:
        return _Tape(rows, None, affine(rows, layer.weight, layer.bias, relu=relu))
    before = affine(rows, layer.weight, layer.bias)
    result, mean, deviation = torch.native_layer_norm(before, before.shape[-1:], layer.gain, layer.shift, NORM_EPSILON)
    return _Tape(rows, (before, mean, deviation), result.relu_() if relu else result)


def _backward(gradient: Tensor, tape: _Tape, layer: Layer, into: Layer | None, by_rows: bool, *, relu: bool) -> Tensor:
    """From the gradient by the result: writes those by the layer's tensors `into` their places, returns that by the rows if asked for."""
    if relu:
        gradient = torch.ops.aten.threshold_backward(gradient, tape.result, 0)
    if tape.normed:
        before, mean, deviation = tape.normed
        wanted = [True, into is not None, into is not None]
        gradient, gain, shift = torch.ops.aten.native_layer_norm_backward(
            gradient, before, before.shape[-1:], mean, deviation, layer.gain, layer.shift, wanted
        )
        if into is not None and into.gain is not None and into.shift is not None:
            into.gain.copy_(gain)
            into.shift.copy_(shift)
    if into is not None:
        torch.mm(tape.rows.t(), gradient, out=into.weight)
        torch.sum(gradient, 0, out=into.bias)
    return affine(gradient, layer.weight.t()) if by_rows else gradient
