"""N ReLU networks of equal shape whose parameters are one vector, with a hand-written gradient.

Autograd over `nn.Linear` computes the same with three times as many operators, and at the sizes of
soft Q-learning an operator costs as much as its arithmetic. One vector also lets one operator act
on all parameters: Adam, the Polyak average of the target, a copy in bfloat16.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.learning.kernels.linear_kernels import affine
from sql_ros.learning.kernels.torch_private import layer_norm_backward, relu_backward

NORM_EPSILON = 1e-5  # of layer norm, torch's default


class Layer(NamedTuple):
    """Parameters of one layer of one network: rows (R, in) -> rows @ weight + bias, then the norm.

    The same type holds the gradients by these parameters.
    """

    weight: Tensor  # (in, out)
    bias: Tensor  # (out,)
    gain: Tensor | None = None  # of the layer norm, (out,); None: no norm
    shift: Tensor | None = None  # of the layer norm, (out,)


class LayerPass(NamedTuple):
    """Inputs and outputs of one layer, kept for its gradient."""

    rows: Tensor  # input, (R, in)
    # input of the layer norm (R, out), its mean and its inverse deviation (R, 1); None: no norm
    norm: tuple[Tensor, Tensor, Tensor] | None
    output: Tensor  # (R, out)


class Mlp(nn.Module):
    """N networks with a ReLU after each layer but the last.

    Weights start Xavier uniform, biases at zero.

    Attributes:
        flat: All parameters in one vector, member by member, layer by layer.
        members: Views of `flat` as matrices, without gradient: N lists of layers. They may be read
            or changed in place.

    Args:
        members: Number of networks, N.
        sizes: Sizes of the input, of every hidden layer, of the output.
        generator: Source of the initial weights.
        layer_norm: Normalise each hidden layer before its ReLU.
    """

    def __init__(
        self,
        members: int,
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        last = len(sizes) - 2
        self._shapes = [
            [
                (inputs, outputs),
                (outputs,),
                *([(outputs,)] * 2 if layer_norm and depth < last else []),
            ]
            for depth, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
        ]
        self._size = members
        self.flat = nn.Parameter(
            torch.zeros(
                members * sum(math.prod(shape) for shapes in self._shapes for shape in shapes)
            )
        )
        self._create_views()
        for layers in zip(*self.members):
            weights = torch.rand(members, *layers[0].weight.shape, generator=generator)
            for layer, weight in zip(layers, weights):
                layer.weight.copy_((2.0 * weight - 1.0) * math.sqrt(6.0 / sum(weight.shape)))
                if layer.gain is not None:
                    layer.gain.fill_(1.0)

    def matrices(self, flat: Tensor) -> list[list[Layer]]:
        """Return views of a vector with the layout of `flat`: N lists of layers."""
        sizes = [math.prod(shape) for shapes in self._shapes for shape in shapes]
        parts = iter(flat.split_with_sizes(sizes * self._size))
        return [
            [Layer(*(next(parts).view(shape) for shape in shapes)) for shapes in self._shapes]
            for _ in range(self._size)
        ]

    def forward(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        """Evaluate all members at the same rows, for autograd.

        Args:
            rows: (R, in).
            frozen: Treat the parameters as constants; the gradient by the rows remains.

        Returns:
            (N, R, out).
        """
        flat = self.flat.detach() if frozen else self.flat
        result: Tensor = _MlpFunction.apply(rows, flat, self)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def forward_with_backward(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Evaluate all members at the same rows, without autograd.

        Args:
            rows: (R, in).

        Returns:
            The outputs (N, R, out), and a function from the gradient by the outputs (N, R, out) to
            the gradient by `flat`. It writes into the same memory at every call.
        """
        passes = [_forward(rows, layers) for layers in self.members]

        @torch.no_grad()
        def backward(gradient: Tensor) -> Tensor:
            """Return the gradient by `flat` from that by the outputs (N, R, out)."""
            for member_gradient, layers, member_passes, into in zip(
                gradient, self.members, passes, self._member_gradients
            ):
                _backward(member_gradient, layers, member_passes, into, needs_rows=False)
            return self._gradient

        return _stacked_outputs(passes), backward

    def _create_views(self) -> None:
        """Create the views of the parameters, and the memory of the gradient with its views."""
        self.members = self.matrices(self.flat.detach())
        self._gradient = torch.empty_like(self.flat, requires_grad=False)
        self._member_gradients = self.matrices(self._gradient)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Mlp:
        """Convert the parameters (`nn.Module.to`, `double`, ...) and create their views anew."""
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._create_views()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mlp:
        """Return a copy with parameters of its own, and views of these."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin._parameters = {"flat": copy.deepcopy(self.flat, memo)}
        twin._create_views()
        return twin


class _MlpFunction(torch.autograd.Function):
    """`Mlp` for autograd: rows (R, in) and `flat` -> outputs (N, R, out)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat: Tensor, network: Mlp) -> Tensor:
        ctx.network = network
        ctx.passes = [_forward(rows, layers) for layers in network.members]
        return _stacked_outputs(ctx.passes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients by the rows (R, in) and by `flat`, each where it is needed."""
        network = ctx.network
        needs_rows, needs_flat, _ = ctx.needs_input_grad
        flat_gradient = torch.empty_like(network.flat) if needs_flat else None
        into = network.matrices(flat_gradient) if needs_flat else [None] * len(ctx.passes)
        by_rows = [
            _backward(member_gradient, layers, passes, member_into, needs_rows)
            for member_gradient, layers, passes, member_into in zip(
                gradient.contiguous(), network.members, ctx.passes, into
            )
        ]
        rows_gradient = sum(by_rows[1:], start=by_rows[0]) if needs_rows else None
        return rows_gradient, flat_gradient, None


def _stacked_outputs(passes: Sequence[Sequence[LayerPass]]) -> Tensor:
    """Return the outputs of all members, (N, R, out)."""
    return torch.stack([member_passes[-1].output for member_passes in passes])


def _forward(rows: Tensor, layers: Sequence[Layer]) -> list[LayerPass]:
    """Evaluate one network at rows (R, in) and return the pass through each layer."""
    passes = []
    for layer in layers:
        passes.append(layer_forward(rows, layer, relu=layer is not layers[-1]))
        rows = passes[-1].output
    return passes


def layer_forward(rows: Tensor, layer: Layer, *, relu: bool) -> LayerPass:
    """Evaluate one layer of one network, without gradient.

    Args:
        rows: (R, in).
        layer: Its parameters.
        relu: Whether a ReLU follows.
    """
    if layer.gain is None:
        return LayerPass(rows, None, affine(rows, layer.weight, layer.bias, relu=relu))
    before = affine(rows, layer.weight, layer.bias)
    output, mean, deviation = torch.native_layer_norm(
        before, before.shape[-1:], layer.gain, layer.shift, NORM_EPSILON
    )
    return LayerPass(rows, (before, mean, deviation), output.relu_() if relu else output)


def _backward(
    gradient: Tensor,
    layers: Sequence[Layer],
    passes: Sequence[LayerPass],
    into: Sequence[Layer] | None,
    needs_rows: bool,
) -> Tensor:
    """Propagate a gradient back through one network.

    Args:
        gradient: By the output, (R, out).
        layers: Parameters of the network.
        passes: Passes of the forward evaluation, one per layer.
        into: Where the gradients by the parameters are written; None: nowhere.
        needs_rows: Whether the gradient by the input rows is needed.

    Returns:
        The gradient by the input rows (R, in); without `needs_rows` that by the first layer's
        output.
    """
    for depth in reversed(range(len(layers))):
        layer = layers[depth]
        layer_pass = passes[depth]
        result = into[depth] if into else None
        if depth < len(layers) - 1:
            gradient = relu_backward(gradient, layer_pass.output, 0)
        if layer_pass.norm is not None:
            gradient = _norm_backward(gradient, layer, layer_pass.norm, result)
        if result is not None:
            torch.mm(layer_pass.rows.t(), gradient, out=result.weight)
            torch.sum(gradient, 0, out=result.bias)
        if depth > 0 or needs_rows:
            gradient = affine(gradient, layer.weight.mT)
    return gradient


def _norm_backward(
    gradient: Tensor,
    layer: Layer,
    norm: tuple[Tensor, Tensor, Tensor],
    into: Layer | None,
) -> Tensor:
    """Propagate a gradient back through a layer norm.

    Args:
        gradient: By the output of the norm, (R, out).
        layer: Whose gain and shift the norm has.
        norm: Norm of the forward evaluation, see `LayerPass`.
        into: Where the gradients by gain and shift are written; None: nowhere.

    Returns:
        The gradient by the input of the norm, (R, out).
    """
    before, mean, deviation = norm
    needs_parameters = into is not None
    by_input, by_gain, by_shift = layer_norm_backward(
        gradient,
        before,
        before.shape[-1:],
        mean,
        deviation,
        layer.gain,
        layer.shift,
        [True, needs_parameters, needs_parameters],
    )
    if into is not None and into.gain is not None and into.shift is not None:
        into.gain.copy_(by_gain)
        into.shift.copy_(by_shift)
    result: Tensor = by_input
    return result
