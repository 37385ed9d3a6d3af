"""The Q-networks and the sampling network.

Each is a function of a scaled state and, most of them, of actions or noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.learning.kernels.flat_mlp import Mlp


class Scaling(NamedTuple):
    """Scaling of observations from SI units to values near 1: (o - offset) / scale."""

    offset: tuple[float, ...]  # (S,)
    scale: tuple[float, ...]  # (S,)


class StateActionNetwork(nn.Module):
    """N independent ReLU networks on states and K vectors per state.

    Args:
        scaling: Scaling of the state, (S,).
        vector_size: Size of the vector beside the state, an action or noise, A; 0: the state alone.
        hidden_sizes: Width of each hidden layer, H.
        output_size: Components of the output, O.
        generator: Source of the initial weights.
        members: Number of networks, N.
        layer_norm: Normalise each hidden layer before its ReLU.
    """

    def __init__(
        self,
        scaling: Scaling,
        vector_size: int,
        hidden_sizes: tuple[int, ...],
        output_size: int,
        generator: torch.Generator,
        *,
        members: int = 1,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.offset: Tensor
        self.inverse_scale: Tensor
        self.register_buffer("offset", torch.tensor(scaling.offset))
        self.register_buffer("inverse_scale", 1.0 / torch.tensor(scaling.scale))
        self.state_size = len(scaling.offset)
        self.mlp = Mlp(
            members,
            [self.state_size + vector_size, *hidden_sizes, output_size],
            generator,
            layer_norm=layer_norm,
        )

    def forward_pairs(self, state: Tensor, vector: Tensor, *, frozen: bool = False) -> Tensor:
        """Evaluate all networks at states and vectors, for autograd.

        Args:
            state: (B, S).
            vector: Actions or noise, (B, K, A).
            frozen: Treat the weights as constants.

        Returns:
            (N, B, K, O).
        """
        batch, count = vector.shape[:2]
        states = self.scaled(state).unsqueeze(1).expand(-1, count, -1)  # (B, K, S)
        rows = torch.cat([states, vector], dim=-1).view(batch * count, -1)  # (B K, S + A)
        result: Tensor = self.mlp(rows, frozen=frozen)
        return result.view(len(result), batch, count, -1)

    def forward_states(self, state: Tensor) -> Tensor:
        """Evaluate all networks at states alone, for autograd: (B, S) -> (N, B, O)."""
        result: Tensor = self.mlp(self.scaled(state))
        return result

    def scaled(self, state: Tensor) -> Tensor:
        """Return the input of the first layer for states in SI units: (B, S) -> (B, S)."""
        return (state - self.offset) * self.inverse_scale


class SamplingNetwork(StateActionNetwork):
    """The sampler of [SQL17]: latents u = f(s, xi), or u = W xi + f(s, xi) with `skip`.

    W starts as the identity. The skip is a departure from the paper: the sampler starts as N(0, I).
    Particles only climb to modes that some of them see, and a fresh f alone maps all noise to
    nearly one point (standard deviation 0.03 to 0.2 in one dimension). Two modes four deviations
    apart were then both found in one of three seeds, with W in all three.

    Args:
        scaling: Scaling of the observation, (S,).
        action_size: A, also the size of the noise.
        hidden_sizes: Width of each hidden layer, H.
        generator: Source of the initial weights.
        skip: Add W xi.
        deterministic: Start with zero weights for the noise. They stay zero while the network is
            trained with zero noise, because their gradient is then zero.
    """

    def __init__(
        self,
        scaling: Scaling,
        action_size: int,
        hidden_sizes: tuple[int, ...],
        generator: torch.Generator,
        *,
        skip: bool = True,
        deterministic: bool = False,
    ) -> None:
        super().__init__(scaling, action_size, hidden_sizes, action_size, generator)
        self.noise_size = action_size
        if deterministic:
            with torch.no_grad():
                self.mlp.members[0][0].weight[self.state_size :] = 0.0
        self.direct = nn.Linear(action_size, action_size, bias=False) if skip else None
        if self.direct is not None:
            nn.init.eye_(self.direct.weight)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Map observations (B, S) and noise (B, K, A) to latents (B, K, A)."""
        latent = self.forward_pairs(state, vector).squeeze(0)
        return latent if self.direct is None else latent + self.direct(vector)


class TwinQ(StateActionNetwork):
    """N independent Q-networks, two by default, whose minimum counters overestimation.

    A departure from [SQL17], as in the authors' 2018 port.

    Args:
        scaling: Scaling of the observation, (S,).
        action_size: A.
        hidden_sizes: Width of each hidden layer, H.
        count: Number of networks, N.
        generator: Source of the initial weights.
        layer_norm: Normalise each hidden layer before its ReLU.
    """

    def __init__(
        self,
        scaling: Scaling,
        action_size: int,
        hidden_sizes: tuple[int, ...],
        count: int,
        generator: torch.Generator,
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(
            scaling, action_size, hidden_sizes, 1, generator, members=count, layer_norm=layer_norm
        )

    def evaluate_each(self, observation: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """Return Q of every network, for autograd.

        Args:
            observation: (B, S).
            action: (B, K, A).
            frozen: Treat the weights as constants.

        Returns:
            (N, B, K).
        """
        return self.forward_pairs(observation, action, frozen=frozen).squeeze(-1)

    def evaluate_each_with_backward(
        self, observation: Tensor, action: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return Q of every network at one action per state, without autograd.

        Args:
            observation: (B, S).
            action: (B, A).

        Returns:
            Q (N, B), and a function from the gradient by Q (N, B) to the gradient by the weights,
            `mlp.flat`.
        """
        rows = torch.cat([self.scaled(observation), action], dim=-1)  # (B, S + A)
        q, mlp_backward = self.mlp.forward_with_backward(rows)  # (N, B, 1)

        def backward(gradient: Tensor) -> Tensor:
            return mlp_backward(gradient.unsqueeze(-1))

        return q.squeeze(-1), backward

    def forward(self, observation: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """Return the smallest Q of the networks, for autograd.

        Args:
            observation: (B, S).
            action: (B, K, A).
            frozen: Treat the weights as constants; the gradient by the actions remains.

        Returns:
            (B, K).
        """
        return self.evaluate_each(observation, action, frozen=frozen).amin(0)
