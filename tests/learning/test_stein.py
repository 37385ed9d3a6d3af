"""The kernel against autograd, the direction against its definition."""

import math

import pytest
import torch

from sql_ros.learning.stein import SMALLEST_BANDWIDTH, rbf_kernel, stein_direction


def _particles(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_kernel_is_the_rbf_of_the_median_rule():
    fixed, updated = _particles(3, 5, 2), _particles(3, 4, 2) + 0.1
    kernel, bandwidth = rbf_kernel(fixed, updated)
    squared = (fixed.unsqueeze(2) - updated.unsqueeze(1)).square().sum(-1)
    expected = squared.flatten(1).median(dim=1).values / math.log(5)
    torch.testing.assert_close(bandwidth, expected.view(3, 1, 1))
    torch.testing.assert_close(kernel, torch.exp(-squared / bandwidth))


def test_bandwidth_per_dimension_makes_the_kernel_blind_to_units():
    fixed, updated, units = (
        _particles(3, 5, 2),
        _particles(3, 4, 2) + 0.1,
        torch.tensor([1.0, 100.0]),
    )
    kernel, bandwidth = rbf_kernel(fixed, updated, per_dimension=True)
    other, wider = rbf_kernel(fixed * units, updated * units, per_dimension=True)
    torch.testing.assert_close(other, kernel)
    torch.testing.assert_close(wider, bandwidth * units.square())


def test_bandwidth_has_a_floor_where_all_particles_coincide():
    kernel, bandwidth = rbf_kernel(torch.zeros(1, 4, 2), torch.full((1, 3, 2), 1e-4))
    torch.testing.assert_close(kernel, torch.full((1, 4, 3), math.exp(-2e-8 / SMALLEST_BANDWIDTH)))
    assert bandwidth.item() == pytest.approx(SMALLEST_BANDWIDTH)


@pytest.mark.parametrize("per_dimension", [False, True])
def test_direction_is_the_mean_attraction_plus_kernel_gradient(per_dimension):
    """Against the definition, the gradient of the kernel by autograd."""
    fixed, updated, score = _particles(2, 5, 3), _particles(2, 4, 3) - 0.5, _particles(2, 5, 3) * 2
    kernel, bandwidth = rbf_kernel(fixed, updated, per_dimension=per_dimension)
    point = fixed.clone().requires_grad_(True)
    again = torch.exp(
        -((point.unsqueeze(2) - updated.unsqueeze(1)).square() / bandwidth.unsqueeze(1)).sum(-1)
    )
    torch.testing.assert_close(kernel, again.detach())
    direction = stein_direction(score, fixed, updated, per_dimension=per_dimension)
    for m in range(4):
        (gradient,) = torch.autograd.grad(again[:, :, m].sum(), point, retain_graph=True)
        expected = (kernel[:, :, m, None] * score + gradient).mean(1)
        torch.testing.assert_close(direction[:, m], expected)


def test_particles_take_on_mean_and_variance_of_a_gaussian():
    particles = _particles(1, 60, 1) * 0.1 - 2.0
    for _ in range(3000):
        score = -(particles - 1.0) / 0.25
        particles = particles + 0.05 * stein_direction(score, particles, particles)
    assert abs(particles.mean().item() - 1.0) < 0.03
    assert abs(particles.std().item() - 0.5) < 0.05
