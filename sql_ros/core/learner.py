"""One step of soft Q-learning: acme's learner, `step(batch)`, with no loop, no buffer and no clock.

DDPG and SAC, which it is compared with, are two other answers to two questions, with everything else the same: what a state is worth, and
where the policy goes. DDPG is soft Q-learning without the entropy in the first and without the repulsion in the second, as in [SQL17].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sql_ros.core.adam import Adam
from sql_ros.core.affine import fastest_precision
from sql_ros.core.algorithm import AlgorithmConfig
from sql_ros.core.cuda_graph import GraphedUpdate
from sql_ros.core.errors import ConfigError
from sql_ros.core.losses import (
    ascent_loss,
    boltzmann_entropy,
    fitting_slope,
    importance_weights,
    q_loss,
    q_target,
    slope_of_q,
    soft_value,
    stein_loss,
)
from sql_ros.core.mixture import MixtureNetwork
from sql_ros.core.networks import SamplingNetwork, Scaling, TwinQ
from sql_ros.core.particle_q import ParticleQ
from sql_ros.core.proposals import mixture_proposal, particle_proposal, uniform_proposal
from sql_ros.core.replay import Batch
from sql_ros.core.squash import squash

Gradients = tuple[Tensor, ...]  # by the parameters of the sampling network
Answer = tuple[Tensor, Gradients, Tensor]  # value of the next states (B,), gradients of the sampler, entropy of the policy [nats]


class Learner:
    """Q-networks, their target and the sampling network, with the optimisers that train them.

    Args:
        config: the hyperparameters.
        scaling: of the observations, (S,).
        action_size: A.
        seed: of the weights and of every random draw in `step`.

    Raises:
        ConfigError: the device is "cuda" and this torch finds none.
    """

    def __init__(self, config: AlgorithmConfig, scaling: Scaling, action_size: int, seed: int) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "'device' is 'cuda', but torch finds no CUDA device: run nvidia-smi, install a CUDA build of torch, or use 'cpu'"
            )
        self.config = config
        self.action_size = action_size
        self.updates = 0
        self._device = torch.device(config.device)
        first = torch.Generator().manual_seed(seed)
        hidden = config.hidden_sizes
        self.q = TwinQ(scaling, action_size, hidden, config.q_networks, first, layer_norm=config.layer_norm).to(self._device)
        self.sampler: MixtureNetwork | SamplingNetwork
        if config.kind == "ddpg":
            self.sampler = SamplingNetwork(scaling, action_size, hidden, first, skip=False, deterministic=True).to(self._device)
        elif config.kind == "sac" or config.sampler == "mixture":
            components = 1 if config.kind == "sac" else config.mixture_components
            self.sampler = MixtureNetwork(scaling, action_size, hidden, components, first).to(self._device)
        else:
            self.sampler = SamplingNetwork(scaling, action_size, hidden, first, skip=config.noise_skip).to(self._device)
        self.q_target = copy.deepcopy(self.q).requires_grad_(False)
        self._probe = ParticleQ(self.q_target, self._precision())
        self._log_temperature = torch.tensor(math.log(config.temperature_at(0)), device=self._device, requires_grad=True)
        on_gpu = self._device.type == "cuda"
        groups = [(self.q.parameters(), config.q_learning_rate), (self.sampler.parameters(), config.sampler_learning_rate)]
        self._optimizer = Adam(groups)
        self._temperature_optimizer = Adam([([self._log_temperature], config.temperature_learning_rate)])
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._run_update = GraphedUpdate(self._update, self._generator) if on_gpu else self._update
        # no gradient of it is autograd's, which then need not look at every operator: a tenth of the time; not tried in a CUDA graph
        self._by_hand = config.kind == "sql" and config.sampler == "mixture" and not on_gpu

    def _precision(self) -> torch.dtype:
        config = self.config
        if config.particle_precision == "auto":
            rows = config.batch_size * config.value_particles // (config.q_networks if config.apart else 1)
            return fastest_precision(rows, max(config.hidden_sizes), self._device)
        precision: torch.dtype = getattr(torch, config.particle_precision)
        return precision

    @property
    def temperature(self) -> float:
        """Alpha of the next update."""
        if self.config.temperature_mode == "tuned":
            return self._log_temperature.exp().item()
        return self.config.temperature_at(self.updates)

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """One gradient step on Q, one on the sampling network, one of the temperature if it is tuned, one step of the target.

        Returns:
            Scalars that describe the update, detached: q_loss, value_mean, target_mean, entropy. Read them before the next step.
        """
        config = self.config
        if config.annealing_updates:
            self._follow_schedule()
        with torch.inference_mode(self._by_hand):
            metrics = self._run_update({name: torch.from_numpy(array).to(self._device) for name, array in vars(batch).items()})
        self.updates += 1
        if config.target_update == "hard" and self.updates % config.target_period == 0:
            self._copy_to_target()
        return metrics

    def _update(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All of a step that a GPU can replay: no branch here depends on what is in a tensor."""
        config, temperature = self.config, self._log_temperature.detach().exp()
        answer = {"sql": self._soft_q, "ddpg": self._deterministic_gradient, "sac": self._soft_actor_critic}[config.kind]
        value, of_sampler, entropy = answer(batch["observation"], batch["next_observation"], temperature)
        target = q_target(batch["reward"], batch["terminated"], value, config.discount)
        q, back = self.q.with_gradient(batch["observation"], batch["action"])
        loss, slope = q_loss(q, target)
        self._optimizer.step([back(slope), *of_sampler])
        if config.temperature_mode == "tuned":
            # down the gradient of log alpha (H - target): alpha falls while the policy is more random than asked for
            self._temperature_optimizer.step([entropy - config.target_entropy * self.action_size])
        if config.target_update == "polyak":
            self._move_target()
        return {"q_loss": loss, "value_mean": value.mean(), "target_mean": target.mean(), "entropy": entropy}

    def _soft_q(self, observation: Tensor, next_observation: Tensor, temperature: Tensor) -> Answer:
        """Soft Q-learning."""
        latent, log_density, fit = self._propose(next_observation)
        next_q, log_share = self._ask(next_observation, latent, log_density)
        value = soft_value(next_q, log_share, temperature)  # (B, N)
        weights = importance_weights(next_q, log_share, temperature)  # (B, N, K / N)
        entropy = boltzmann_entropy(next_q, value, weights, temperature).mean()
        if fit:
            of_sampler = fit(fitting_slope(weights).transpose(1, 2).reshape(log_density.shape))
        else:
            of_sampler = self._gradients(self._stein_loss(observation, temperature))
        return value.amin(1), of_sampler, entropy

    def _ask(self, observation: Tensor, latent: Tensor, log_density: Tensor) -> tuple[Tensor, Tensor]:
        """Q of the target networks where V is probed.

        Args:
            observation: (B, S).
            latent: (B, K, A).
            log_density: of their actions, (B, K).

        Returns:
            Q, and the log density there, (B, N, K / N): of N networks, each at every Nth action, or of their minimum, N = 1.
        """
        action = squash(latent)
        if not self.config.apart:
            return self._probe(observation, action).unsqueeze(1), log_density.unsqueeze(1)
        shares = (len(action), -1, self.config.q_networks)
        q = self._probe.apart(observation, action.view(*shares, self.action_size).transpose(1, 2))
        return q, log_density.view(shares).transpose(1, 2)

    def _deterministic_gradient(self, observation: Tensor, next_observation: Tensor, temperature: Tensor) -> Answer:
        """DDPG: one particle, which nothing repels, and Q there instead of the soft value."""
        with torch.no_grad():
            action = squash(self.sampler(next_observation, self._noise(len(next_observation), 1)))
        value = self._probe(next_observation, action)[:, 0]
        latent = self.sampler(observation, self._noise(len(observation), 1))
        slope = slope_of_q(partial(self.q, observation, frozen=True), latent)
        return value, self._gradients(ascent_loss(slope, latent)), torch.zeros_like(temperature)

    def _soft_actor_critic(self, observation: Tensor, next_observation: Tensor, temperature: Tensor) -> Answer:
        """SAC: one Gaussian before the squash, moved by the gradient of Q - alpha log pi through its own draws."""
        with torch.no_grad():
            latent, log_policy = self._draw(next_observation)
            value = (self._probe(next_observation, squash(latent)) - temperature * log_policy)[:, 0]
        latent, log_policy = self._draw(observation)
        slope = slope_of_q(partial(self.q, observation, frozen=True), latent)
        loss = temperature * log_policy.mean() + ascent_loss(slope, latent)
        return value, self._gradients(loss), -log_policy.detach().mean()

    def _gradients(self, loss: Tensor) -> Gradients:
        return torch.autograd.grad(loss, tuple(self.sampler.parameters()))

    def _draw(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """One latent per state and the log density of its action, both with gradient: (B, 1, A) and (B, 1)."""
        assert isinstance(self.sampler, MixtureNetwork)
        mixture = self.sampler.distribution(observation)
        latent = mixture.draw(self._noise(len(observation), 1))
        return latent, mixture.log_density(latent)

    def _stein_loss(self, observation: Tensor, temperature: Tensor) -> Tensor:
        assert isinstance(self.sampler, SamplingNetwork)
        config, frozen_q = self.config, partial(self.q, frozen=True)
        noise = self._noise(len(observation), config.fixed_particles + config.updated_particles)
        by_dimension = config.bandwidth == "per_dimension"
        return stein_loss(self.sampler, frozen_q, observation, noise, config.fixed_particles, temperature, per_dimension=by_dimension)

    @torch.no_grad()
    def sample(self, observation: Tensor, count: int) -> Tensor:
        """Draws K actions of the present policy per state: (B, S) -> (B, K, A) in [-1, 1]."""
        return squash(self.sampler(observation.to(self._device), self._noise(len(observation), count)))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """Estimates V of the target network: (B, S) -> (B,)."""
        observation = observation.to(self._device)
        latent, log_density, _ = self._propose(observation)
        return soft_value(*self._ask(observation, latent, log_density), self.temperature).amin(1)

    @torch.no_grad()
    def _propose(self, observation: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Gradients] | None]:
        """Where V is probed.

        Args:
            observation: (B, S).

        Returns:
            latents (B, K, A), the log density of their actions (B, K), and, if the sampler has a density, from a gradient by its logarithm
            (B, K) to that of the sampler.
        """
        config, sampler, batch = self.config, self.sampler, len(observation)
        uniform, count = config.value_proposal == "uniform", config.value_particles
        if not isinstance(sampler, MixtureNetwork):
            if uniform:
                return *uniform_proposal(batch, count, self.action_size, self._generator), None
            centre = sampler(observation, self._noise(batch, count - config.uniform_particles))
            return *particle_proposal(centre, config.uniform_particles, self._generator), None
        mixture, to_weights = sampler.with_gradient(observation)
        if uniform:
            latent, log_density = uniform_proposal(batch, count, self.action_size, self._generator)
            to_mixture = mixture.with_gradient(latent)[1]
        else:
            noise = self._noise(batch, count - config.uniform_particles)
            latent, log_density, to_mixture = mixture_proposal(mixture, noise, config.uniform_particles, self._generator)
        return latent, log_density, lambda slope: to_weights(*to_mixture(slope))

    def _noise(self, batch: int, count: int) -> Tensor:
        """Xi ~ N(0, I), (B, K, noise size); DDPG has none."""
        if self.config.kind == "ddpg":
            return torch.zeros(batch, count, self.sampler.noise_size, device=self._device)
        return torch.randn(batch, count, self.sampler.noise_size, generator=self._generator, device=self._device)

    @torch.no_grad()
    def _follow_schedule(self) -> None:
        if self.config.temperature_mode == "schedule":
            self._log_temperature.fill_(math.log(self.config.temperature_at(self.updates)))

    @torch.no_grad()
    def _move_target(self) -> None:
        """Polyak: a share of Q enters the target."""
        self.q_target.mlp.flat.lerp_(self.q.mlp.flat, self.config.target_rate)
        self._probe.follow()

    @torch.no_grad()
    def _copy_to_target(self) -> None:
        self.q_target.mlp.flat.copy_(self.q.mlp.flat)
        self._probe.follow()

    def state_dict(self) -> dict[str, Any]:
        """Everything `step` depends on: nested dicts of tensors and plain numbers."""
        return {
            "q": self.q.state_dict(),
            "q_target": self.q_target.state_dict(),
            "sampler": self.sampler.state_dict(),
            "log_temperature": self._log_temperature.detach().clone(),
            "optimizer": self._optimizer.state_dict(),
            "temperature_optimizer": self._temperature_optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave: the next `step` is the one that would have followed, to the bit."""
        self.q.load_state_dict(state["q"])
        self.q_target.load_state_dict(state["q_target"])
        self._probe.follow()
        self.sampler.load_state_dict(state["sampler"])
        with torch.no_grad():
            self._log_temperature.copy_(state["log_temperature"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._temperature_optimizer.load_state_dict(state["temperature_optimizer"])
        self._generator.set_state(state["generator"])
        self.updates = int(state["updates"])
        self._follow_schedule()
