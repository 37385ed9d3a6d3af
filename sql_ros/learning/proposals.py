"""Proposals: actions of known density, for the importance-sampled integral of [SQL17] Eq. 10.

Every proposal gives latents u (B, K, A), whose actions are `squash(u)`, and the log density of
these actions (B, K).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sql_ros.learning.kernels.mixture_gradient import Fields
from sql_ros.learning.mixture import Mixture
from sql_ros.learning.squash import log_squash_jacobian, log_volume

SMALLEST_SPREAD = 0.05  # standard deviation of the latents drawn around a particle


def draw_uniform_latent(
    batch: int, count: int, action_size: int, generator: torch.Generator
) -> Tensor:
    """Draw latents of uniform actions, (B, K, A), on the generator's device."""
    return torch.randn(batch, count, action_size, generator=generator, device=generator.device)


def uniform_proposal(
    batch: int, count: int, action_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw uniform actions, the proposal of [SQL17].

    Args:
        batch: B.
        count: K.
        action_size: A.
        generator: Source of randomness.

    Returns:
        Latents (B, K, A) and the log density of their actions (B, K).
    """
    latent = draw_uniform_latent(batch, count, action_size, generator)
    return latent, latent.new_full((batch, count), -log_volume(action_size))


def with_uniform_floor(log_density: Tensor, share: float, action_size: int) -> Tensor:
    """Return the log density of a proposal that is mixed with the uniform one.

    The floor bounds every importance weight.

    Args:
        log_density: Log density of the proposal, any shape.
        share: Weight of the uniform density, in (0, 1].
        action_size: A.

    Returns:
        Shaped like `log_density`.
    """
    log_floor = torch.full_like(log_density, math.log(share) - log_volume(action_size))
    if share == 1.0:
        return log_floor
    return torch.logaddexp(log_density + math.log1p(-share), log_floor)


@torch.no_grad()
def mixture_proposal(
    mixture: Mixture, noise: Tensor, uniform_count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Callable[[Tensor], Fields]]:
    """Draw actions of a sampler of known density, mixed with uniform ones.

    A departure from [SQL17]: with uniform actions alone the estimate of V is off by tens of nats in
    seven dimensions when Q is sharp.

    Args:
        mixture: The sampler's distribution in each state.
        noise: xi, standard normal, (B, K, A + 1).
        uniform_count: Uniform actions per state, U >= 1.
        generator: Generator of the uniform actions.

    Returns:
        Latents (B, K + U, A); the log density of their actions under the proposal (B, K + U); and a
        function from the gradient by the log density under the mixture alone (B, K + U) to the
        gradients by the four fields of the mixture.
    """
    batch, count, noise_size = noise.shape
    size = noise_size - 1
    drawn = mixture.draw(noise)  # (B, K, A)
    uniform = draw_uniform_latent(batch, uniform_count, size, generator)  # (B, U, A)
    latent = torch.cat([drawn, uniform], dim=1)  # (B, K + U, A)
    log_mixture, backward = mixture.log_density_with_backward(latent)  # (B, K + U)
    share = uniform_count / (count + uniform_count)
    return latent, with_uniform_floor(log_mixture, share, size), backward


def particle_proposal(
    centre: Tensor, uniform_count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw actions near the particles of a sampler of unknown density, mixed with uniform ones.

    A departure from [SQL17]. One latent is drawn around each particle, u = u_k + h_d * noise with
    Scott's bandwidth h_d = std_d K^(-1/(A+4)) per state and dimension. The log density is that of
    the mixture of all these normals and the uniform density.

    Args:
        centre: Latents of the sampling network, (B, K, A).
        uniform_count: Uniform actions per state, U >= 1.
        generator: Source of randomness.

    Returns:
        Latents (B, K + U, A) and the log density of their actions (B, K + U).
    """
    batch, count, size = centre.shape
    deviation = centre.std(dim=1, keepdim=True)  # (B, 1, A)
    spread = deviation.mul(count ** (-1.0 / (size + 4))).clamp_min(SMALLEST_SPREAD)  # (B, 1, A)
    local = centre + spread * draw_uniform_latent(batch, count, size, generator)  # (B, K, A)
    uniform = draw_uniform_latent(batch, uniform_count, size, generator)  # (B, U, A)
    latent = torch.cat([local, uniform], dim=1)  # (B, K + U, A)
    # log of the mean over k of N(u; u_k, diag h^2)
    squared = torch.cdist(latent / spread, centre / spread).square()  # (B, K + U, K)
    log_norm = size / 2 * math.log(2 * math.pi) + spread.log().sum(-1)  # (B, 1)
    log_sum = torch.logsumexp(-squared / 2, dim=-1)  # (B, K + U)
    log_local = log_sum - math.log(count) - log_norm - log_squash_jacobian(latent)  # (B, K + U)
    share = uniform_count / (count + uniform_count)
    return latent, with_uniform_floor(log_local, share, size)
