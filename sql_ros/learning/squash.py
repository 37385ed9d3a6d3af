"""The squash from latents in R^A to actions in the box: a = 2 Phi(u) - 1 per component.

Phi is the normal distribution function. A departure from the published code, which takes tanh: here
u ~ N(0, I) is exactly the uniform distribution on the box, in every dimension. So a density on the
box is a density of latents divided by that of a standard normal, up to a constant.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_ACTION = 1.0 - 1e-6  # keeps `unsquash` finite
ROOT_HALF = math.sqrt(0.5)


def squash(latent: Tensor) -> Tensor:
    """Map latents u to actions a = 2 Phi(u) - 1, clipped to +-`LARGEST_ACTION`: (..., A)."""
    return squash_scaled(latent * ROOT_HALF)


def squash_scaled(scaled_latent: Tensor) -> Tensor:
    """Map latents that were divided by sqrt 2 to the actions of these latents: (..., A)."""
    return torch.erf(scaled_latent).clamp(-LARGEST_ACTION, LARGEST_ACTION)


def unsquash(action: Tensor) -> Tensor:
    """Return the latents of actions in [-1, 1], the inverse of `squash`: (..., A) -> (..., A).

    Components beyond +-`LARGEST_ACTION` are clipped first, so that the latents are finite.
    """
    return torch.erfinv(action.clamp(-LARGEST_ACTION, LARGEST_ACTION)) * math.sqrt(2.0)


def log_squash_jacobian(latent: Tensor) -> Tensor:
    """Return log |det da / du| of the squash, sum_d (log 2 + log N(u_d; 0, 1)): (..., A) -> (...).

    The log density of an action is that of its latent minus this number.
    """
    return log_volume(latent.shape[-1]) + log_standard_normal(latent)


def log_standard_normal(latent: Tensor) -> Tensor:
    """Return the standard normal log density of latents, log N(u; 0, I): (..., A) -> (...)."""
    return -0.5 * (latent.square().sum(-1) + latent.shape[-1] * math.log(2.0 * math.pi))


def log_volume(action_size: int) -> float:
    """Return the logarithm of the volume of the box [-1, 1]^A, A log 2."""
    return action_size * math.log(2.0)
