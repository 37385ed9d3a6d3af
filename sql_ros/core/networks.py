"""The Q-network and the sampling network: states and actions (or noise) enter by linear maps of their own that are added."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Scaling(NamedTuple):
    """Brings observations in SI units near 1: (o - offset) / scale, each (S,)."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]


class StateActionNetwork(nn.Module):
    """A ReLU network on states and K vectors per state.

    The first layer, after the scaling of the state, is W_s s + W_a a + b, so that the part of the observation is computed once per state,
    not once per particle.

    Args:
        scaling: of the state, (S,).
        vector_size: size of what accompanies the state: an action or a noise vector, A.
        hidden_sizes: width of each hidden layer.
        output_size: components of the output, O.
        generator: source of the initial weights (Xavier uniform, biases zero).
    """

    def __init__(
        self, scaling: Scaling, vector_size: int, hidden_sizes: tuple[int, ...], output_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.offset: Tensor
        self.gain: Tensor
        self.register_buffer("offset", torch.tensor(scaling.offset))
        self.register_buffer("gain", 1.0 / torch.tensor(scaling.scale))
        self.from_state = nn.Linear(len(scaling.offset), hidden_sizes[0])
        self.from_vector = nn.Linear(vector_size, hidden_sizes[0], bias=False)
        widths = [*hidden_sizes, output_size]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(widths))
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps states (B, S) and vectors (B, K, A) to (B, K, O)."""
        hidden: Tensor = self.from_state((state - self.offset) * self.gain).unsqueeze(-2) + self.from_vector(vector)  # (B, K, H)
        for layer in self.layers:
            hidden = layer(torch.relu(hidden))
        return hidden


class SamplingNetwork(StateActionNetwork):
    """u = W xi + f(s, xi), W starting as the identity: the action before tanh, from noise of the same size.

    A departure from [SQL17], where W is absent. Particles only climb to modes that some of them see, and a fresh f alone maps all noise to
    nearly one point (standard deviation 0.03 to 0.2 in one dimension): two modes four deviations apart were then both found in one of three
    seeds. With W the sampler starts as N(0, I) and found them in all.
    """

    def __init__(self, scaling: Scaling, action_size: int, hidden_sizes: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__(scaling, action_size, hidden_sizes, action_size, generator)
        self.direct = nn.Linear(action_size, action_size, bias=False)
        nn.init.eye_(self.direct.weight)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps observations (B, S) and noise (B, K, A) to u (B, K, A)."""
        output: Tensor = self.direct(vector) + super().forward(state, vector)
        return output


class TwinQ(nn.Module):
    """Independent Q-networks; their minimum counters overestimation (a departure from [SQL17], as in the authors' 2018 port)."""

    def __init__(self, scaling: Scaling, action_size: int, hidden_sizes: tuple[int, ...], count: int, generator: torch.Generator) -> None:
        super().__init__()
        self.members = nn.ModuleList(StateActionNetwork(scaling, action_size, hidden_sizes, 1, generator) for _ in range(count))

    def each(self, observation: Tensor, action: Tensor) -> list[Tensor]:
        """Q of every member: observations (B, S), actions (B, K, A) -> list of (B, K)."""
        return [member(observation, action).squeeze(-1) for member in self.members]

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """The smallest Q of the members: observations (B, S), actions (B, K, A) -> (B, K)."""
        values = self.each(observation, action)
        smallest = values[0]
        for value in values[1:]:
            smallest = torch.minimum(smallest, value)
        return smallest
