"""A learning curve and the evaluations of its points, the same for every method compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.envs.checked_env import CheckedEnv
from sql_ros.experiments.gym_task import Vector

# seed of the first evaluation episode, the second has the next number; training seeds are far below
EVALUATION_SEED = 10_000

PROMISING = 0.8  # smallest share of successes in the first episodes for an evaluation to go on

Act = Callable[[Vector], Vector]  # observation (S,) -> action (A,) in [-1, 1]


@dataclass
class Curve:
    """The points of one learning curve, as lists of equal length.

    Attributes:
        steps: Transitions collected so far.
        returns: Mean undiscounted return of the evaluation episodes; NaN without an evaluation.
        successes: Share of the evaluation episodes that ended with `is_success`; the list is empty
            if the environment knows no success.
        episodes: Number of evaluation episodes.
        updates: Gradient steps made so far.
        train_s: Wall time of training so far, without the evaluations [s].
        train_cpu_s: Processor time of training so far, without the evaluations [s]. On a busy
            machine it is more meaningful than `train_s`.
    """

    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    episodes: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    train_s: list[float] = field(default_factory=list)
    train_cpu_s: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[float]]:
        """Return the lists by name, ready for JSON."""
        return asdict(self)


class EvaluationMeans(NamedTuple):
    """The result of some evaluation episodes.

    Attributes:
        mean_return: Mean undiscounted return; NaN if no episode was evaluated.
        success_rate: Share of successful episodes; None if the environment knows no success.
        episodes: Number of episodes evaluated.
    """

    mean_return: float
    success_rate: float | None
    episodes: int


class TrainingClock:
    """A clock of the wall and processor time of a training; it starts running when constructed."""

    def __init__(self) -> None:
        self._wall_s = 0.0
        self._cpu_s = 0.0
        self._is_running = False
        self.start()

    def start(self) -> None:
        """Go on counting, from the times at the last `stop`."""
        self._wall_start = time.perf_counter()
        self._cpu_start = time.process_time()
        self._is_running = True

    def stop(self) -> None:
        """Stop counting, and keep the times so far."""
        self._wall_s, self._cpu_s = self.read()
        self._is_running = False

    def read(self) -> tuple[float, float]:
        """Return wall time and processor time counted so far [s]."""
        if not self._is_running:
            return self._wall_s, self._cpu_s
        return (
            self._wall_s + time.perf_counter() - self._wall_start,
            self._cpu_s + time.process_time() - self._cpu_start,
        )


class CurveRecorder:
    """Evaluates a policy and adds points to a curve.

    Args:
        env: Environment for evaluations alone.
        episodes: Episodes per evaluation; 0: points are added without an evaluation.
        first: Number of episodes after which a bad evaluation is cut short, see `evaluate`.

    Attributes:
        curve: The points so far.
        clock: Clock of the training; it is stopped during evaluations.
    """

    def __init__(self, env: CheckedEnv, episodes: int, first: int = 0) -> None:
        self.curve = Curve()
        self.clock = TrainingClock()
        self._env = env
        self._episodes = episodes
        self._first = first

    def add(
        self, steps: int, updates: int, act: Act, between_steps: Callable[[], None] = lambda: None
    ) -> None:
        """Evaluate a policy and append a point to the curve.

        The clock of the training stands still meanwhile. Without evaluation episodes the return of
        the point is NaN.

        Args:
            steps: Transitions so far.
            updates: Gradient steps so far.
            act: The policy.
            between_steps: Called after every step of the evaluation. An exception of it ends the
                evaluation, and no point is added.

        Raises:
            ConfigError: The environment broke a rule of Gymnasium's interface.
        """
        self.clock.stop()
        try:
            found = EvaluationMeans(float("nan"), None, 0)
            if self._episodes:
                found = evaluate(self._env, act, self._episodes, self._first, between_steps)
            self._append(steps, updates, found)
        finally:
            self.clock.start()

    def _append(self, steps: int, updates: int, found: EvaluationMeans) -> None:
        """Append a point to the lists of the curve.

        Args:
            steps: Transitions so far.
            updates: Gradient steps so far.
            found: Result of the evaluation.
        """
        wall_s, cpu_s = self.clock.read()
        self.curve.steps.append(steps)
        self.curve.returns.append(found.mean_return)
        if found.success_rate is not None:
            self.curve.successes.append(found.success_rate)
        self.curve.episodes.append(found.episodes)
        self.curve.updates.append(updates)
        self.curve.train_s.append(wall_s)
        self.curve.train_cpu_s.append(cpu_s)


def evaluate(
    env: CheckedEnv,
    act: Act,
    episodes: int,
    first: int = 0,
    between_steps: Callable[[], None] = lambda: None,
) -> EvaluationMeans:
    """Evaluate a policy in episodes with fixed seeds, from `EVALUATION_SEED` on.

    Args:
        env: The environment.
        act: The policy.
        episodes: Number of episodes, at least 1.
        first: If the share of successes in the first `first` episodes is below `PROMISING`, the
            other episodes are left out. 0, or an environment that knows no success: all are run.
        between_steps: Called after every state. An exception of it ends the evaluation.

    Returns:
        Mean return, share of successes and number of the episodes that were run.

    Raises:
        ConfigError: The environment broke a rule of Gymnasium's interface.
    """
    returns: list[float] = []
    successes: list[float] = []
    for episode in range(episodes):
        if episode == first and successes and np.mean(successes) < PROMISING:
            break
        total = 0.0
        last_info: dict[str, Any] = {}
        for _, reward, info in play(env, act, EVALUATION_SEED + episode):
            total += reward
            last_info = info
            between_steps()
        returns.append(total)
        if "is_success" in last_info:
            successes.append(env.success_of(last_info))
    return EvaluationMeans(
        float(np.mean(returns)), float(np.mean(successes)) if successes else None, len(returns)
    )


def play(
    env: CheckedEnv, act: Act, seed: int, options: dict[str, Any] | None = None
) -> Iterator[tuple[npt.NDArray[Any], float, dict[str, Any]]]:
    """Run one episode, state by state.

    Args:
        env: The environment.
        act: The policy.
        seed: Seed of the episode.
        options: Options of the environment's reset; None: no options.

    Yields:
        Observation (S,), reward and info of every state, the first with reward 0.0.

    Raises:
        ConfigError: The environment broke a rule of Gymnasium's interface.
    """
    observation, info = env.reset(seed=seed, options=options)
    yield observation, 0.0, info
    ended = False
    while not ended:
        action = act(observation.astype(np.float32))
        observation, reward, terminated, truncated, info = env.unit_step(action)
        ended = terminated or truncated
        yield observation, reward, info
