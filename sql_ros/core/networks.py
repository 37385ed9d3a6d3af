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
        vector_size: size of what accompanies the state: an action or a noise vector, A; 0: nothing does.
        hidden_sizes: width of each hidden layer.
        output_size: components of the output, O.
        generator: source of the initial weights (Xavier uniform, biases zero).
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
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.offset: Tensor
        self.gain: Tensor
        self.register_buffer("offset", torch.tensor(scaling.offset))
        self.register_buffer("gain", 1.0 / torch.tensor(scaling.scale))
        self.from_state = nn.Linear(len(scaling.offset), hidden_sizes[0])
        self.from_vector = nn.Linear(vector_size, hidden_sizes[0], bias=False) if vector_size else None
        widths = [*hidden_sizes, output_size]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(n) if layer_norm else nn.Identity() for n in hidden_sizes)
        for name, parameter in self.named_parameters():
            if name.startswith("norms"):
                continue
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps states (B, S) and vectors (B, K, A) to (B, K, O)."""
        assert self.from_vector is not None, "this network takes no vectors"
        hidden = self.from_vector(vector.to(self.from_vector.weight.dtype))  # (B, K, H)
        hidden += self._first(state).unsqueeze(-2)  # in place: particle tensors are large, passes over them are what costs
        return self._rest(hidden)

    def of_state(self, state: Tensor) -> Tensor:
        """Maps states (B, S) alone to (B, O)."""
        return self._rest(self._first(state))

    def _first(self, state: Tensor) -> Tensor:
        scaled = (state - self.offset) * self.gain
        output: Tensor = self.from_state(scaled.to(self.from_state.weight.dtype))
        return output

    def _rest(self, hidden: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers):
            hidden = layer(norm(hidden).relu_().to(layer.weight.dtype))
        return hidden

    def hidden_layers(self) -> list[nn.Module]:
        """All modules but the last layer."""
        return [module for module in (self.from_state, self.from_vector, *self.norms, *self.layers[:-1]) if module is not None]


class SamplingNetwork(StateActionNetwork):
    """The sampler of [SQL17], u = f(s, xi) before the squash, or u = W xi + f(s, xi), W starting as the identity.

    With `skip`, a departure from the paper, the sampler starts as N(0, I). Particles only climb to modes that some of them see, and a fresh
    f alone maps all noise to nearly one point (standard deviation 0.03 to 0.2 in one dimension): two modes four deviations apart were then
    both found in one of three seeds, with W in all.
    """

    def __init__(
        self, scaling: Scaling, action_size: int, hidden_sizes: tuple[int, ...], generator: torch.Generator, *, skip: bool = True
    ) -> None:
        super().__init__(scaling, action_size, hidden_sizes, action_size, generator)
        self.noise_size = action_size
        self.direct = nn.Linear(action_size, action_size, bias=False) if skip else None
        if self.direct is not None:
            nn.init.eye_(self.direct.weight)

    def forward(self, state: Tensor, vector: Tensor) -> Tensor:
        """Maps observations (B, S) and noise (B, K, A) to latents (B, K, A)."""
        latent = super().forward(state, vector)
        return latent if self.direct is None else latent + self.direct(vector)


class TwinQ(nn.Module):
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
        super().__init__()
        self.members = nn.ModuleList(
            StateActionNetwork(scaling, action_size, hidden_sizes, 1, generator, layer_norm=layer_norm) for _ in range(count)
        )

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

    def hidden_layers_to(self, dtype: torch.dtype) -> None:
        """Computes in another precision up to the last layers, whose sums over units keep their own."""
        for member in self.members:
            assert isinstance(member, StateActionNetwork)
            for module in member.hidden_layers():
                module.to(dtype)
