"""Stein variational gradient descent: the kernel and the direction in which particles move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_BANDWIDTH = 1e-3  # keeps the kernel defined where all particles coincide
SMALLEST_SPREAD = 1e-2  # of the particles in one dimension, for the bandwidth per dimension


def rbf_kernel(
    fixed: Tensor, updated: Tensor, *, per_dimension: bool = False
) -> tuple[Tensor, Tensor]:
    """Evaluate the kernel k(x, y) = exp(-sum_d (x_d - y_d)^2 / h_d) between two sets of particles.

    The bandwidth of a state is h = median of |x - y|^2 over all pairs / log K, at least
    `SMALLEST_BANDWIDTH` ([SVGD16] Sec. 5). [SQL17] App. D states d^2 / (2 log(M + 1)) with the
    median distance d, the same up to a factor near 2. With `per_dimension` the rule is applied
    after every dimension is divided by the standard deviation of the fixed particles in it.

    Args:
        fixed: Fixed particles x, (B, K, A), K >= 2.
        updated: Updated particles y, (B, M, A).
        per_dimension: Use one bandwidth h_d per state and dimension instead of one h per state.

    Returns:
        The kernel k(x, y) of each pair (B, K, M), and the bandwidth: (B, 1, A) with
        `per_dimension`, otherwise (B, 1, 1).
    """
    if per_dimension:
        spread = fixed.std(dim=1, keepdim=True).clamp_min(SMALLEST_SPREAD)  # (B, 1, A)
    else:
        spread = fixed.new_ones(len(fixed), 1, 1)
    x = fixed / spread  # (B, K, A)
    y = updated / spread  # (B, M, A)
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x y: one product instead of a difference of size (B, K, M, A)
    squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1).unsqueeze(1)  # (B, K, M)
    squared = torch.baddbmm(squares, x, y.transpose(1, 2), alpha=-2.0).clamp_min(0.0)  # (B, K, M)
    median = squared.flatten(1).median(dim=1).values  # (B,)
    bandwidth = (median / math.log(fixed.shape[1])).clamp_min(SMALLEST_BANDWIDTH).view(-1, 1, 1)
    kernel = torch.exp(-squared / bandwidth)  # (B, K, M)
    return kernel, bandwidth * spread.square()


def stein_direction(
    score: Tensor, fixed: Tensor, updated: Tensor, *, per_dimension: bool = False
) -> Tensor:
    """Return the direction in which particles of density q must move to approach a density p.

    Of all directions in the function space of the kernel it decreases KL(q || p) fastest.

    Args:
        score: Gradient of log p at the fixed particles, (B, K, A).
        fixed: Fixed particles: samples of q, (B, K, A), K >= 2.
        updated: Updated particles: the points at which the direction is evaluated, (B, M, A).
        per_dimension: Use one kernel bandwidth per state and dimension instead of one per state.

    Returns:
        Direction at each updated particle, (B, M, A). For p = exp(Q / alpha) it is Delta f of
        [SQL17] Eq. 13 divided by alpha.
    """
    kernel, bandwidth = rbf_kernel(fixed, updated, per_dimension=per_dimension)
    to_updated = kernel.transpose(1, 2)  # (B, M, K)
    attraction = to_updated @ score  # (B, M, A)
    # sum over k of grad_x k(x_k, y_m) = -2 k (x_k - y_m) / h
    difference = to_updated @ fixed - kernel.sum(1).unsqueeze(-1) * updated  # (B, M, A)
    repulsion = -2.0 / bandwidth * difference  # (B, M, A)
    # [SQL17] Eq. 13, both terms divided by alpha
    return (attraction + repulsion) / fixed.shape[1]  # (B, M, A)
