"""The kernel against autograd, the direction against its definition."""

import math

import torch

from sql_ros.core.stein import SMALLEST_BANDWIDTH, rbf_kernel, stein_direction


def _particles(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_kernel_gradient_equals_autograd():
    fixed, updated = _particles(3, 5, 2), _particles(3, 4, 2) + 0.1
    kernel, gradient = rbf_kernel(fixed, updated)
    squared = (fixed.unsqueeze(2) - updated.unsqueeze(1)).square().sum(-1)
    bandwidth = squared.flatten(1).median(dim=1).values / math.log(5)
    point = fixed.clone().requires_grad_(True)
    again = torch.exp(-(point.unsqueeze(2) - updated.unsqueeze(1)).square().sum(-1) / bandwidth.view(-1, 1, 1))
    torch.testing.assert_close(kernel, again.detach())
    for m in range(4):
        (expected,) = torch.autograd.grad(again[:, :, m].sum(), point, retain_graph=True)
        torch.testing.assert_close(gradient[:, :, m], expected)


def test_bandwidth_has_a_floor_where_all_particles_coincide():
    kernel, gradient = rbf_kernel(torch.zeros(1, 4, 2), torch.full((1, 3, 2), 1e-4))
    expected = math.exp(-2e-8 / SMALLEST_BANDWIDTH)
    torch.testing.assert_close(kernel, torch.full((1, 4, 3), expected))
    assert torch.isfinite(gradient).all()


def test_direction_is_the_mean_of_attraction_and_repulsion():
    fixed, updated, score = _particles(1, 3, 2), _particles(1, 2, 2) - 0.5, _particles(1, 3, 2) * 2
    kernel, gradient = rbf_kernel(fixed, updated)
    direction = stein_direction(score, fixed, updated)
    for m in range(2):
        expected = sum(kernel[0, j, m] * score[0, j] + gradient[0, j, m] for j in range(3)) / 3
        torch.testing.assert_close(direction[0, m], expected)


def test_particles_that_follow_the_direction_take_on_mean_and_variance_of_a_gaussian():
    particles = _particles(1, 60, 1) * 0.1 - 2.0
    for _ in range(3000):
        score = -(particles - 1.0) / 0.25
        particles = particles + 0.05 * stein_direction(score, particles, particles)
    assert abs(particles.mean().item() - 1.0) < 0.03
    assert abs(particles.std().item() - 0.5) < 0.05
