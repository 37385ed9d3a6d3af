"""Networks in one vector: their gradient against autograd's, and the matrices that are views of the
vector.
"""

import copy

import pytest
import torch
from torch.nn.functional import layer_norm, linear

from sql_ros.learning.kernels.flat_mlp import Mlp

SIZES = (5, 16, 12, 3)


def _network(members: int = 2, *, norm: bool = False, sizes: tuple[int, ...] = SIZES) -> Mlp:
    network = Mlp(members, sizes, torch.Generator().manual_seed(0), layer_norm=norm).double()
    with torch.no_grad():
        network.flat.add_(
            0.1
            * torch.randn(
                network.flat.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
            )
        )
    return network


def _rows(count: int = 7, size: int = SIZES[0]) -> torch.Tensor:
    return torch.randn(
        count, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    ).requires_grad_()


def _by_the_book(network: Mlp, rows: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """The same networks by torch's own layers, from any vector laid out like `flat`."""
    results = []
    for layers in network.matrices(flat):
        hidden = rows
        for layer in layers:
            hidden = linear(hidden, layer.weight.t(), layer.bias)
            if layer.gain is not None:
                hidden = layer_norm(hidden, hidden.shape[-1:], layer.gain, layer.shift)
            hidden = torch.relu(hidden) if layer is not layers[-1] else hidden
        results.append(hidden)
    return torch.stack(results)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("norm", [False, True])
def test_values_and_gradients_are_those_of_torch_s_layers(members, norm):
    network, rows = _network(members, norm=norm), _rows()
    flat = network.flat.detach().clone().requires_grad_()
    mine, expected = network(rows), _by_the_book(network, rows, flat)
    torch.testing.assert_close(mine, expected)
    slope = torch.randn(mine.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for gradient, textbook in zip(
        torch.autograd.grad(mine, [rows, network.flat], slope),
        torch.autograd.grad(expected, [rows, flat], slope),
        strict=True,
    ):
        torch.testing.assert_close(gradient, textbook)


@pytest.mark.parametrize("norm", [False, True])
def test_without_autograd_it_is_the_same(norm):
    network, rows = _network(norm=norm), _rows()
    expected = network(rows)
    slope = torch.randn(
        expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    result, backward = network.forward_with_backward(rows.detach())
    assert torch.equal(result, expected)
    assert torch.equal(backward(slope), torch.autograd.grad(expected, network.flat, slope)[0])


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    "loss",
    [torch.sum, lambda result: result.square().sum()],
    ids=["one number for all", "a number each"],
)
def test_in_single_precision_with_large_products_too(norm, loss):
    network = Mlp(2, (20, 256, 256, 256), torch.Generator().manual_seed(0), layer_norm=norm)
    rows = torch.randn(256, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
    flat = network.flat.detach().clone().requires_grad_()
    mine, expected = network(rows), _by_the_book(network, rows, flat)
    torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)
    for gradient, textbook in zip(
        torch.autograd.grad(loss(mine), [rows, network.flat]),
        torch.autograd.grad(loss(expected), [rows, flat]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, textbook, atol=1e-2, rtol=1e-3)


def test_the_gradient_of_a_sum_is_that_of_autograd():
    network, rows = _network(), _rows()
    (gradient,) = torch.autograd.grad(network(rows).sum(), rows)
    (expected,) = torch.autograd.grad(
        _by_the_book(network, rows, network.flat.detach()).sum(), rows
    )
    torch.testing.assert_close(gradient, expected)


def test_a_network_that_is_used_twice_gets_both_gradients():
    network, rows = _network(), _rows()
    (once,) = torch.autograd.grad(network(rows).sum(), network.flat)
    (other,) = torch.autograd.grad(network(2 * rows).sum(), network.flat)
    (both,) = torch.autograd.grad(network(rows).sum() + network(2 * rows).sum(), network.flat)
    torch.testing.assert_close(both, once + other)


def test_a_frozen_pass_has_the_gradient_by_its_rows_alone():
    network, rows = _network(), _rows()
    (expected,) = torch.autograd.grad(network(rows).square().sum(), rows)
    network(rows, frozen=True).square().sum().backward()
    assert network.flat.grad is None
    torch.testing.assert_close(rows.grad, expected)


@pytest.mark.parametrize(
    "moved",
    [lambda network: network, copy.deepcopy, lambda network: copy.deepcopy(network).float()],
)
def test_matrices_stay_views_of_the_vector(moved):
    """Also of a copy, and in another precision: what is exported is read from them."""
    network = moved(_network())
    with torch.no_grad():
        network.flat.fill_(3.0)
        network.members[1][0].weight.zero_()
    assert (network.members[0][0].weight == 3.0).all()
    assert (network.flat == 0.0).sum() == SIZES[0] * SIZES[1]


def test_a_copy_shares_nothing():
    network = _network()
    before = network.members[0][0].weight.clone()
    copy.deepcopy(network).flat.data.zero_()
    assert torch.equal(network.members[0][0].weight, before)
