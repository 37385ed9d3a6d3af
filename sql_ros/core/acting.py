"""The trained networks in the form in which they act: one state, K noise vectors, and as few operators as that takes.

ONNX Runtime spends about a microsecond on every operator, more than on the arithmetic of these small networks. The batched form that the
learner trains came to more than 300 of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sql_ros.core.mixture import WIDEST_LOG_SCALE, MixtureNetwork
from sql_ros.core.mlp import Layer
from sql_ros.core.networks import SamplingNetwork, StateActionNetwork, TwinQ
from sql_ros.core.squash import ROOT_HALF, squash, squash_scaled


class Chain(nn.Module):
    """One member of a `StateActionNetwork` as plain layers, the scaling of the state inside the first."""

    def __init__(self, network: StateActionNetwork, member: int) -> None:
        super().__init__()
        layers, size = network.mlp.members[member], network.state_size
        scaled = layers[0].weight[:size] * network.inverse_scale[:, None]
        self.of_state = _constant(scaled)
        self.bias = _constant(layers[0].bias - network.offset @ scaled)
        self.of_vector = _constant(layers[0].weight[size:])
        self.norms = nn.ModuleList(_norm(layer) for layer in layers[:-1])
        self.weights = nn.ParameterList(_constant(layer.weight) for layer in layers[1:])
        self.biases = nn.ParameterList(_constant(layer.bias) for layer in layers[1:])

    def forward(self, state: Tensor, vector: Tensor | None = None) -> Tensor:
        """Maps a state (1, S) and vectors (K, A) to (K, O), or a state alone to (1, O)."""
        hidden = torch.addmm(self.bias, state, self.of_state)
        if vector is not None:
            hidden = hidden + vector @ self.of_vector
        for norm, weight, bias in zip(self.norms, self.weights, self.biases):
            hidden = torch.addmm(bias, torch.relu(norm(hidden)), weight)
        return hidden


class ActingMixture(nn.Module):
    """`MixtureNetwork` for one state: observation (1, S), noise (K, A + 1) -> latents in units of sqrt 2 (K, A), for `squash_scaled`."""

    def __init__(self, network: MixtureNetwork) -> None:
        super().__init__()
        size, components = network.action_size, network.components
        self.size, self.components = size, components
        self.trunk = Chain(network, 0)
        weight, bias = self.trunk.weights[-1], self.trunk.biases[-1]
        # the last layer apart: logits, means, log scales, and M = (1 - R)^T row by row; constants are multiplied into the weights
        sizes = [components, components * size, components * size, size * (size - 1) // 2]
        parts = torch.split(weight, sizes, dim=1), torch.split(bias, sizes)
        place = network._placement.view(-1, size, size).transpose(1, 2).reshape(-1, size * size)
        factors = (1.0, ROOT_HALF, 1.0 / WIDEST_LOG_SCALE, -1.0)
        (*plain, weight), (*shift, bias) = ([factor * part for factor, part in zip(factors, each)] for each in parts)
        heads = [*zip(plain, shift), (weight @ place, bias @ place)]
        self.heads = nn.ParameterList(_constant(value) for head in heads for value in head)
        self.trunk.weights, self.trunk.biases = self.trunk.weights[:-1], self.trunk.biases[:-1]
        self.last_norm = self.trunk.norms[-1]
        self.sums = _constant(2.0 * torch.triu(torch.ones(components, components))[:, :-1])  # cumulative, without the last, from -1 to 1
        self.first = _constant(-torch.ones(components - 1))
        self.between = _constant(torch.eye(components)[1:] - torch.eye(components)[:-1])
        self.lowest = _constant(torch.eye(components)[:1])

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """As `Mixture.draw`, in matrix products."""
        hidden = torch.relu(self.last_norm(self.trunk(observation)))
        logit, mean, log_scale, shear = (
            torch.addmm(bias, hidden, weight) for weight, bias in zip(self.heads[::2], self.heads[1::2])
        )  # (1, ...)
        noise = noise * ROOT_HALF
        white, choice = noise[:, :-1], noise[:, -1:]
        level = torch.erf(choice)  # uniform on [-1, 1], (K, 1)
        above = (level > torch.addmm(self.first, torch.softmax(logit, dim=-1), self.sums)).to(level.dtype)  # (K, C - 1)
        chosen = self.lowest + above @ self.between  # one-hot (K, C)
        scale = torch.exp(WIDEST_LOG_SCALE * torch.tanh(chosen @ log_scale.view(self.components, self.size)))
        latent = chosen @ mean.view(self.components, self.size) + scale * white  # y
        # u (1 - M) = y, and (1 - M)^-1 = (1 + M)(1 + M^2)(1 + M^4)..., which ends: M is nilpotent
        power, order = shear.view(self.size, self.size), 1
        latent = latent + latent @ power
        while 2 * order < self.size:
            power, order = power @ power, 2 * order
            latent = latent + latent @ power
        return latent


class ActingStein(nn.Module):
    """`SamplingNetwork` for one state: observation (1, S), noise (K, A) -> latents in units of sqrt 2, (K, A)."""

    def __init__(self, network: SamplingNetwork) -> None:
        super().__init__()
        self.chain = Chain(network, 0)
        for last in (self.chain.weights[-1], self.chain.biases[-1]):
            last.mul_(ROOT_HALF)
        self.direct = None if network.direct is None else _constant(ROOT_HALF * network.direct.weight.T)

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """As the network's own."""
        latent: Tensor = self.chain(observation, noise)
        return latent if self.direct is None else latent + noise @ self.direct


class Candidates(nn.Module):
    """observation (1, S), noise (K, noise size) -> action (K, A), q (K,).

    Q is that of the target networks, the slow copy: as the judge of candidates it is steadier from one policy to the next.
    """

    def __init__(self, sampler: MixtureNetwork | SamplingNetwork, q: TwinQ) -> None:
        super().__init__()
        self.sampler = ActingMixture(sampler) if isinstance(sampler, MixtureNetwork) else ActingStein(sampler)
        self.q = nn.ModuleList(Chain(q, member) for member in range(len(q.mlp.members)))

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What the exported graph computes."""
        action = self.draw(observation, noise)
        return action, self.judge(observation, action)

    def with_mean(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `WithMean`; Q of all in one go."""
        action = self.draw(observation, noise)
        mean = action.mean(0, keepdim=True)
        q = self.judge(observation, torch.cat([action, mean]))
        return action, q[:-1], mean, q[-1:]

    def draw(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Actions: (1, S), (K, noise size) -> (K, A)."""
        return squash_scaled(self.sampler(observation, noise))

    def judge(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of any actions: (1, S), (K, A) -> (K,)."""
        return self.smallest(observation, action).squeeze(1)

    def smallest(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of any actions as a column: (1, S), (K, A) -> (K, 1)."""
        smallest: Tensor = self.q[0](observation, action)
        for chain in self.q[1:]:
            smallest = torch.minimum(smallest, chain(observation, action))
        return smallest


class Composed(nn.Module):
    """Skills composed by the weighted sum of their Q: observation (1, S), noise (K, noise size) -> action (K, A), q (K,).

    The policy exp(sum w_i Q_i / alpha) has no sampler of its own: every row of noise is given to the sampler of each skill, and to the
    uniform distribution, and of what they draw the composed Q keeps the best.

    Args:
        skills: as they act; of the same observation and action.
        weights: of their Q. Summing to 1 (the mean, [C18]) keeps the temperature; the authors' code has 1 for each.
        noise_sizes: of their samplers.
        action_size: A.
    """

    def __init__(self, skills: Sequence[Candidates], weights: Sequence[float], noise_sizes: Sequence[int], action_size: int) -> None:
        super().__init__()
        self.skills = nn.ModuleList(skills)
        self.weights, self.noise_sizes, self.action_size = list(weights), list(noise_sizes), action_size
        self.noise_size = max(*noise_sizes, action_size)

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What the exported graph computes."""
        action = squash(noise[:, : self.action_size])  # uniform
        q = self._judge(observation, action)
        for skill, size in zip(self.skills, self.noise_sizes):
            drawn = skill.draw(observation, noise[:, :size])  # type: ignore[operator]
            judged = self._judge(observation, drawn)
            better = (judged > q).to(q.dtype)  # (K, 1)
            q = better * judged + (1.0 - better) * q
            action = better * drawn + (1.0 - better) * action
        return action, q.squeeze(1)

    def with_mean(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `WithMean`; the Q of what was drawn is known from the choice."""
        action, q = self(observation, noise)
        mean = action.mean(0, keepdim=True)
        return action, q, mean, self.judge(observation, mean)

    def judge(self, observation: Tensor, action: Tensor) -> Tensor:
        """The composed Q: (1, S), (K, A) -> (K,)."""
        return self._judge(observation, action).squeeze(1)

    def _judge(self, observation: Tensor, action: Tensor) -> Tensor:
        """(K, 1)."""
        each = [weight * skill.smallest(observation, action) for weight, skill in zip(self.weights, self.skills)]  # type: ignore[operator]
        total: Tensor = sum(each[1:], start=each[0])
        return total


class WithMean(nn.Module):
    """Beside what `acting` gives, the mean of its candidates (1, A) and Q there (1,)."""

    def __init__(self, acting: Candidates | Composed) -> None:
        super().__init__()
        self.acting = acting

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the exported graph computes."""
        return self.acting.with_mean(observation, noise)


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone().contiguous(), requires_grad=False)


def _norm(layer: Layer) -> nn.Module:
    if layer.gain is None or layer.shift is None:
        return nn.Identity()
    plain = nn.LayerNorm(len(layer.gain))
    plain.weight.data.copy_(layer.gain)
    plain.bias.data.copy_(layer.shift)
    return plain
