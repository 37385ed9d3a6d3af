"""A learning curve, and the evaluation each of its points comes from: the same for every method that is compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.experiments.gym_task import Vector, to_env

EVALUATION_SEED = 10_000  # of the first evaluation episode, the next has the next; training seeds stay far below

PROMISING = 0.8  # share of successes among the first episodes from which all are worth their time

Act = Callable[[Vector], Vector]  # observation (S,) -> action (A,) in [-1, 1]


@dataclass
class Curve:
    """Points of one run, lists of equal length; `successes` is empty where the environment knows no success.

    Attributes:
        steps: transitions collected in training.
        returns: mean undiscounted return of the evaluation episodes.
        successes: share of the evaluation episodes whose last `info` said is_success.
        episodes: evaluated at each point.
        updates: gradient steps made.
        train_s: wall time of training, evaluation left out [s].
        train_cpu_s: processor time of training, evaluation left out [s]; on a busy machine the more honest one.
    """

    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    episodes: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    train_s: list[float] = field(default_factory=list)
    train_cpu_s: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[float]]:
        """Plain lists, ready for JSON."""
        return asdict(self)


class CurveRecorder:
    """Adds points to a curve, its clocks stopped while an evaluation runs.

    Args:
        env: a second environment, for evaluation alone.
        episodes: per evaluation; 0: none is made.
        first: where fewer than `PROMISING` of the first so many succeed, the others are not tried; 0: all are, always.
    """

    def __init__(self, env: Any, episodes: int, first: int = 0) -> None:
        self.curve = Curve()
        self._env, self._episodes, self._first = env, episodes, first
        self._wall_s = self._cpu_s = 0.0
        self._start_clocks()

    def add(self, steps: int, updates: int, act: Act) -> None:
        """Evaluates and appends a point."""
        self._wall_s += time.perf_counter() - self._wall_start
        self._cpu_s += time.process_time() - self._cpu_start
        mean_return, success, made = evaluate(self._env, act, self._episodes, self._first) if self._episodes else (float("nan"), None, 0)
        self.curve.steps.append(steps)
        self.curve.returns.append(mean_return)
        if success is not None:
            self.curve.successes.append(success)
        self.curve.episodes.append(made)
        self.curve.updates.append(updates)
        self.curve.train_s.append(self._wall_s)
        self.curve.train_cpu_s.append(self._cpu_s)
        self._start_clocks()

    def _start_clocks(self) -> None:
        self._wall_start, self._cpu_start = time.perf_counter(), time.process_time()


def evaluate(env: Any, act: Act, episodes: int, first: int = 0) -> tuple[float, float | None, int]:
    """Mean undiscounted return over episodes with fixed seeds, the success rate where `info` has is_success, and how many were made.

    Args:
        env: knows how to be seeded.
        act: the policy.
        episodes: at most.
        first: fewer than `PROMISING` of the first so many succeed: the others are not tried; 0: all are.
    """
    returns: list[float] = []
    successes: list[float] = []
    for episode in range(episodes):
        if episode == first and successes and np.mean(successes) < PROMISING:
            break
        total, info = run_episode(env, act, EVALUATION_SEED + episode)
        returns.append(total)
        if "is_success" in info:
            successes.append(float(info["is_success"]))
    return float(np.mean(returns)), float(np.mean(successes)) if successes else None, len(returns)


def run_episode(env: Any, act: Act, seed: int) -> tuple[float, dict[str, Any]]:
    """One episode from a seed: its undiscounted return and the last info."""
    states = list(play(env, act, seed))
    return sum(reward for _, reward, _ in states), states[-1][2]


def play(env: Any, act: Act, seed: int, options: dict[str, Any] | None = None) -> Iterator[tuple[npt.NDArray[Any], float, dict[str, Any]]]:
    """One episode from a seed: observation, reward and info of every state, the first with reward 0."""
    observation, info = env.reset(seed=seed, options=options)
    yield observation, 0.0, info
    ended = False
    while not ended:
        action = to_env(act(np.asarray(observation, np.float32)), env.action_space)
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        yield observation, float(reward), info
