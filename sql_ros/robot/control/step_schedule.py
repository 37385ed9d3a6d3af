"""The schedule of the control steps, and statistics of how well it was kept."""

from __future__ import annotations

import math
import time

import numpy as np

SORTED = 8000  # largest number of values that are sorted for a quantile
KEPT_S = 60.0  # time for which periods are kept for quantiles
GRACE_SHARE = 0.25  # a step waits for its state at most this share of a period after the deadline
MOST_GRACE_S = 2e-3  # and at most this long
# lateness of a step, as a share of a period, after which the next step is due a full period later;
# two steps are at least 1 - LATE_SHARE of a period apart
LATE_SHARE = 0.25
LATENESS_SHARE = 0.5  # lateness that the safety filter assumes, as a share of a period
LEAST_LATENESS_S = 0.02  # smallest lateness that the safety filter assumes
OVERLOAD_S = 1.0  # time constant of the average of late steps
MOST_LATE = 0.5  # share of late steps above which a loop is overloaded
# a deadline is moved by this share of its distance from the state's arrival
FOLLOW_SHARE = 0.05
FOLLOW_MOST = 0.02  # and at most by this share of a period


def declared_lateness_s(period_s: float, most_s: float) -> float:
    """Return the lateness of commands that the safety filter assumes [s].

    It is `LATENESS_SHARE` of a period, at least `LEAST_LATENESS_S`, and at most `most_s`.

    Args:
        period_s: Control period [s].
        most_s: Lateness above which the loop holds the arm [s].
    """
    return min(max(LATENESS_SHARE * period_s, LEAST_LATENESS_S), most_s)


class Overload:
    """Detect a control loop most of whose steps begin more than a period late.

    Args:
        period_s: Control period [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.forget()

    def forget(self) -> None:
        """Forget all steps so far, so that the loop counts as not overloaded."""
        self._share = 0.0  # share of the recent time that passed in late periods
        self._last: float | None = None

    def is_noticed(self, now: float, lateness_s: float) -> bool:
        """Take a control step, and return whether the loop is overloaded.

        It is if more than `MOST_LATE` of the recent time passed in steps that were late by more
        than a period. The share is an exponential average over `OVERLOAD_S`.

        Args:
            now: Control time [s].
            lateness_s: Time between the deadline of the step and its begin [s].
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
        count: Number of values added so far; may exceed the capacity.
    """

    def __init__(self, capacity: int) -> None:
        self.count = 0
        self._values = np.zeros(max(capacity, 1))

    def add(self, value: float) -> None:
        """Keep a value. If the capacity is used up, it replaces the oldest one."""
        self._values[self.count % len(self._values)] = value
        self.count += 1

    def quantiles(self, *shares: float) -> list[float]:
        """Return quantiles of the kept values.

        Of more than `SORTED` values only every second, third, ... is sorted, because sorting a
        minute of values at 1 kHz would make a control step late. The largest value (share 1) is
        always exact.

        Args:
            shares: Shares in [0, 1], such as 0.5 for the median.

        Returns:
            A quantile for each share; zeros while no value is kept.
        """
        kept = self._values[: min(self.count, len(self._values))]
        if not len(kept):
            return [0.0] * len(shares)
        found = np.quantile(kept[:: -(-len(kept) // SORTED)], shares)
        return [float(kept.max() if share == 1 else value) for share, value in zip(shares, found)]


class PeriodMeter:
    """Measure the periods between control steps.

    Args:
        period_s: Wanted period [s].

    Attributes:
        period_s: As given.
        missed: Number of whole periods by which commands were late, summed over all commands.
        periods: Measured periods of the last `KEPT_S` [s].
        jitter: Absolute differences between measured and wanted periods [s].
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.missed = 0
        self.periods = Samples(round(KEPT_S / period_s))
        self.jitter = Samples(round(KEPT_S / period_s))
        self._last: float | None = None

    @property
    def count(self) -> int:
        """Return the number of periods measured so far."""
        return self.periods.count

    def tick(self, lateness_s: float = 0.0, left: float | None = None) -> None:
        """Take a control step: record the period since the last one, and add to `missed`.

        Args:
            lateness_s: How much later than its deadline the command left [s].
            left: Control time at which the command left [s]; None: the steady time now.
        """
        now = time.perf_counter() if left is None else left
        if self._last is not None:
            self.periods.add(now - self._last)
            self.jitter.add(abs(now - self._last - self.period_s))
        self.missed += int(lateness_s / self.period_s)
        self._last = now

    def forget(self) -> None:
        """Leave the next period out of the statistics, because the loop paused on purpose."""
        self._last = None


class Pacer:
    """Sleep until deadlines that are a period apart.

    A deadline that is missed by more than a period is given up: the later ones count from now on.

    Args:
        period_s: Time between two deadlines [s].

    Attributes:
        deadline: The next deadline, on the clock of `time.perf_counter` [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.deadline = time.perf_counter() + period_s

    def wait(self) -> None:
        """Sleep until the deadline, or return at once if it has passed; advance the deadline by a
        period. If it was missed by more than a period, the next one is a period from now.
        """
        now = time.perf_counter()
        if now < self.deadline:
            time.sleep(self.deadline - now)
        elif now > self.deadline + self._period:
            self.deadline = now
        self.deadline += self._period


class Schedule:
    """Decide when control steps are due: with the state that arrives nearest to a deadline, or a
    little later without a state.

    A step that begins at a state's arrival uses the newest information. A clock of the loop's own
    would find states up to a period old. So the deadlines are shifted a little towards the arrivals
    at every step. After a late step the next deadline is a full period later. Two commands within
    less time would move a trajectory controller by two steps in the time of one.

    Args:
        period_s: Control period [s].
        now: Control time (`robot/control/clock.py`) [s]; None: the time of `time.perf_counter`.
        is_coarse: Control time stands still between two messages of `/clock`. Then a step is never
            late, and two steps may follow each other at any distance.

    Attributes:
        due: Control time of the next deadline [s].
    """

    def __init__(
        self, period_s: float, now: float | None = None, *, is_coarse: bool = False
    ) -> None:
        self._period = period_s
        self._late = math.inf if is_coarse else LATE_SHARE * period_s
        # shortest time between two steps [s]
        self._shortest = 0.0 if is_coarse else (1.0 - LATE_SHARE) * period_s
        self._earliest = -math.inf  # earliest control time of the next step [s]
        self._grace = min(GRACE_SHARE * period_s, MOST_GRACE_S)
        self.due = (time.perf_counter() if now is None else now) + period_s

    def is_due(self, arrived: float, every_s: float) -> bool:
        """Return whether a control step should begin with a state.

        The state is the nearest one to the deadline, and not too early after the last step.

        Args:
            arrived: Control time at which the state arrived [s].
            every_s: Mean time between two states [s].
        """
        return arrived >= max(self.due - 0.5 * min(every_s, self._period), self._earliest)

    def interrupt(self, now: float) -> None:
        """Note that a step began before it was due. The next deadline is a period after it.

        Args:
            now: Control time at which the step began [s].
        """
        self._earliest = now + self._shortest
        self.due = now + self._period

    def left_s(self, now: float) -> float:
        """Return how long the next step still waits for its state [s]; 0: begin the step without a
        state.

        A step waits until the grace time (`GRACE_SHARE`, `MOST_GRACE_S`) after its deadline.

        Args:
            now: Control time [s].
        """
        return max(self.due + self._grace - now, 0.0)

    def stepped(self, now: float, *, by_state: bool) -> None:
        """Note that a step began, and set the next deadline, `due`.

        It is a period after the last deadline, shifted a little towards the step. After a step that
        was late by more than `LATE_SHARE` of a period, or away by more than a period, it is a
        period after the step. Without a state it is shifted by `FOLLOW_MOST` of a period, since
        states come later than expected.

        Args:
            now: Control time at which the step began [s].
            by_state: Whether the step began with a state.
        """
        away = now - self.due
        self._earliest = now + self._shortest
        # a step without a state waited for the grace time on purpose
        late = self._late if by_state else self._late + self._grace
        if abs(away) > self._period or away > late:
            self.due = now + self._period
            return
        # if no state came in time, states come later than expected
        most = FOLLOW_MOST * self._period
        drift = min(max(FOLLOW_SHARE * away, -most), most) if by_state else most
        self.due = max(self.due + drift + self._period, self._earliest)
