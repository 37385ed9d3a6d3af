"""Rows times weights plus bias, by oneDNN where that is faster than torch's own choice.

For float32 torch takes MKL, which does not use AVX-512 on AMD. There oneDNN is faster for large
products. Without AVX-512 it is slower at the shipped sizes and no faster at batch 256
(`tests/learning/kernels/time_fast_paths.py`), and is not used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sql_ros.learning.kernels.torch_private import has_avx512, multiplies_bfloat16, onednn_linear

ONEDNN_MULTIPLICATIONS = 1 << 21  # of one product, from which on oneDNN is faster
BFLOAT16_MULTIPLICATIONS = 1 << 25  # of one product, from which on bfloat16 is faster

_HAS_FAST_ONEDNN = onednn_linear is not None and has_avx512()


def affine(
    rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """Multiply rows by a weight matrix, add a bias and apply a ReLU, without gradient.

    Args:
        rows: (R, in).
        weight: (in, out).
        bias: (out,); None adds nothing.
        relu: Whether negative results become 0.

    Returns:
        (R, out).
    """
    if onednn_linear is not None and uses_onednn(rows.shape[0], weight):
        product: Tensor = onednn_linear(rows, weight.t(), bias, "relu" if relu else "none", [], "")
        return product
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return result.relu_() if relu else result


def uses_onednn(rows: int, weight: Tensor) -> bool:
    """Return whether the product of so many rows and this matrix (in, out) is faster by oneDNN."""
    inputs, outputs = weight.shape
    return (
        _HAS_FAST_ONEDNN
        and rows * inputs * outputs >= ONEDNN_MULTIPLICATIONS
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.device.type == "cpu"
    )


def fastest_precision(rows: int, width: int, device: torch.device) -> torch.dtype:
    """Return the faster precision for products of (R, H) and (H, H) on a device.

    Args:
        rows: R.
        width: H.
        device: Where the product is computed.

    Returns:
        torch.bfloat16 where the product is large and the processor has instructions for it,
        otherwise torch.float32.
    """
    is_large = rows * width * width >= BFLOAT16_MULTIPLICATIONS
    if device.type == "cpu" and is_large and multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32
