"""Detect late states of a real arm by their stamps.

============  =========================================================  =======================
kind          begins with                                                ends with
============  =========================================================  =======================
`state_late`  a state that is later than its usual delay and             the next state in time
              `max_age_s` allow; or, for `PATIENCE_S` or since the
              first state, only states that are later than the usual
              delay and `tolerance_s` allow
============  =========================================================  =======================

The delay of a state is the time of this computer's clock less the stamp, whatever it is. So the
driver's clock must be this computer's, or synchronised with it. A stamp that is ahead of this
computer's clock by more than `tolerance_s` shows that it is not. Then no delay is known, and
`state_late` begins as for a state that is too late.

Only a driver that is declared to have a clock of its own may stamp by another clock. Then only the
growth of the delay over its smallest value so far is known. A delay that is constant from the first
state on is then not detected. Clocks may drift apart at the rate `DRIFT`, but by no more than
`max_age_s` in total: a growth beyond that is a delay.

If a stamp is more than `LEAP_S` later than the smallest delay so far allows, a clock was set or
there is another publisher, and `take` reports it. The exception are stamps that are not ahead of
this computer's clock, but for `tolerance_s`: then a delay has ended.

`take` also reports stamps of a driver's own clock that go back, because older states than before
cannot be told from them, and states without a stamp beside others with one. After such a report no
delay is known, and `state_late` lasts until `forget`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.robot.safety.state_watchdog import NO_REASONS

SYNCHRONISE = (
    "synchronise the clock of the driver's computer; if the driver stamps by a clock of its own,"
    " set own_clock: true in the robot file"
)
PATIENCE_S = 0.25  # time for which all states may be later than the tolerance
DRIFT = 5e-4  # 500 ppm, the largest rate by which NTP adjusts a clock
LEAP_S = 0.1  # a larger leap of the stamps is reported
# time after the first state of another clock in which states that waited for the reader arrive
SETTLED_S = 0.5
OVERTAKEN_NS = 100_000_000  # a stamp that goes back by more is of a clock that was set
ACTIVATE_AGAIN = (
    "the delay of later states is not known: find the cause, then deactivate and activate this node"
)


class StateDelay:
    """Judge the delay of every state from its stamp to its arrival. Steady times are given by the
    caller [s].

    Args:
        usual_s: Usual delay of a state, as measured or declared [s].
        tolerance_s: Delay beyond the usual one that is allowed for most states [s].
        max_age_s: Delay beyond the usual one that is allowed for a single state [s].
        has_own_clock: Whether the driver is declared to stamp by a clock that is not synchronised
            with this computer's.

    Attributes:
        reasons: Why the arm must be held, by kind (only "state_late"); empty otherwise.
        delay_s: Delay of the last state [s]. With `has_own_clock`, and where the stamp is ahead of
            this computer's clock, it is only the growth over the smallest delay.
        has_own_clock: As given.
    """

    def __init__(
        self,
        usual_s: float,
        tolerance_s: float,
        max_age_s: float,
        *,
        has_own_clock: bool = False,
    ) -> None:
        self.has_own_clock = has_own_clock
        self._tolerance_s = tolerance_s
        self._max_age_s = max_age_s
        self.allow(usual_s)
        self.forget()

    def allow(self, usual_s: float) -> None:
        """Replace the usual delay of states [s] from now on."""
        self._in_time = usual_s + self._tolerance_s
        self._longest = usual_s + self._max_age_s

    def forget(self) -> None:
        """Forget all states and reasons; the next state begins a new comparison."""
        self.reasons: Mapping[str, str] = NO_REASONS
        self.delay_s = 0.0
        self._is_unknown = False  # after a report that ends the comparison
        self._is_stamped: bool | None = None  # None: before the first state
        self._begin(0, 0.0, 0.0)

    def _begin(self, stamp_ns: int, offset_s: float, now: float) -> None:
        """Start the comparison of stamps with steady time.

        Args:
            stamp_ns: Stamp of the first state [ns]; 0: there is none yet.
            offset_s: Steady time of its arrival less its stamp [s].
            now: Steady time [s].
        """
        self._last_ns = stamp_ns  # 0: none yet
        # smallest difference of steady time and stamp: that of a state without delay
        self._least_s = offset_s
        self._lowest_s = offset_s  # the same without the drift of clocks
        self._last = self._began = now
        self._in_time_at = -float("inf")  # time at which the last state came in time

    def take(self, stamp_ns: int, clock_ns: int, now: float) -> str:
        """Take a state, and update the attributes by its delay.

        A state whose stamp is not later than the last one is ignored. If its stamp is earlier by
        more than `OVERTAKEN_NS`, it begins a new comparison, since the clock was set back or the
        states are old ones. With a driver's own clock it ends the comparison instead.

        Args:
            stamp_ns: Stamp of the state [ns]; 0: it has none. The delay is then taken to be 0.
            clock_ns: Time of this computer's clock of the kind that drivers stamp with [ns].
            now: Steady time of arrival [s].

        Returns:
            Text, once, that says by how much the stamps leaped or that only some states have one,
            for which a person has to judge the arm; empty otherwise. A leap forward is one of more
            than `LEAP_S`, not within `SETTLED_S` of the first state of a driver's own clock, and
            not to a stamp that is at most `tolerance_s` ahead of this computer's clock. A leap back
            counts for a driver's own clock only: the age by this computer's clock is known
            otherwise.
        """
        if self._is_unknown:
            return ""
        is_stamped = stamp_ns != 0
        if is_stamped is not self._is_stamped and self._is_stamped is not None:
            return self._end_comparison("some states have a stamp and others have none (0)")
        self._is_stamped = is_stamped
        back_ns = self._last_ns - stamp_ns
        if not is_stamped or (self._last_ns and 0 <= back_ns <= OVERTAKEN_NS):
            return ""  # the stamp stands, or a later state has overtaken this one
        offset_s = now - 1e-9 * stamp_ns
        if not self._last_ns:
            self._begin(stamp_ns, offset_s, now)
        elif back_ns > OVERTAKEN_NS:
            if self.has_own_clock:
                return self._end_comparison(
                    f"the stamps of the states leaped back by {1e-9 * back_ns:.3f} s: was the"
                    " driver's clock set, or does it send old states?"
                )
            self._begin(stamp_ns, offset_s, now)
        self._last_ns = stamp_ns
        leap_s = self._follow(offset_s, now) - offset_s
        age_s = 1e-9 * (clock_ns - stamp_ns)
        self._judge(age_s, offset_s - self._least_s, now)
        is_settling = now - self._began <= SETTLED_S
        is_explained = is_settling if self.has_own_clock else age_s >= -self._tolerance_s
        if leap_s <= LEAP_S or is_explained:
            return ""
        return (
            f"the stamps of the states leaped forward by {leap_s:.3f} s more than time passed: was"
            " a clock set?"
        )

    def _follow(self, offset_s: float, now: float) -> float:
        """Update the smallest difference of steady time and stamp, for the drift of the clocks.

        Args:
            offset_s: Steady time of a state's arrival less its stamp [s].
            now: Steady time [s].

        Returns:
            The smallest difference before this state, with the drift since then [s].
        """
        least_s = self._least_s
        if not self.reasons:  # a delay that lasts is no drift of clocks
            drifted_s = least_s + DRIFT * (now - self._last)
            least_s = min(drifted_s, self._lowest_s + self._max_age_s)
        self._last = now
        self._least_s = min(least_s, offset_s)
        self._lowest_s = min(self._lowest_s, offset_s)
        return least_s

    def _end_comparison(self, why: str) -> str:
        """Begin `state_late` until `forget`, because no delay is known any more; return `why`."""
        self._is_unknown = True
        self.reasons = {"state_late": f"{why}; {ACTIVATE_AGAIN}"}
        return why

    def _judge(self, age_s: float, growth_s: float, now: float) -> None:
        """Update `delay_s` and `reasons`.

        A state in time ends `reasons`. They begin with a state that is later than the limit of a
        single state or ahead by more than this, or if no state came in time for `PATIENCE_S`.

        Args:
            age_s: Time of this computer's clock less the stamp [s].
            growth_s: Delay less the smallest delay so far, by steady time [s].
            now: Steady time [s].
        """
        ahead_s = 0.0 if self.has_own_clock else -age_s
        self.delay_s = growth_s if self.has_own_clock else max(age_s, growth_s)
        if self.delay_s <= self._in_time and ahead_s <= self._tolerance_s:
            self._in_time_at = now
            self.reasons = NO_REASONS
        elif (
            max(self.delay_s - self._longest, ahead_s - self._max_age_s) > 0.0
            or now - self._in_time_at > PATIENCE_S
        ):
            self.reasons = {"state_late": self._description(ahead_s)}

    def _description(self, ahead_s: float) -> str:
        """Describe the delay of the last state and its limit for the user.

        Args:
            ahead_s: Time by which its stamp is ahead of this computer's clock [s].
        """
        if ahead_s > self._tolerance_s:
            return (
                f"the stamps of the states are {ahead_s:.3f} s ahead of this computer's clock, so"
                f" that their delay is not known: {SYNCHRONISE}"
            )
        limit = (
            f"at most {self._in_time:.3f} s (the usual delay of this arm's states, and"
            " max_state_delay_s)"
        )
        if not self.has_own_clock:
            return (
                f"states arrive {self.delay_s:.3f} s after their stamps, {limit}: look for what"
                f" delays them, or {SYNCHRONISE}"
            )
        return (
            f"states arrive {self.delay_s:.3f} s later after their stamps than they did, {limit}:"
            " look for what delays them"
        )
