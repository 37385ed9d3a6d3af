"""Rows times weights plus bias by oneDNN where that is the faster: for float32 torch takes MKL, which uses AVX-512 on some processors only.

A product of (4096, 256) and (256, 256) takes 2.8 ms by MKL and 1.2 ms by oneDNN on two cores of an AMD EPYC whose AVX-512 is twice as wide
as AVX2, 2.8 and 2.5 ms on one where it is not; one of (64, 128) and (128, 128) takes as long by either.
Several networks of equal shape, a batch of products, are MKL's where there is no AVX-512: it gives each core products of its own, and twice
(256, 256) times (256, 256) takes 0.63 ms, by oneDNN one after the other 0.94 (two threads, cold caches).
A single column is another matter: (4096, 256) times (256, 1) takes 0.17 ms by MKL and 0.12 by oneDNN with two threads, 0.26 and 0.31 with
one.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 1 << 21  # multiplications of a product from which on oneDNN pays
LARGE_COLUMN = 1 << 19  # of one with a single column, where torch has more threads than one
LARGE_ENOUGH_TO_ROUND = 1 << 25  # from which on bfloat16 pays
_ONE_DNN = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_ROUNDS = _ONE_DNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # not where the processor has no AVX-512: there it refuses
_PRECISIONS = (torch.float32, torch.bfloat16) if _ROUNDS else (torch.float32,)
_SIDE_BY_SIDE = torch._C.has_mkl and not torch.cpu._is_avx512_supported()
_product = torch.ops.mkldnn._linear_pointwise.default if _ONE_DNN else None


def affine(rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Rows (R, in) times weight (in, out), plus bias (out,), through a ReLU: (R, out). Without gradient.

    Or N such products: (N, R, in), or the same (R, in) for all, (N, in, out), (N, 1, out) -> (N, R, out).
    """
    if weight.dim() == 3:
        rows = rows.expand(len(weight), -1, -1)
        result = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias, rows, weight)
        return activate(result) if relu else result
    if _product is not None and is_large(rows.shape[0], weight):
        product: Tensor = _product(rows, weight.t(), bias, "relu" if relu else "none", [], "")
        return product
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return activate(result) if relu else result


def side_by_side(device: torch.device) -> bool:
    """Whether products of several networks are the faster as a batch."""
    return _SIDE_BY_SIDE and device.type == "cpu"


def is_large(rows: int, weight: Tensor) -> bool:
    """Whether so many rows times this matrix (in, out) are a case for oneDNN."""
    inputs, outputs = weight.shape
    enough = LARGE_COLUMN if outputs == 1 and torch.get_num_threads() > 1 else LARGE
    return rows * inputs * outputs >= enough and weight.dtype in _PRECISIONS and weight.device.type == "cpu"


def fastest_precision(rows: int, width: int, device: torch.device) -> torch.dtype:
    """Of products of (R, H) and (H, H): bfloat16 where they are large and the processor multiplies it, otherwise float32."""
    multiplies = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if multiplies and rows * width * width >= LARGE_ENOUGH_TO_ROUND else torch.float32


def activate(hidden: Tensor) -> Tensor:
    """ReLU in place. A bfloat16 is negative where its bits are a negative integer, and torch is three times as fast with integers."""
    return hidden.view(torch.int16).clamp_min_(0).view(torch.bfloat16) if hidden.dtype == torch.bfloat16 else hidden.relu_()
