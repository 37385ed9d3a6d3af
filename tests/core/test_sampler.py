"""The amortized sampler against the Boltzmann density it must sample: exp(Q / alpha) on the box."""

import pytest
import torch

from sql_ros.core.losses import sampler_loss
from sql_ros.core.networks import StateActionNetwork


class _Energy(torch.nn.Module):
    """Q of the action alone, in the place of a Q-network."""

    def __init__(self, q):
        super().__init__()
        self._q = q

    def forward(self, observation, action):
        return self._q(action)


def _train(q, size: int, temperature: float = 1.0, updates: int = 1500) -> torch.Tensor:
    """Samples (20000, A) of a sampler trained on one energy."""
    torch.manual_seed(0)
    sampler = StateActionNetwork(1, size, (64, 64), size, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(sampler.parameters(), lr=2e-3)
    for _ in range(updates):
        optimizer.zero_grad()
        sampler_loss(sampler, _Energy(q), torch.zeros(4, 1), torch.randn(4, 64, size), 32, temperature).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.tanh(sampler(torch.zeros(1, 1), torch.randn(1, 20000, size)))[0]


def test_constant_q_gives_uniform_actions():
    """Variance 1/3; the published code, which mixes two spaces, gives 0.201."""
    action = _train(lambda a: 0.0 * a.sum(-1), 1)
    assert action.var().item() == pytest.approx(1 / 3, rel=0.06)
    assert abs(action.mean().item()) < 0.05


def test_two_equal_modes_are_both_sampled_in_proportion():
    action = _train(lambda a: -((a.abs() - 0.6) / 0.15).square().sum(-1) / 2, 1)
    right = (action > 0).float().mean().item()
    assert 0.35 < right < 0.65
    assert action.abs().mean().item() == pytest.approx(0.6, abs=0.05)


def test_temperature_widens_the_distribution():
    cold = _train(lambda a: -a.square().sum(-1), 1, temperature=0.02, updates=800)
    warm = _train(lambda a: -a.square().sum(-1), 1, temperature=0.2, updates=800)
    # exp(-a^2 / alpha) is a Gaussian of variance alpha / 2, cut by the box only for the warm one
    assert cold.var().item() == pytest.approx(0.01, rel=0.35)
    assert warm.var().item() == pytest.approx(0.1, rel=0.25)
