"""Soft values against closed forms and quadrature, backups, and what may get a gradient."""

import math

import numpy as np
import pytest
import torch

from sql_ros.core.losses import q_loss, q_target, score_of_particles, soft_value, stein_loss
from sql_ros.core.networks import SamplingNetwork, Scaling, TwinQ
from sql_ros.core.proposals import particle_proposal, uniform_proposal
from sql_ros.core.squash import log_volume, squash

PLAIN = Scaling((0.0,) * 3, (1.0,) * 3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("size", [1, 7])
def test_value_of_a_constant_q_is_q_plus_temperature_times_the_log_volume(temperature, size):
    latent, log_density = uniform_proposal(4, 16, size, _generator())
    q = torch.full(latent.shape[:2], 2.5)
    expected = 2.5 + temperature * log_volume(size)
    torch.testing.assert_close(soft_value(q, log_density, temperature), torch.full((4,), expected))


@pytest.mark.parametrize("proposal", ["uniform", "particles"])
def test_value_agrees_with_quadrature_in_two_dimensions(proposal):
    temperature = 0.5

    def q(action: torch.Tensor) -> torch.Tensor:
        return -((action - torch.tensor([0.3, -0.5])).square() / 0.1).sum(-1) + torch.cos(4 * action[..., 0])

    axis = torch.linspace(-1, 1, 2001)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    exact = temperature * math.log(torch.exp(q(grid) / temperature).sum().item() * (2 / 2000) ** 2)
    if proposal == "uniform":
        latent, log_density = uniform_proposal(400, 4000, 2, _generator())
    else:
        centre = torch.randn(400, 30, 2, generator=_generator(1)) * 0.3 + torch.tensor([0.3, -0.5])
        latent, log_density = particle_proposal(centre, 8, _generator(2))
    value = soft_value(q(squash(latent)), log_density, temperature)
    assert abs(value.mean().item() - exact) < 0.02


def test_particle_density_integrates_to_one():
    centre = torch.randn(64, 8, 3, generator=_generator()) * 0.8
    _, log_density = particle_proposal(centre, 4, _generator(1))
    # the mean of 1 / q(a) under q is the volume of the box, whatever q is, if q is a density
    volume = torch.exp(-log_density).mean().item()
    assert volume == pytest.approx(8.0, rel=0.05)


def test_uniform_value_in_seven_dimensions_is_as_far_off_as_the_theory_says():
    """The reason for a proposal of our own: facts, trap 1, at s = 0.3, K = 16 the bias is -1.75 nats."""
    latent, log_density = uniform_proposal(20000, 16, 7, _generator())
    q = -((squash(latent) - 0.3) / 0.3).square().sum(-1) / 2
    edge = np.array([math.erf((1 - 0.3) / (0.3 * math.sqrt(2))), math.erf((-1 - 0.3) / (0.3 * math.sqrt(2)))])
    exact = 7 * math.log(0.3 * math.sqrt(2 * math.pi) * (edge[0] - edge[1]) / 2)
    assert soft_value(q, log_density, 1.0).mean().item() - exact == pytest.approx(-1.7, abs=0.15)


def test_truncated_transitions_bootstrap_and_terminated_ones_do_not():
    reward, value = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 10.0])
    terminated = torch.tensor([0.0, 1.0])  # the first may be truncated: the target does not know
    torch.testing.assert_close(q_target(reward, terminated, value, 0.9), torch.tensor([10.0, 1.0]))


def _networks() -> tuple[SamplingNetwork, TwinQ]:
    generator = _generator()
    return SamplingNetwork(PLAIN, 2, (16, 16), generator), TwinQ(PLAIN, 2, (16, 16), 2, generator)


def test_q_loss_is_half_the_mean_square_summed_over_members():
    _, q = _networks()
    observation, action, target = torch.randn(5, 3), torch.rand(5, 2), torch.randn(5)
    expected = sum(0.5 * (member.view(5) - target).square().mean() for member in q.each(observation, action.unsqueeze(1)))
    torch.testing.assert_close(q_loss(q, observation, action, target), expected)


def test_stein_loss_leaves_q_without_gradient():
    sampler, q = _networks()
    stein_loss(sampler, q, torch.randn(4, 3), torch.randn(4, 10, 2), 5, 0.3).backward()
    assert all(parameter.grad is None for parameter in q.parameters())
    assert all(parameter.grad is not None for parameter in sampler.parameters())


def test_fixed_particles_get_no_gradient():
    sampler, q = _networks()
    noise = torch.randn(4, 10, 2, requires_grad=True)
    stein_loss(sampler, q, torch.randn(4, 3), noise, 5, 0.3).backward()
    assert noise.grad is not None
    assert (noise.grad[:, :5] == 0).all()
    assert (noise.grad[:, 5:] != 0).any()


def test_score_includes_the_jacobian_of_the_squash():
    point = torch.linspace(-3, 3, 13).view(1, 13, 1)
    score = score_of_particles(lambda action: 0.0 * action.sum(-1), point, 1.0)
    torch.testing.assert_close(score, -point)


def test_score_stays_finite_where_the_squash_saturates():
    point = torch.tensor([[[-60.0], [60.0]]])
    score = score_of_particles(lambda action: action.sum(-1), point, 0.1)
    assert torch.isfinite(score).all()
