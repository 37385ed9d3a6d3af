"""The baseline is worth beating only if it learns what the published update learns."""

import numpy as np
import pytest
import torch

from sql_ros.checks.bench import port
from sql_ros.learning.replay import Batch

BEST = 0.5


def _bandit(rng, size=64):
    """r = -20 (a - 1/2)^2 whatever the state, and the episode is over."""
    observation = rng.normal(size=(size, 2)).astype(np.float32)
    action = rng.uniform(-1, 1, (size, 1)).astype(np.float32)
    reward = (-20.0 * np.square(action - BEST)).ravel().astype(np.float32)
    return Batch(observation, action, reward, observation, np.ones(size, np.float32))


@torch.no_grad()
def _mean_of_the_density(learner):
    """Of exp(Q) (1 - a^2), to which the published particles move: the Jacobian of tanh is in it
    although they live among the actions.
    """
    grid = torch.linspace(-1, 1, 2001).view(1, -1, 1)
    weight = torch.softmax(
        learner.q(torch.zeros(1, 1, 2), grid) + torch.log(1 - grid.square() + port.JACOBIAN_FLOOR),
        dim=1,
    )
    return float((weight * grid).sum())


@torch.no_grad()
def _mean_action(learner):
    return float(learner.act(torch.zeros(1, 2), 1000).mean())


def test_the_published_update_learns_q_of_a_bandit_and_moves_its_actions_to_where_q_is_high(
    monkeypatch,
):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(port, "LEARNING_RATE", 1e-3)
    learner = port.PublishedSql(2, 1, width=32, seed=0)
    before = _mean_action(learner)
    losses = [float(learner.step(_bandit(rng))["q_loss"]) for _ in range(1000)]
    after = _mean_action(learner)
    assert np.mean(losses[-50:]) < 0.05 * np.mean(losses[:50])
    assert abs(after - BEST) < 0.15 < abs(before - BEST)
    assert after == pytest.approx(_mean_of_the_density(learner), abs=0.04)


def test_the_kernels_gradient_is_the_one_autograd_finds():
    torch.manual_seed(0)
    fixed, updated = (
        torch.randn(3, 4, 2, dtype=torch.float64),
        torch.randn(3, 5, 2, dtype=torch.float64),
    )
    value, gradient = port.kernel(fixed, updated)
    bandwidth = (-(fixed[:, :, None] - updated[:, None]).pow(2).sum(-1) / value.log())[:, :1, :1]
    point = fixed.clone().requires_grad_(True)
    again = torch.exp(-(point[:, :, None] - updated[:, None]).pow(2).sum(-1) / bandwidth)
    torch.testing.assert_close(value, again.detach())
    torch.testing.assert_close(gradient.sum(2), torch.autograd.grad(again.sum(), point)[0])


def test_the_target_is_copied_exactly_when_it_is_due(monkeypatch):
    monkeypatch.setattr(port, "TARGET_PERIOD", 2)
    rng = np.random.default_rng(0)
    learner = port.PublishedSql(2, 1, width=8, seed=0)
    learner.step(_bandit(rng))
    assert not torch.equal(learner.target.hidden.weight, learner.q.hidden.weight)
    learner.step(_bandit(rng))
    assert torch.equal(learner.target.hidden.weight, learner.q.hidden.weight)


@pytest.mark.parametrize("particles", [4, 16])
def test_the_sampler_step_leaves_q_alone(particles):
    learner = port.PublishedSql(2, 1, width=8, kernel_particles=particles, seed=0)
    updated, direction = learner._stein(torch.randn(6, 2))
    updated.backward(gradient=direction)
    assert updated.shape == direction.shape == (6, particles // 2, 1)
    assert all(parameter.grad is None for parameter in learner.q.parameters())
