"""Products by oneDNN against torch's own."""

import pytest
import torch

from sql_ros.learning.kernels import linear_kernels
from sql_ros.learning.kernels.linear_kernels import affine, fastest_precision, uses_onednn
from sql_ros.learning.kernels.torch_private import has_avx512, onednn_linear

ROWS, INPUTS, OUTPUTS = 512, 64, 128


def _operands(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((ROWS, INPUTS), (INPUTS, OUTPUTS), (OUTPUTS,))
    ]


@pytest.fixture(params=[False, True], ids=["torch", "oneDNN"])
def fast_onednn(request, monkeypatch):
    """Both products, whichever is faster on this processor."""
    monkeypatch.setattr(linear_kernels, "_HAS_FAST_ONEDNN", request.param)
    return request.param


def test_large_products_take_onednn_where_it_is_fast(fast_onednn):
    assert uses_onednn(ROWS, torch.zeros(INPUTS, OUTPUTS)) == fast_onednn


def test_this_torch_has_the_product_of_onednn():
    assert onednn_linear is not None


def test_small_and_double_products_stay_with_torch(monkeypatch):
    monkeypatch.setattr(linear_kernels, "_HAS_FAST_ONEDNN", True)
    assert not uses_onednn(64, torch.zeros(128, 128))
    assert not uses_onednn(ROWS, torch.zeros(INPUTS, OUTPUTS, dtype=torch.float64))


@pytest.mark.parametrize("count", [16, ROWS], ids=["small", "large"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9), (torch.bfloat16, 0.2)]
)
def test_product_with_bias_through_a_relu(fast_onednn, count, relu, dtype, tolerance):
    if fast_onednn and dtype == torch.bfloat16 and not has_avx512():
        pytest.skip("oneDNN refuses bfloat16 without AVX-512")
    rows, weight, bias = _operands(dtype)
    expected = rows[:count].double() @ weight.double() + bias.double()
    expected = torch.relu(expected) if relu else expected
    torch.testing.assert_close(
        affine(rows[:count], weight, bias, relu=relu).double(), expected, atol=tolerance, rtol=0.01
    )


@pytest.mark.parametrize("count", [16, ROWS], ids=["small", "large"])
def test_the_weight_may_be_a_part_or_the_transpose_of_another(fast_onednn, count):
    rows, weight, _ = _operands()
    torch.testing.assert_close(
        affine(rows[:count, :40], weight[:40]),
        rows[:count, :40] @ weight[:40],
        atol=1e-4,
        rtol=1e-5,
    )
    turned = weight.t().contiguous().t()
    torch.testing.assert_close(
        affine(rows[:count], turned), rows[:count] @ weight, atol=1e-4, rtol=1e-5
    )


def test_auto_precision_is_bfloat16_only_where_that_is_faster(
    monkeypatch,
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda supported=supported: supported
        )
        assert fastest_precision(256 * 16, 256, torch.device("cpu")) == expected
        assert fastest_precision(64 * 8, 128, torch.device("cpu")) == torch.float32
        assert fastest_precision(256 * 16, 256, torch.device("cuda")) == torch.float32
