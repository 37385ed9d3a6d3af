"""Large products go another way than small ones, and come to the same."""

import pytest
import torch

from sql_ros.core.affine import affine, is_large, product

ROWS, INPUTS, OUTPUTS = 512, 64, 128


def _operands(members: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (members, ROWS, INPUTS), (members, INPUTS, OUTPUTS), (members, 1, OUTPUTS)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def test_torch_has_the_product_of_onednn_here():
    assert is_large(ROWS, torch.zeros(INPUTS, OUTPUTS))
    assert is_large(ROWS, torch.zeros(INPUTS, OUTPUTS, dtype=torch.bfloat16))


def test_small_and_double_products_stay_with_torch():
    assert not is_large(64, torch.zeros(128, 128))
    assert not is_large(ROWS, torch.zeros(INPUTS, OUTPUTS, dtype=torch.float64))


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("loss", [torch.sum, lambda mapped: mapped.square().mean(1).sum()], ids=["one number for all", "a number each"])
def test_large_products_and_their_gradients_are_the_textbooks(members, loss):
    operands = _operands(members)
    exact = [operand.detach().double().requires_grad_() for operand in operands]
    mapped, expected = affine(*operands), exact[0] @ exact[1] + exact[2]
    torch.testing.assert_close(mapped.double(), expected, atol=1e-4, rtol=1e-5)
    for mine, theirs in zip(torch.autograd.grad(loss(mapped), operands), torch.autograd.grad(loss(expected), exact)):
        torch.testing.assert_close(mine.double(), theirs, atol=1e-3, rtol=1e-4)


def test_rows_shared_by_the_members_and_part_of_a_weight_will_do():
    rows, weight, bias = _operands(2)
    shared, part = rows[:1, :, :40].expand(2, -1, -1), weight[:, :40]
    torch.testing.assert_close(affine(shared, part, bias), torch.baddbmm(bias, shared, part), atol=1e-4, rtol=1e-5)
    (gradient,) = torch.autograd.grad(affine(shared, part, bias).square().sum(), rows)
    (expected,) = torch.autograd.grad(torch.baddbmm(bias, shared, part).square().sum(), rows)
    torch.testing.assert_close(gradient, expected, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)])
def test_product_with_bias_through_a_relu(dtype, tolerance):
    rows, weight, bias = (operand.detach()[0].to(dtype) for operand in _operands(1))
    expected = torch.relu(rows.double() @ weight.double() + bias[0].double())
    torch.testing.assert_close(product(rows, weight, bias[0], relu=True).double(), expected, atol=tolerance, rtol=0.01)
