"""Training on a Gymnasium environment: the library's one trainer, fed in this process, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.errors import ConfigError
from sql_ros.core.export import export_policy
from sql_ros.core.learner import Learner
from sql_ros.core.policy import Policy
from sql_ros.core.replay import Transition
from sql_ros.core.spec import TaskSpec
from sql_ros.core.trainer import Trainer
from sql_ros.experiments.curve import Act, Curve, CurveRecorder
from sql_ros.experiments.gym_task import Vector, make_env, spec_of, to_env

OU_THETA, OU_SIGMA = 0.15, 0.3  # of the exploration noise, in units of the action

Progress = Callable[[Trainer, Curve], bool | None]  # told after each evaluation; may export or save the trainer; True ends the run
Wrap = Callable[[Any], Any]  # puts something around an environment that is trained in


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
    prepare: Callable[[Trainer], None] = lambda trainer: None,
    counted: Callable[[int], None] = lambda made: None,
    envs: int = 1,
    noisy: bool = False,
    skilled: bool = False,
) -> Curve:
    """Trains for a number of transitions and evaluates on the way.

    Args:
        env_id: a Gymnasium id with Box observations and Box actions.
        steps: transitions in the buffer at the end.
        seed: of the environment, the networks and every draw.
        algorithm: hyperparameters.
        pace: warm-up (uniform actions), updates per transition, memory.
        evaluate_every: transitions between two evaluations; the last step is always evaluated.
        evaluation_episodes: per evaluation, deterministic mode, the same seeds each time; 0: none are made, but progress is told.
        evaluate_first: see `CurveRecorder`.
        progress: told after each evaluation; returning True ends the run.
        wrap: put around each environment that is trained in.
        prepare: told before the first step; may load what was saved.
        counted: told how many transitions there are, after every control step.
        envs: environments that are acted in at once, by one call of the sampling network.
        noisy: Ornstein-Uhlenbeck noise is added to the actions.
        skilled: `prepare` loads a policy that acts from the first step on: no uniform actions.

    Raises:
        ConfigError: the environment cannot be made, has other spaces, or gives what is not finite.
    """
    acted_in = [wrap(make_env(env_id)) for _ in range(envs)]
    trainer = Trainer(spec_of(acted_in[0]), pace, algorithm, seed)
    prepare(trainer)
    walk = Walk(acted_in, trainer, seed, noisy=noisy, skilled=skilled)
    recorder = CurveRecorder(make_env(env_id), evaluation_episodes, evaluate_first)
    while trainer.replay.added < steps:
        for transition in walk.step():
            trainer.add(transition)
            while trainer.updates_due > 0:
                trainer.update()
            made = trainer.replay.added
            if made % evaluate_every == 0 or made == steps:
                recorder.add(made, trainer.learner.updates, deterministic(trainer.learner, trainer.spec))
                if progress and progress(trainer, recorder.curve):
                    return recorder.curve
            if made == steps:
                break
        counted(trainer.replay.added)
    return recorder.curve


class Walk:
    """Acts in environments: uniform actions in the warm-up, then samples of the learner's present policy.

    Args:
        envs: from `make_env`.
        trainer: whose learner acts.
        seed: of the first episodes and the uniform actions.
        noisy: Ornstein-Uhlenbeck noise is added to the samples.
        skilled: no uniform actions.
    """

    def __init__(self, envs: Sequence[Any], trainer: Trainer, seed: int, *, noisy: bool = False, skilled: bool = False) -> None:
        self._uniform_until = 0 if skilled else trainer.config.warmup_transitions
        self._envs, self._trainer = envs, trainer
        self._rng = np.random.default_rng([seed, trainer.replay.added] if trainer.replay.added else seed)  # resumed: no second time
        self._noise = OuNoise((len(envs), trainer.spec.action_size), self._rng) if noisy else None
        seeds = [seed] if len(envs) == 1 and not trainer.replay.added else self._rng.integers(2**31, size=len(envs)).tolist()
        self._observations = [self._taken("observation", env.reset(seed=each)[0]) for env, each in zip(envs, seeds)]

    def step(self) -> list[Transition]:
        """One control step in each environment; a finished episode is followed by the first state of the next.

        Raises:
            ConfigError: an environment gave what is not finite.
        """
        return [self._follow(index, action) for index, action in enumerate(self._act())]

    def _follow(self, index: int, action: Vector) -> Transition:
        env, observation = self._envs[index], self._observations[index]
        following, reward, terminated, truncated, _ = env.step(to_env(action, env.action_space))
        next_observation = self._observations[index] = self._taken("observation", following)
        if terminated or truncated:
            self._observations[index] = self._taken("observation", env.reset()[0])
            if self._noise is not None:
                self._noise.forget(index)
        return Transition(observation, action, float(self._taken("reward", reward)), next_observation, bool(terminated), bool(truncated))

    def _taken(self, what: str, value: Any) -> Vector:
        """A copy in single precision: some environments give the same array each time.

        Raises:
            ConfigError: it is not finite; one such value, and the networks are lost.
        """
        with np.errstate(over="ignore"):
            taken = np.array(value, np.float32)
        if not np.isfinite(taken).all():
            raise ConfigError(f"the environment '{self._trainer.spec.task}' gave the {what} {value}, expected finite numbers")
        return taken

    def _act(self) -> Vector:
        """Actions (number of environments, A)."""
        if self._trainer.replay.added < self._uniform_until:
            return self._rng.uniform(-1.0, 1.0, (len(self._envs), self._trainer.spec.action_size)).astype(np.float32)
        actions: Vector = self._trainer.learner.sample(torch.from_numpy(np.stack(self._observations)), 1)[:, 0].cpu().numpy()
        return actions if self._noise is None else np.clip(actions + self._noise.draw(), -1.0, 1.0)


class OuNoise:
    """Ornstein-Uhlenbeck noise, x <- x - theta x + sigma N(0, 1), as [SQL17] App. D has it for SQL and DDPG alike."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._state, self._rng = np.zeros(shape, np.float32), rng

    def draw(self) -> Vector:
        """The next one, (number of environments, A)."""
        self._state += -OU_THETA * self._state + OU_SIGMA * self._rng.standard_normal(self._state.shape, np.float32)
        return self._state

    def forget(self, index: int) -> None:
        """A new episode begins there."""
        self._state[index] = 0.0


def sampled(learner: Learner) -> Act:
    """One draw of the policy per state."""

    def act(observation: Vector) -> Vector:
        action: Vector = learner.sample(torch.from_numpy(observation[None]), 1)[0, 0].cpu().numpy()
        return action

    return act


def deterministic(learner: Learner, spec: TaskSpec) -> Act:
    """The deterministic mode of the policy as it would be exported now, see `Policy.ranked`; draws nothing from the learner."""
    rng = np.random.default_rng(0)

    @cache
    def policy() -> Policy:
        return Policy(export_policy(learner, spec, 1, "")[0], spec)

    def act(observation: Vector) -> Vector:
        action: Vector = policy().ranked(observation, rng)[0]
        return action

    return act
