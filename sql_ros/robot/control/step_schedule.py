"""Schedule of the control steps, and measures of how well it was kept."""

from __future__ import annotations

import math
import time

import numpy as np

SORTED = 8000  # values that are sorted for a quantile at most
KEPT_S = 60.0  # time whose values quantiles are of
GRACE_SHARE = 0.25  # share of a period that a step waits for its state at most
MOST_GRACE_S = 2e-3  # longest such wait
# share of a period: after a step that was later than this the next one is due a full period later,
# and two steps are never nearer to each other than the rest of a period
LATE_SHARE = 0.25
LATENESS_SHARE = 0.5  # share of a period that a loop may be late for the safety filter
LEAST_LATENESS_S = 0.02  # lateness that the safety filter reckons with at least
OVERLOAD_S = 1.0  # time over which lateness is averaged
MOST_LATE = 0.5  # share of late steps from which on a loop is overloaded
FOLLOW_SHARE = 0.05  # of its distance from the state, by which a deadline is moved at a time
FOLLOW_MOST = 0.02  # share of a period by which a deadline is moved at most


def declared_lateness_s(period_s: float, most_s: float) -> float:
    """Return by how much a command may be late for the safety filter [s].

    Args:
        period_s: Of control [s].
        most_s: Lateness from which on the loop holds the arm [s].
    """
    return min(max(LATENESS_SHARE * period_s, LEAST_LATENESS_S), most_s)


class Overload:
    """Notice a control loop most of whose steps begin more than a period late.

    Args:
        period_s: Of control [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._share = 0.0  # of the time lately, in late periods
        self._last: float | None = None

    def is_noticed(self, now: float, lateness_s: float) -> bool:
        """Take a step; return whether the loop is overloaded.

        Args:
            now: On the clock of control [s].
            lateness_s: Of the step [s].
        """
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        weight = 1.0 - math.exp(-max(elapsed, 0.0) / OVERLOAD_S)
        self._share += weight * ((lateness_s > self._period) - self._share)
        return self._share > MOST_LATE


class Samples:
    """Keep the last values of a quantity, for quantiles.

    Args:
        capacity: Number of values that are kept.

    Attributes:
        count: Number of values so far.
    """

    def __init__(self, capacity: int) -> None:
        self.count = 0
        self._values = np.zeros(max(capacity, 1))

    def add(self, value: float) -> None:
        """Keep a value, in place of the oldest."""
        self._values[self.count % len(self._values)] = value
        self.count += 1

    def quantiles(self, *shares: float) -> list[float]:
        """Return quantiles of the values kept; zeros while there are none.

        Of more than `SORTED` values a part is sorted: to sort a minute at 1 kHz would make a step
        late. The largest (share 1) is that of all values.

        Args:
            shares: In [0, 1].
        """
        kept = self._values[: min(self.count, len(self._values))]
        if not len(kept):
            return [0.0] * len(shares)
        found = np.quantile(kept[:: -(-len(kept) // SORTED)], shares)
        return [float(kept.max() if share == 1 else value) for share, value in zip(shares, found)]


class PeriodMeter:
    """Measure the periods between control steps.

    Args:
        period_s: Period that is wanted [s].

    Attributes:
        missed: Commands later than one period after their deadline.
        periods: Measured periods [s].
        jitter: Absolute errors of the periods [s].
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.missed = 0
        self.periods = Samples(round(KEPT_S / period_s))
        self.jitter = Samples(round(KEPT_S / period_s))
        self._last: float | None = None

    @property
    def count(self) -> int:
        """Return the number of periods so far."""
        return self.periods.count

    def tick(self, lateness_s: float = 0.0, left: float | None = None) -> None:
        """Take a control step.

        Args:
            lateness_s: How much later than its deadline the command left [s].
            left: Control time at which it left [s]; by default the steady time now.
        """
        now = time.perf_counter() if left is None else left
        if self._last is not None:
            self.periods.add(now - self._last)
            self.jitter.add(abs(now - self._last - self.period_s))
        self.missed += int(lateness_s / self.period_s)
        self._last = now

    def forget(self) -> None:
        """Leave the next period out: the loop paused on purpose."""
        self._last = None


class Pacer:
    """Sleep until absolute deadlines.

    A deadline missed by more than a period is given up, not caught up with a burst.

    Args:
        period_s: Between two deadlines [s].

    Attributes:
        deadline: The next one, on the clock of `time.perf_counter` [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.deadline = time.perf_counter() + period_s

    def wait(self) -> None:
        """Sleep until the next deadline."""
        now = time.perf_counter()
        if now < self.deadline:
            time.sleep(self.deadline - now)
        elif now > self.deadline + self._period:
            self.deadline = now
        self.deadline += self._period


class Schedule:
    """Decide when control steps are due: with the state that comes nearest to the deadline, or
    without a state, a little later.

    A step at a state's arrival answers the newest information; a clock of the loop's own would find
    states up to a period old. Deadlines follow the states, whose clock is another one. After a late
    step the next is due a full period later: two commands within less would move a trajectory
    controller by two steps in the time of one.

    Args:
        period_s: Of control [s].
        now: Control time (`robot/control/clock.py`) [s]; by default that of the steady clock.
        is_coarse: Control time stands between two messages. A step that waits for one is not late.

    Attributes:
        due: Control time of the next deadline [s].
    """

    def __init__(
        self, period_s: float, now: float | None = None, *, is_coarse: bool = False
    ) -> None:
        self._period = period_s
        self._late = math.inf if is_coarse else LATE_SHARE * period_s
        self._shortest = 0.0 if is_coarse else (1.0 - LATE_SHARE) * period_s  # between two steps
        self._earliest = -math.inf  # for the next step
        self._grace = min(GRACE_SHARE * period_s, MOST_GRACE_S)
        self.due = (time.perf_counter() if now is None else now) + period_s

    def is_due(self, arrived: float, every_s: float) -> bool:
        """Return whether a state is the one for the next step.

        Args:
            arrived: Control time at which the state arrived [s].
            every_s: Mean time between two states [s].
        """
        return arrived >= max(self.due - 0.5 * min(every_s, self._period), self._earliest)

    def interrupt(self, now: float) -> None:
        """Note that a step began before it was due: the next one is due a period after it.

        Args:
            now: Control time [s].
        """
        self._earliest = now + self._shortest
        self.due = now + self._period

    def left_s(self, now: float) -> float:
        """Return how long the next step still waits for its state at a control time [s]; 0: the
        step is overdue.
        """
        return max(self.due + self._grace - now, 0.0)

    def stepped(self, now: float, *, by_state: bool) -> None:
        """Note that a step began: the next one is due a period after its deadline, or after itself
        where it was late.

        Args:
            now: Control time [s].
            by_state: The step began with a state.
        """
        away = now - self.due
        self._earliest = now + self._shortest
        # for which it waited on purpose
        late = self._late if by_state else self._late + self._grace
        if abs(away) > self._period or away > late:
            self.due = now + self._period
            return
        # where no state came in time, states come later than was thought
        most = FOLLOW_MOST * self._period
        drift = min(max(FOLLOW_SHARE * away, -most), most) if by_state else most
        self.due = max(self.due + drift + self._period, self._earliest)
