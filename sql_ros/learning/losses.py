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

Temperature = float | Tensor  # alpha > 0; a tensor is a scalar


def soft_value(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """Estimate V(s) = alpha log int exp(Q(s, a) / alpha) da by importance sampling.

    The integral is over the box [-1, 1]^A. The estimate is biased low (Jensen's inequality). The
    closer the proposal is to exp(Q / alpha), the smaller the bias.

    Args:
        q: Q at K actions drawn from a proposal. One network: (B, K). N networks, each at K actions
            of its own: (B, N, K).
        log_density: Log density of the proposal at these actions, shaped like `q`.
        temperature: Temperature alpha > 0.

    Returns:
        V of each state, (B,), or of each state by each network, (B, N).
    """
    # [SQL17] Eq. 10
    log_ratio = q / temperature - log_density  # (B, K)
    log_sum = torch.logsumexp(log_ratio, dim=-1)  # (B,)
    return temperature * (log_sum - math.log(q.shape[-1]))  # (B,)


def importance_weights(q: Tensor, log_density: Tensor, temperature: Temperature) -> Tensor:
    """Return the self-normalised importance weights of actions, for the policy exp(Q / alpha) / Z.

    A weight is the share of its action in the sum of [SQL17] Eq. 10. The weighted mean of f(a) over
    the actions estimates the mean of f under the policy.

    Args:
        q: Q at K actions of a proposal, (B, K) or (B, N, K) as in `soft_value`.
        log_density: Log density of the proposal at these actions, shaped like `q`.
        temperature: Temperature alpha > 0.

    Returns:
        Weights shaped like `q`, which sum to 1 over K.
    """
    log_ratio = q / temperature - log_density  # (B, K)
    return torch.softmax(log_ratio, dim=-1)  # (B, K)


def boltzmann_entropy(
    q: Tensor, value: Tensor, weights: Tensor, temperature: Temperature
) -> Tensor:
    """Estimate the differential entropy of the policy pi = exp((Q - V) / alpha) on the box [nats].

    Args:
        q: Q at K actions of a proposal, (B, K) or (B, N, K) as in `soft_value`.
        value: Result of `soft_value` for `q`, (B,) or (B, N).
        weights: Result of `importance_weights` for `q`, shaped like `q`.
        temperature: Temperature alpha > 0.

    Returns:
        Entropy of the policy in each state, (B,), or in each state by each network, (B, N). Uniform
        actions have the entropy A log 2.
    """
    mean_q = (weights * q).sum(-1)  # (B,)
    # H = -E log pi = (V - E Q) / alpha
    return (value - mean_q) / temperature  # (B,)


def bellman_target(
    reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float
) -> Tensor:
    """Return the soft Bellman target of each transition, r + gamma (1 - terminated) V(s').

    Args:
        reward: Reward r, (B,).
        terminated: 1 where the task ended in the next state, otherwise 0, (B,). A truncated
            transition has 0, so that its next state counts.
        next_value: V(s') by the target networks, (B,).
        discount: Discount gamma in [0, 1].

    Returns:
        Targets of Q, (B,).
    """
    # [SQL17] Eq. 11, the target Q^
    return reward + discount * (1.0 - terminated) * next_value  # (B,)


def q_loss(q: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the loss of the Q-networks: half the mean squared soft Bellman error.

    Args:
        q: Q of N networks at the actions of the batch, (N, B).
        target: Result of `bellman_target`, (B,), the same for all networks.

    Returns:
        The loss, summed over the networks and averaged over the batch (scalar), and its gradient by
        `q` (N, B).
    """
    # [SQL17] Eq. 11
    error = q - target  # (N, B)
    loss = 0.5 * error.square().mean(1).sum()  # scalar
    gradient = error / len(target)  # (N, B)
    return loss, gradient


def fitting_gradient(weights: Tensor) -> Tensor:
    """Return the gradient of KL(exp(Q / alpha) / Z || pi) by log pi at the value particles.

    pi is the density of a mixture sampler. Up to a constant the divergence is estimated by
    -(weights * log_pi).sum(-1).mean(), at the actions where V is estimated. The fit by this
    divergence is a departure from [SQL17] Eq. 13 and 14 with the same fixed point. The fit needs
    neither the gradient of Q nor particles of its own. The fit accounts for the mass of each mode,
    and covers every mode in which an action was drawn.

    Args:
        weights: Result of `importance_weights`, (B, K), or (B, N, K) where the divergences of N
            Q-networks are averaged.

    Returns:
        Gradient by log pi of each action, shaped like `weights`.
    """
    estimates = weights.numel() // weights.shape[-1]  # B, or B N
    return weights * (-1.0 / estimates)


def q_gradient(q: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Return the gradient of Q(squash(u)) by the latents u, where squash(u) = 2 Phi(u) - 1.

    The parameters of Q get no gradient.

    Args:
        q: Function from actions (B, K, A) to their Q (B, K).
        latent: Latents u, (B, K, A).

    Returns:
        Gradient at each latent, (B, K, A), detached.
    """
    return _gradient_by_latent(lambda point: q(squash(point)), latent)


def latent_score(q: Callable[[Tensor], Tensor], latent: Tensor, temperature: Temperature) -> Tensor:
    """Return the score of the target distribution of latents: the gradient of log p(u) by u.

    p is the density of u for which the action squash(u) has the density exp(Q / alpha) / Z. So
    log p(u) = Q(squash(u)) / alpha + log N(u; 0, I) up to a constant: the Jacobian of the squash is
    a standard normal density. The parameters of Q get no gradient.

    Args:
        q: Function from actions (B, K, A) to their Q (B, K).
        latent: Latents u, (B, K, A).
        temperature: Temperature alpha > 0.

    Returns:
        Score at each latent, (B, K, A), detached.
    """

    def log_density(point: Tensor) -> Tensor:
        return q(squash(point)) / temperature + log_standard_normal(point)

    return _gradient_by_latent(log_density, latent)


def _gradient_by_latent(function: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Return the gradient of each output of a function by the latent it was computed from.

    Args:
        function: Function from latents (B, K, A) to one number per latent (B, K). An output depends
            on no other latent.
        latent: Points at which the gradient is taken, (B, K, A).

    Returns:
        Gradient at each latent, (B, K, A), detached.
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
    """Return a loss whose negative gradient moves a sampling network along the Stein direction.

    The value of the loss has no meaning. A departure from the published code: kernel, score and
    update are all those of latents, before the squash, so that the fixed point is exp(Q / alpha) on
    the box. The published code mixes latents and actions. Its variance is off by a third where Q is
    constant.

    Args:
        sampler: Sampling network f_phi, from observations (B, S) and noise (B, K, A) to latents
            (B, K, A).
        q: Function from observations (B, S) and actions (B, K, A) to Q (B, K), e.g. a `TwinQ`. The
            parameters of Q get no gradient.
        observation: Observations s, (B, S).
        noise: Standard normal noise xi, (B, K + M, A). The first K rows of a state become its fixed
            particles, the other M its updated particles ([SQL17] App. C.1).
        fixed_count: Number of fixed particles, K >= 2.
        temperature: Temperature alpha > 0.
        per_dimension: Use one kernel bandwidth per state and dimension instead of one per state.

    Returns:
        Scalar with a gradient by the parameters of `sampler`.
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
    """Return a loss whose negative gradient moves latents along a direction, through their network.

    Its value has no meaning.

    Args:
        direction: Direction for each latent, (B, K, A), constant.
        latent: Latents u, (B, K, A), computed by the network with autograd.

    Returns:
        Scalar: the negative mean over B and K of the product direction . u.
    """
    return -(direction * latent).sum(-1).mean()
