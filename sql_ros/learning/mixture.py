"""The sampler of known density: a Gaussian mixture of latents, before the squash.

A network computes the parameters of the mixture once per state. Letters: `sql_ros.learning`. O is
the size of the network's output.
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
# variance of each Gaussian before training; the means are spread with the remaining variance, so
# that the mixture is close to N(0, I), that is, uniform actions
FIRST_VARIANCE = 0.5


class Mixture(NamedTuple):
    """C Gaussians of latents u per state, each with a diagonal covariance in y = R u.

    R is one unit lower triangular matrix per state. So the correlation between the components of
    the action is learned once per state and not once per Gaussian, and a narrow ridge of Q is found
    quickly.
    """

    log_weight: Tensor  # log of the weights, which sum to 1 over C, (B, C)
    mean: Tensor  # mean of y, (B, C, A)
    log_scale: Tensor  # log of the standard deviation of y, (B, C, A)
    shear: Tensor  # matrix R, (B, A, A)

    def log_density(self, latent: Tensor) -> Tensor:
        """Return the log density of the actions squash(u) on the box, differentiable by autograd.

        The learner uses `log_density_with_backward`, which is faster.

        Args:
            latent: Latents u, (B, K, A).

        Returns:
            Log density of each action, (B, K).
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
        """Evaluate `log_density` without autograd, and return its derivative as a function.

        Args:
            latent: Latents u, (B, K, A).

        Returns:
            The log density of each action (B, K), and its backward function: from the gradient of a
            loss by the log density (B, K) to the gradients of this loss by the four fields of the
            mixture.
        """
        return log_density_with_backward(self, latent)

    def draw(self, noise: Tensor) -> Tensor:
        """Map standard normal noise to latents drawn from the mixture.

        Args:
            noise: Standard normal noise xi, (B, K, A + 1). The last component chooses the Gaussian.
                The others are the deviation of y from the mean, in standard deviations.

        Returns:
            Latents u, (B, K, A). Their gradient by the choice of the Gaussian is zero.
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
        """Return rows (B K, A) of a field (B, C, A), by their index among all B C rows."""
        return field.reshape(-1, field.shape[-1]).index_select(0, chosen)


class MixtureNetwork(StateActionNetwork):
    """A network from observations to the mixture of each state.

    With noise (B, K, A + 1) it maps observations to latents like any sampling network. This is a
    departure from [SQL17], whose sampler is a continuous map from noise with unknown density. Such
    a map must leave mass between two modes. And the Stein direction, made of scores, does not
    account for the mass of a mode far from the others.

    Args:
        scaling: Scaling of the observations, (S,).
        action_size: Size of the action, A.
        hidden_sizes: Width of each hidden layer, H.
        components: Number of Gaussians per state, C.
        generator: Source of the initial weights.

    Attributes:
        noise_size: Standard normal numbers per latent, A + 1.
        head_sizes: Sizes of the parts of the network's output, whose sum is O: logits C, means C A,
            log scales C A, entries of R below its diagonal A (A - 1) / 2.
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
        """Set the last layer so that every state's mixture is near N(0, I): uniform actions."""
        last_layer = self.mlp.members[0][-1]
        last_layer.weight.mul_(0.1)
        _, mean, log_scale, _ = torch.split(last_layer.bias, self.head_sizes)
        mean.copy_(math.sqrt(1.0 - FIRST_VARIANCE) * torch.randn(mean.shape, generator=generator))
        log_scale.fill_(0.5 * math.log(FIRST_VARIANCE))

    def distribution(self, observation: Tensor) -> Mixture:
        """Return the mixture of every state, differentiable by autograd.

        The learner uses `distribution_with_backward`, which is faster.

        Args:
            observation: Observations (B, S).
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
        """Evaluate `distribution` without autograd, and return its derivative as a function.

        Args:
            observation: Observations (B, S).

        Returns:
            The mixture of every state, and its backward function: from the gradients of a loss by
            the four fields of the mixture to the gradient of this loss by the parameters,
            `mlp.flat`. Each call overwrites the result of the call before.
        """
        heads, mlp_backward = self.mlp.forward_with_backward(self.scaled(observation))  # (1, B, O)
        fields, head_backward = parameters_with_backward(
            heads[0], self.head_sizes, self._identity, self.placement, WIDEST_LOG_SCALE
        )

        def backward(gradients: Fields) -> Tensor:
            return mlp_backward(head_backward(gradients).unsqueeze(0))

        return Mixture(*fields), backward

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Draw latents (B, K, A) in states (B, S) from noise, `vector` (B, K, A + 1)."""
        return self.distribution(state).draw(vector)


def placement_below_diagonal(size: int) -> Tensor:
    """Return the matrix that places a row of entries below the diagonal of a square matrix.

    The product of a row of A (A - 1) / 2 entries with this matrix is the square matrix (A, A),
    flattened row by row. The entries are those below the diagonal, row by row.

    Args:
        size: Size of the square matrix, A.

    Returns:
        Matrix of ones and zeros, (A (A - 1) / 2, A A).
    """
    row, column = torch.tril_indices(size, size, offset=-1)
    placement = torch.zeros(len(row), size * size)
    placement[torch.arange(len(row)), row * size + column] = 1.0
    return placement
