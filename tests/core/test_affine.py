"""Large products go another way than small ones, and come to the same."""

import pytest
import torch

from sql_ros.core.affine import activate, affine, fastest_precision, is_large

ROWS, INPUTS, OUTPUTS = 512, 64, 128


def _operands(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in ((ROWS, INPUTS), (INPUTS, OUTPUTS), (OUTPUTS,))]


def test_torch_has_the_product_of_onednn_here():
    assert is_large(ROWS, torch.zeros(INPUTS, OUTPUTS))
    assert is_large(ROWS, torch.zeros(INPUTS, OUTPUTS, dtype=torch.bfloat16)) == torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_small_and_double_products_stay_with_torch():
    assert not is_large(64, torch.zeros(128, 128))
    assert not is_large(ROWS, torch.zeros(INPUTS, OUTPUTS, dtype=torch.float64))


def test_a_single_column_goes_another_way_only_where_it_is_long_and_torch_has_threads(monkeypatch):
    column = torch.zeros(256, 1)
    for threads, rows, expected in ((2, 4096, True), (2, 1024, False), (1, 4096, False)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert is_large(rows, column) == expected


def test_a_long_column_is_the_same_product():
    rows, weight, bias = torch.rand(4096, 256), torch.rand(256, 1), torch.rand(1)
    torch.testing.assert_close(affine(rows, weight, bias), rows @ weight + bias, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("count", [16, ROWS], ids=["small", "large"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9), (torch.bfloat16, 0.2)])
def test_product_with_bias_through_a_relu(count, relu, dtype, tolerance):
    rows, weight, bias = _operands(dtype)
    expected = rows[:count].double() @ weight.double() + bias.double()
    expected = torch.relu(expected) if relu else expected
    torch.testing.assert_close(affine(rows[:count], weight, bias, relu=relu).double(), expected, atol=tolerance, rtol=0.01)


@pytest.mark.parametrize("count", [16, ROWS], ids=["small", "large"])
def test_the_weight_may_be_a_part_or_the_transpose_of_another(count):
    rows, weight, _ = _operands()
    torch.testing.assert_close(affine(rows[:count, :40], weight[:40]), rows[:count, :40] @ weight[:40], atol=1e-4, rtol=1e-5)
    turned = weight.t().contiguous().t()
    torch.testing.assert_close(affine(rows[:count], turned), rows[:count] @ weight, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_relu_by_the_bits_of_a_bfloat16_is_a_relu(dtype):
    values = torch.tensor([-3.5, -0.0, 0.0, 2.0**-130, -(2.0**-130), 7.25], dtype=dtype)
    expected = torch.relu(values)
    assert torch.equal(activate(values), expected)


def test_products_are_rounded_where_they_are_large_and_the_processor_multiplies_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda supported=supported: supported)
        assert fastest_precision(256 * 16, 256, torch.device("cpu")) == expected
        assert fastest_precision(64 * 8, 128, torch.device("cpu")) == torch.float32
        assert fastest_precision(256 * 16, 256, torch.device("cuda")) == torch.float32
