"""The learner: `step(batch)` makes one gradient step, without a loop, a buffer or a clock.

DDPG and SAC, with which soft Q-learning is compared, differ from it in two places: the value of a
state and the gradient of the sampling network. As in [SQL17], DDPG is soft Q-learning without the
entropy in the value and without the repulsion between particles. Letters and symbols:
`sql_ros.learning`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sql_ros.common.errors import ConfigError
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.kernels.cuda_graph import GraphedUpdate
from sql_ros.learning.kernels.fused_adam import Adam
from sql_ros.learning.kernels.linear_kernels import fastest_precision
from sql_ros.learning.kernels.target_q_evaluator import TargetQEvaluator
from sql_ros.learning.losses import (
    ascent_loss,
    bellman_target,
    boltzmann_entropy,
    fitting_gradient,
    importance_weights,
    q_gradient,
    q_loss,
    soft_value,
    stein_loss,
)
from sql_ros.learning.mixture import MixtureNetwork
from sql_ros.learning.networks import SamplingNetwork, Scaling, TwinQ
from sql_ros.learning.proposals import mixture_proposal, particle_proposal, uniform_proposal
from sql_ros.learning.replay import Batch
from sql_ros.learning.squash import squash

MIXTURE_COMPONENTS = 16  # Gaussians per state of the sampler "mixture"
TARGET_PERIOD = 1000  # updates between two hard copies to the target

Gradients = tuple[Tensor, ...]  # by the parameters of the sampling network


class Proposal(NamedTuple):
    """Actions at which V is estimated."""

    latent: Tensor  # latents u, (B, K, A)
    log_density: Tensor  # log q of the actions squash(u), (B, K)
    # from the gradient of a loss by log pi of the actions (B, K) to its gradients by the sampler's
    # parameters; None: the sampler has no known density pi
    sampler_backward: Callable[[Tensor], Gradients] | None


class UpdateTerms(NamedTuple):
    """The parts of an update in which the algorithms differ."""

    next_value: Tensor  # V(s') by the target networks, or their Q(s', a') for DDPG, (B,)
    sampler_gradients: Gradients
    entropy: Tensor  # of the policy, mean over the batch, scalar [nats]; 0 for DDPG


class Learner:
    """Q-networks, their target and the sampling network, with the optimisers that train them.

    Attributes:
        config: The hyperparameters.
        action_size: Size of the action, A.
        q: The Q-networks.
        q_target: The target networks: a slow copy of `q`, with which V is estimated.
        sampler: The sampling network.
        updates: Number of steps made.

    Args:
        config: The hyperparameters.
        scaling: Scaling of the observations, (S,).
        action_size: Size of the action, A.
        seed: Seed of the weights and of every random draw in `step`, `sample` and `value`.

    Raises:
        ConfigError: The device is "cuda" and torch finds no CUDA device.
    """

    def __init__(
        self, config: AlgorithmConfig, scaling: Scaling, action_size: int, seed: int
    ) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "'device' is 'cuda', but torch finds no CUDA device: run nvidia-smi, install a CUDA"
                " build of torch, or use 'cpu'"
            )
        self.config = config
        self.action_size = action_size
        self.updates = 0
        self._device = torch.device(config.device)
        on_gpu = self._device.type == "cuda"
        weights_generator = torch.Generator().manual_seed(seed)
        self.q = TwinQ(
            scaling,
            action_size,
            config.hidden_sizes,
            config.q_networks,
            weights_generator,
            layer_norm=config.layer_norm,
        ).to(self._device)
        self.sampler = self._create_sampler(scaling, weights_generator)
        self.q_target = copy.deepcopy(self.q).requires_grad_(False)
        self._target_evaluator = TargetQEvaluator(self.q_target, self._particle_precision())
        self._log_temperature = torch.tensor(
            math.log(config.temperature_at(0)), device=self._device, requires_grad=True
        )
        self._optimizer = Adam(
            [
                (self.q.parameters(), config.q_learning_rate),
                (self.sampler.parameters(), config.sampler_learning_rate),
            ]
        )
        self._temperature_optimizer = Adam(
            [([self._log_temperature], config.temperature_learning_rate)]
        )
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._run_update = GraphedUpdate(self._update, self._generator) if on_gpu else self._update
        # every gradient of soft Q-learning with a mixture is written by hand, so that autograd need
        # not record operators; not tried in a CUDA graph
        self._needs_no_autograd = (
            config.kind == "sql" and config.sampler == "mixture" and not on_gpu
        )

    def _create_sampler(
        self, scaling: Scaling, generator: torch.Generator
    ) -> MixtureNetwork | SamplingNetwork:
        """Create the sampling network of the configured algorithm, on the device.

        Soft Q-learning has a mixture of `MIXTURE_COMPONENTS` Gaussians, or the Stein sampler. SAC
        has one Gaussian, DDPG a network without noise.

        Args:
            scaling: Scaling of the observations, (S,).
            generator: Source of the initial weights.
        """
        config = self.config
        hidden = config.hidden_sizes
        sampler: MixtureNetwork | SamplingNetwork
        if config.kind == "ddpg":
            sampler = SamplingNetwork(
                scaling, self.action_size, hidden, generator, skip=False, deterministic=True
            )
        elif config.kind == "sac":
            sampler = MixtureNetwork(scaling, self.action_size, hidden, 1, generator)
        elif config.sampler == "mixture":
            sampler = MixtureNetwork(
                scaling, self.action_size, hidden, MIXTURE_COMPONENTS, generator
            )
        else:
            sampler = SamplingNetwork(
                scaling, self.action_size, hidden, generator, skip=config.noise_skip
            )
        return sampler.to(self._device)

    def _particle_precision(self) -> torch.dtype:
        """Return the precision in which the target networks are evaluated at value particles.

        With `particle_precision` "auto" it is the faster one on this machine.
        """
        config = self.config
        if config.particle_precision != "auto":
            precision: torch.dtype = getattr(torch, config.particle_precision)
            return precision
        rows = config.batch_size * config.value_particles  # of one product
        if config.splits_value_particles:
            rows //= config.q_networks
        return fastest_precision(rows, max(config.hidden_sizes), self._device)

    @property
    def temperature(self) -> float:
        """Return alpha of the next update: by the schedule, or as tuned so far."""
        if self.config.temperature_mode == "tuned":
            return self._log_temperature.exp().item()
        return self.config.temperature_at(self.updates)

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one gradient step on the Q-networks and the sampling network, and move the target.

        A tuned temperature makes a gradient step, too. With `target_update` "hard" the target moves
        only in every step number `TARGET_PERIOD`. `updates` rises by 1.

        Args:
            batch: B transitions.

        Returns:
            Detached scalars of the update by name; the next step may overwrite them:
            "q_loss": loss of the Q-networks;
            "value_mean": mean value of the next states;
            "target_mean": mean Bellman target;
            "entropy": entropy of the policy [nats], 0 for DDPG.
        """
        config = self.config
        if config.annealing_updates:
            self._set_scheduled_temperature()
        tensors = {
            name: torch.from_numpy(array).to(self._device) for name, array in vars(batch).items()
        }
        with torch.inference_mode(self._needs_no_autograd):
            metrics = self._run_update(tensors)
        self.updates += 1
        if config.target_update == "hard" and self.updates % TARGET_PERIOD == 0:
            self._copy_to_target()
        return metrics

    def _update(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Make the part of `step` that a GPU can replay as one graph.

        Changes Q-networks, sampling network and, if tuned, the temperature by their gradients, and
        moves the target if `target_update` is "polyak". No branch here depends on the values of a
        tensor.

        Args:
            batch: Fields of a `Batch` by name, as tensors on the device.

        Returns:
            The scalars that `step` returns.
        """
        config = self.config
        temperature = self._log_temperature.detach().exp()
        compute_terms = {
            "sql": self._soft_q_learning_terms,
            "ddpg": self._ddpg_terms,
            "sac": self._sac_terms,
        }[config.kind]
        terms = compute_terms(batch["observation"], batch["next_observation"], temperature)

        # [SQL17] Eq. 11
        target = bellman_target(
            batch["reward"], batch["terminated"], terms.next_value, config.discount
        )  # (B,)
        q, q_backward = self.q.evaluate_each_with_backward(
            batch["observation"], batch["action"]
        )  # (N, B)
        loss, loss_gradient = q_loss(q, target)
        self._optimizer.step([q_backward(loss_gradient), *terms.sampler_gradients])

        if config.temperature_mode == "tuned":
            # gradient of log alpha * (H - target entropy) by log alpha: alpha falls while the
            # entropy is above its target
            entropy_error = terms.entropy - config.target_entropy * self.action_size
            self._temperature_optimizer.step([entropy_error])
        if config.target_update == "polyak":
            self._move_target()
        return {
            "q_loss": loss,
            "value_mean": terms.next_value.mean(),
            "target_mean": target.mean(),
            "entropy": terms.entropy,
        }

    def _soft_q_learning_terms(
        self, observation: Tensor, next_observation: Tensor, temperature: Tensor
    ) -> UpdateTerms:
        """Compute the terms of soft Q-learning.

        The mixture sampler is fitted to the importance weights of the actions drawn in s'. The
        Stein sampler moves particles of its own, drawn in s. The value of s' is the smallest of the
        networks' values. The entropy is that of exp((Q - V) / alpha) in s', averaged over states
        and networks.

        Args:
            observation: Observations s, (B, S).
            next_observation: Next observations s', (B, S).
            temperature: Temperature alpha, scalar.
        """
        proposal = self._propose(next_observation)
        next_q, log_density = self._evaluate_target_q(next_observation, proposal)  # (B, N, K / N)
        # [SQL17] Eq. 10
        value = soft_value(next_q, log_density, temperature)  # (B, N)
        weights = importance_weights(next_q, log_density, temperature)  # (B, N, K / N)
        entropy = boltzmann_entropy(next_q, value, weights, temperature).mean()
        if proposal.sampler_backward is None:
            sampler_gradients = self._sampler_gradients(self._stein_loss(observation, temperature))
        else:
            by_log_policy = fitting_gradient(weights).transpose(1, 2)  # (B, K / N, N)
            sampler_gradients = proposal.sampler_backward(
                by_log_policy.reshape(proposal.log_density.shape)
            )
        next_value = value.amin(1)  # (B,)
        return UpdateTerms(next_value, sampler_gradients, entropy)

    def _evaluate_target_q(self, observation: Tensor, proposal: Proposal) -> tuple[Tensor, Tensor]:
        """Evaluate the target Q-networks at the actions of a proposal.

        With `splits_value_particles` network i of N is evaluated at the actions i, i + N, i + 2 N
        and so on. Without it the minimum of the networks is evaluated at all actions, and N is 1 in
        the shapes below.

        Args:
            observation: Observations (B, S).
            proposal: Actions drawn in these states.

        Returns:
            Q, and the log density of the actions at which it was evaluated, both (B, N, K / N).
        """
        action = squash(proposal.latent)  # (B, K, A)
        if not self.config.splits_value_particles:
            q = self._target_evaluator.smallest(observation, action)  # (B, K)
            return q.unsqueeze(1), proposal.log_density.unsqueeze(1)
        batch = len(action)
        networks = self.config.q_networks
        shares = action.view(batch, -1, networks, self.action_size).transpose(1, 2)
        q = self._target_evaluator.each_at_its_share(observation, shares)  # (B, N, K / N)
        return q, proposal.log_density.view(batch, -1, networks).transpose(1, 2)

    def _ddpg_terms(
        self, observation: Tensor, next_observation: Tensor, temperature: Tensor
    ) -> UpdateTerms:
        """Compute the terms of DDPG: one action per state, which climbs Q, and its Q as the value.

        The value is the smallest Q of the target networks. The action climbs the smallest Q of the
        networks themselves.

        Args:
            observation: Observations s, (B, S).
            next_observation: Next observations s', (B, S).
            temperature: Scalar that gives only the type of the entropy, which is 0.
        """
        with torch.no_grad():
            next_latent = self.sampler(next_observation, self._noise(len(next_observation), 1))
        next_q = self._target_evaluator.smallest(next_observation, squash(next_latent))  # (B, 1)
        latent = self.sampler(observation, self._noise(len(observation), 1))  # (B, 1, A)
        direction = q_gradient(partial(self.q, observation, frozen=True), latent)  # (B, 1, A)
        sampler_gradients = self._sampler_gradients(ascent_loss(direction, latent))
        return UpdateTerms(next_q[:, 0], sampler_gradients, torch.zeros_like(temperature))

    def _sac_terms(
        self, observation: Tensor, next_observation: Tensor, temperature: Tensor
    ) -> UpdateTerms:
        """Compute the terms of SAC: the sampler is one Gaussian before the squash.

        The gradient of Q - alpha log pi at its own draws moves the Gaussian. The value of s' is the
        smallest Q of the target networks less alpha log pi, at one action drawn in s'.

        Args:
            observation: Observations s, (B, S).
            next_observation: Next observations s', (B, S).
            temperature: Temperature alpha, scalar.
        """
        with torch.no_grad():
            next_latent, next_log_policy = self._sample_with_log_density(next_observation)
            next_q = self._target_evaluator.smallest(next_observation, squash(next_latent))
            value = next_q - temperature * next_log_policy  # (B, 1)
        latent, log_policy = self._sample_with_log_density(observation)
        direction = q_gradient(partial(self.q, observation, frozen=True), latent)  # (B, 1, A)
        loss = temperature * log_policy.mean() + ascent_loss(direction, latent)
        entropy = -log_policy.detach().mean()
        return UpdateTerms(value[:, 0], self._sampler_gradients(loss), entropy)

    def _sampler_gradients(self, loss: Tensor) -> Gradients:
        """Return the gradients of a loss by the parameters of the sampling network."""
        return torch.autograd.grad(loss, tuple(self.sampler.parameters()))

    def _sample_with_log_density(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Draw one latent per state from the mixture sampler, differentiable by autograd.

        Args:
            observation: Observations (B, S).

        Returns:
            The latents (B, 1, A), and the log density of their actions (B, 1).
        """
        assert isinstance(self.sampler, MixtureNetwork)
        mixture = self.sampler.distribution(observation)
        latent = mixture.draw(self._noise(len(observation), 1))
        return latent, mixture.log_density(latent)

    def _stein_loss(self, observation: Tensor, temperature: Tensor) -> Tensor:
        """Return the Stein loss of the sampling network in states (B, S), with fresh noise.

        Args:
            observation: Observations s, (B, S).
            temperature: Temperature alpha, scalar.
        """
        assert isinstance(self.sampler, SamplingNetwork)
        config = self.config
        noise = self._noise(len(observation), config.fixed_particles + config.updated_particles)
        return stein_loss(
            self.sampler,
            partial(self.q, frozen=True),
            observation,
            noise,
            config.fixed_particles,
            temperature,
            per_dimension=config.bandwidth == "per_dimension",
        )

    @torch.no_grad()
    def sample(self, observation: Tensor, count: int) -> Tensor:
        """Draw actions of the present policy.

        Args:
            observation: Observations (B, S), on any device.
            count: Actions per state, K.

        Returns:
            Actions (B, K, A) in [-1, 1], on the device of the learner.
        """
        noise = self._noise(len(observation), count)
        return squash(self.sampler(observation.to(self._device), noise))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """Estimate V by the target networks at newly drawn actions: observations (B, S) -> (B,).

        Of several Q-networks with a value each, the smallest value counts.
        """
        observation = observation.to(self._device)
        proposal = self._propose(observation)
        q, log_density = self._evaluate_target_q(observation, proposal)
        return soft_value(q, log_density, self.temperature).amin(1)

    @torch.no_grad()
    def _propose(self, observation: Tensor) -> Proposal:
        """Draw the actions at which V is estimated in states (B, S), as configured.

        The Stein sampler has no known density: its proposal has no `sampler_backward`.

        Args:
            observation: Observations (B, S).
        """
        if isinstance(self.sampler, MixtureNetwork):
            return self._propose_by_mixture(self.sampler, observation)
        config = self.config
        batch = len(observation)
        if config.value_proposal == "uniform":
            latent, log_density = uniform_proposal(
                batch, config.value_particles, self.action_size, self._generator
            )
        else:
            noise = self._noise(batch, config.value_particles - config.uniform_particles)
            latent, log_density = particle_proposal(
                self.sampler(observation, noise), config.uniform_particles, self._generator
            )
        return Proposal(latent, log_density, None)

    def _propose_by_mixture(self, sampler: MixtureNetwork, observation: Tensor) -> Proposal:
        """Draw actions of the mixture and uniform ones in states (B, S), or uniform ones alone.

        Args:
            sampler: Mixture network, whose gradient the proposal gives.
            observation: Observations (B, S).
        """
        config = self.config
        batch = len(observation)
        mixture, network_backward = sampler.distribution_with_backward(observation)
        if config.value_proposal == "uniform":
            latent, log_density = uniform_proposal(
                batch, config.value_particles, self.action_size, self._generator
            )
            _, density_backward = mixture.log_density_with_backward(latent)
        else:
            noise = self._noise(batch, config.value_particles - config.uniform_particles)
            latent, log_density, density_backward = mixture_proposal(
                mixture, noise, config.uniform_particles, self._generator
            )

        def sampler_backward(by_log_policy: Tensor) -> Gradients:
            return (network_backward(density_backward(by_log_policy)),)

        return Proposal(latent, log_density, sampler_backward)

    def _noise(self, batch: int, count: int) -> Tensor:
        """Draw standard normal noise xi (`batch`, `count`, noise size); for DDPG it is zero."""
        shape = (batch, count, self.sampler.noise_size)
        if self.config.kind == "ddpg":
            return torch.zeros(shape, device=self._device)
        return torch.randn(shape, generator=self._generator, device=self._device)

    @torch.no_grad()
    def _set_scheduled_temperature(self) -> None:
        """Set alpha of the next update by the schedule; do nothing if alpha is tuned."""
        if self.config.temperature_mode == "schedule":
            self._log_temperature.fill_(math.log(self.config.temperature_at(self.updates)))

    @torch.no_grad()
    def _move_target(self) -> None:
        """Move the target networks towards Q by the target rate (Polyak)."""
        self.q_target.mlp.flat.lerp_(self.q.mlp.flat, self.config.target_rate)
        self._target_evaluator.copy_weights()

    @torch.no_grad()
    def _copy_to_target(self) -> None:
        """Copy the parameters of Q to the target networks."""
        self.q_target.mlp.flat.copy_(self.q.mlp.flat)
        self._target_evaluator.copy_weights()

    @property
    def is_finite(self) -> bool:
        """Return whether every parameter of the networks and the temperature is finite."""
        networks = (self.q, self.q_target, self.sampler)
        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        return all(bool(torch.isfinite(each).all()) for each in (*tensors, self._log_temperature))

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which `step` depends, for a checkpoint.

        Returns:
            Nested dicts of tensors and plain numbers, which may share memory with the learner: "q",
            "q_target", "sampler", "log_temperature", "optimizer", "temperature_optimizer",
            "generator" (state of the random generator) and "updates".
        """
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
        """Restore what `state_dict` returned.

        The next `step` is then bit-equal to the one that would have followed `state_dict`.

        Args:
            state: Result of `state_dict` of a learner with the same networks.

        Raises:
            KeyError: An entry is missing.
            RuntimeError: A shape differs.
        """
        self.q.load_state_dict(state["q"])
        self.q_target.load_state_dict(state["q_target"])
        self._target_evaluator.copy_weights()
        self.sampler.load_state_dict(state["sampler"])
        with torch.no_grad():
            self._log_temperature.copy_(state["log_temperature"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._temperature_optimizer.load_state_dict(state["temperature_optimizer"])
        self._generator.set_state(state["generator"])
        self.updates = int(state["updates"])
        self._set_scheduled_temperature()
