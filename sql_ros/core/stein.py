"""Stein variational gradient descent: the kernel and the direction in which particles move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_BANDWIDTH = 1e-3


def rbf_kernel(fixed: Tensor, updated: Tensor) -> tuple[Tensor, Tensor]:
    """The RBF kernel between two sets of particles and its gradient, bandwidth by the median rule per state.

    k(x, y) = exp(-|x - y|^2 / h), h = median of |x - y|^2 over all pairs / log K, at least `SMALLEST_BANDWIDTH` ([SVGD16] Sec. 5;
    [SQL17] App. D states d^2 / (2 log(M + 1)) with d the median distance, the same up to a factor near 2).

    Args:
        fixed: (B, K, A), K >= 2.
        updated: (B, M, A).

    Returns:
        kernel (B, K, M) and its gradient with respect to the fixed particles (B, K, M, A).
    """
    difference = fixed.unsqueeze(2) - updated.unsqueeze(1)  # (B, K, M, A)
    squared = difference.square().sum(-1)  # (B, K, M)
    median = squared.flatten(1).median(dim=1).values  # (B,)
    bandwidth = (median / math.log(fixed.shape[1])).clamp_min(SMALLEST_BANDWIDTH).view(-1, 1, 1)
    kernel = torch.exp(-squared / bandwidth)
    gradient = (-2.0 * kernel / bandwidth).unsqueeze(-1) * difference
    return kernel, gradient


def stein_direction(score: Tensor, fixed: Tensor, updated: Tensor) -> Tensor:
    """The direction that decreases KL(q || p) fastest in the kernel's function space, at the updated particles.

    Args:
        score: gradient of log p at the fixed particles, (B, K, A).
        fixed: (B, K, A), samples of the present q.
        updated: (B, M, A).

    Returns:
        (B, M, A). For p = exp(Q / alpha) this is the Delta f of [SQL17] Eq. 13 divided by alpha.
    """
    kernel, gradient = rbf_kernel(fixed, updated)
    # [SQL17] Eq. 13, both terms divided by alpha
    attraction = torch.einsum("bkm,bka->bma", kernel, score)  # (B, M, A)
    repulsion = gradient.sum(1)  # (B, M, A)
    return (attraction + repulsion) / fixed.shape[1]
