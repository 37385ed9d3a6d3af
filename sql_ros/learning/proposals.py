"""Proposals: actions of known density, for the importance-sampled integral of [SQL17] Eq. 10.

A proposal is a distribution of actions at which V is estimated. Each function returns latents u
(B, K, A), whose actions are `squash(u)`, and the log density of these actions (B, K).
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
    """Draw latents of uniform actions: (B, `count`, A), on the device of the generator.

    Args:
        batch: Number of states, B.
        count: Latents per state.
        action_size: Size of the action, A.
        generator: Source of randomness.
    """
    return torch.randn(batch, count, action_size, generator=generator, device=generator.device)


def uniform_proposal(
    batch: int, count: int, action_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw uniform actions, the proposal of [SQL17].

    Args:
        batch: Number of states, B.
        count: Actions per state, K.
        action_size: Size of the action, A.
        generator: Source of randomness; its device is that of the results.

    Returns:
        Latents (B, K, A), and the log density of their actions (B, K), which is -A log 2.
    """
    latent = draw_uniform_latent(batch, count, action_size, generator)
    return latent, latent.new_full((batch, count), -log_volume(action_size))


def with_uniform_floor(log_density: Tensor, share: float, action_size: int) -> Tensor:
    """Return the log density of actions under a mixture of a proposal and uniform actions.

    The uniform part bounds the importance weight of every action.

    Args:
        log_density: Log density of the actions under the proposal alone, any shape.
        share: Weight of the uniform density in the mixture, in (0, 1].
        action_size: Size of the action, A.

    Returns:
        Log density of the actions under the mixture, shaped like `log_density`.
    """
    log_floor = torch.full_like(log_density, math.log(share) - log_volume(action_size))
    if share == 1.0:
        return log_floor
    return torch.logaddexp(log_density + math.log1p(-share), log_floor)


@torch.no_grad()
def mixture_proposal(
    mixture: Mixture, noise: Tensor, uniform_count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Callable[[Tensor], Fields]]:
    """Draw K actions per state from a mixture sampler and U uniform ones.

    A departure from [SQL17]: with uniform actions alone the estimate of V is off by tens of nats in
    seven dimensions when Q is sharp.

    Args:
        mixture: Distribution of the sampler in each state.
        noise: Standard normal noise xi, from which K actions per state are drawn, (B, K, A + 1).
        uniform_count: Uniform actions per state, U >= 1.
        generator: Source of the uniform actions.

    Returns:
        - Latents, those of the mixture first, (B, K + U, A).
        - Log density of their actions under the proposal, which is the mixture with weight
          K / (K + U) and the uniform density with the rest, (B, K + U).
        - Backward function of the log density under the mixture alone: from the gradient of a loss
          by that log density (B, K + U) to the gradients by the four fields of the mixture.
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
    """Draw K actions per state near the particles of a sampler, and U uniform ones.

    A departure from [SQL17], for samplers of unknown density. One latent is drawn around each
    particle u_k, normally distributed with Scott's bandwidth h_d = std_d K^(-1/(A+4)) as its
    standard deviation in dimension d, at least `SMALLEST_SPREAD`. std_d is the standard deviation
    of the state's particles.

    Args:
        centre: Latents of the sampling network, the particles, (B, K, A).
        uniform_count: Uniform actions per state, U >= 1.
        generator: Source of randomness.

    Returns:
        Latents, those near the particles first (B, K + U, A), and the log density of their actions
        (B, K + U). This density is the mixture of all K normals (weight K / (K + U) in all) and the
        uniform density.
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
