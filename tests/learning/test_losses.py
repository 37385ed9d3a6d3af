"""Soft values against closed forms and quadrature, backups, and what may get a gradient."""

import math

import numpy as np
import pytest
import torch

from sql_ros.learning.losses import (
    bellman_target,
    boltzmann_entropy,
    fitting_gradient,
    importance_weights,
    latent_score,
    q_loss,
    soft_value,
    stein_loss,
)
from sql_ros.learning.networks import SamplingNetwork, Scaling, TwinQ
from sql_ros.learning.proposals import particle_proposal, uniform_proposal, with_uniform_floor
from sql_ros.learning.squash import log_squash_jacobian, log_volume, squash

PLAIN = Scaling((0.0,) * 3, (1.0,) * 3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("size", [1, 7])
def test_value_of_a_constant_q_is_q_plus_alpha_log_volume(temperature, size):
    latent, log_density = uniform_proposal(4, 16, size, _generator())
    q = torch.full(latent.shape[:2], 2.5)
    expected = 2.5 + temperature * log_volume(size)
    torch.testing.assert_close(soft_value(q, log_density, temperature), torch.full((4,), expected))


@pytest.mark.parametrize("proposal", ["uniform", "particles"])
def test_value_agrees_with_quadrature_in_two_dimensions(proposal):
    temperature = 0.5

    def q(action: torch.Tensor) -> torch.Tensor:
        return -((action - torch.tensor([0.3, -0.5])).square() / 0.1).sum(-1) + torch.cos(
            4 * action[..., 0]
        )

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


def test_bias_of_the_uniform_value_in_7d_is_that_of_theory():
    """The reason for a proposal of our own: facts, trap 1, at s = 0.3, K = 16 the bias is -1.75
    nats.
    """
    latent, log_density = uniform_proposal(20000, 16, 7, _generator())
    q = -((squash(latent) - 0.3) / 0.3).square().sum(-1) / 2
    edge = np.array(
        [math.erf((1 - 0.3) / (0.3 * math.sqrt(2))), math.erf((-1 - 0.3) / (0.3 * math.sqrt(2)))]
    )
    exact = 7 * math.log(0.3 * math.sqrt(2 * math.pi) * (edge[0] - edge[1]) / 2)
    assert soft_value(q, log_density, 1.0).mean().item() - exact == pytest.approx(-1.7, abs=0.15)


def test_truncated_steps_bootstrap_and_terminated_do_not():
    reward, value = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 10.0])
    terminated = torch.tensor([0.0, 1.0])  # the first may be truncated: the target does not know
    torch.testing.assert_close(
        bellman_target(reward, terminated, value, 0.9), torch.tensor([10.0, 1.0])
    )


def _networks() -> tuple[SamplingNetwork, TwinQ]:
    generator = _generator()
    return SamplingNetwork(PLAIN, 2, (16, 16), generator), TwinQ(PLAIN, 2, (16, 16), 2, generator)


def test_q_loss_is_half_the_mean_square_summed_over_members():
    _, q = _networks()
    observation, action, target = torch.randn(5, 3), torch.rand(5, 2), torch.randn(5)
    each = q.evaluate_each(observation, action.unsqueeze(1)).squeeze(-1)
    expected = sum(0.5 * (member - target).square().mean() for member in each)
    values, backward = q.evaluate_each_with_backward(observation, action)
    loss, by_q = q_loss(values, target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(by_q, torch.autograd.grad(expected, each, retain_graph=True)[0])
    torch.testing.assert_close(backward(by_q), torch.autograd.grad(expected, q.mlp.flat)[0])


def _divergence(log_policy: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """KL(weights || policy) up to a constant."""
    return -(weights * log_policy).sum(1).mean()


def test_fitting_gradient_is_the_gradient_of_the_divergence():
    log_policy, weights = torch.randn(5, 3).requires_grad_(), torch.softmax(torch.randn(5, 3), 1)
    torch.testing.assert_close(
        fitting_gradient(weights),
        torch.autograd.grad(_divergence(log_policy, weights), log_policy)[0],
    )
    both = torch.stack([weights, torch.softmax(torch.randn(5, 3), 1)], dim=1)  # by two Qs
    half = torch.stack([fitting_gradient(both[:, 0]), fitting_gradient(both[:, 1])], dim=1) / 2
    torch.testing.assert_close(fitting_gradient(both), half)


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
    score = latent_score(lambda action: 0.0 * action.sum(-1), point, 1.0)
    torch.testing.assert_close(score, -point)


def test_score_stays_finite_where_the_squash_saturates():
    point = torch.tensor([[[-60.0], [60.0]]])
    score = latent_score(lambda action: action.sum(-1), point, 0.1)
    assert torch.isfinite(score).all()


def _gaussian_probes(
    size: int, deviation: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Q = -|a|^2 / (2 s^2), probed where an exact sampler would: latents of the wider N(0, 2 s^2),
    their log density on the box.
    """
    latent = deviation * 1.4 * torch.randn(2000, 64, size, generator=_generator())
    log_density = torch.distributions.Normal(0, deviation * 1.4).log_prob(latent).sum(
        -1
    ) - log_squash_jacobian(latent)
    return -(squash(latent) / deviation).square().sum(-1) / 2, log_density, latent


@pytest.mark.parametrize("size", [1, 3, 7])
def test_entropy_of_a_gaussian_policy_is_the_textbooks(size):
    """s = 0.1 lies inside the box with all its mass: H = A / 2 log(2 pi e s^2)."""
    q, log_density, _ = _gaussian_probes(size, 0.1)
    value = soft_value(q, log_density, 1.0)
    entropy = (
        boltzmann_entropy(q, value, importance_weights(q, log_density, 1.0), 1.0).mean().item()
    )
    assert entropy == pytest.approx(
        size / 2 * math.log(2 * math.pi * math.e * 0.01), abs=0.05 * size
    )


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_entropy_of_a_constant_q_is_the_log_volume(temperature):
    latent, log_density = uniform_proposal(4, 16, 7, _generator())
    q = torch.full(latent.shape[:2], -3.0)
    value = soft_value(q, log_density, temperature)
    entropy = boltzmann_entropy(
        q, value, importance_weights(q, log_density, temperature), temperature
    )
    torch.testing.assert_close(entropy, torch.full((4,), log_volume(7)), atol=1e-4, rtol=0)


def test_weighted_proposals_have_the_boltzmann_density():
    q, log_density, latent = _gaussian_probes(1, 0.1)
    weights = importance_weights(q, log_density, 1.0)
    torch.testing.assert_close(weights.sum(1), torch.ones(2000))
    variance = (weights * squash(latent).squeeze(-1).square()).sum(1).mean().item()
    assert variance == pytest.approx(0.01, rel=0.06)


def test_the_divergence_is_least_for_the_boltzmann_policy():
    q, log_density, latent = _gaussian_probes(1, 0.1)
    weights = importance_weights(q, log_density, 1.0)

    def loss(deviation: float) -> float:
        log_policy = torch.distributions.Normal(0, deviation).log_prob(squash(latent)).sum(-1)
        return _divergence(log_policy, weights).item()

    assert loss(0.1) < min(loss(0.09), loss(0.111))


def test_floor_bounds_the_importance_weights():
    log_density = torch.tensor([[-200.0, 3.0]])
    floored = with_uniform_floor(log_density, 0.25, 7)
    torch.testing.assert_close(floored[0, 0].item(), math.log(0.25) - log_volume(7))
    assert floored[0, 1].item() == pytest.approx(3.0 + math.log(0.75), abs=1e-3)
