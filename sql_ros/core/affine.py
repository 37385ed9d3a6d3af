"""Rows times weights plus bias by oneDNN where that is the faster: for float32 torch takes MKL, which uses AVX-512 on some processors only.

On the two cores of docs/learner.md (AMD EPYC) a product of (4096, 256) and (256, 256) takes 2.8 ms by MKL and 1.2 ms by oneDNN, one of
(64, 128) and (128, 128) as long by either.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LARGE = 1 << 21  # multiplications of a product from which on oneDNN pays
_ONE_DNN = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_PRECISIONS = (torch.float32, torch.bfloat16)


def affine(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """N independent maps, rows (N, R, in), weight (N, in, out), bias (N, 1, out) -> (N, R, out); with gradients."""
    if is_large(rows.shape[1], weight[0]):
        mapped: Tensor = _Affine.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        return mapped
    if len(weight) == 1:  # a batch of one product costs more than one product
        return torch.addmm(bias[0, 0], rows.squeeze(0), weight[0]).unsqueeze(0)
    return torch.baddbmm(bias, rows, weight)


def is_large(rows: int, weight: Tensor) -> bool:
    """Whether so many rows times this matrix (in, out) are a case for `product`."""
    return _ONE_DNN and weight.device.type == "cpu" and weight.dtype in _PRECISIONS and rows * weight.shape[0] * weight.shape[1] >= LARGE


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Rows (R, in) times weight (in, out), plus bias (out,), through a ReLU, in one pass over memory; on the CPU, without gradient."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight.t(), bias, "relu" if relu else "none", [], "")
    return result


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _each([product(rows[n], weight[n], bias[n, 0]) for n in range(len(weight))])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous()  # that of a sum is one number, seen many times
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        members = range(len(weight))
        return (
            _each([product(gradient[n], weight[n].t()) for n in members]) if for_rows else None,
            _each([product(rows[n].t(), gradient[n]) for n in members]) if for_weight else None,
            gradient.sum(1, keepdim=True) if for_bias else None,
        )


def _each(results: list[Tensor]) -> Tensor:
    return torch.stack(results) if len(results) > 1 else results[0].unsqueeze(0)
