"""The Q-networks and the sampling network: functions of a scaled state and, most of them, of actions or noise beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.core.mlp import Mlp


class Scaling(NamedTuple):
    """Brings observations in SI units near 1: (o - offset) / scale, each (S,)."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]


class StateActionNetwork(nn.Module):
    """N independent ReLU networks on states and K vectors per state.

    Args:
        scaling: of the state, (S,).
        vector_size: size of what accompanies the state: an action or a noise vector, A; 0: nothing does.
        hidden_sizes: width of each hidden layer, H.
        output_size: components of the output, O.
        generator: source of the initial weights.
        members: how many networks, N.
        layer_norm: normalise each hidden layer before its ReLU.
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
        self.mlp = Mlp(members, [self.state_size + vector_size, *hidden_sizes, output_size], generator, layer_norm=layer_norm)

    def of_pairs(self, state: Tensor, vector: Tensor, *, frozen: bool = False) -> Tensor:
        """Maps states (B, S) and vectors (B, K, A) to (N, B, K, O); `frozen`: without the gradient by the weights."""
        batch, count = vector.shape[:2]
        states = self.scaled(state).unsqueeze(1).expand(-1, count, -1)
        rows = torch.cat([states, vector], dim=-1).view(batch * count, -1)
        result: Tensor = self.mlp(rows, frozen=frozen)
        return result.view(len(result), batch, count, -1)

    def of_state(self, state: Tensor) -> Tensor:
        """Maps states (B, S) alone to (N, B, O)."""
        result: Tensor = self.mlp(self.scaled(state))
        return result

    def scaled(self, state: Tensor) -> Tensor:
        """The state as the first layer sees it, (B, S)."""
        return (state - self.offset) * self.inverse_scale


class SamplingNetwork(StateActionNetwork):
    """The sampler of [SQL17], u = f(s, xi) before the squash, or u = W xi + f(s, xi), W starting as the identity.

    With `skip`, a departure from the paper, the sampler starts as N(0, I). Particles only climb to modes that some of them see, and a fresh
    f alone maps all noise to nearly one point (standard deviation 0.03 to 0.2 in one dimension): two modes four deviations apart were then
    both found in one of three seeds, with W in all.

    A `deterministic` one starts deaf to the noise, and stays so while it is trained with noise 0, by which its gradient is 0.
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
        """Maps observations (B, S) and noise (B, K, A) to latents (B, K, A)."""
        latent = self.of_pairs(state, vector).squeeze(0)
        return latent if self.direct is None else latent + self.direct(vector)


class TwinQ(StateActionNetwork):
    """Independent Q-networks; their minimum counters overestimation (a departure from [SQL17], as in the authors' 2018 port)."""

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
        super().__init__(scaling, action_size, hidden_sizes, 1, generator, members=count, layer_norm=layer_norm)

    def each(self, observation: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """Q of every member: observations (B, S), actions (B, K, A) -> (N, B, K)."""
        return self.of_pairs(observation, action, frozen=frozen).squeeze(-1)

    def with_gradient(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Q of every member at one action per state, (B, S), (B, A) -> (N, B), and the gradient by the weights from that by Q."""
        q, back = self.mlp.with_gradient(torch.cat([self.scaled(observation), action], dim=-1))
        return q.squeeze(-1), lambda gradient: back(gradient.unsqueeze(-1))

    def forward(self, observation: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """The smallest Q of the members: observations (B, S), actions (B, K, A) -> (B, K); `frozen`: with the gradient by actions alone."""
        return self.each(observation, action, frozen=frozen).amin(0)
