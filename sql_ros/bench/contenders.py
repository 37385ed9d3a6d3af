"""Who is measured: each contender makes n updates, drawing its batches from a replay buffer of its own kind with the same content."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sql_ros.bench import sb3
from sql_ros.bench.port import PublishedSql
from sql_ros.core.algorithm import AlgorithmConfig
from sql_ros.core.learner import Learner
from sql_ros.core.networks import Scaling
from sql_ros.core.replay import Array, ReplayBuffer

TERMINATED_SHARE = 0.01


@dataclass(frozen=True)
class Problem:
    """The sizes that decide what an update costs.

    Attributes:
        batch: transitions per update, B.
        width: of both hidden layers of every network.
        value_particles: actions per state for the soft value, K_V.
        kernel_particles: particles per state for the sampler; half fixed, half updated.
        observation_size: S.
        action_size: A.
        transitions: in the replay buffer.
        seed: of transitions, weights and draws.
    """

    batch: int = 256
    width: int = 256
    value_particles: int = 16
    kernel_particles: int = 16
    observation_size: int = 20
    action_size: int = 7
    transitions: int = 100_000
    seed: int = 0

    def arrays(self) -> dict[str, Array]:
        """Random transitions, the fields of `core.replay.Batch` with N rows."""
        rng, count = np.random.default_rng(self.seed), self.transitions
        return {
            "observation": rng.standard_normal((count, self.observation_size), np.float32),
            "action": 2.0 * rng.random((count, self.action_size), np.float32) - 1.0,
            "reward": rng.standard_normal(count, np.float32),
            "next_observation": rng.standard_normal((count, self.observation_size), np.float32),
            "terminated": (rng.random(count) < TERMINATED_SHARE).astype(np.float32),
        }

    def buffer(self) -> ReplayBuffer:
        """Our replay buffer, full of these transitions."""
        replay = ReplayBuffer(self.transitions, self.observation_size, self.action_size)
        replay.restore(self.arrays(), self.transitions)
        return replay

    def algorithm(self, settings: Mapping[str, Any]) -> AlgorithmConfig:
        """The defaults of soft Q-learning at these sizes; `settings` go over them."""
        fixed = self.kernel_particles - self.kernel_particles // 2
        sizes = {
            "hidden_sizes": (self.width, self.width),
            "batch_size": self.batch,
            "value_particles": self.value_particles,
            "uniform_particles": min(AlgorithmConfig().uniform_particles, self.value_particles - 2),
            "fixed_particles": fixed,
            "updated_particles": self.kernel_particles - fixed,
        }
        return AlgorithmConfig(**{**sizes, **settings})

    def learner(self, settings: Mapping[str, Any]) -> Learner:
        """Our learner at these sizes."""
        scaling = Scaling((0.0,) * self.observation_size, (1.0,) * self.observation_size)
        return Learner(self.algorithm(settings), scaling, self.action_size, self.seed)


@dataclass(frozen=True)
class Contender:
    """`run(n)` makes n updates, each from a fresh batch."""

    name: str
    run: Callable[[int], Any]

    def seconds(self, updates: int) -> float:
        """Mean time of one of so many updates [s]."""
        start = time.perf_counter()
        self.run(updates)
        return (time.perf_counter() - start) / updates


def ours(problem: Problem, name: str = "ours", settings: Mapping[str, Any] | None = None) -> Contender:
    """Our learner; `settings` are fields of `AlgorithmConfig`."""
    learner = problem.learner(settings or {})
    return Contender(name, _loop(learner.step, problem, learner.config.batch_size))


def port(problem: Problem) -> Contender:
    """The published update."""
    sizes = (problem.observation_size, problem.action_size, problem.width, problem.value_particles, problem.kernel_particles)
    return Contender("port", _loop(PublishedSql(*sizes, seed=problem.seed).step, problem, problem.batch))


def sac(problem: Problem) -> Contender:
    """SAC of stable-baselines3.

    Raises:
        ConfigError: stable-baselines3 is not installed.
    """
    model = sb3.build_sac(problem.arrays(), problem.width, problem.batch, problem.seed)
    return Contender("sb3_sac", lambda updates: model.train(gradient_steps=updates, batch_size=problem.batch))


def _loop(step: Callable[[Any], Any], problem: Problem, batch_size: int) -> Callable[[int], None]:
    replay, rng = problem.buffer(), np.random.default_rng(problem.seed)

    def run(updates: int) -> None:
        for _ in range(updates):
            step(replay.sample(batch_size, rng))

    return run
