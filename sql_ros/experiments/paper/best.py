"""Recorders of a training: best value, places and returns, for the exploration experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

APART = 50  # transitions between two points, at least
EVERY = 40  # transitions between two recorded places


class BestSoFar:
    """Records the best value of an info so far, over all environments of a run.

    Args:
        key: Key of `info`.
        better: Max or min.

    Attributes:
        steps: Transitions at which the best value changed.
        best: The best value from then on.
    """

    def __init__(self, key: str, better: Callable[[float, float], float]) -> None:
        self._key, self._better, self._made = key, better, 0
        self.steps: list[int] = []
        self.best: list[float] = []

    def wrap(self, env: Any) -> Any:
        """Return an environment that is recorded."""
        return _RecordedInfo(env, self.record)

    def record(self, info: dict[str, Any]) -> None:
        """Record the info of a control step."""
        self._made += 1
        value = float(info[self._key])
        if self.best and self._better(value, self.best[-1]) == self.best[-1]:
            return
        if self.steps and self._made - self.steps[-1] < APART:
            self.best[-1] = value
        else:
            self.steps.append(self._made)
            self.best.append(value)

    def at(self, steps: Any) -> list[float]:
        """Return the best value after each of these numbers of transitions."""
        places = np.searchsorted(self.steps, steps, side="right") - 1
        return [self.best[max(place, 0)] for place in places]


class _RecordedInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose infos are recorded."""

    def __init__(self, env: Any, record: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(env)
        self._record = record

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._record(result[4])
        return result


class PlaceRecorder:
    """Records places of a robot, over all environments of a run.

    Attributes:
        recorded: (x, y) [m], in the order of time, one in `EVERY` transitions.
    """

    def __init__(self) -> None:
        self._made = 0
        self.recorded: list[list[float]] = []

    def wrap(self, env: Any) -> Any:
        """Return an environment that is recorded."""
        return _RecordedInfo(env, self.record)

    def record(self, info: dict[str, Any]) -> None:
        """Record the info of a control step."""
        self._made += 1
        if self._made % EVERY == 0:
            self.recorded.append([round(float(info["x"]), 2), round(float(info["y"]), 2)])


class DiscountedReturns:
    """Records the discounted returns of the episodes of all environments of a run.

    Args:
        discount: gamma.
    """

    def __init__(self, discount: float) -> None:
        self._discount, self._made = discount, 0
        # transitions so far, and the return of the episode that ended then
        self._ends: list[tuple[int, float]] = []

    def wrap(self, env: Any) -> Any:
        """Return an environment that is recorded."""
        return _RecordedReturn(env, self)

    def count(self) -> None:
        """Count a control step."""
        self._made += 1

    def end(self, total: float) -> None:
        """Record the discounted return of an episode that has ended."""
        self._ends.append((self._made, total))

    def at(self, steps: Any, window: int) -> list[float]:
        """Return mean returns at several numbers of transitions.

        Args:
            steps: transitions.
            window: Transitions before each, in which an episode counts if it ended; without any,
                the last episode before counts.
        """
        made, totals = np.array(self._ends).T
        means = []
        for step in steps:
            recent = totals[(made > step - window) & (made <= step)]
            means.append(
                float(recent.mean())
                if len(recent)
                else float(totals[max(np.searchsorted(made, step) - 1, 0)])
            )
        return means


class _RecordedReturn(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose discounted returns are recorded."""

    def __init__(self, env: Any, returns: DiscountedReturns) -> None:
        super().__init__(env)
        self._returns, self._discount = returns, returns._discount
        self._total, self._factor = 0.0, 1.0

    def step(self, action: Any) -> Any:
        """Make a control step, and add its reward to the return of the episode."""
        result = self.env.step(action)
        self._returns.count()
        self._total, self._factor = (
            self._total + self._factor * float(result[1]),
            self._factor * self._discount,
        )
        if result[2] or result[3]:
            self._returns.end(self._total)
            self._total, self._factor = 0.0, 1.0
        return result
