"""The trained networks in the form in which they act: for one state and K noise vectors.

These modules have as few operators as possible. ONNX Runtime spends about a microsecond on every
operator, more than on the arithmetic of these small networks. The batched form that the learner
trains has more than 300 operators.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sql_ros.learning.kernels.flat_mlp import Layer
from sql_ros.learning.mixture import WIDEST_LOG_SCALE, MixtureNetwork
from sql_ros.learning.networks import SamplingNetwork, StateActionNetwork, TwinQ
from sql_ros.learning.squash import ROOT_HALF, squash, squash_scaled


class ActingMlp(nn.Module):
    """One of the N networks of a `StateActionNetwork`, for one state.

    The first layer includes the scaling of the state.

    Args:
        network: Network whose weights are copied.
        member: Index of the copied network, from 0 to N - 1.
    """

    def __init__(self, network: StateActionNetwork, member: int) -> None:
        super().__init__()
        layers = network.mlp.members[member]
        size = network.state_size
        scaled = layers[0].weight[:size] * network.inverse_scale[:, None]  # (S, H)
        self.state_weight = _constant(scaled)
        self.bias = _constant(layers[0].bias - network.offset @ scaled)
        self.vector_weight = _constant(layers[0].weight[size:])  # (A, H)
        self.norms = nn.ModuleList(_norm(layer) for layer in layers[:-1])
        self.weights = nn.ParameterList(_constant(layer.weight) for layer in layers[1:])
        self.biases = nn.ParameterList(_constant(layer.bias) for layer in layers[1:])

    def forward(self, state: Tensor, vector: Tensor | None = None) -> Tensor:
        """Evaluate the network at one state.

        Args:
            state: State in SI units, (1, S).
            vector: Actions or noise, (K, A); None: the network has the state alone as input.

        Returns:
            Outputs (K, O), or (1, O) without `vector`.
        """
        hidden = torch.addmm(self.bias, state, self.state_weight)
        if vector is not None:
            hidden = hidden + vector @ self.vector_weight
        for norm, weight, bias in zip(self.norms, self.weights, self.biases):
            hidden = torch.addmm(bias, torch.relu(norm(hidden)), weight)
        return hidden


class ActingMixture(nn.Module):
    """A `MixtureNetwork` for one state, whose latents are divided by sqrt 2 for `squash_scaled`.

    Args:
        network: Network whose weights are copied.
    """

    def __init__(self, network: MixtureNetwork) -> None:
        super().__init__()
        size = network.action_size
        components = network.components
        self.size = size
        self.components = components
        self.trunk = ActingMlp(network, 0)
        # the last layer is split in four: logits, means, log scales, and M = (1 - R)^T row by row,
        # 1 being the identity matrix; constant factors are part of the weights
        factors = (1.0, ROOT_HALF, 1.0 / WIDEST_LOG_SCALE, -1.0)
        weights = [
            factor * part
            for factor, part in zip(
                factors, torch.split(self.trunk.weights[-1], network.head_sizes, dim=1)
            )
        ]
        biases = [
            factor * part
            for factor, part in zip(factors, torch.split(self.trunk.biases[-1], network.head_sizes))
        ]
        transposed = network.placement.view(-1, size, size).transpose(1, 2)
        placement = transposed.reshape(-1, size * size)
        weights[-1] = weights[-1] @ placement
        biases[-1] = biases[-1] @ placement
        self.head_weights = nn.ParameterList(_constant(weight) for weight in weights)
        self.head_biases = nn.ParameterList(_constant(bias) for bias in biases)
        self.trunk.weights = self.trunk.weights[:-1]
        self.trunk.biases = self.trunk.biases[:-1]
        self.last_norm = self.trunk.norms[-1]
        # the weights of the Gaussians times this matrix, less 1: boundaries from -1 to 1, without
        # the last
        self.sums = _constant(2.0 * torch.triu(torch.ones(components, components))[:, :-1])
        self.first = _constant(-torch.ones(components - 1))
        # one-hot vector of each Gaussian but the first, less that of the Gaussian before
        self.between = _constant(torch.eye(components)[1:] - torch.eye(components)[:-1])
        self.lowest = _constant(torch.eye(components)[:1])

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Draw latents as `Mixture.draw` does, by matrix products instead of a triangular solve.

        Args:
            observation: Observation (1, S).
            noise: Standard normal noise xi, (K, A + 1).

        Returns:
            Latents divided by sqrt 2, (K, A).
        """
        hidden = torch.relu(self.last_norm(self.trunk(observation)))  # (1, H)
        logit, mean, log_scale, shear = (
            torch.addmm(bias, hidden, weight)
            for weight, bias in zip(self.head_weights, self.head_biases)
        )  # each (1, ...)
        noise = noise * ROOT_HALF
        white = noise[:, :-1]  # (K, A)
        level = torch.erf(noise[:, -1:])  # uniform on [-1, 1], (K, 1)
        boundaries = torch.addmm(self.first, torch.softmax(logit, dim=-1), self.sums)  # (1, C - 1)
        above = (level > boundaries).to(level.dtype)  # (K, C - 1)
        chosen = self.lowest + above @ self.between  # one-hot (K, C)
        scale = torch.exp(
            WIDEST_LOG_SCALE * torch.tanh(chosen @ log_scale.view(self.components, self.size))
        )
        y = chosen @ mean.view(self.components, self.size) + scale * white  # (K, A)
        # u (1 - M) = y, and (1 - M)^-1 = (1 + M)(1 + M^2)(1 + M^4)..., which ends: M is nilpotent
        power = shear.view(self.size, self.size)
        order = 1
        latent = y + y @ power
        while 2 * order < self.size:
            power = power @ power
            order = 2 * order
            latent = latent + latent @ power
        return latent


class ActingStein(nn.Module):
    """A `SamplingNetwork` for one state, whose latents are divided by sqrt 2 for `squash_scaled`.

    Args:
        network: Network whose weights are copied.
    """

    def __init__(self, network: SamplingNetwork) -> None:
        super().__init__()
        self.mlp = ActingMlp(network, 0)
        self.mlp.weights[-1].mul_(ROOT_HALF)
        self.mlp.biases[-1].mul_(ROOT_HALF)
        self.direct = (
            None if network.direct is None else _constant(ROOT_HALF * network.direct.weight.T)
        )

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Map an observation (1, S) and noise (K, A) to latents divided by sqrt 2, (K, A)."""
        latent: Tensor = self.mlp(observation, noise)
        return latent if self.direct is None else latent + noise @ self.direct


class Candidates(nn.Module):
    """A policy that draws K candidate actions in one state and rates each by its Q.

    As a module it maps an observation (1, S) and noise (K, noise size) to actions (K, A) and their
    Q (K,), the smallest of the Q-networks.

    Args:
        sampler: Sampling network, whose weights are copied.
        q: Target Q-networks, whose weights are copied. This slow copy of Q ranks candidates more
            steadily from one policy to the next.
    """

    def __init__(self, sampler: MixtureNetwork | SamplingNetwork, q: TwinQ) -> None:
        super().__init__()
        self.sampler = (
            ActingMixture(sampler) if isinstance(sampler, MixtureNetwork) else ActingStein(sampler)
        )
        self.q = nn.ModuleList(ActingMlp(q, member) for member in range(len(q.mlp.members)))

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw K actions and evaluate Q at them.

        Args:
            observation: Observation (1, S).
            noise: Standard normal noise (K, noise size).

        Returns:
            Actions (K, A) in [-1, 1], and their Q (K,), the smallest of the Q-networks.
        """
        action = self.draw(observation, noise)
        return action, self.evaluate_q(observation, action)

    def with_mean(
        self, observation: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw actions and evaluate Q at the actions and at their mean in one pass.

        Args:
            observation: Observation (1, S).
            noise: Standard normal noise (K, noise size).

        Returns:
            Actions (K, A), their Q (K,), the mean action (1, A) and its Q (1,).
        """
        action = self.draw(observation, noise)
        mean = action.mean(0, keepdim=True)
        q = self.evaluate_q(observation, torch.cat([action, mean]))
        return action, q[:-1], mean, q[-1:]

    def draw(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Draw actions: observation (1, S), noise (K, noise size) -> (K, A)."""
        return squash_scaled(self.sampler(observation, noise))

    def evaluate_q(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the smallest Q of the networks at given actions: (1, S), (K, A) -> (K,)."""
        return self.evaluate_q_column(observation, action).squeeze(1)

    def evaluate_q_column(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the smallest Q of the networks as a column: (1, S), (K, A) -> (K, 1)."""
        smallest: Tensor = self.q[0](observation, action)
        for member in self.q[1:]:
            smallest = torch.minimum(smallest, member(observation, action))
        return smallest


class Composed(nn.Module):
    """Skills composed by the weighted sum of their Q.

    As a module it maps an observation (1, S) and noise (K, noise size) to actions (K, A) and their
    composed Q (K,). The policy exp(sum_i w_i Q_i / alpha) has no sampler of its own. So for every
    row of noise the sampler of each skill and the uniform distribution draw one action each, all
    from the same numbers. The action with the highest composed Q is kept.

    Args:
        skills: The skills, all with the same sizes of observation and action.
        weights: Weight w_i of each skill's Q. Weights whose sum is 1 (the mean, [C18]) keep the
            temperature. The authors' code has 1 for each skill.
        noise_sizes: Noise size of each skill's sampler.
        action_size: Size of the action, A.

    Attributes:
        noise_size: Standard normal numbers per row of noise, the largest that a draw needs.
    """

    def __init__(
        self,
        skills: Sequence[Candidates],
        weights: Sequence[float],
        noise_sizes: Sequence[int],
        action_size: int,
    ) -> None:
        super().__init__()
        self.skills = nn.ModuleList(skills)
        self.weights = list(weights)
        self.noise_sizes = list(noise_sizes)
        self.action_size = action_size
        self.noise_size = max(*noise_sizes, action_size)

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw K actions and evaluate the composed Q at them.

        Each is the best of one action by each skill and a uniform one.

        Args:
            observation: Observation (1, S).
            noise: Standard normal noise (K, noise size).

        Returns:
            Actions (K, A) in [-1, 1], and their composed Q (K,).
        """
        action = squash(noise[:, : self.action_size])  # uniform, (K, A)
        q = self._evaluate_q_column(observation, action)  # (K, 1)
        for skill, size in zip(self.skills, self.noise_sizes):
            drawn = skill.draw(observation, noise[:, :size])  # type: ignore[operator]
            drawn_q = self._evaluate_q_column(observation, drawn)
            is_better = (drawn_q > q).to(q.dtype)  # (K, 1)
            q = is_better * drawn_q + (1.0 - is_better) * q
            action = is_better * drawn + (1.0 - is_better) * action
        return action, q.squeeze(1)

    def with_mean(
        self, observation: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw actions and evaluate the composed Q at the actions and at their mean.

        Args:
            observation: Observation (1, S).
            noise: Standard normal noise (K, noise size).

        Returns:
            Actions (K, A), their composed Q (K,), the mean action (1, A) and its composed Q (1,).
        """
        action, q = self(observation, noise)
        mean = action.mean(0, keepdim=True)
        return action, q, mean, self.evaluate_q(observation, mean)

    def evaluate_q(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the composed Q at given actions: (1, S), (K, A) -> (K,)."""
        return self._evaluate_q_column(observation, action).squeeze(1)

    def _evaluate_q_column(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the composed Q at given actions as a column: (1, S), (K, A) -> (K, 1)."""
        each = [
            weight * skill.evaluate_q_column(observation, action)  # type: ignore[operator]
            for weight, skill in zip(self.weights, self.skills)
        ]
        total: Tensor = sum(each[1:], start=each[0])
        return total


class WithMean(nn.Module):
    """The graph that is exported: a policy together with the mean of its actions.

    It maps an observation (1, S) and noise (K, noise size) to actions (K, A), their Q (K,), the
    mean of the actions (1, A) and its Q (1,).

    Args:
        acting: The policy, which draws the actions.
    """

    def __init__(self, acting: Candidates | Composed) -> None:
        super().__init__()
        self.acting = acting

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return actions, their Q, the mean action and its Q, see the class."""
        return self.acting.with_mean(observation, noise)


def _constant(value: Tensor) -> nn.Parameter:
    """Return a copy of a tensor as a parameter without gradient: the exporter writes parameters."""
    return nn.Parameter(value.detach().clone().contiguous(), requires_grad=False)


def _norm(layer: Layer) -> nn.Module:
    """Return a copy of a layer's norm as a module of torch; the identity without a norm."""
    if layer.gain is None or layer.shift is None:
        return nn.Identity()
    plain = nn.LayerNorm(len(layer.gain))
    plain.weight.data.copy_(layer.gain)
    plain.bias.data.copy_(layer.shift)
    return plain
