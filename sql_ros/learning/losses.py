"""The equations of soft Q-learning, one function each, apart from the loop that minimises them.

Letters and symbols: `sql_ros.learning`. N is the number of Q-networks that are evaluated together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sql_ros.learning.networks import SamplingNetwork
from sql_ros.learning.squash import log_standard_normal, squash
from sql_ros.learning.stein import stein_direction

Temperature = float | Tensor


def soft_value(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """Estimate V(s) = alpha log int exp(Q(s, a) / alpha) da by importance sampling.

    Args:
        q: Q at K actions of a proposal, (B, K), or of N networks, each at actions of its own,
            (B, N, K).
        log_density: Log density of the proposal at these actions, shaped like q.
        temperature: alpha > 0.

    Returns:
        (B,) or (B, N). Biased low (Jensen); the closer the proposal is to exp(Q / alpha), the
        smaller the bias.
    """
    # [SQL17] Eq. 10
    log_ratio = q / temperature - log_density  # (B, K)
    log_sum = torch.logsumexp(log_ratio, dim=-1)  # (B,)
    return temperature * (log_sum - math.log(q.shape[-1]))  # (B,)


def importance_weights(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """Return the share of each action in the sum of [SQL17] Eq. 10.

    The mean of a function under exp(Q / alpha) / Z is its weighted mean over the actions.

    Args:
        q: As in `soft_value`, (B, K) or (B, N, K).
        log_density: As in `soft_value`, shaped like q.
        temperature: alpha > 0.

    Returns:
        Shaped like q, summing to 1 over K.
    """
    log_ratio = q / temperature - log_density  # (B, K)
    return torch.softmax(log_ratio, dim=-1)  # (B, K)


def boltzmann_entropy(
    q: Tensor, value: Tensor, weights: Tensor, temperature: Temperature
) -> Tensor:
    """Estimate the differential entropy of the policy pi = exp((Q - V) / alpha) on the box [nats].

    Args:
        q: As in `soft_value`, (B, K) or (B, N, K).
        value: `soft_value` of q, (B,) or (B, N).
        weights: `importance_weights` of q, shaped like q.
        temperature: alpha > 0.

    Returns:
        (B,) or (B, N).
    """
    mean_q = (weights * q).sum(-1)  # (B,)
    # H = -E log pi = (V - E Q) / alpha
    return (value - mean_q) / temperature  # (B,)


def bellman_target(
    reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float
) -> Tensor:
    """Return the soft Bellman backup of each transition.

    A truncated transition has terminated = 0: its next state counts.

    Args:
        reward: r, (B,).
        terminated: 1 where the task ended in the next state, otherwise 0, (B,).
        next_value: V(s') of the target networks, (B,).
        discount: gamma.

    Returns:
        (B,).
    """
    # [SQL17] Eq. 11, the target Q^
    return reward + discount * (1.0 - terminated) * next_value  # (B,)


def q_loss(q: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the loss of the Q-networks: half the mean squared soft Bellman error.

    Args:
        q: Q of N networks at the actions of the batch, (N, B).
        target: `bellman_target`, (B,).

    Returns:
        The loss summed over the networks, a scalar, and its gradient by q, (N, B).
    """
    # [SQL17] Eq. 11
    error = q - target  # (N, B)
    loss = 0.5 * error.square().mean(1).sum()  # scalar
    gradient = error / len(target)  # (N, B)
    return loss, gradient


def fitting_gradient(weights: Tensor) -> Tensor:
    """Return the gradient by log pi of KL(exp(Q / alpha) / Z || pi), for a sampler pi.

    Up to a constant the divergence is -(weights * log_pi).sum(1).mean(), at the actions where V is
    estimated and with the same weights. A departure from [SQL17] Eq. 13 and 14 with the same fixed
    point, for samplers of known density. It needs neither the gradient of Q nor particles of its
    own, it accounts for the mass of each mode, and it covers every mode that an action found.

    Args:
        weights: `importance_weights`, (B, K); or (B, N, K) by N Q-networks, whose divergences are
            averaged.

    Returns:
        Shaped like the weights.
    """
    estimates = weights.numel() // weights.shape[-1]  # B, or B N
    return weights * (-1.0 / estimates)


def q_gradient(q: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Return the gradient of Q(squash(u)) by u.

    The parameters of Q get no gradient.

    Args:
        q: Maps actions (B, K, A) to (B, K).
        latent: u, (B, K, A).

    Returns:
        (B, K, A), detached.
    """
    return _gradient_by_latent(lambda point: q(squash(point)), latent)


def latent_score(q: Callable[[Tensor], Tensor], latent: Tensor, temperature: Temperature) -> Tensor:
    """Return the score of latents: the gradient by u of log p(u).

    p is the density of u where a = squash(u) has the density exp(Q / alpha) / Z. It includes the
    Jacobian of the squash, which is a standard normal density.

    Args:
        q: Maps actions (B, K, A) to (B, K).
        latent: u, (B, K, A).
        temperature: alpha > 0.

    Returns:
        (B, K, A), detached.
    """

    def log_density(point: Tensor) -> Tensor:
        return q(squash(point)) / temperature + log_standard_normal(point)

    return _gradient_by_latent(log_density, latent)


def _gradient_by_latent(function: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Return the gradient of a function (B, K, A) -> (B, K), each output by its own latent.

    Returns:
        (B, K, A), detached.
    """
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
    """Return a scalar whose gradient moves the sampling network along the Stein direction.

    A departure from the published code: kernel, score and update are all those of latents, before
    the squash, so that the fixed point is exp(Q / alpha) on the box. The published code mixes
    latents and actions, and its variance is off by a third where Q is constant.

    Args:
        sampler: f_phi: observations (B, S), noise (B, K, A) -> latents (B, K, A).
        q: e.g. `TwinQ`: observations (B, S), actions (B, K, A) -> (B, K); its parameters get no
            gradient.
        observation: s, (B, S).
        noise: xi, (B, K + M, A). The first K rows become the fixed particles, the other M are
            updated ([SQL17] App. C.1).
        fixed_count: K >= 2.
        temperature: alpha > 0.
        per_dimension: Use a kernel bandwidth per dimension.
    """
    with torch.no_grad():
        fixed = sampler(observation, noise[:, :fixed_count])  # (B, K, A)
    updated = sampler(observation, noise[:, fixed_count:])  # (B, M, A)
    score = latent_score(lambda action: q(observation, action), fixed, temperature)  # (B, K, A)
    # [SQL17] Eq. 13
    direction = stein_direction(
        score, fixed, updated.detach(), per_dimension=per_dimension
    )  # (B, M, A)
    # [SQL17] Eq. 14, as a loss: its gradient by phi is -E[direction . df/dphi]
    return ascent_loss(direction, updated)


def ascent_loss(direction: Tensor, latent: Tensor) -> Tensor:
    """Return a scalar whose gradient moves latents along a direction, through their network.

    Args:
        direction: (B, K, A), constant.
        latent: u, (B, K, A), with gradient.
    """
    return -(direction * latent).sum(-1).mean()
