"""Recorders of a training: the best value so far, the places of a robot, and discounted returns.

Each wraps the environments of one training and counts their control steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

LEAST_INTERVAL = 50  # fewest transitions between two entries of `BestSoFar`
PLACE_INTERVAL = 40  # transitions between two recorded places


class BestSoFar:
    """Records the best value so far of an entry of `info`, over all environments of a run.

    Args:
        key: Key of the entry, whose value is a number.
        better: The function max or min: which of two values is better.

    Attributes:
        steps: Numbers of transitions at which the best value changed, at least `LEAST_INTERVAL`
            apart.
        best: The best value from each of these numbers on.
    """

    def __init__(self, key: str, better: Callable[[float, float], float]) -> None:
        self._key, self._better, self._made = key, better, 0
        self.steps: list[int] = []
        self.best: list[float] = []

    def wrap(self, env: Any) -> Any:
        """Wrap an environment so that this recorder gets the info of each step."""
        return _RecordedInfo(env, self.record)

    def record(self, info: dict[str, Any]) -> None:
        """Count a control step, and record its info if it has a better value.

        A better value that comes less than `LEAST_INTERVAL` transitions after the last entry
        replaces the value of that entry.
        """
        self._made += 1
        value = float(info[self._key])
        if self.best and self._better(value, self.best[-1]) == self.best[-1]:
            return
        if self.steps and self._made - self.steps[-1] < LEAST_INTERVAL:
            self.best[-1] = value
        else:
            self.steps.append(self._made)
            self.best.append(value)

    def at(self, steps: Any) -> list[float]:
        """Return the best value so far at several numbers of transitions.

        Args:
            steps: Numbers of transitions (P,), at least 1. A step must have been recorded.
        """
        places = np.searchsorted(self.steps, steps, side="right") - 1
        return [self.best[max(place, 0)] for place in places]


class _RecordedInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper that gives the info of each step to a function.

    Args:
        env: The environment.
        record: Called with the info of each step.
    """

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
        recorded: Places (x, y) [m] in order, one of every `PLACE_INTERVAL` transitions.
    """

    def __init__(self) -> None:
        self._made = 0
        self.recorded: list[list[float]] = []

    def wrap(self, env: Any) -> Any:
        """Wrap an environment so that this recorder gets the info of each step."""
        return _RecordedInfo(env, self.record)

    def record(self, info: dict[str, Any]) -> None:
        """Count a control step, and record "x" and "y" of its info if a place is due."""
        self._made += 1
        if self._made % PLACE_INTERVAL == 0:
            self.recorded.append([round(float(info["x"]), 2), round(float(info["y"]), 2)])


class DiscountedReturns:
    """Records the discounted returns of the episodes of all environments of a run.

    Args:
        discount: Discount gamma.
    """

    def __init__(self, discount: float) -> None:
        self._discount, self._made = discount, 0
        # of each episode: transitions so far at its end, and its return
        self._ends: list[tuple[int, float]] = []

    def wrap(self, env: Any) -> Any:
        """Wrap an environment so that this recorder gets the return of each episode."""
        return _RecordedReturn(env, self)

    def count(self) -> None:
        """Count a control step."""
        self._made += 1

    def end(self, total: float) -> None:
        """Record the discounted return of an episode that has ended."""
        self._ends.append((self._made, total))

    def at(self, steps: Any, window: int) -> list[float]:
        """Return the mean return of recent episodes at several numbers of transitions.

        Args:
            steps: Numbers of transitions (P,). An episode must have ended.
            window: An episode counts if it ended within so many transitions before. If none did,
                the last episode before counts.

        Returns:
            Mean return at each number of transitions, P numbers.
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
    """A wrapper that gives the discounted return of each episode to a recorder.

    Args:
        env: The environment.
        returns: The recorder, whose discount is used.
    """

    def __init__(self, env: Any, returns: DiscountedReturns) -> None:
        super().__init__(env)
        self._returns, self._discount = returns, returns._discount
        self._total, self._factor = 0.0, 1.0

    def step(self, action: Any) -> Any:
        """Make a control step and add its discounted reward to the return of the episode.

        If the episode ends, the return goes to the recorder. The result is that of the environment.
        """
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
