"""Samplers trained to convergence on a family of energies at several temperatures at once.

A pair of energy and temperature is a situation. One network learns all situations; its observation
says which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sql_ros.checks.verify.checks import Progress
from sql_ros.learning.losses import fitting_gradient, importance_weights, stein_loss
from sql_ros.learning.mixture import MixtureNetwork
from sql_ros.learning.networks import SamplingNetwork, Scaling
from sql_ros.learning.proposals import mixture_proposal, particle_proposal, uniform_proposal
from sql_ros.learning.squash import squash

# "stein" is the plain variant of the paper
KINDS = ("mixture", "stein", "stein, skip", "stein, skip, bandwidth per dimension")
COMPONENTS = 32  # of the mixture
HIDDEN = (128, 128)
REPEATS = 8  # rows of every situation in a batch
# per state, as in the learner; Stein's method has so many fixed and so many updated ones
PARTICLES = 16
UNIFORM = 4
LEARNING_RATE = 2e-3  # at the begin; falls to zero


@dataclass(frozen=True)
class Situation:
    """An energy at a temperature, which is one state of the sampling network.

    Attributes:
        q: Maps actions (..., A) to Q (...).
        temperature: alpha.
    """

    q: Callable[[Tensor], Tensor]
    temperature: float


class Energies(torch.nn.Module):
    """Q-function whose observation says which situation is meant.

    The batch must have the same number of rows for each situation, ordered by situation: B = S *
    repeats. The observation is not read.

    Args:
        situations: The S situations.
    """

    def __init__(self, situations: Sequence[Situation]) -> None:
        super().__init__()
        self._situations = situations

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return Q (B, K) of actions.

        Args:
            observation: One-hot number of the situation (B, S); unused, because the rows are in
                order.
            action: Actions (B, K, A).
        """
        blocks = action.view(len(self._situations), -1, *action.shape[1:])
        return torch.cat([situation.q(block) for situation, block in zip(self._situations, blocks)])


class TrainedSampler:
    """A sampling network that is trained on all situations at construction, and its proposal for V.

    Args:
        kind: One of `KINDS`.
        situations: The S situations.
        size: Components of the action, A.
        updates: Gradient steps.
        seed: Seed of weights and draws.
        progress: Called with a line of text after every 1000 steps.

    Attributes:
        kind: As given.
        situations: As given.
        size: As given.
        network: The trained sampling network.
    """

    def __init__(
        self,
        kind: str,
        situations: Sequence[Situation],
        size: int,
        updates: int,
        seed: int,
        progress: Progress = lambda _: None,
    ) -> None:
        self.kind = kind
        self.situations = situations
        self.size = size
        self._generator = torch.Generator().manual_seed(seed)
        scaling = Scaling((0.0,) * len(situations), (1.0,) * len(situations))
        self.network: MixtureNetwork | SamplingNetwork
        if kind == "mixture":
            self.network = MixtureNetwork(scaling, size, HIDDEN, COMPONENTS, self._generator)
        else:
            self.network = SamplingNetwork(
                scaling, size, HIDDEN, self._generator, skip="skip" in kind
            )
        self._energies = Energies(situations)
        self._train(updates, progress)

    def _train(self, updates: int, progress: Progress) -> None:
        """Make gradient steps; the learning rate falls linearly to zero over the second half.

        Args:
            updates: Number of gradient steps.
            progress: Called with a line of text after every 1000 steps.
        """
        optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE, fused=True)
        observation, temperature = self._batch(REPEATS)
        for update in range(updates):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(
                1.0, 2.0 * (1.0 - update / updates)
            )
            for parameter, gradient in zip(
                self.network.parameters(), self._gradients(observation, temperature)
            ):
                parameter.grad = gradient
            optimizer.step()
            if (update + 1) % 1000 == 0:
                progress(f"{self.kind}, A = {self.size}: {update + 1} of {updates} updates")

    def _batch(self, repeats: int) -> tuple[Tensor, Tensor]:
        """Return one-hot observations (B, S) and temperatures (B, 1), ordered by situation.

        Args:
            repeats: Rows per situation: B = S * repeats.
        """
        observation = torch.eye(len(self.situations)).repeat_interleave(repeats, 0)
        temperature = (
            torch.tensor([situation.temperature for situation in self.situations])
            .repeat_interleave(repeats)
            .unsqueeze(1)
        )
        return observation, temperature

    def _gradients(self, observation: Tensor, temperature: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the loss with respect to the parameters of the network, as the
        learner computes them.

        Args:
            observation: One-hot observations (B, S), ordered by situation.
            temperature: alpha of each row (B, 1).

        Returns:
            One gradient per parameter, in the order of `network.parameters()`.
        """
        if isinstance(self.network, MixtureNetwork):
            noise = self._noise(len(observation), PARTICLES - UNIFORM)
            mixture, network_backward = self.network.distribution_with_backward(observation)
            latent, log_density, density_backward = mixture_proposal(
                mixture, noise, UNIFORM, self._generator
            )
            weights = importance_weights(
                self._energies(observation, squash(latent)), log_density, temperature
            )
            return (network_backward(density_backward(fitting_gradient(weights))),)
        noise = self._noise(len(observation), 2 * PARTICLES)
        by_dimension = "per dimension" in self.kind
        loss = stein_loss(
            self.network,
            self._energies,
            observation,
            noise,
            PARTICLES,
            temperature,
            per_dimension=by_dimension,
        )
        return torch.autograd.grad(loss, tuple(self.network.parameters()))

    def _noise(self, batch: int, count: int) -> Tensor:
        """Draw the standard normal input noise of the network: (batch, count, noise size)."""
        return torch.randn(batch, count, self.network.noise_size, generator=self._generator)

    @torch.no_grad()
    def sample(self, situation: int, count: int) -> Tensor:
        """Draw actions in one situation.

        Args:
            situation: Number of the situation, from 0.
            count: Number of actions, K.

        Returns:
            Actions (K, A).
        """
        observation = torch.eye(len(self.situations))[situation].unsqueeze(0)
        parts = [
            self.network(observation, self._noise(1, min(500_000, count - at)))[0]
            for at in range(0, count, 500_000)
        ]
        return squash(torch.cat(parts))

    @torch.no_grad()
    def probe(self, proposal: str, evaluations: int, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw actions from a proposal in every situation, and evaluate Q at them.

        Args:
            proposal: "sampler": actions of the sampler, a quarter of them uniform; "uniform":
                uniform actions only.
            evaluations: Actions per estimate, K.
            repeats: Estimates per situation.

        Returns:
            Q (S, repeats, K), the log density of the proposal at each action (S, repeats, K), and
            the temperatures (S, 1, 1).
        """
        observation, temperature = self._batch(repeats)
        uniform = evaluations // 4
        if proposal == "uniform":
            latent, log_density = uniform_proposal(
                len(observation), evaluations, self.size, self._generator
            )
        elif isinstance(self.network, MixtureNetwork):
            noise = self._noise(len(observation), evaluations - uniform)
            latent, log_density, _ = mixture_proposal(
                self.network.distribution(observation), noise, uniform, self._generator
            )
        else:
            particles = self.network(
                observation, self._noise(len(observation), evaluations - uniform)
            )
            latent, log_density = particle_proposal(particles, uniform, self._generator)
        q = self._energies(observation, squash(latent))
        shape = (len(self.situations), repeats, evaluations)
        return (
            q.view(shape),
            log_density.view(shape),
            temperature.view(len(self.situations), repeats, 1)[:, :1],
        )
