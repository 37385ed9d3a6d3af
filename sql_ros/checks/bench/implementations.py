"""The implementations of an update that `sql-ros bench learner` compares.

Each implementation has a replay buffer of its own and draws its batches from it. The transitions in
the buffers are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sql_ros.checks.bench import sb3
from sql_ros.checks.bench.port import PublishedSql
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import ReplayBuffer
from sql_ros.policy.transition import Array

TERMINATED_SHARE = 0.01


@dataclass(frozen=True)
class UpdateProblem:
    """The sizes that decide the cost of an update.

    Attributes:
        batch: Transitions per update, B.
        width: Units of both hidden layers of every network.
        value_particles: Actions per state for the soft value, K_V.
        kernel_particles: Particles per state for the sampler; half of them fixed, half updated.
        observation_size: S.
        action_size: A.
        transitions: Transitions in the replay buffer.
        seed: Seed of transitions, weights and draws.
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
        """Return random transitions by the field names of `learning.replay.Batch`.

        Returns:
            Arrays of float32 with N = `transitions` rows: observation (N, S), action (N, A) in [-1,
            1), reward (N,), next_observation (N, S), terminated (N,), which is 1 with the
            probability `TERMINATED_SHARE` and else 0.
        """
        rng = np.random.default_rng(self.seed)
        count = self.transitions
        return {
            "observation": rng.standard_normal((count, self.observation_size), np.float32),
            "action": 2.0 * rng.random((count, self.action_size), np.float32) - 1.0,
            "reward": rng.standard_normal(count, np.float32),
            "next_observation": rng.standard_normal((count, self.observation_size), np.float32),
            "terminated": (rng.random(count) < TERMINATED_SHARE).astype(np.float32),
        }

    def buffer(self) -> ReplayBuffer:
        """Return a replay buffer of this package, filled to its capacity with the transitions of
        `arrays`.
        """
        replay = ReplayBuffer(self.transitions, self.observation_size, self.action_size)
        replay.restore(self.arrays(), self.transitions)
        return replay

    def algorithm(self, settings: Mapping[str, Any]) -> AlgorithmConfig:
        """Return the configuration of soft Q-learning at these sizes.

        Args:
            settings: Fields of `AlgorithmConfig`. They replace the defaults and also the sizes of
                this problem.

        Raises:
            ConfigError: A setting is not valid.
        """
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
        """Return a new learner of this package at these sizes; observations are not scaled.

        Args:
            settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes.
        """
        scaling = Scaling((0.0,) * self.observation_size, (1.0,) * self.observation_size)
        return Learner(self.algorithm(settings), scaling, self.action_size, self.seed)


@dataclass(frozen=True)
class Implementation:
    """An implementation of the update.

    Attributes:
        name: Name in tables and figures.
        run: Function of a number n; makes n updates, each from a newly drawn batch.
    """

    name: str
    run: Callable[[int], Any]

    def seconds(self, updates: int) -> float:
        """Make updates and return the mean time of one, with the drawing of its batch [s].

        Args:
            updates: Number of updates, at least 1.
        """
        start = time.perf_counter()
        self.run(updates)
        return (time.perf_counter() - start) / updates


def ours(
    problem: UpdateProblem, name: str = "ours", settings: Mapping[str, Any] | None = None
) -> Implementation:
    """Return the learner of this package as an implementation.

    Args:
        problem: Sizes, transitions and seed.
        name: Name in tables and figures.
        settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes; None: no
            changes.
    """
    learner = problem.learner(settings or {})
    return Implementation(name, _update_loop(learner.step, problem, learner.config.batch_size))


def port(problem: UpdateProblem) -> Implementation:
    """Return the port of the published update as the implementation "port".

    Args:
        problem: Sizes, transitions and seed.
    """
    sizes = (
        problem.observation_size,
        problem.action_size,
        problem.width,
        problem.value_particles,
        problem.kernel_particles,
    )
    return Implementation(
        "port", _update_loop(PublishedSql(*sizes, seed=problem.seed).step, problem, problem.batch)
    )


def sac(problem: UpdateProblem) -> Implementation:
    """Return SAC of stable-baselines3 as the implementation "sb3_sac".

    Args:
        problem: Sizes, transitions and seed; particle numbers do not apply to SAC.

    Raises:
        ConfigError: stable-baselines3 is not installed.
    """
    model = sb3.build_sac(problem.arrays(), problem.width, problem.batch, problem.seed)
    return Implementation(
        "sb3_sac", lambda updates: model.train(gradient_steps=updates, batch_size=problem.batch)
    )


def _update_loop(
    step: Callable[[Any], Any], problem: UpdateProblem, batch_size: int
) -> Callable[[int], None]:
    """Fill a replay buffer of this package and return a function that makes n updates from it.

    Args:
        step: Makes one update from a batch.
        problem: Transitions of the buffer, and the seed of the draws.
        batch_size: Transitions per drawn batch.
    """
    replay = problem.buffer()
    rng = np.random.default_rng(problem.seed)

    def run(updates: int) -> None:
        """Make a number of updates."""
        for _ in range(updates):
            step(replay.sample(batch_size, rng))

    return run
