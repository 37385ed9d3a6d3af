"""From the whole of R^A to the box of actions: a = 2 Phi(u) - 1 per component, Phi the normal distribution function.

Where the published code takes tanh, this squash makes the two spaces fit: u ~ N(0, I) is exactly the uniform distribution on the box, in
every dimension. So a density on the box is a density before the squash, divided by a standard normal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_ACTION = 1.0 - 1e-6  # keeps `unsquash` finite
ROOT_HALF = math.sqrt(0.5)


def squash(latent: Tensor) -> Tensor:
    """Latent u to action a = 2 Phi(u) - 1, inside the box: (..., A) -> (..., A)."""
    return squash_scaled(latent * ROOT_HALF)


def squash_scaled(latent: Tensor) -> Tensor:
    """`squash` of latents that are given in units of sqrt 2: (..., A) -> (..., A)."""
    return torch.erf(latent).clamp(-LARGEST_ACTION, LARGEST_ACTION)


def unsquash(action: Tensor) -> Tensor:
    """The inverse of `squash`, for actions in [-1, 1]: (..., A) -> (..., A)."""
    return torch.erfinv(action.clamp(-LARGEST_ACTION, LARGEST_ACTION)) * math.sqrt(2.0)


def log_squash_jacobian(latent: Tensor) -> Tensor:
    """Log |det da / du| = sum(log 2 + log N(u; 0, 1)): (..., A) -> (...)."""
    return log_volume(latent.shape[-1]) + log_standard_normal(latent)


def log_standard_normal(latent: Tensor) -> Tensor:
    """Log N(u; 0, I): (..., A) -> (...)."""
    return -0.5 * (latent.square().sum(-1) + latent.shape[-1] * math.log(2.0 * math.pi))


def log_volume(action_size: int) -> float:
    """Logarithm of the volume of [-1, 1]^A."""
    return action_size * math.log(2.0)
