"""Rows times weights plus bias, by oneDNN where oneDNN is faster than torch's own choice.

For float32, torch takes MKL, which does not use AVX-512 on processors of AMD. There oneDNN is
faster for large products. On a processor without AVX-512 oneDNN is slower at the shipped sizes and
no faster at batch 256 (`tests/learning/kernels/time_fast_paths.py`), so it is not used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sql_ros.learning.kernels.torch_private import has_avx512, multiplies_bfloat16, onednn_linear

ONEDNN_MULTIPLICATIONS = 1 << 21  # of one product; with as many or more oneDNN is faster
BFLOAT16_MULTIPLICATIONS = 1 << 25  # of one product; with as many or more bfloat16 is faster

_HAS_FAST_ONEDNN = onednn_linear is not None and has_avx512()


def affine(
    rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """Multiply rows by a weight matrix, add a bias and apply a ReLU, without autograd.

    Args:
        rows: Input rows (R, in).
        weight: Weight matrix (in, out).
        bias: Bias (out,); None: no bias is added.
        relu: Whether negative results become 0.

    Returns:
        Output rows (R, out).
    """
    if onednn_linear is not None and uses_onednn(rows.shape[0], weight):
        product: Tensor = onednn_linear(rows, weight.t(), bias, "relu" if relu else "none", [], "")
        return product
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return result.relu_() if relu else result


def uses_onednn(rows: int, weight: Tensor) -> bool:
    """Return whether `affine` uses oneDNN for a number of rows and a weight matrix (in, out).

    The product has at least `ONEDNN_MULTIPLICATIONS`, is in float32 or bfloat16, and is computed on
    a CPU with AVX-512.
    """
    inputs, outputs = weight.shape
    return (
        _HAS_FAST_ONEDNN
        and rows * inputs * outputs >= ONEDNN_MULTIPLICATIONS
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.device.type == "cpu"
    )


def fastest_precision(rows: int, width: int, device: torch.device) -> torch.dtype:
    """Return the faster precision for products of matrices (R, H) and (H, H) on a device.

    Args:
        rows: Number of rows, R.
        width: Width of a layer, H.
        device: Device on which the product is computed.

    Returns:
        torch.bfloat16 if the product is large, the device is a CPU and the processor has
        instructions for bfloat16 products; otherwise torch.float32.
    """
    is_large = rows * width * width >= BFLOAT16_MULTIPLICATIONS
    if device.type == "cpu" and is_large and multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32
