"""Where the soft value is probed: actions of known density for the importance-sampled integral of [SQL17] Eq. 10.

Every proposal gives latents u (B, K, A), whose actions are `squash(u)`, and the log density of these actions (B, K).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sql_ros.core.mixture import Mixture
from sql_ros.core.squash import log_squash_jacobian, log_volume

SMALLEST_SPREAD = 0.05  # of the density around a particle, before the squash


def uniform_latent(batch: int, count: int, action_size: int, generator: torch.Generator) -> Tensor:
    """Latents of uniform actions, (B, K, A)."""
    return torch.randn(batch, count, action_size, generator=generator, device=generator.device)


def uniform_proposal(batch: int, count: int, action_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform actions, as in [SQL17]."""
    latent = uniform_latent(batch, count, action_size, generator)
    return latent, latent.new_full((batch, count), -log_volume(action_size))


def with_uniform_floor(log_density: Tensor, share: float, action_size: int) -> Tensor:
    """Log density of a mixture of a proposal and, with weight `share` in (0, 1], the uniform one: it bounds every importance weight."""
    floor = torch.full_like(log_density, math.log(share) - log_volume(action_size))
    return torch.logaddexp(log_density + math.log1p(-share), floor) if share < 1.0 else floor


@torch.no_grad()
def mixture_proposal(
    mixture: Mixture, noise: Tensor, uniform_count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """Actions of a sampler of known density, mixed with a uniform floor; a departure from [SQL17].

    With uniform actions alone the estimate of V is off by tens of nats in seven dimensions once Q is sharp.

    Args:
        mixture: the sampler's distribution in each state.
        noise: standard normal, (B, K, A + 1).
        uniform_count: uniform actions per state, U >= 1.
        generator: of the uniform actions.

    Returns:
        latents (B, K + U, A), the log density of their actions under the proposal (B, K + U), and from a gradient by that under the
        mixture alone (B, K + U) to those by every field of the mixture.
    """
    batch, count, size = noise.shape[0], noise.shape[1], noise.shape[2] - 1
    latent = torch.cat([mixture.draw(noise), uniform_latent(batch, uniform_count, size, generator)], dim=1)
    log_mixture, back = mixture.with_gradient(latent)
    return latent, with_uniform_floor(log_mixture, uniform_count / (count + uniform_count), size), back


def particle_proposal(centre: Tensor, uniform_count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Actions near the particles of a sampler whose own density is not known, mixed with a uniform floor; a departure from [SQL17].

    One latent is drawn around each particle, u = u_k + h_d * noise with Scott's bandwidth h_d = std_d K^(-1/(A+4)) per state and
    dimension, and `uniform_count` more uniformly. All are weighted by the density of the whole mixture.

    Args:
        centre: latents of the sampling network, (B, K, A).
        uniform_count: uniform actions per state, U >= 1.
        generator: source of randomness.

    Returns:
        latents (B, K + U, A) and the log density of their actions (B, K + U).
    """
    batch, count, size = centre.shape
    spread = centre.std(dim=1, keepdim=True).mul(count ** (-1.0 / (size + 4))).clamp_min(SMALLEST_SPREAD)  # (B, 1, A)
    local = centre + spread * uniform_latent(batch, count, size, generator)
    latent = torch.cat([local, uniform_latent(batch, uniform_count, size, generator)], dim=1)  # (B, K + U, A)
    # log of the mean over k of N(u; u_k, diag h^2)
    squared = torch.cdist(latent / spread, centre / spread).square()  # (B, K + U, K)
    log_norm = size / 2 * math.log(2 * math.pi) + spread.log().sum(-1)  # (B, 1)
    log_local = torch.logsumexp(-squared / 2, dim=-1) - math.log(count) - log_norm - log_squash_jacobian(latent)  # (B, K + U)
    return latent, with_uniform_floor(log_local, uniform_count / (count + uniform_count), size)
