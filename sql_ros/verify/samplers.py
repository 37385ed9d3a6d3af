"""Samplers trained to convergence on a family of energies at several temperatures at once: every pair is a state of one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sql_ros.core.losses import fitting_slope, importance_weights, stein_loss
from sql_ros.core.mixture import MixtureNetwork
from sql_ros.core.networks import SamplingNetwork, Scaling
from sql_ros.core.proposals import mixture_proposal, particle_proposal, uniform_proposal
from sql_ros.core.squash import squash
from sql_ros.verify.checks import Progress

KINDS = ("mixture", "stein", "stein, skip", "stein, skip, bandwidth per dimension")  # the second is the paper's plain variant
COMPONENTS = 32  # of the mixture
HIDDEN = (128, 128)
REPEATS = 8  # of every state in a batch
PARTICLES, UNIFORM = 16, 4  # per state, as in the learner; Stein: this many fixed and this many updated
LEARNING_RATE = 2e-3  # falls to zero


@dataclass(frozen=True)
class Situation:
    """One state: an energy at a temperature. `q` maps actions (..., A) to (...)."""

    q: Callable[[Tensor], Tensor]
    temperature: float


class Energies(torch.nn.Module):
    """Q(s, a) where the state, one-hot (B, S), says which situation it is; B = S * repeats, situation by situation."""

    def __init__(self, situations: Sequence[Situation]) -> None:
        super().__init__()
        self._situations = situations

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of observations (B, S) and actions (B, K, A): (B, K)."""
        blocks = action.view(len(self._situations), -1, *action.shape[1:])
        return torch.cat([situation.q(block) for situation, block in zip(self._situations, blocks)])


class TrainedSampler:
    """A sampling network trained on all situations, and the proposal for V that comes with it.

    Args:
        kind: one of `KINDS`.
        situations: what to train on.
        size: of the action, A.
        updates: gradient steps.
        seed: of weights and draws.
        progress: told from time to time.
    """

    def __init__(
        self, kind: str, situations: Sequence[Situation], size: int, updates: int, seed: int, progress: Progress = lambda _: None
    ) -> None:
        self.kind, self.situations, self.size = kind, situations, size
        self._generator = torch.Generator().manual_seed(seed)
        scaling = Scaling((0.0,) * len(situations), (1.0,) * len(situations))
        self.network: MixtureNetwork | SamplingNetwork
        if kind == "mixture":
            self.network = MixtureNetwork(scaling, size, HIDDEN, COMPONENTS, self._generator)
        else:
            self.network = SamplingNetwork(scaling, size, HIDDEN, self._generator, skip="skip" in kind)
        self._energies = Energies(situations)
        self._train(updates, progress)

    def _train(self, updates: int, progress: Progress) -> None:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE, fused=True)
        observation, temperature = self._batch(REPEATS)
        for update in range(updates):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, 2.0 * (1.0 - update / updates))
            for parameter, gradient in zip(self.network.parameters(), self._gradients(observation, temperature)):
                parameter.grad = gradient
            optimizer.step()
            if (update + 1) % 1000 == 0:
                progress(f"{self.kind}, A = {self.size}: {update + 1} of {updates} updates")

    def _batch(self, repeats: int) -> tuple[Tensor, Tensor]:
        """Observations (B, S) and temperatures (B, 1), situation by situation."""
        observation = torch.eye(len(self.situations)).repeat_interleave(repeats, 0)
        temperature = torch.tensor([situation.temperature for situation in self.situations]).repeat_interleave(repeats).unsqueeze(1)
        return observation, temperature

    def _gradients(self, observation: Tensor, temperature: Tensor) -> tuple[Tensor, ...]:
        """By the parameters of the network, as the learner has them."""
        if isinstance(self.network, MixtureNetwork):
            noise = self._noise(len(observation), PARTICLES - UNIFORM)
            mixture, to_weights = self.network.with_gradient(observation)
            latent, log_density, to_mixture = mixture_proposal(mixture, noise, UNIFORM, self._generator)
            weights = importance_weights(self._energies(observation, squash(latent)), log_density, temperature)
            return to_weights(*to_mixture(fitting_slope(weights)))
        noise = self._noise(len(observation), 2 * PARTICLES)
        by_dimension = "per dimension" in self.kind
        loss = stein_loss(self.network, self._energies, observation, noise, PARTICLES, temperature, per_dimension=by_dimension)
        return torch.autograd.grad(loss, tuple(self.network.parameters()))

    def _noise(self, batch: int, count: int) -> Tensor:
        return torch.randn(batch, count, self.network.noise_size, generator=self._generator)

    @torch.no_grad()
    def sample(self, situation: int, count: int) -> Tensor:
        """Draws actions (K, A) in one situation."""
        observation = torch.eye(len(self.situations))[situation].unsqueeze(0)
        parts = [self.network(observation, self._noise(1, min(500_000, count - at)))[0] for at in range(0, count, 500_000)]
        return squash(torch.cat(parts))

    @torch.no_grad()
    def probe(self, proposal: str, evaluations: int, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
        """Q, log density and temperature at the actions of a proposal, "sampler" or "uniform".

        Returns:
            (S, repeats, K), (S, repeats, K) and (S, 1, 1) for K = `evaluations` per estimate, a quarter of them uniform with "sampler".
        """
        observation, temperature = self._batch(repeats)
        uniform = evaluations // 4
        if proposal == "uniform":
            latent, log_density = uniform_proposal(len(observation), evaluations, self.size, self._generator)
        elif isinstance(self.network, MixtureNetwork):
            noise = self._noise(len(observation), evaluations - uniform)
            latent, log_density, _ = mixture_proposal(self.network.distribution(observation), noise, uniform, self._generator)
        else:
            particles = self.network(observation, self._noise(len(observation), evaluations - uniform))
            latent, log_density = particle_proposal(particles, uniform, self._generator)
        q = self._energies(observation, squash(latent))
        shape = (len(self.situations), repeats, evaluations)
        return q.view(shape), log_density.view(shape), temperature.view(len(self.situations), repeats, 1)[:, :1]
