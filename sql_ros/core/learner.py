"""One soft Q-learning step: acme's learner, `step(batch)`, with no loop, no buffer and no clock."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError
from sql_ros.core.losses import q_loss, q_target, sampler_loss, soft_value
from sql_ros.core.networks import SamplingNetwork, Scaling, TwinQ
from sql_ros.core.proposals import mixture_proposal, uniform_proposal
from sql_ros.core.replay import Batch


@dataclass(frozen=True)
class AlgorithmConfig(Config):
    """What soft Q-learning needs to know. The paper's own values are named where ours differ."""

    temperature: float = option(0.05, "alpha: reward per nat of entropy; the policy is exp(Q / alpha)", minimum=1e-6)
    final_temperature: float = option(0.05, "alpha at the end of the annealing, log-linear in updates", minimum=1e-6)
    annealing_updates: int = option(0, "updates over which alpha goes from first to last; 0: constant at temperature", minimum=0)
    discount: float = option(0.97, "gamma", minimum=0.0, maximum=1.0)
    hidden_sizes: tuple[int, ...] = option((128, 128), "width of each hidden layer of both networks (paper: 200, 200)", minimum=1)
    q_networks: int = option(2, "independent Q-networks, their minimum is used (paper: 1)", minimum=1, maximum=10)
    q_learning_rate: float = option(1e-3, "Adam step size of the Q-networks", minimum=0.0)
    sampler_learning_rate: float = option(1e-3, "Adam step size of the sampling network (paper: 1e-4)", minimum=0.0)
    batch_size: int = option(128, "transitions per update (paper: 64)", minimum=1)
    value_proposal: str = option(
        "mixture", "where V is probed: around the sampler's particles with a uniform floor, or uniformly (paper)",
        choices=("mixture", "uniform"),
    )  # fmt: skip
    value_particles: int = option(16, "actions per state for the soft value, K in Eq. 10 (paper: 50)", minimum=3)
    uniform_particles: int = option(4, "how many of them are uniform with the mixture proposal", minimum=1)
    fixed_particles: int = option(16, "particles per state that carry the score (paper: 32)", minimum=2)
    updated_particles: int = option(16, "particles per state that are moved (paper: 32)", minimum=1)
    target_update: str = option("polyak", "how the target follows Q: polyak, or hard copies (paper)", choices=("polyak", "hard"))
    target_rate: float = option(0.005, "share of Q that enters the target per update (polyak)", minimum=0.0, maximum=1.0)
    target_period: int = option(1000, "updates between two copies (hard)", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_proposal == "mixture" and self.uniform_particles > self.value_particles - 2:
            raise ConfigError(
                f"'uniform_particles' is {self.uniform_particles}, expected at most value_particles - 2 = {self.value_particles - 2}"
            )

    def temperature_at(self, updates: int) -> float:
        """Alpha after so many updates: log-linear from first to last, as in the paper's fine-tuning."""
        if self.annealing_updates == 0:
            return self.temperature
        progress = min(updates / self.annealing_updates, 1.0)
        return float(self.temperature ** (1.0 - progress) * self.final_temperature**progress)


class Learner:
    """Q-networks, their target and the sampling network, with the optimisers that train them.

    Args:
        config: the hyperparameters.
        scaling: of the observations, (S,).
        action_size: A.
        seed: of the weights and of every random draw in `step`.
    """

    def __init__(self, config: AlgorithmConfig, scaling: Scaling, action_size: int, seed: int) -> None:
        self.config = config
        self.action_size = action_size
        self.updates = 0
        self._generator = torch.Generator().manual_seed(seed)
        hidden = config.hidden_sizes
        self.q = TwinQ(scaling, action_size, hidden, config.q_networks, self._generator)
        self.sampler = SamplingNetwork(scaling, action_size, hidden, self._generator)
        self.q_target = copy.deepcopy(self.q).requires_grad_(False)
        self._q_optimizer = torch.optim.Adam(self.q.parameters(), lr=config.q_learning_rate, fused=True)
        self._sampler_optimizer = torch.optim.Adam(self.sampler.parameters(), lr=config.sampler_learning_rate, fused=True)

    @property
    def temperature(self) -> float:
        """Alpha of the next update."""
        return self.config.temperature_at(self.updates)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on Q, one on the sampling network, one step of the target.

        Returns:
            Scalars that describe the update, detached: q_loss, value_mean, target_mean.
        """
        observation, action = torch.from_numpy(batch.observation), torch.from_numpy(batch.action)
        value = self.value(torch.from_numpy(batch.next_observation))
        target = q_target(torch.from_numpy(batch.reward), torch.from_numpy(batch.terminated), value, self.config.discount)
        loss = q_loss(self.q, observation, action, target)
        _descend(self._q_optimizer, loss)
        particles = self.config.fixed_particles + self.config.updated_particles
        noise = self._noise(len(observation), particles)
        surrogate = sampler_loss(self.sampler, self.q, observation, noise, self.config.fixed_particles, self.temperature)
        _descend(self._sampler_optimizer, surrogate)
        self.updates += 1
        self._follow()
        return {"q_loss": loss.detach(), "value_mean": value.mean(), "target_mean": target.mean()}

    @torch.no_grad()
    def sample(self, observation: Tensor, count: int) -> Tensor:
        """Draws K actions of the present policy per state: (B, S) -> (B, K, A) in [-1, 1]."""
        return torch.tanh(self.sampler(observation, self._noise(len(observation), count)))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """Estimates V of the target network: (B, S) -> (B,)."""
        config, batch = self.config, len(observation)
        if config.value_proposal == "uniform":
            action, log_density = uniform_proposal(batch, config.value_particles, self.action_size, self._generator)
        else:
            centre = self.sampler(observation, self._noise(batch, config.value_particles - config.uniform_particles))
            action, log_density = mixture_proposal(centre, config.uniform_particles, self._generator)
        return soft_value(self.q_target(observation, action), log_density, self.temperature)

    def _noise(self, batch: int, count: int) -> Tensor:
        """Xi ~ N(0, I), (B, K, A)."""
        return torch.randn(batch, count, self.action_size, generator=self._generator)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the target towards Q, or copies it."""
        ours: list[Tensor] = list(self.q.parameters())
        theirs: list[Tensor] = list(self.q_target.parameters())
        if self.config.target_update == "polyak":
            torch._foreach_lerp_(theirs, ours, self.config.target_rate)
        elif self.updates % self.config.target_period == 0:
            torch._foreach_copy_(theirs, ours)

    def state_dict(self) -> dict[str, Any]:
        """Everything `step` depends on: nested dicts of tensors and plain numbers."""
        return {
            "q": self.q.state_dict(),
            "q_target": self.q_target.state_dict(),
            "sampler": self.sampler.state_dict(),
            "q_optimizer": self._q_optimizer.state_dict(),
            "sampler_optimizer": self._sampler_optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave: the next `step` is the one that would have followed, to the bit."""
        self.q.load_state_dict(state["q"])
        self.q_target.load_state_dict(state["q_target"])
        self.sampler.load_state_dict(state["sampler"])
        self._q_optimizer.load_state_dict(state["q_optimizer"])
        self._sampler_optimizer.load_state_dict(state["sampler_optimizer"])
        self._generator.set_state(state["generator"])
        self.updates = int(state["updates"])


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
