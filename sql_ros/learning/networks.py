"""The Q-networks and the sampling network of amortized SVGD ([SQL17]).

Each is a `StateActionNetwork`: its input is a scaled observation with an action or a noise vector.
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
    """N independent ReLU networks whose input is a state and a vector, an action or noise.

    Args:
        scaling: Scaling of the state, (S,).
        vector_size: Size of the vector, A; 0: the networks have the state alone as input.
        hidden_sizes: Width of each hidden layer, H.
        output_size: Components of the output, O.
        generator: Source of the initial weights.
        members: Number of networks, N.
        layer_norm: Normalise each hidden layer before its ReLU.

    Attributes:
        mlp: The networks on rows (R, S + A); its `flat` has all their parameters.
        offset: Offset of the scaling, (S,).
        inverse_scale: 1 / scale of the scaling, (S,).
        state_size: Size of the state, S.
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
        """Evaluate all networks at K vectors per state, differentiable by autograd.

        Args:
            state: States in SI units, (B, S).
            vector: Actions or noise, (B, K, A).
            frozen: Treat the weights as constants; the gradient by the inputs remains.

        Returns:
            Outputs of each network, (N, B, K, O).
        """
        batch, count = vector.shape[:2]
        states = self.scaled(state).unsqueeze(1).expand(-1, count, -1)  # (B, K, S)
        rows = torch.cat([states, vector], dim=-1).view(batch * count, -1)  # (B K, S + A)
        result: Tensor = self.mlp(rows, frozen=frozen)
        return result.view(len(result), batch, count, -1)

    def forward_states(self, state: Tensor) -> Tensor:
        """Evaluate networks without a vector, differentiable by autograd: (B, S) -> (N, B, O)."""
        result: Tensor = self.mlp(self.scaled(state))
        return result

    def scaled(self, state: Tensor) -> Tensor:
        """Return the input of the first layer for states in SI units: (B, S) -> (B, S)."""
        return (state - self.offset) * self.inverse_scale


class SamplingNetwork(StateActionNetwork):
    """The sampler of [SQL17]: latents u = f(s, xi), or u = W xi + f(s, xi) with `skip`.

    The matrix W is learned and starts as the identity, so that the sampler starts near N(0, I).
    This is a departure from the paper. Particles only climb to modes near some of them, and an
    untrained f alone maps all noise to nearly one point (standard deviation 0.03 to 0.2 in one
    dimension). Without W two modes four standard deviations apart were both found with one of three
    seeds, with W with all three.

    Args:
        scaling: Scaling of the observations, (S,).
        action_size: Size of the action and of the noise, A.
        hidden_sizes: Width of each hidden layer, H.
        generator: Source of the initial weights.
        skip: Add W xi to the output.
        deterministic: Start with zero weights for the noise. They stay zero while the network is
            trained with zero noise, because their gradient is then zero.

    Attributes:
        noise_size: Standard normal numbers per latent, A.
        direct: The matrix W as a layer; None without `skip`.
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
        """Map observations (B, S) and noise, `vector` (B, K, A), to latents (B, K, A)."""
        latent = self.forward_pairs(state, vector).squeeze(0)
        return latent if self.direct is None else latent + self.direct(vector)


class TwinQ(StateActionNetwork):
    """N independent Q-networks, whose minimum counters overestimation.

    A departure from [SQL17], which has one network; as in the authors' 2018 port.

    Args:
        scaling: Scaling of the observations, (S,).
        action_size: Size of the action, A.
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
        """Return Q of every network at K actions per state, differentiable by autograd.

        Args:
            observation: Observations (B, S).
            action: Actions (B, K, A).
            frozen: Treat the weights as constants; the gradient by the actions remains.

        Returns:
            Q of each network, (N, B, K).
        """
        return self.forward_pairs(observation, action, frozen=frozen).squeeze(-1)

    def evaluate_each_with_backward(
        self, observation: Tensor, action: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return Q of every network at one action per state, and its derivative, without autograd.

        Args:
            observation: Observations (B, S).
            action: Actions (B, A).

        Returns:
            Q of each network (N, B), and its backward function: from the gradient of a loss by Q
            (N, B) to the gradient of this loss by the parameters, `mlp.flat`. The backward function
            returns memory of the MLP: the next call of any backward function of these networks
            overwrites the gradient.
        """
        rows = torch.cat([self.scaled(observation), action], dim=-1)  # (B, S + A)
        q, mlp_backward = self.mlp.forward_with_backward(rows)  # (N, B, 1)

        def backward(gradient: Tensor) -> Tensor:
            return mlp_backward(gradient.unsqueeze(-1))

        return q.squeeze(-1), backward

    def forward(self, observation: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """Return the smallest Q of the networks, differentiable by autograd.

        Args:
            observation: Observations (B, S).
            action: Actions (B, K, A).
            frozen: Treat the weights as constants; the gradient by the actions remains.

        Returns:
            Smallest Q at each action, (B, K).
        """
        return self.evaluate_each(observation, action, frozen=frozen).amin(0)
