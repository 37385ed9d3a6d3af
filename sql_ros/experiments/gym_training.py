"""Soft Q-learning on a Gymnasium environment: the library's one trainer, fed in this process, without ROS and without ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sql_ros.core.learner import AlgorithmConfig, Learner
from sql_ros.core.policy import CANDIDATES
from sql_ros.core.replay import Transition
from sql_ros.core.squash import squash
from sql_ros.core.trainer import Trainer, TrainerConfig
from sql_ros.experiments.curve import Act, Curve, CurveRecorder
from sql_ros.experiments.gym_task import Vector, make_env, spec_of, to_env

Progress = Callable[[Trainer, Curve], bool | None]  # told after each evaluation; may export or save the trainer; True ends the run
Wrap = Callable[[Any], Any]  # puts something around the environment that is trained in


def train(
    env_id: str,
    steps: int,
    seed: int,
    algorithm: AlgorithmConfig,
    pace: TrainerConfig,
    *,
    evaluate_every: int,
    evaluation_episodes: int,
    evaluate_first: int = 0,
    progress: Progress | None = None,
    wrap: Wrap = lambda env: env,
) -> Curve:
    """Trains for a number of transitions and evaluates on the way.

    Args:
        env_id: a Gymnasium id with Box observations and Box actions.
        steps: transitions to collect.
        seed: of the environment, the networks and every draw.
        algorithm: hyperparameters.
        pace: warm-up (uniform actions), updates per transition, memory.
        evaluate_every: transitions between two evaluations; the last step is always evaluated.
        evaluation_episodes: per evaluation, deterministic mode, the same seeds each time.
        evaluate_first: see `CurveRecorder`.
        progress: told after each evaluation; returning True ends the run.
        wrap: put around the environment that is trained in.

    Raises:
        ConfigError: the environment cannot be made or has other spaces.
    """
    env = wrap(make_env(env_id))
    trainer = Trainer(spec_of(env), pace, algorithm, seed)
    walk = Walk(env, trainer, seed)
    recorder = CurveRecorder(make_env(env_id), evaluation_episodes, evaluate_first)
    for step in range(1, steps + 1):
        trainer.add(walk.step())
        while trainer.updates_due > 0:
            trainer.update()
        if step % evaluate_every == 0 or step == steps:
            recorder.add(step, trainer.learner.updates, deterministic(trainer.learner))
            if progress and progress(trainer, recorder.curve):
                break
    return recorder.curve


class Walk:
    """Acts in an environment: uniform actions in the warm-up, then samples of the learner's present policy.

    Args:
        env: from `make_env`.
        trainer: whose learner acts.
        seed: of the first episode and the uniform actions.
    """

    def __init__(self, env: Any, trainer: Trainer, seed: int) -> None:
        self._env, self._trainer = env, trainer
        self._rng = np.random.default_rng(seed)
        self._observation = _observed(env.reset(seed=seed)[0])

    def step(self) -> Transition:
        """One control step; a finished episode is followed by the first state of the next."""
        observation, action = self._observation, self._act()
        following, reward, terminated, truncated, _ = self._env.step(to_env(action, self._env.action_space))
        next_observation = self._observation = _observed(following)
        if terminated or truncated:
            self._observation = _observed(self._env.reset()[0])
        return Transition(observation, action, float(reward), next_observation, bool(terminated), bool(truncated))

    def _act(self) -> Vector:
        if self._trainer.replay.added < self._trainer.config.warmup_transitions:
            return self._rng.uniform(-1.0, 1.0, self._trainer.spec.action_size).astype(np.float32)
        action: Vector = self._trainer.learner.sample(torch.from_numpy(self._observation[None]), 1)[0, 0].numpy()
        return action


def deterministic(learner: Learner) -> Act:
    """The deterministic mode of `core.policy`: of a few samples the one with the highest target Q; draws nothing from the learner."""
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def act(observation: Vector) -> Vector:
        state = torch.from_numpy(observation[None])  # (1, S)
        noise = torch.randn(1, CANDIDATES, learner.sampler.noise_size, generator=generator)
        actions = squash(learner.sampler(state, noise))  # (1, K, A)
        best = int(learner.q_target(state, actions)[0].argmax())
        action: Vector = actions[0, best].numpy()
        return action

    return act


def _observed(observation: Any) -> Vector:
    """A copy (S,) in single precision: some environments give the same array each time."""
    return np.array(observation, np.float32)
