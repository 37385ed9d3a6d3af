"""The Q-networks and the sampling network: states and actions (or noise) enter by linear maps of their own that are added."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sql_ros.core.affine import affine


class Scaling(NamedTuple):
    """Brings observations in SI units near 1: (o - offset) / scale, each (S,)."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]


class StackedLinear(nn.Module):
    """N independent linear maps as one batched product: (N, R, in) -> (N, R, out). Xavier uniform weights, biases zero."""

    def __init__(self, members: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (inputs + outputs))
        self.weight = nn.Parameter((2.0 * torch.rand(members, inputs, outputs, generator=generator) - 1.0) * bound)
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """Maps (N, R, in) to (N, R, out)."""
        return affine(rows, self.weight, self.bias)


class StackedLayerNorm(nn.Module):
    """Normalises rows, with gain and bias per member: (N, R, H) -> (N, R, H)."""

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self._shape = (size,)
        self.gain = nn.Parameter(torch.ones(members, 1, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))

    def forward(self, rows: Tensor) -> Tensor:
        """Maps (N, R, H) to (N, R, H)."""
        return torch.addcmul(self.bias, nn.functional.layer_norm(rows, self._shape), self.gain)


class StateActionNetwork(nn.Module):
    """N independent ReLU networks on states and K vectors per state.

    The first layer, after the scaling of the state, is W_s s + W_a a + b, so that for many vectors per state the part of the observation
    is computed once per state, not once per particle.

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
        self.members, self.state_size = members, len(scaling.offset)
        self.first = StackedLinear(members, self.state_size + vector_size, hidden_sizes[0], generator)
        widths = itertools.pairwise([*hidden_sizes, output_size])
        self.layers = nn.ModuleList(StackedLinear(members, n, m, generator) for n, m in widths)
        self.norms = nn.ModuleList(StackedLayerNorm(members, n) if layer_norm else nn.Identity() for n in hidden_sizes)

    def of_pairs(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps states (B, S) and vectors (B, K, A) to (N, B, K, O)."""
        batch, count, size = vector.shape
        if count == 1:
            rows = torch.cat([self.scaled(state), vector.squeeze(1)], dim=-1)
            return self._rest(self.first(rows.expand(self.members, -1, -1))).unsqueeze(2)
        rows = vector.reshape(1, batch * count, size).expand(self.members, -1, -1)
        hidden = torch.bmm(rows, self.first.weight[:, self.state_size :]).view(self.members, batch, count, -1)
        hidden = hidden + self.first_of_state(state).unsqueeze(2)
        return self._rest(hidden.view(self.members, batch * count, -1)).view(self.members, batch, count, -1)

    def of_state(self, state: Tensor) -> Tensor:
        """Maps states (B, S) alone to (N, B, O)."""
        return self._rest(self.first_of_state(state))

    def scaled(self, state: Tensor) -> Tensor:
        """The state as the first layer sees it, (B, S)."""
        return (state - self.offset) * self.inverse_scale

    def first_of_state(self, state: Tensor) -> Tensor:
        """W_s s + b: (B, S) -> (N, B, H)."""
        rows = self.scaled(state).expand(self.members, -1, -1)
        return affine(rows, self.first.weight[:, : self.state_size], self.first.bias)

    def _rest(self, hidden: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers):
            hidden = layer(torch.relu(norm(hidden)))
        return hidden


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
                self.first.weight[:, self.state_size :] = 0.0
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

    def each(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of every member: observations (B, S), actions (B, K, A) -> (N, B, K)."""
        return self.of_pairs(observation, action).squeeze(-1)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """The smallest Q of the members: observations (B, S), actions (B, K, A) -> (B, K)."""
        return self.each(observation, action).amin(0)
