"""Training on a Gymnasium environment, without ROS, by the same `Trainer` as in the stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

import numpy as np
import torch

from sql_ros.envs.checked_env import CheckedEnv
from sql_ros.experiments.curve import Act, Curve, CurveRecorder
from sql_ros.experiments.gym_task import Vector, Wrap, opened_env, spec_of
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.runtime import Policy
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import Transition

OU_THETA, OU_SIGMA = 0.15, 0.3  # of the exploration noise, in units of the action

# called with the trainer and the curve after each point of the curve; True ends the training
Progress = Callable[[Trainer, Curve], bool | None]


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
    envs: int = 1,
    noisy: bool = False,
    skilled: bool = False,
) -> Curve:
    """Train for a number of transitions, and evaluate the policy on the way.

    Args:
        env_id: Gymnasium id of an environment with Box observations and Box actions.
        steps: Number of transitions at which the training ends, those that `prepare` loads
            included.
        seed: Seed of the environment, the networks and every draw.
        algorithm: Hyperparameters of the learner.
        pace: Warm-up (in which actions are uniform), updates per transition, and capacity of the
            replay buffer.
        evaluate_every: Transitions between two points of the curve; the last transition always has
            a point.
        evaluation_episodes: Episodes per evaluation, in the deterministic mode, with the same seeds
            each time. 0: the points are without an evaluation.
        evaluate_first: Number of episodes after which a bad evaluation is cut short; 0: never. See
            `curve.evaluate`.
        progress: Called after each point; its return value True ends the training.
        wrap: Wraps each environment that is trained in.
        prepare: Called with the trainer before the first step; may load a checkpoint or networks.
        envs: Number of environments that are acted in at once, by one call of the sampling network.
        noisy: Whether Ornstein-Uhlenbeck noise is added to the actions.
        skilled: Whether the policy that `prepare` loads acts from the first step on, without
            uniform actions.

    Returns:
        The curve.

    Raises:
        ConfigError: The environment cannot be built, a learner cannot use its spaces, or it breaks
            a rule of Gymnasium's interface, see `CheckedEnv`.
    """
    with Training(
        env_id,
        seed,
        algorithm,
        pace,
        evaluation_episodes=evaluation_episodes,
        evaluate_first=evaluate_first,
        wrap=wrap,
        envs=envs,
        noisy=noisy,
    ) as training:
        prepare(training.trainer)
        training.run(steps, evaluate_every, progress=progress, skilled=skilled)
        return training.recorder.curve


class Training:
    """Environments, trainer and curve of one training; a context that closes the environments.

    Args:
        env_id: Gymnasium id, see `train` for this argument and the others.
        seed: Seed of the environment, the networks and every draw.
        algorithm: Hyperparameters of the learner.
        pace: Warm-up, updates per transition, and capacity of the replay buffer.
        evaluation_episodes: Episodes per evaluation; 0: no evaluations.
        evaluate_first: Number of episodes after which a bad evaluation is cut short; 0: never.
        wrap: Wraps each environment that is trained in.
        envs: Number of environments that are acted in at once.
        noisy: Whether Ornstein-Uhlenbeck noise is added to the actions.

    Attributes:
        trainer: The trainer, untrained; a checkpoint may be loaded before `run`.
        recorder: Recorder of the curve and of the training time.

    Raises:
        ConfigError: The environment cannot be built, or a learner cannot use its spaces.
    """

    def __init__(
        self,
        env_id: str,
        seed: int,
        algorithm: AlgorithmConfig,
        pace: TrainerConfig,
        *,
        evaluation_episodes: int,
        evaluate_first: int = 0,
        wrap: Wrap = lambda env: env,
        envs: int = 1,
        noisy: bool = False,
    ) -> None:
        self._seed = seed
        self._noisy = noisy
        with ExitStack() as opened:
            self._envs = [opened.enter_context(opened_env(env_id, wrap=wrap)) for _ in range(envs)]
            evaluated = opened.enter_context(opened_env(env_id))
            self.trainer = Trainer(spec_of(self._envs[0]), pace, algorithm, seed)
            self.recorder = CurveRecorder(evaluated, evaluation_episodes, evaluate_first)
            self._opened = opened.pop_all()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def has_pictures(self) -> bool:
        """Return whether the environment says that it can draw pictures for a clip."""
        return "rgb_array" in ((self._envs[0].metadata or {}).get("render_modes") or [])

    def run(
        self,
        steps: int,
        evaluate_every: int,
        *,
        progress: Progress | None = None,
        between_steps: Callable[[], None] = lambda: None,
        skilled: bool = False,
    ) -> None:
        """Train until `steps` transitions were added, or `progress` returns True.

        After each transition the updates that are due are made, then a point of the curve if it is
        due. The environments are reset at the beginning.

        Args:
            steps: Number of transitions at which the training ends, loaded ones included. If there
                are as many already, nothing is done.
            evaluate_every: Transitions between two points of the curve.
            progress: Called after each point; its return value True ends the training.
            skilled: Whether a loaded policy acts from the first step on, without uniform actions.
            between_steps: Called after every control step, also in evaluations. An exception of it
                ends the training.

        Raises:
            ConfigError: An environment broke a rule of Gymnasium's interface.
        """
        trainer = self.trainer
        if trainer.replay.added >= steps:
            return
        walk = Walk(self._envs, trainer, self._seed, noisy=self._noisy, skilled=skilled)
        while trainer.replay.added < steps:
            for transition in walk.step():
                trainer.add(transition)
                while trainer.updates_due > 0:
                    trainer.update()
                made = trainer.replay.added
                if made % evaluate_every == 0 or made == steps:
                    act = deterministic(trainer.learner, trainer.spec)
                    self.recorder.add(made, trainer.learner.updates, act, between_steps)
                    if progress and progress(trainer, self.recorder.curve):
                        return
                if made == steps:
                    break
            between_steps()


class Walk:
    """Acts in environments: by uniform actions in the warm-up, then by samples of the policy.

    Construction resets the environments.

    Args:
        envs: Environments from `make_env`.
        trainer: Trainer whose learner acts. Transitions are not added to it.
        seed: Seed of the first episodes and of the uniform actions. After a resume the number of
            transitions is part of the seed, so that no draw is repeated.
        noisy: Whether Ornstein-Uhlenbeck noise is added to the samples.
        skilled: Whether the policy acts from the first step on, without uniform actions.
    """

    def __init__(
        self,
        envs: Sequence[CheckedEnv],
        trainer: Trainer,
        seed: int,
        *,
        noisy: bool = False,
        skilled: bool = False,
    ) -> None:
        self._uniform_until = 0 if skilled else trainer.config.warmup_transitions
        self._envs = envs
        self._trainer = trainer
        is_resumed = trainer.replay.added > 0  # then other draws must follow
        self._rng = np.random.default_rng([seed, trainer.replay.added] if is_resumed else seed)
        self._noise = OuNoise((len(envs), trainer.spec.action_size), self._rng) if noisy else None
        if len(envs) == 1 and not is_resumed:
            seeds = [seed]
        else:
            seeds = self._rng.integers(2**31, size=len(envs)).tolist()
        self._observations = [_single(env.reset(seed=each)[0]) for env, each in zip(envs, seeds)]

    def step(self) -> list[Transition]:
        """Make one control step in each environment; where an episode ends, begin the next.

        Returns:
            The transition of each environment.

        Raises:
            ConfigError: An environment broke a rule of Gymnasium's interface.
        """
        return [self._transition(index, action) for index, action in enumerate(self._act())]

    def _transition(self, index: int, action: Vector) -> Transition:
        """Make one control step in one environment; if its episode ends, reset the environment and
        its exploration noise.

        Args:
            index: Index of the environment.
            action: Action (A,) in [-1, 1].

        Returns:
            The transition.
        """
        env = self._envs[index]
        observation = self._observations[index]
        following, reward, terminated, truncated, _ = env.unit_step(action)
        next_observation = _single(following)
        self._observations[index] = next_observation
        if terminated or truncated:
            self._observations[index] = _single(env.reset()[0])
            if self._noise is not None:
                self._noise.forget(index)
        return Transition(observation, action, reward, next_observation, terminated, truncated)

    def _act(self) -> Vector:
        """Choose an action for each environment: (number of environments, A) in [-1, 1].

        During the warm-up the actions are uniform. Then they are samples of the policy, with the
        exploration noise if there is one.
        """
        shape = (len(self._envs), self._trainer.spec.action_size)
        if self._trainer.replay.added < self._uniform_until:
            return self._rng.uniform(-1.0, 1.0, shape).astype(np.float32)
        observations = torch.from_numpy(np.stack(self._observations))
        actions: Vector = self._trainer.learner.sample(observations, 1)[:, 0].cpu().numpy()
        return actions if self._noise is None else np.clip(actions + self._noise.draw(), -1.0, 1.0)


def _single(observation: Any) -> Vector:
    """Return an observation (S,) in single precision."""
    single: Vector = observation.astype(np.float32)
    return single


class OuNoise:
    """Ornstein-Uhlenbeck noise, x <- x - theta x + sigma N(0, 1), which begins at 0.

    [SQL17] App. D adds it to the actions of soft Q-learning and of DDPG.

    Args:
        shape: Number of environments, and size of the action A.
        rng: Generator of the draws.
    """

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._state = np.zeros(shape, np.float32)
        self._rng = rng

    def draw(self) -> Vector:
        """Advance the noise by one step and return it: (number of environments, A).

        The array is the state itself: the next call changes it.
        """
        self._state += -OU_THETA * self._state + OU_SIGMA * self._rng.standard_normal(
            self._state.shape, np.float32
        )
        return self._state

    def forget(self, index: int) -> None:
        """Set the noise of one environment to 0, at the beginning of its episode."""
        self._state[index] = 0.0


def sampled(learner: Learner) -> Act:
    """Return a function from an observation (S,) to an action (A,) drawn from the present policy.

    Each call advances the learner's random generator.
    """

    def act(observation: Vector) -> Vector:
        action: Vector = learner.sample(torch.from_numpy(observation[None]), 1)[0, 0].cpu().numpy()
        return action

    return act


def deterministic(learner: Learner, spec: TaskSpec) -> Act:
    """Return a function that acts as the exported policy does in its deterministic mode.

    The mode is that of `Policy.ranked`. The policy is exported at the first call of the function
    and stays as it is then. No random number of the learner is drawn.

    Args:
        learner: The learner whose policy is exported.
        spec: Interface of the task.

    Returns:
        A function from an observation (S,) to an action (A,).
    """
    rng = np.random.default_rng(0)

    @cache
    def policy() -> Policy:
        return Policy(export_policy(learner, spec, 1, "")[0], spec)

    def act(observation: Vector) -> Vector:
        action: Vector = policy().ranked(observation, rng)[0]
        return action

    return act
