"""The sampler of known density: a Gaussian mixture before the squash, whose parameters are computed once per state."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sql_ros.core.networks import Scaling, StateActionNetwork
from sql_ros.core.squash import log_squash_jacobian

WIDEST_LOG_SCALE = 5.0  # of a component: standard deviations between exp(-5) and exp(5)
FIRST_VARIANCE = 0.5  # of the components at the start; their means are spread with the rest, so that all is about N(0, I), uniform actions


class Mixture(NamedTuple):
    """C Gaussians per state, z = P (u - mean) ~ N(0, I) with P lower triangular: the precision's Cholesky factor.

    Given so, the density of many points is one matrix product, and only the components drawn from are solved for.
    """

    log_weight: Tensor  # (B, C)
    mean: Tensor  # (B, C, A)
    factor: Tensor  # P, (B, C, A, A)
    log_det: Tensor  # of P, (B, C)

    def detach(self) -> Mixture:
        """The same without gradient."""
        return Mixture(*(tensor.detach() for tensor in self))

    def log_density(self, latent: Tensor) -> Tensor:
        """Log density of the actions squash(u): (B, K, A) -> (B, K)."""
        batch, components, size = self.mean.shape
        offset = (self.factor @ self.mean.unsqueeze(-1)).view(batch, components * size, 1)
        stacked = self.factor.view(batch, components * size, size)
        white = torch.baddbmm(offset, stacked, latent.transpose(1, 2), beta=-1.0)  # P (u - mean), (B, C A, K)
        squared = white.square().view(batch, components, size, -1).sum(2)  # (B, C, K)
        log_norm = self.log_weight + self.log_det - size / 2 * math.log(2 * math.pi)  # (B, C)
        return torch.logsumexp(log_norm.unsqueeze(-1) - squared / 2, dim=1) - log_squash_jacobian(latent)

    def draw(self, noise: Tensor) -> Tensor:
        """Latents from standard normal noise: (B, K, A + 1) -> (B, K, A); the last component of the noise chooses the Gaussian."""
        white, choice = noise[..., :-1], noise[..., -1:]
        level = 0.5 * (1.0 + torch.erf(choice * math.sqrt(0.5)))  # uniform on [0, 1], (B, K, 1)
        steps = self.log_weight.exp().cumsum(-1)[:, None, :-1]  # (B, 1, C - 1)
        chosen = (level > steps).to(torch.int64).sum(-1)  # (B, K)
        rows = torch.arange(len(chosen), device=chosen.device).unsqueeze(-1)
        factor, mean = self.factor[rows, chosen], self.mean[rows, chosen]  # (B, K, A, A), (B, K, A)
        return mean + _solve_lower(factor, white)


class MixtureNetwork(StateActionNetwork):
    """The mixture as a network of the observation; given noise (B, K, A + 1) it acts like any sampling network.

    A departure from [SQL17], whose sampler is a continuous map from noise with unknown density: such a map must leave mass between two
    modes, and the Stein direction, made of scores, cannot see how much mass a mode far from the others deserves.
    """

    def __init__(
        self, scaling: Scaling, action_size: int, hidden_sizes: tuple[int, ...], components: int, generator: torch.Generator
    ) -> None:
        self.components, self.action_size = components, action_size
        self._triangle = action_size * (action_size + 1) // 2
        super().__init__(scaling, 0, hidden_sizes, components * (1 + action_size + self._triangle), generator)
        self.noise_size = action_size + 1
        row, column = torch.tril_indices(action_size, action_size)
        place = torch.full((action_size * action_size,), self._triangle)  # where in the row-major matrix each entry goes; last: zero
        place[row * action_size + column] = torch.arange(self._triangle)
        self._place: Tensor
        self._on_diagonal: Tensor
        self.register_buffer("_place", place, persistent=False)
        self.register_buffer("_on_diagonal", row == column, persistent=False)
        self._spread_components(generator)

    @torch.no_grad()
    def _spread_components(self, generator: torch.Generator) -> None:
        """Starts near N(0, I) for every state, that is, with uniform actions."""
        head = self.layers[-1]
        head.weight.mul_(0.1)
        first = head.bias.view(self.components, -1)
        first[:, 1 : 1 + self.action_size] = math.sqrt(1.0 - FIRST_VARIANCE) * torch.randn(
            self.components, self.action_size, generator=generator
        )
        first[:, 1 + self.action_size :] = torch.where(self._on_diagonal, -0.5 * math.log(FIRST_VARIANCE), 0.0)

    def distribution(self, observation: Tensor) -> Mixture:
        """The mixture of every state: (B, S)."""
        batch, size = len(observation), self.action_size
        parameters = self.of_state(observation).view(batch, self.components, -1)
        logit, mean, entries = parameters.split([1, size, self._triangle], dim=-1)
        log_scale = WIDEST_LOG_SCALE * torch.tanh(entries / WIDEST_LOG_SCALE)
        entries = torch.where(self._on_diagonal, log_scale.exp(), entries)
        padded = torch.cat([entries, torch.zeros_like(logit)], dim=-1)
        factor = padded[..., self._place].view(batch, self.components, size, size)
        log_det = torch.where(self._on_diagonal, log_scale, 0.0).sum(-1)
        return Mixture(torch.log_softmax(logit.squeeze(-1), dim=-1), mean, factor, log_det)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps observations (B, S) and noise (B, K, A + 1) to latents (B, K, A)."""
        return self.distribution(state).draw(vector)


def _solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    """X with L x = b by forward substitution, L (..., A, A), b (..., A): A steps for all at once, and made of operators that ONNX has."""
    solution: list[Tensor] = []
    for row in range(right.shape[-1]):
        rest = right[..., row]
        if solution:
            rest = rest - (factor[..., row, :row] * torch.stack(solution, dim=-1)).sum(-1)
        solution.append(rest / factor[..., row, row])
    return torch.stack(solution, dim=-1)
