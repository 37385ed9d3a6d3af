"""The matrix products of an update: which they are, their floating-point operations, and the least
time that this machine needs for them.
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
# the second factor is (N, L), not (L, N)
TRANSPOSED = ("aten::linear", "aten::mkldnn_linear", "mkldnn::_linear_pointwise")
# operators that take no prepared result
NO_RESULT = ("mkldnn::_linear_pointwise", "aten::linear", "aten::mkldnn_linear")
SLICE_S = 2e-3  # shortest measurement of one product


class Operand(NamedTuple):
    """A tensor as a kernel sees it, without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Product(NamedTuple):
    """A matrix product that was executed; equal ones cost the same.

    Attributes:
        name: Of the operator, such as "aten::addmm".
        arguments: Operands and plain numbers, in order.
        options: Keyword arguments except results.
    """

    name: str
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]

    @property
    def factors(self) -> tuple[Operand, Operand]:
        """Return the two operands that are multiplied."""
        first, second = FACTORS[self.name]
        return self.arguments[first], self.arguments[second]

    @property
    def flops(self) -> int:
        """Return the number of multiplications and additions: 2 B M L N for (B, M, L) by
        (B, L, N).
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


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the matrix products among all operators below autograd, forward and backward.

    The backward pass on the CPU runs in the calling thread, so that it is recorded, too. Products
    inside
    one fused operator, such as that of `torch.cdist`, are not recorded; the limit is then lower
    than the
    truth, never higher.

    Attributes:
        products: The recorded products in order.
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
        """Record an operator that is a matrix product, take composite operators apart, and execute
        it.
        """
        kwargs = kwargs or {}
        name = func._schema.name
        if name in FACTORS:
            options = tuple((key, value) for key, value in kwargs.items() if key != "out")
            self.products.append(Product(name, tuple(_described(value) for value in args), options))
            return func(*args, **kwargs)
        # in inference mode composite operators arrive undivided: decompose them
        with self:
            result = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if result is NotImplemented else result


def record(update: Callable[[], Any]) -> list[Product]:
    """Call an update; return its matrix products in order."""
    recorder = Recorder()
    with recorder:
        update()
    return recorder.products


def flops(products: Sequence[Product]) -> int:
    """Return the floating-point operations of all products together."""
    return sum(product.flops for product in products)


def timings(products: Sequence[Product], repeats: int = 5) -> dict[Product, float]:
    """Measure each distinct product alone, on new tensors and with an existing result.

    Args:
        products: The products.
        repeats: Measurements behind each median.

    Returns:
        Median time of one call by product [s].
    """
    return {product: _seconds(product, repeats) for product in Counter(products)}


def limit_seconds(products: Sequence[Product], repeats: int = 5) -> float:
    """Return the least time of an update that consists only of these products [s]."""
    counts = Counter(products)
    return sum(counts[product] * seconds for product, seconds in timings(products, repeats).items())


def largest_gflops(products: Sequence[Product], repeats: int = 5) -> dict[str, float]:
    """Return the speed of this machine in the largest product of each type [GFLOP/s], by type."""
    largest: dict[str, Product] = {}
    for product in products:
        if product.dtype not in largest or product.flops > largest[product.dtype].flops:
            largest[product.dtype] = product
    return {
        dtype: product.flops / _seconds(product, repeats) / 1e9
        for dtype, product in largest.items()
    }


def _described(value: Any) -> Any:
    """Return an argument without its values: a tensor as an `Operand`, a list as a tuple."""
    if isinstance(value, Tensor):
        return Operand(tuple(value.shape), tuple(value.stride()), value.dtype)
    return tuple(value) if isinstance(value, list) else value


def _fresh(operand: Operand) -> Tensor:
    """Return a tensor of normal numbers with this layout; expanded dimensions stay expanded."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(operand.shape, operand.stride))
    return torch.randn(extent).to(operand.dtype).as_strided(operand.shape, operand.stride)


@torch.no_grad()
def _seconds(product: Product, repeats: int) -> float:
    """Return the median time of one call of a product [s].

    Args:
        product: The product.
        repeats: Measurements, each of at least `SLICE_S`.
    """
    call = _prepared(product)
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


def _prepared(product: Product) -> Callable[[], Any]:
    """Return a function that executes a product on new tensors."""
    namespace, name = product.name.split("::")
    operator = getattr(getattr(torch.ops, namespace), name)
    arguments = [
        _fresh(value) if isinstance(value, Operand) else value for value in product.arguments
    ]
    options = dict(product.options)
    if product.name not in NO_RESULT:
        options["out"] = operator(*arguments, **options)
    return lambda: operator(*arguments, **options)
