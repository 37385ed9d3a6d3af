"""A control loop's clock: absolute deadlines on the steady clock, and how well they were kept."""

from __future__ import annotations

import math
import time

import numpy as np

SORTED = 8000  # values
KEPT_S = 60.0  # what quantiles are about: the last minute
GRACE_SHARE, MOST_GRACE_S = 0.25, 2e-3  # of a period, that a step waits for its state
LATE_SHARE = 0.25  # of a period: after a step that was later, nothing is caught up, and no two steps are nearer than the rest
FOLLOW_SHARE, FOLLOW_MOST = 0.05, 0.02  # of its distance from the state, and of a period, by which a deadline is moved at a time


class Samples:
    """The last values of something, for quantiles.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int) -> None:
        self.count = 0
        self._values = np.zeros(max(capacity, 1))

    def add(self, value: float) -> None:
        """Keeps a value, in place of the oldest."""
        self._values[self.count % len(self._values)] = value
        self.count += 1

    def quantiles(self, *shares: float) -> list[float]:
        """Of the values kept; zeros while there are none.

        Beyond `SORTED` values by a part of them: sorting a minute at 1 kHz would make the very step late that it is about. The largest
        (share 1) is that of all.
        """
        kept = self._values[: min(self.count, len(self._values))]
        if not len(kept):
            return [0.0] * len(shares)
        found = np.quantile(kept[:: -(-len(kept) // SORTED)], shares)
        return [float(kept.max() if share == 1 else value) for share, value in zip(shares, found)]


class PeriodMeter:
    """Remembers how far the last periods between control steps were from what they should be.

    Args:
        period_s: what a period should be [s].
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.missed = 0  # commands later than one period after their deadline
        self.periods = Samples(round(KEPT_S / period_s))
        self.jitter = Samples(round(KEPT_S / period_s))  # absolute error of the period
        self._last: float | None = None

    @property
    def count(self) -> int:
        """Periods so far."""
        return self.periods.count

    def tick(self, lateness_s: float = 0.0, left: float | None = None) -> None:
        """To be called once per control step.

        Args:
            lateness_s: how much later than its deadline the command left [s].
            left: when it did, control time [s]; by default steady time now.
        """
        now = time.perf_counter() if left is None else left
        if self._last is not None:
            self.periods.add(now - self._last)
            self.jitter.add(abs(now - self._last - self.period_s))
        self.missed += int(lateness_s / self.period_s)
        self._last = now

    def forget(self) -> None:
        """The loop paused on purpose: the next period does not count."""
        self._last = None


class Pacer:
    """Sleeps to absolute deadlines; a deadline missed by more than a period is given up, not caught up with a burst.

    Attributes:
        deadline: the next one, on the clock of `time.perf_counter` [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.deadline = time.perf_counter() + period_s

    def wait(self) -> None:
        """Until the next deadline."""
        now = time.perf_counter()
        if now < self.deadline:
            time.sleep(self.deadline - now)
        elif now > self.deadline + self._period:
            self.deadline = now
        self.deadline += self._period


class Schedule:
    """When control steps are due: with the state that comes nearest to the deadline, or without one, a little later.

    A state that is answered as it arrives is as fresh as can be; a clock of the loop's own would find it up to a period old.
    Deadlines drift along with the states, whose clock is another one. After a late step the next is due a full period later: two
    commands within less would move a trajectory controller by two steps in the time of one.

    Args:
        period_s: of control [s].
        now: on the clock of control (`robot/clock.py`) [s]; by default the steady clock's.
        is_coarse: The clock of control stands between messages: a step that waits for one is not late.

    Attributes:
        due: the next deadline, on the clock of control [s].
    """

    def __init__(self, period_s: float, now: float | None = None, *, is_coarse: bool = False) -> None:
        self._period = period_s
        self._late = math.inf if is_coarse else LATE_SHARE * period_s
        self._shortest = 0.0 if is_coarse else (1.0 - LATE_SHARE) * period_s  # between two steps
        self._earliest = -math.inf  # for the next step
        self._grace = min(GRACE_SHARE * period_s, MOST_GRACE_S)
        self.due = (time.perf_counter() if now is None else now) + period_s

    def is_due(self, arrived: float, every_s: float) -> bool:
        """A state that arrived then is the one for the next step; states come so often [s]."""
        return arrived >= max(self.due - 0.5 * min(every_s, self._period), self._earliest)

    def left_s(self, now: float) -> float:
        """How long the state of the next step may still be waited for [s]; 0: the step is overdue."""
        return max(self.due + self._grace - now, 0.0)

    def stepped(self, now: float, *, by_state: bool) -> None:
        """Take that a step began: the next one is due a period after its deadline, or after itself where it was late."""
        away = now - self.due
        self._earliest = now + self._shortest
        late = self._late if by_state else self._late + self._grace  # for which it waited on purpose
        if abs(away) > self._period or away > late:
            self.due = now + self._period
            return
        most = FOLLOW_MOST * self._period  # where no state came in time, states come later than was thought
        drift = min(max(FOLLOW_SHARE * away, -most), most) if by_state else most
        self.due = max(self.due + drift + self._period, self._earliest)
