"""A control loop's clock: absolute deadlines on the steady clock, and how well they were kept."""

from __future__ import annotations

import time

import numpy as np


class PeriodMeter:
    """Remembers the last periods between control steps.

    Args:
        period_s: what a period should be [s].
        capacity: how many are kept.
    """

    def __init__(self, period_s: float, capacity: int = 20_000) -> None:
        self.period_s = period_s
        self.missed = 0  # periods longer than two: a command later than one period
        self.count = 0
        self._periods = np.zeros(capacity)
        self._last: float | None = None

    def tick(self) -> None:
        """To be called once per control step."""
        now = time.perf_counter()
        if self._last is not None:
            period = now - self._last
            self._periods[self.count % len(self._periods)] = period
            self.count += 1
            self.missed += period > 2 * self.period_s
        self._last = now

    def forget(self) -> None:
        """The loop paused on purpose: the next period does not count."""
        self._last = None

    def quantiles(self) -> tuple[float, float, float]:
        """p50, p99 and maximum of the periods kept [s]; zeros while there are none."""
        kept = self._periods[: min(self.count, len(self._periods))]
        if not len(kept):
            return 0.0, 0.0, 0.0
        p50, p99, largest = np.quantile(kept, (0.5, 0.99, 1.0))
        return float(p50), float(p99), float(largest)


class Pacer:
    """Sleeps to absolute deadlines; a deadline missed by more than a period is given up, not caught up with a burst."""

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self._deadline = time.perf_counter() + period_s

    def wait(self) -> float:
        """Until the next deadline; returns how much later than that it woke [s]."""
        deadline, now = self._deadline, time.perf_counter()
        if now < deadline:
            time.sleep(deadline - now)
            now = time.perf_counter()
        elif now > deadline + self._period:
            self._deadline = now
        self._deadline += self._period
        return now - deadline
