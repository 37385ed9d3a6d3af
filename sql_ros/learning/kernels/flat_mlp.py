"""N ReLU networks of equal shape whose parameters are one vector, with a hand-written gradient.

Autograd over `nn.Linear` computes the same gradient with three times as many operators. At the
sizes of soft Q-learning an operator costs as much as its arithmetic. The vector also lets one
operator act on all parameters: Adam, the Polyak average of the target, a copy in bfloat16.
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
    """Parameters of one layer of one network, or the gradients by them.

    The layer maps rows (R, in) to rows @ weight + bias, then normalises if it has a norm.
    """

    weight: Tensor  # (in, out)
    bias: Tensor  # (out,)
    gain: Tensor | None = None  # of the layer norm, (out,); None: no norm
    shift: Tensor | None = None  # of the layer norm, (out,)


class LayerPass(NamedTuple):
    """Inputs and outputs of one layer in a forward evaluation, kept for its gradient."""

    rows: Tensor  # input, (R, in)
    # input of the layer norm (R, out), its mean and its inverse standard deviation (R, 1); None:
    # no norm
    norm: tuple[Tensor, Tensor, Tensor] | None
    output: Tensor  # output, after the ReLU if the layer has one, (R, out)


class Mlp(nn.Module):
    """N networks ("members") with a ReLU after each layer but the last.

    Weights start Xavier uniform, biases at zero.

    Attributes:
        flat: All parameters in one vector, member by member, layer by layer.
        members: Views of `flat` as matrices, without gradient: N lists of layers. They may be read
            or changed in place.

    Args:
        members: Number of networks, N.
        sizes: Size of the input, of each hidden layer, and of the output.
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
        """Return views of a vector as matrices: N lists of layers.

        Args:
            flat: Vector with the size and the layout of the attribute `flat`.
        """
        sizes = [math.prod(shape) for shapes in self._shapes for shape in shapes]
        parts = iter(flat.split_with_sizes(sizes * self._size))
        return [
            [Layer(*(next(parts).view(shape) for shape in shapes)) for shapes in self._shapes]
            for _ in range(self._size)
        ]

    def forward(self, rows: Tensor, *, frozen: bool = False) -> Tensor:
        """Evaluate all members at the same rows, differentiable by autograd.

        Args:
            rows: Input rows (R, in).
            frozen: Treat the parameters as constants; the gradient by the rows remains.

        Returns:
            Outputs of each member, (N, R, out).
        """
        flat = self.flat.detach() if frozen else self.flat
        result: Tensor = _MlpFunction.apply(rows, flat, self)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def forward_with_backward(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Evaluate all members at the same rows without autograd, and return the derivative.

        Args:
            rows: Input rows (R, in).

        Returns:
            The outputs of each member (N, R, out), and their backward function: from the gradient
            of a loss by the outputs (N, R, out) to the gradient of this loss by `flat`. The
            backward function returns memory of the MLP: the next call of any backward function of
            these networks overwrites the gradient.
        """
        passes = [_forward(rows, layers) for layers in self.members]

        @torch.no_grad()
        def backward(gradient: Tensor) -> Tensor:
            """Return the gradient by `flat`, given the gradient by the outputs (N, R, out)."""
            for member_gradient, layers, member_passes, into in zip(
                gradient, self.members, passes, self._member_gradients
            ):
                _backward(member_gradient, layers, member_passes, into, needs_rows=False)
            return self._gradient

        return _stacked_outputs(passes), backward

    def _create_views(self) -> None:
        """Create the views of the parameters, and the memory of their gradient with its views."""
        self.members = self.matrices(self.flat.detach())
        self._gradient = torch.empty_like(self.flat, requires_grad=False)
        self._member_gradients = self.matrices(self._gradient)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Mlp:
        """Convert the parameters (for `nn.Module.to`, `double`, ...) and renew their views."""
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self._create_views()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mlp:
        """Return a copy with its own parameters, and views of these."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin._parameters = {"flat": copy.deepcopy(self.flat, memo)}
        twin._create_views()
        return twin


class _MlpFunction(torch.autograd.Function):
    """The outputs (N, R, out) of an `Mlp` as an autograd function of rows (R, in) and `flat`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat: Tensor, network: Mlp) -> Tensor:
        ctx.network = network
        ctx.passes = [_forward(rows, layers) for layers in network.members]
        return _stacked_outputs(ctx.passes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Propagate a gradient back through all members.

        Args:
            ctx: Context of the forward evaluation.
            gradient: Gradient by the outputs, (N, R, out).

        Returns:
            Gradients by the rows (R, in), by `flat`, and by the network (None). A gradient that is
            not needed is None.
        """
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
    """Return the outputs of the last layers of all members, (N, R, out)."""
    return torch.stack([member_passes[-1].output for member_passes in passes])


def _forward(rows: Tensor, layers: Sequence[Layer]) -> list[LayerPass]:
    """Evaluate one network at rows (R, in); return inputs and outputs of each layer."""
    passes = []
    for layer in layers:
        passes.append(layer_forward(rows, layer, relu=layer is not layers[-1]))
        rows = passes[-1].output
    return passes


def layer_forward(rows: Tensor, layer: Layer, *, relu: bool) -> LayerPass:
    """Evaluate one layer of one network, without autograd.

    Args:
        rows: Input rows (R, in).
        layer: Parameters of the layer.
        relu: Whether a ReLU follows.

    Returns:
        Inputs and outputs of the layer.
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
        gradient: Gradient by the output of the network, (R, out).
        layers: Parameters of the network.
        passes: Inputs and outputs of each layer, from the forward evaluation.
        into: Tensors into which the gradients by the parameters are written; None: these gradients
            are not computed.
        needs_rows: Whether the gradient by the input rows is needed.

    Returns:
        Gradient by the input rows, (R, in). Without `needs_rows` it is the gradient by the output
        of the first layer before norm and ReLU.
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
        gradient: Gradient by the output of the norm, (R, out).
        layer: Parameters of the layer, with gain and shift of the norm.
        norm: Input and statistics of the norm in the forward evaluation, see `LayerPass`.
        into: Layer into which the gradients by gain and shift are written; None: these gradients
            are not computed.

    Returns:
        Gradient by the input of the norm, (R, out).
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
