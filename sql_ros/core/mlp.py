"""N ReLU networks of equal shape in one vector of parameters, forward and backward, in as few operators as there is arithmetic.

Autograd over nn.Linear comes to the same by three times as many, and at the sizes of soft Q-learning an operator costs as much as its
arithmetic. One vector also makes one operator of what is done to all parameters alike: Adam, the target that follows, a copy in bfloat16.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.core.affine import activate, affine, side_by_side

NORM_EPSILON = 1e-5  # of layer norm, torch's default


class Layer(NamedTuple):
    """One layer of one member, as views of a vector: rows (R, in) -> rows @ weight + bias, then, where there is one, the norm.

    Or of N members: weight (N, in, out), bias (N, 1, out), no norm.
    """

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
        last = len(sizes) - 2
        self._shapes = [
            [(inputs, outputs), (outputs,), *([(outputs,)] * 2 if layer_norm and depth < last else [])]
            for depth, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
        ]
        self._size = members
        self.flat = nn.Parameter(torch.zeros(members * sum(math.prod(shape) for shapes in self._shapes for shape in shapes)))
        self._bind()
        for layers in zip(*self.members):
            weights = torch.rand(members, *layers[0].weight.shape, generator=generator)
            for layer, weight in zip(layers, weights):
                layer.weight.copy_((2.0 * weight - 1.0) * math.sqrt(6.0 / sum(weight.shape)))
                if layer.gain is not None:
                    layer.gain.fill_(1.0)

    def matrices(self, flat: Tensor) -> list[list[Layer]]:
        """Views of a vector that is laid out like `flat`: a layer for every member and depth."""
        sizes = [math.prod(shape) for shapes in self._shapes for shape in shapes]
        parts = iter(flat.split_with_sizes(sizes * self._size))
        return [[Layer(*(next(parts).view(shape) for shape in shapes)) for shapes in self._shapes] for _ in range(self._size)]

    def _groups(self, flat: Tensor) -> list[list[Layer]]:
        """The members that are computed together: all, or one after the other."""
        members = self.matrices(flat)
        if self._size == 1 or members[0][0].gain is not None or not side_by_side(flat.device):
            return members
        count, sizes = self._size, [math.prod(shape) for shapes in self._shapes for shape in shapes]
        parts = flat.view(count, -1).split_with_sizes(sizes, dim=1)  # of each layer weight and bias
        layers = zip(self._shapes, parts[::2], parts[1::2])
        return [[Layer(weight.view(count, *shape), bias.view(count, 1, -1)) for (shape, _), weight, bias in layers]]

    def forward(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        """Maps rows (R, in), the same for all members, to (N, R, out); `frozen`: with the gradient by the rows alone.

        By autograd; `with_gradient` does without.
        """
        result: Tensor = _Pass.apply(rows, self.flat.detach() if frozen else self.flat, self)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def with_gradient(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Maps rows (R, in) to (N, R, out), and says how to go back.

        Returns:
            the result, and a function of its gradient that gives that by `flat`: the same memory at every call.
        """
        tapes = [_forward(rows, layers) for layers in self._groups_now]

        @torch.no_grad()
        def back(gradient: Tensor) -> Tensor:
            for flowing, layers, tape, into in zip(_per_group(gradient, tapes), self._groups_now, tapes, self._gradient_groups):
                _backward(flowing, layers, tape, into, by_rows=False)
            return self._gradient

        return _joined(tapes), back

    def _bind(self) -> None:
        self.members = self.matrices(self.flat.detach())
        self._gradient = torch.empty_like(self.flat, requires_grad=False)
        self._groups_now, self._gradient_groups = self._groups(self.flat.detach()), self._groups(self._gradient)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Mlp:
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._bind()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mlp:
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin._parameters = {"flat": copy.deepcopy(self.flat, memo)}
        twin._bind()
        return twin


class Tape(NamedTuple):
    """What the gradient of one layer of one member needs."""

    rows: Tensor  # what came in
    normed: tuple[Tensor, Tensor, Tensor] | None  # what was normalised, its mean and inverse deviation
    result: Tensor  # what went out


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat: Tensor, network: Mlp) -> Tensor:
        ctx.network, ctx.tapes = network, [_forward(rows, layers) for layers in network._groups_now]
        return _joined(ctx.tapes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        network, (by_rows, by_flat, _) = ctx.network, ctx.needs_input_grad
        of_flat = torch.empty_like(network.flat) if by_flat else None
        into = network._groups(of_flat) if by_flat else [None] * len(ctx.tapes)
        flowing = [
            _backward(each, layers, tape, matrices, by_rows)
            for each, layers, tape, matrices in zip(_per_group(gradient.contiguous(), ctx.tapes), network._groups_now, ctx.tapes, into)
        ]
        of_rows = [each.sum(0) if each.dim() == 3 else each for each in flowing] if by_rows else []
        return sum(of_rows[1:], start=of_rows[0]) if by_rows else None, of_flat, None


def _joined(tapes: Sequence[Sequence[Tape]]) -> Tensor:
    """What went out of all members, (N, R, out)."""
    results = [tape[-1].result for tape in tapes]
    return results[0] if results[0].dim() == 3 else torch.stack(results)


def _per_group(gradient: Tensor, tapes: Sequence[Sequence[Tape]]) -> Iterable[Tensor]:
    """The gradient by what `_joined` gave, for every group."""
    return [gradient] if tapes[0][-1].result.dim() == 3 else gradient


def _forward(rows: Tensor, layers: Sequence[Layer]) -> list[Tape]:
    """One member, layer by layer."""
    tapes = []
    for layer in layers:
        tapes.append(through(rows, layer, relu=layer is not layers[-1]))
        rows = tapes[-1].result
    return tapes


def through(rows: Tensor, layer: Layer, *, relu: bool) -> Tape:
    """One layer of one member, without gradient."""
    if layer.gain is None:
        return Tape(rows, None, affine(rows, layer.weight, layer.bias, relu=relu))
    before = affine(rows, layer.weight, layer.bias)
    result, mean, deviation = torch.native_layer_norm(before, before.shape[-1:], layer.gain, layer.shift, NORM_EPSILON)
    return Tape(rows, (before, mean, deviation), activate(result) if relu else result)


def _backward(gradient: Tensor, layers: Sequence[Layer], tapes: Sequence[Tape], into: Sequence[Layer] | None, by_rows: bool) -> Tensor:
    """From the gradient by the result of one member: writes those by its layers `into` theirs, returns that by the rows if asked for."""
    for depth in reversed(range(len(layers))):
        layer, tape, result = layers[depth], tapes[depth], into[depth] if into else None
        if depth < len(layers) - 1:
            gradient = torch.ops.aten.threshold_backward(gradient, tape.result, 0)
        if tape.normed:
            before, mean, deviation = tape.normed
            gradient, gain, shift = torch.ops.aten.native_layer_norm_backward(
                gradient, before, before.shape[-1:], mean, deviation, layer.gain, layer.shift, [True, into is not None, into is not None]
            )
            if result is not None and result.gain is not None and result.shift is not None:
                result.gain.copy_(gain)
                result.shift.copy_(shift)
        if result is not None and gradient.dim() == 3:
            result.weight.copy_(torch.bmm(tape.rows.expand(len(gradient), -1, -1).mT, gradient))  # MKL writes to no view with gaps
            torch.sum(gradient, 1, keepdim=True, out=result.bias)
        elif result is not None:
            torch.mm(tape.rows.t(), gradient, out=result.weight)
            torch.sum(gradient, 0, out=result.bias)
        if depth > 0 or by_rows:
            gradient = affine(gradient, layer.weight.mT)
    return gradient
