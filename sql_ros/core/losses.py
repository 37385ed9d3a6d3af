"""The losses of soft Q-learning, one function per equation, apart from the loop that minimises them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sql_ros.core.networks import SamplingNetwork, TwinQ
from sql_ros.core.proposals import log_tanh_jacobian
from sql_ros.core.stein import stein_direction


def soft_value(q: Tensor, log_density: Tensor, temperature: float) -> Tensor:
    """V(s) = alpha log int exp(Q(s, a) / alpha) da, by importance sampling.

    Args:
        q: Q at K actions of a proposal, (B, K).
        log_density: log density of the proposal at these actions, (B, K).
        temperature: alpha > 0.

    Returns:
        (B,). Biased low (Jensen), the less the closer the proposal is to exp(Q / alpha).
    """
    # [SQL17] Eq. 10
    return temperature * (torch.logsumexp(q / temperature - log_density, dim=1) - math.log(q.shape[1]))


def q_target(reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """The soft Bellman backup, all of shape (B,). A truncated transition has terminated = 0 and bootstraps."""
    # [SQL17] Eq. 11
    return reward + discount * (1.0 - terminated) * next_value


def q_loss(networks: TwinQ, observation: Tensor, action: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared soft Bellman error, summed over the members: (B, S), (B, A), (B,) -> scalar."""
    # [SQL17] Eq. 11
    losses = [0.5 * (q.squeeze(1) - target).square().mean() for q in networks.each(observation, action.unsqueeze(1))]
    return torch.stack(losses).sum()


def score_of_particles(q: Callable[[Tensor], Tensor], pre_tanh: Tensor, temperature: float) -> Tensor:
    """Gradient of log p(u) where a = tanh(u) has density exp(Q / alpha) / Z: the Jacobian belongs to the density of u.

    Args:
        q: maps actions (B, K, A) to (B, K).
        pre_tanh: u, (B, K, A).
        temperature: alpha.

    Returns:
        (B, K, A), detached.
    """
    point = pre_tanh.detach().requires_grad_(True)
    log_density = q(torch.tanh(point)) / temperature + log_tanh_jacobian(point)  # (B, K)
    score: Tensor = torch.autograd.grad(log_density.sum(), point)[0]
    return score


def sampler_loss(sampler: SamplingNetwork, q: TwinQ, observation: Tensor, noise: Tensor, fixed_count: int, temperature: float) -> Tensor:
    """A scalar whose gradient moves the sampling network along the Stein direction.

    Kernel, score and update all live before the tanh, so that the fixed point is exp(Q / alpha) on the box; the published code mixes
    the two spaces and is off by a third in the variance where Q is constant.

    Args:
        sampler: observations (B, S), noise (B, K, A) -> u (B, K, A).
        q: the energy; it gets no gradient.
        observation: (B, S).
        noise: (B, K + M, A); the first `fixed_count` = K rows become fixed particles, the other M are updated ([SQL17] App. C.1).
        fixed_count: K >= 2.
        temperature: alpha.
    """
    with torch.no_grad():
        fixed = sampler(observation, noise[:, :fixed_count])  # (B, K, A)
    updated = sampler(observation, noise[:, fixed_count:])  # (B, M, A)
    score = score_of_particles(lambda action: q(observation, action), fixed, temperature)
    direction = stein_direction(score, fixed, updated.detach())  # (B, M, A)
    # [SQL17] Eq. 14, as a loss: its gradient is -E[direction . df/dphi]
    loss: Tensor = -(direction * updated).sum(-1).mean()
    return loss
