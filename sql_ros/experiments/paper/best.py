"""What training has come to, and where it was, noted as it goes: the curves of the paper's exploration experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

APART = 50  # transitions between two points, at least
EVERY = 40  # transitions, a place is noted


class BestSoFar:
    """Shared by all environments of a run.

    Args:
        key: of `info`.
        better: max or min.

    Attributes:
        steps, best: transitions so far, and the best value up to then, where it changed.
    """

    def __init__(self, key: str, better: Callable[[float, float], float]) -> None:
        self._key, self._better, self._made = key, better, 0
        self.steps: list[int] = []
        self.best: list[float] = []

    def wrap(self, env: Any) -> Any:
        """Around an environment that is trained in."""
        return _Watched(env, self.see)

    def see(self, info: dict[str, Any]) -> None:
        """After every control step."""
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
        """The best after so many transitions each."""
        places = np.searchsorted(self.steps, steps, side="right") - 1
        return [self.best[max(place, 0)] for place in places]


class _Watched(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: Any, see: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(env)
        self._see = see

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._see(result[4])
        return result


class Places:
    """Where a robot was, of all environments of a run.

    Attributes:
        noted: (x, y) [m], in the order of time, one in `EVERY` transitions.
    """

    def __init__(self) -> None:
        self._made = 0
        self.noted: list[list[float]] = []

    def wrap(self, env: Any) -> Any:
        """Around an environment that is trained in."""
        return _Watched(env, self.see)

    def see(self, info: dict[str, Any]) -> None:
        """After every control step."""
        self._made += 1
        if self._made % EVERY == 0:
            self.noted.append([round(float(info["x"]), 2), round(float(info["y"]), 2)])


class DiscountedReturns:
    """Of the episodes of all environments of a run.

    Args:
        discount: gamma.
    """

    def __init__(self, discount: float) -> None:
        self._discount, self._made = discount, 0
        self._ends: list[tuple[int, float]] = []  # transitions so far, and the return of the episode that ended then

    def wrap(self, env: Any) -> Any:
        """Around an environment that is trained in."""
        return _Summed(env, self)

    def count(self) -> None:
        """After every control step."""
        self._made += 1

    def end(self, total: float) -> None:
        """After every episode."""
        self._ends.append((self._made, total))

    def at(self, steps: Any, window: int) -> list[float]:
        """Mean of the episodes that ended within `window` transitions before each; where none did, of the last one before."""
        made, totals = np.array(self._ends).T
        means = []
        for step in steps:
            recent = totals[(made > step - window) & (made <= step)]
            means.append(float(recent.mean()) if len(recent) else float(totals[max(np.searchsorted(made, step) - 1, 0)]))
        return means


class _Summed(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: Any, returns: DiscountedReturns) -> None:
        super().__init__(env)
        self._returns, self._discount = returns, returns._discount
        self._total, self._factor = 0.0, 1.0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._returns.count()
        self._total, self._factor = self._total + self._factor * float(result[1]), self._factor * self._discount
        if result[2] or result[3]:
            self._returns.end(self._total)
            self._total, self._factor = 0.0, 1.0
        return result
