"""The losses of soft Q-learning and of those it is compared with, one function per equation, apart from the loop that minimises them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sql_ros.core.networks import SamplingNetwork
from sql_ros.core.squash import log_standard_normal, squash
from sql_ros.core.stein import stein_direction

Temperature = float | Tensor


def soft_value(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """V(s) = alpha log int exp(Q(s, a) / alpha) da, by importance sampling.

    Args:
        q: Q at K actions of a proposal, (B, K), or N such Qs, each at actions of its own, (B, N, K).
        log_density: log density of the proposal at these actions, shaped like q.
        temperature: alpha > 0.

    Returns:
        (B,), or of each Q (B, N). Biased low (Jensen), the less the closer the proposal is to exp(Q / alpha).
    """
    # [SQL17] Eq. 10
    return temperature * (torch.logsumexp(q / temperature - log_density, dim=-1) - math.log(q.shape[-1]))


def importance_weights(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """The share of each action in the sum of [SQL17] Eq. 10: shaped like q, (B, K) or (B, N, K), summing to 1 over K.

    The mean of f under exp(Q / alpha) / Z is the weighted mean.
    """
    return torch.softmax(q / temperature - log_density, dim=-1)


def boltzmann_entropy(q: Tensor, value: Tensor, weights: Tensor, temperature: Temperature) -> Tensor:
    """Differential entropy of the policy exp((Q - V) / alpha) on the box [nats].

    H = -E log pi = (V - E Q) / alpha, the mean by `importance_weights`: (B, K), (B,), (B, K) -> (B,), or with (B, N, K) of N Qs (B, N).
    """
    return (value - (weights * q).sum(-1)) / temperature


def q_target(reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """The soft Bellman backup, all of shape (B,). A truncated transition has terminated = 0 and bootstraps."""
    # [SQL17] Eq. 11
    return reward + discount * (1.0 - terminated) * next_value


def q_loss(q: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Half the mean squared soft Bellman error, summed over the members: (N, B), (B,) -> scalar, and its gradient by q (N, B)."""
    # [SQL17] Eq. 11
    error = q - target
    return 0.5 * error.square().mean(1).sum(), error / len(target)


def fitting_slope(weights: Tensor) -> Tensor:
    """Gradient by log pi, shaped like the weights, of KL(exp(Q / alpha) / Z || pi) = -(weights * log_pi).sum(1).mean() + a constant.

    For a sampler pi of known density, at the actions where V was probed, by the very weights that give V. A departure from [SQL17] Eq. 13
    and 14 with the same fixed point: it needs neither the gradient of Q nor particles of its own, it sees how much mass a mode deserves,
    and it covers every mode that a probe found.

    Args:
        weights: `importance_weights` of these actions, (B, K), or (B, N, K) by N Qs, whose divergences are averaged.
    """
    return weights * (-weights.shape[-1] / weights.numel())


def slope_of_q(q: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Gradient of Q(squash(u)) by u: (B, K, A), detached. The parameters of Q are left alone.

    Args:
        q: maps actions (B, K, A) to (B, K).
        latent: u, (B, K, A).
    """
    return _gradient(lambda point: q(squash(point)), latent)


def score_of_particles(q: Callable[[Tensor], Tensor], latent: Tensor, temperature: Temperature) -> Tensor:
    """Gradient of log p(u) where a = squash(u) has density exp(Q / alpha) / Z: the Jacobian belongs to the density of u.

    Args:
        q: maps actions (B, K, A) to (B, K).
        latent: u, (B, K, A).
        temperature: alpha.

    Returns:
        (B, K, A), detached.
    """
    return _gradient(lambda point: q(squash(point)) / temperature + log_standard_normal(point), latent)


def _gradient(function: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Of a function (B, K, A) -> (B, K), at each latent alone: (B, K, A), detached."""
    point = latent.detach().requires_grad_(True)
    gradient: Tensor = torch.autograd.grad(function(point).sum(), point)[0]
    return gradient


def stein_loss(
    sampler: SamplingNetwork,
    q: Callable[[Tensor, Tensor], Tensor],
    observation: Tensor,
    noise: Tensor,
    fixed_count: int,
    temperature: Temperature,
    *,
    per_dimension: bool = False,
) -> Tensor:
    """A scalar whose gradient moves the sampling network along the Stein direction.

    Kernel, score and update all live before the squash, so that the fixed point is exp(Q / alpha) on the box; the published code mixes
    the two spaces and is off by a third in the variance where Q is constant.

    Args:
        sampler: observations (B, S), noise (B, K, A) -> u (B, K, A).
        q: the energy, e.g. `TwinQ`: observations (B, S), actions (B, K, A) -> (B, K); it gets no gradient.
        observation: (B, S).
        noise: (B, K + M, A); the first `fixed_count` = K rows become fixed particles, the other M are updated ([SQL17] App. C.1).
        fixed_count: K >= 2.
        temperature: alpha.
        per_dimension: a kernel bandwidth per dimension.
    """
    with torch.no_grad():
        fixed = sampler(observation, noise[:, :fixed_count])  # (B, K, A)
    updated = sampler(observation, noise[:, fixed_count:])  # (B, M, A)
    score = score_of_particles(lambda action: q(observation, action), fixed, temperature)
    direction = stein_direction(score, fixed, updated.detach(), per_dimension=per_dimension)  # (B, M, A)
    # [SQL17] Eq. 14, as a loss: its gradient is -E[direction . df/dphi]
    return ascent_loss(direction, updated)


def ascent_loss(score: Tensor, latent: Tensor) -> Tensor:
    """A scalar whose gradient moves latents u (B, K, A) along a score (B, K, A), through the network that made them."""
    return -(score * latent).sum(-1).mean()
