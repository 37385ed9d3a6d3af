"""The matrix products of an update: a list of them, their floating-point operations, and the
shortest time in which this machine computes them.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FACTORS = {  # by operator: positions of its two factors among the arguments
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::mv": (0, 1),
    "aten::dot": (0, 1),
    "aten::addmm": (1, 2),
    "aten::addmv": (1, 2),
    "aten::baddbmm": (1, 2),
    "aten::_addmm_activation": (1, 2),
    "aten::linear": (0, 1),
    "aten::mkldnn_linear": (0, 1),
    "mkldnn::_linear_pointwise": (0, 1),
}
# operators whose second factor is (N, L) instead of (L, N)
TRANSPOSED = ("aten::linear", "aten::mkldnn_linear", "mkldnn::_linear_pointwise")
# operators that cannot write into an existing tensor
NO_RESULT = ("mkldnn::_linear_pointwise", "aten::linear", "aten::mkldnn_linear")
SLICE_S = 2e-3  # shortest time of one measurement of a product


class Operand(NamedTuple):
    """Layout of a tensor that enters a product; the values are not kept.

    Attributes:
        shape: Sizes of the dimensions.
        stride: Distance between neighbours in each dimension [elements]; 0 in an expanded
            dimension.
        dtype: Type of an element.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Product(NamedTuple):
    """A matrix product that was executed. Equal products (same operator, layouts, options) cost the
    same.

    Attributes:
        name: Name of the operator, such as "aten::addmm".
        arguments: Positional arguments in order: an `Operand` for each tensor, a tuple for each
            list, any other value itself.
        options: Keyword arguments as pairs of name and value, without "out".
    """

    name: str
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]

    @property
    def factors(self) -> tuple[Operand, Operand]:
        """Return the left and the right operand of the multiplication; a summand, as in addmm, is
        not among them.
        """
        first, second = FACTORS[self.name]
        return self.arguments[first], self.arguments[second]

    @property
    def flops(self) -> int:
        """Return the number of multiplications and additions of the product: 2 B M L N for (B, M,
        L) by (B, L, N).
        """
        left, right = self.factors
        count = 2
        for size in left.shape:
            count *= size
        if len(right.shape) == 1:
            return count
        return count * (right.shape[0] if self.name in TRANSPOSED else right.shape[-1])

    @property
    def dtype(self) -> str:
        """Return the type of the left factor: "float32", "bfloat16", ..."""
        return str(self.factors[0].dtype).removeprefix("torch.")


class ProductRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that records the matrix products among all operators below autograd, forward and
    backward.

    The backward pass on the CPU runs in the calling thread, so that its products are recorded, too.
    Products inside one fused operator, such as that of `torch.cdist`, are not recorded. So the
    limit of `limit_seconds` may be lower than the true one, never higher.

    Attributes:
        products: The recorded products in order of execution.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Execute an operator; record it first if it is a matrix product.

        A composite operator is decomposed, and its parts come here again.

        Args:
            func: The operator.
            types: Tensor subclasses among the arguments; unused.
            args: Positional arguments.
            kwargs: Keyword arguments; None: none.

        Returns:
            The result of the operator.
        """
        kwargs = kwargs or {}
        name = func._schema.name
        if name in FACTORS:
            options = tuple((key, value) for key, value in kwargs.items() if key != "out")
            self.products.append(
                Product(name, tuple(_without_values(value) for value in args), options)
            )
            return func(*args, **kwargs)
        # in inference mode composite operators arrive as a whole: decompose them
        with self:
            result = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if result is NotImplemented else result


def record(update: Callable[[], Any]) -> list[Product]:
    """Call an update once and return its matrix products in order of execution.

    Args:
        update: Makes one update. Its effects remain.
    """
    recorder = ProductRecorder()
    with recorder:
        update()
    return recorder.products


def flops(products: Sequence[Product]) -> int:
    """Return the sum of the floating-point operations of the products.

    Args:
        products: The products; one that occurs twice is counted twice.
    """
    return sum(product.flops for product in products)


def timings(products: Sequence[Product], repeats: int = 5) -> dict[Product, float]:
    """Measure each distinct product alone.

    A product reads new random tensors and writes into a tensor that exists already, except for the
    operators in `NO_RESULT`.

    Args:
        products: The products.
        repeats: Measurements behind each median; each takes at least about `SLICE_S`.

    Returns:
        By product, the median time of one call [s].
    """
    return {product: _seconds_per_call(product, repeats) for product in Counter(products)}


def limit_seconds(products: Sequence[Product], repeats: int = 5) -> float:
    """Measure the least time of an update [s]: the sum of the median times of its matrix products.

    Args:
        products: Products of one update; one that occurs twice counts twice.
        repeats: Measurements behind each median.
    """
    counts = Counter(products)
    return sum(counts[product] * seconds for product, seconds in timings(products, repeats).items())


def largest_gflops(products: Sequence[Product], repeats: int = 5) -> dict[str, float]:
    """Measure the speed of this machine in the product with the most operations of each type.

    Args:
        products: The products to choose from.
        repeats: Measurements behind each median.

    Returns:
        Speed [GFLOP/s] by type of the left factor, such as "float32".
    """
    largest: dict[str, Product] = {}
    for product in products:
        if product.dtype not in largest or product.flops > largest[product.dtype].flops:
            largest[product.dtype] = product
    return {
        dtype: product.flops / _seconds_per_call(product, repeats) / 1e9
        for dtype, product in largest.items()
    }


def _without_values(value: Any) -> Any:
    """Return an argument of an operator without the values of tensors: a tensor as an `Operand`, a
    list as a tuple.
    """
    if isinstance(value, Tensor):
        return Operand(tuple(value.shape), tuple(value.stride()), value.dtype)
    return tuple(value) if isinstance(value, list) else value


def _random_tensor(operand: Operand) -> Tensor:
    """Return a tensor of normal random numbers with the layout of an operand; expanded dimensions
    stay expanded.

    Args:
        operand: Shape, strides and type.
    """
    extent = 1 + sum((size - 1) * stride for size, stride in zip(operand.shape, operand.stride))
    return torch.randn(extent).to(operand.dtype).as_strided(operand.shape, operand.stride)


@torch.no_grad()
def _seconds_per_call(product: Product, repeats: int) -> float:
    """Measure one product and return the median time of a call [s].

    Args:
        product: The product.
        repeats: Measurements. Each has as many calls as fill `SLICE_S`, at least one.
    """
    call = _repeatable_call(product)
    call()
    start = time.perf_counter()
    call()
    calls = max(1, round(SLICE_S / max(time.perf_counter() - start, 1e-7)))
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - start) / calls)
    return statistics.median(samples)


def _repeatable_call(product: Product) -> Callable[[], Any]:
    """Return a function that executes a product once per call, on random tensors that are drawn
    here.

    The function writes its result into a tensor allocated here, except for the operators in
    `NO_RESULT`.

    Args:
        product: The product.
    """
    namespace, name = product.name.split("::")
    operator = getattr(getattr(torch.ops, namespace), name)
    arguments = [
        _random_tensor(value) if isinstance(value, Operand) else value
        for value in product.arguments
    ]
    options = dict(product.options)
    if product.name not in NO_RESULT:
        options["out"] = operator(*arguments, **options)
    return lambda: operator(*arguments, **options)
