"""The sampler of known density: a Gaussian mixture before the squash.

Its parameters are computed once per state. Letters: `sql_ros.learning`; O is the size of the
network's output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sql_ros.learning.kernels.mixture_gradient import (
    Fields,
    log_density_with_backward,
    parameters_with_backward,
)
from sql_ros.learning.networks import Scaling, StateActionNetwork
from sql_ros.learning.squash import ROOT_HALF, log_squash_jacobian, log_standard_normal

WIDEST_LOG_SCALE = 4.0  # bound of |log scale|: standard deviations between exp(-4) and exp(4)
# of each Gaussian at the start; the means are spread with the remaining variance, so that the
# mixture is close to N(0, I), uniform actions
FIRST_VARIANCE = 0.5


class Mixture(NamedTuple):
    """C Gaussians per state in the coordinates y = R u, where their components are uncorrelated.

    R is unit lower triangular, one per state: the correlation between the components of the action
    is learned once per state and not once per Gaussian, so that a narrow ridge is found quickly.
    """

    log_weight: Tensor  # (B, C)
    mean: Tensor  # of y, (B, C, A)
    log_scale: Tensor  # log standard deviation of y, (B, C, A)
    shear: Tensor  # R, (B, A, A)

    def log_density(self, latent: Tensor) -> Tensor:
        """Return the log density of the actions squash(u), for autograd.

        `log_density_with_backward` is the fast path of the learner.

        Args:
            latent: u, (B, K, A).

        Returns:
            (B, K).
        """
        y = latent @ self.shear.mT  # (B, K, A)
        deviation = y.unsqueeze(2) - self.mean.unsqueeze(1)  # (B, K, C, A)
        standardised = deviation * torch.exp(-self.log_scale).unsqueeze(1)  # (B, K, C, A)
        log_normaliser = self.log_scale.sum(-1).unsqueeze(1)  # (B, 1, C)
        log_gaussian = log_standard_normal(standardised) - log_normaliser  # of y, (B, K, C)
        log_joint = self.log_weight.unsqueeze(1) + log_gaussian  # (B, K, C)
        # det R = 1, so the density of u is that of y
        log_latent_density = torch.logsumexp(log_joint, dim=-1)  # (B, K)
        return log_latent_density - log_squash_jacobian(latent)  # (B, K)

    def log_density_with_backward(
        self, latent: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Fields]]:
        """Evaluate `log_density` without autograd.

        Args:
            latent: u, (B, K, A).

        Returns:
            The log density (B, K), and a function from the gradient by it (B, K) to the gradients
            by the four fields of the mixture.
        """
        return log_density_with_backward(self, latent)

    def draw(self, noise: Tensor) -> Tensor:
        """Map standard normal noise to latents.

        Args:
            noise: xi, (B, K, A + 1). The last component chooses the Gaussian, the others are the
                deviation from its mean.

        Returns:
            u, (B, K, A).
        """
        white = noise[..., :-1]  # (B, K, A)
        level = 0.5 * (1.0 + torch.erf(noise[..., -1] * ROOT_HALF))  # uniform on [0, 1], (B, K)
        boundaries = self.log_weight.exp().cumsum(-1)[:, :-1].contiguous()  # (B, C - 1)
        # row of the first Gaussian of each state, among all of them, (B, 1)
        first = torch.arange(
            0, self.log_weight.numel(), self.log_weight.shape[1], device=noise.device
        ).unsqueeze(1)
        chosen = (torch.searchsorted(boundaries, level) + first).view(-1)  # (B K,)
        mean = self._rows(self.mean, chosen).view(white.shape)
        log_scale = self._rows(self.log_scale, chosen).view(white.shape)
        y = torch.addcmul(mean, log_scale.exp(), white)  # (B, K, A)
        # R u = y
        latent: Tensor = torch.linalg.solve_triangular(
            self.shear, y.transpose(1, 2), upper=False, unitriangular=True
        )  # (B, A, K)
        return latent.transpose(1, 2)

    @staticmethod
    def _rows(field: Tensor, chosen: Tensor) -> Tensor:
        """Return the rows of a field (B, C, A) by their index among all B C: (B K, A)."""
        return field.reshape(-1, field.shape[-1]).index_select(0, chosen)


class MixtureNetwork(StateActionNetwork):
    """A mixture per state, as a network of the observation.

    Given noise (B, K, A + 1) it maps observations to latents like any sampling network. A departure
    from [SQL17], whose sampler is a continuous map from noise with unknown density. Such a map must
    leave mass between two modes, and the Stein direction, made of scores, does not account for the
    mass of a mode far from the others.

    Args:
        scaling: Scaling of the observation, (S,).
        action_size: A.
        hidden_sizes: Width of each hidden layer, H.
        components: Gaussians per state, C.
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        scaling: Scaling,
        action_size: int,
        hidden_sizes: tuple[int, ...],
        components: int,
        generator: torch.Generator,
    ) -> None:
        entries_below = action_size * (action_size - 1) // 2
        # logits, means, log scales, entries of R below its diagonal
        self.head_sizes = [
            components,
            components * action_size,
            components * action_size,
            entries_below,
        ]
        super().__init__(scaling, 0, hidden_sizes, sum(self.head_sizes), generator)
        self.components = components
        self.action_size = action_size
        self.noise_size = action_size + 1
        self._identity: Tensor
        self.placement: Tensor
        self.register_buffer("_identity", torch.eye(action_size), persistent=False)
        self.register_buffer("placement", placement_below_diagonal(action_size), persistent=False)
        self._spread_components(generator)

    @torch.no_grad()
    def _spread_components(self, generator: torch.Generator) -> None:
        """Set the last layer so that every state has nearly N(0, I), that is, uniform actions."""
        last_layer = self.mlp.members[0][-1]
        last_layer.weight.mul_(0.1)
        _, mean, log_scale, _ = torch.split(last_layer.bias, self.head_sizes)
        mean.copy_(math.sqrt(1.0 - FIRST_VARIANCE) * torch.randn(mean.shape, generator=generator))
        log_scale.fill_(0.5 * math.log(FIRST_VARIANCE))

    def distribution(self, observation: Tensor) -> Mixture:
        """Return the mixture of every state, for autograd.

        `distribution_with_backward` is the fast path of the learner.

        Args:
            observation: (B, S).
        """
        head = self.forward_states(observation).squeeze(0)  # (B, O)
        logit, mean, log_scale, below = torch.split(head, self.head_sizes, dim=-1)
        shape = (len(head), self.components, self.action_size)
        matrix = (len(head), self.action_size, self.action_size)
        return Mixture(
            log_weight=torch.log_softmax(logit, dim=-1),
            mean=mean.reshape(shape),
            log_scale=(WIDEST_LOG_SCALE * torch.tanh(log_scale / WIDEST_LOG_SCALE)).view(shape),
            shear=self._identity + (below @ self.placement).view(matrix),
        )

    def distribution_with_backward(
        self, observation: Tensor
    ) -> tuple[Mixture, Callable[[Fields], Tensor]]:
        """Evaluate `distribution` without autograd.

        Args:
            observation: (B, S).

        Returns:
            The mixture of every state, and a function from the gradients by its four fields to the
            gradient by the weights, `mlp.flat`.
        """
        heads, mlp_backward = self.mlp.forward_with_backward(self.scaled(observation))  # (1, B, O)
        fields, head_backward = parameters_with_backward(
            heads[0], self.head_sizes, self._identity, self.placement, WIDEST_LOG_SCALE
        )

        def backward(gradients: Fields) -> Tensor:
            return mlp_backward(head_backward(gradients).unsqueeze(0))

        return Mixture(*fields), backward

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Map observations (B, S) and noise (B, K, A + 1) to latents (B, K, A)."""
        return self.distribution(state).draw(vector)


def placement_below_diagonal(size: int) -> Tensor:
    """Return the matrix that places a row of entries below the diagonal of a square matrix.

    The product of A (A - 1) / 2 entries, row by row, with this matrix is the square matrix (A, A),
    flattened row by row.

    Args:
        size: A.

    Returns:
        Ones and zeros, (A (A - 1) / 2, A A).
    """
    row, column = torch.tril_indices(size, size, offset=-1)
    placement = torch.zeros(len(row), size * size)
    placement[torch.arange(len(row)), row * size + column] = 1.0
    return placement
