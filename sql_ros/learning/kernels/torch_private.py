"""The private operators of torch, and its private tests of the processor, that the fast paths use.

None of them is part of torch's public interface, so a new version may move or remove them. They
were tested with torch 2.13.0.

==================================  ================================================================
name here                           why the public interface does not do
==================================  ================================================================
`fused_adam`                        `torch.optim.Adam` imports torch's compiler, 2 to 4 s at a start
`add_to_all`                        it counts the steps of all parameters of `fused_adam` at once
`onednn_linear`                     public float32 products take MKL, without AVX-512 on AMD
`has_avx512`                        without AVX-512 oneDNN is no faster, and refuses bfloat16
`multiplies_bfloat16`               without these instructions bfloat16 is a hundred times slower
`relu_backward`, `tanh_backward`    derivatives from the output, in one operator, without autograd
`layer_norm_backward`               the same for the layer norm, from its saved statistics
==================================  ================================================================
"""

from __future__ import annotations

import torch

TESTED_TORCH_VERSION = "2.13.0"

fused_adam = torch._fused_adam_
add_to_all = torch._foreach_add_

# None in builds of torch without oneDNN
onednn_linear = (
    torch.ops.mkldnn._linear_pointwise.default
    if torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)

relu_backward = torch.ops.aten.threshold_backward
tanh_backward = torch.ops.aten.tanh_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


def has_avx512() -> bool:
    """Return whether this processor offers AVX-512; a virtual machine may hide it."""
    return bool(torch.cpu._is_avx512_supported())


def multiplies_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16 products: AVX512-BF16 or AMX."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
