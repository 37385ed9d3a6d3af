"""Amortized SVGD against the Boltzmann density it must sample, exp(Q / alpha) on the box.

The mixture: tests/verify.
"""

import pytest
import torch

from sql_ros.learning.losses import stein_loss
from sql_ros.learning.networks import SamplingNetwork, Scaling
from sql_ros.learning.squash import squash


class _Energy(torch.nn.Module):
    """Q of the action alone, in the place of a Q-network."""

    def __init__(self, q):
        super().__init__()
        self._q = q

    def forward(self, observation, action):
        return self._q(action)


def _train(
    q, size: int, temperature: float = 1.0, updates: int = 1500, seed: int = 0
) -> torch.Tensor:
    """Samples (20000, A) of a sampler trained on one energy."""
    torch.manual_seed(seed)
    sampler = SamplingNetwork(
        Scaling((0.0,), (1.0,)), size, (64, 64), torch.Generator().manual_seed(seed)
    )
    optimizer = torch.optim.Adam(sampler.parameters(), lr=2e-3)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - update / updates)
        optimizer.zero_grad()
        stein_loss(
            sampler, _Energy(q), torch.zeros(4, 1), torch.randn(4, 64, size), 32, temperature
        ).backward()
        optimizer.step()
    with torch.no_grad():
        return squash(sampler(torch.zeros(1, 1), torch.randn(1, 20000, size)))[0]


def test_constant_q_gives_uniform_actions():
    """Variance 1/3; the published code, which mixes two spaces, gives 0.201."""
    action = _train(lambda a: 0.0 * a.sum(-1), 1)
    assert action.var().item() == pytest.approx(1 / 3, rel=0.06)
    assert abs(action.mean().item()) < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_equal_modes_are_both_sampled_in_proportion(seed):
    """The mass of each mode, and the total variation to exp(Q) / Z on 64 bins: a continuous map
    leaves some mass between the modes.
    """
    action = _train(_two_modes, 1, seed=seed)
    assert 0.33 < (action > 0).float().mean().item() < 0.67
    assert _total_variation(action, _two_modes) < 0.25


def test_four_modes_in_two_dimensions_are_all_sampled():
    action = _train(_two_modes, 2)
    shares = [
        ((action[:, 0] * x > 0) & (action[:, 1] * y > 0)).float().mean().item()
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    assert min(shares) > 0.15
    assert max(shares) < 0.35


def _two_modes(action: torch.Tensor) -> torch.Tensor:
    """Gaussians of deviation 0.15 at +-0.6 in every dimension."""
    return -((action.abs() - 0.6) / 0.15).square().sum(-1) / 2


def _total_variation(action: torch.Tensor, q) -> float:
    """Half the L1 distance of histogram and density on 64 bins of [-1, 1]."""
    histogram = torch.histc(action[:, 0], 64, -1, 1) / len(action)
    edges = torch.linspace(-1, 1, 64 * 50 + 1)
    density = torch.exp(q(((edges[1:] + edges[:-1]) / 2).unsqueeze(-1))).view(64, 50).sum(1)
    return 0.5 * (histogram - density / density.sum()).abs().sum().item()


def test_temperature_widens_the_distribution():
    cold = _train(lambda a: -a.square().sum(-1), 1, temperature=0.02)
    warm = _train(lambda a: -a.square().sum(-1), 1, temperature=0.2)
    # exp(-a^2 / alpha) is a Gaussian of variance alpha / 2, cut by the box only for the warm one
    assert cold.var().item() == pytest.approx(0.01, rel=0.35)
    assert warm.var().item() == pytest.approx(0.1, rel=0.25)
