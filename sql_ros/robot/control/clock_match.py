"""Whether a `/clock` that control follows is the time of the arm, by the stamps of its states.

A simulator stamps states with the time that it publishes. A real arm beside a foreign `/clock` does
not: at ten times real time, every limit on speed and acceleration would be scaled. A bag played at
the pace of the arm shows another time of day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sql_ros.robot.safety.state_watchdog import NO_REASONS

WINDOW_S = 1.0  # by the faster of the two times
LEAST_S = 0.5  # by the steady clock, for what a busy computer reads late
TOLERANCE = 0.2  # of the progress of the faster one
MOST_APART_S = 1.0  # between `/clock` and the stamp of a state
OVERTAKEN_S = 0.1  # A state that is older by less was overtaken on its way.
COMPARING = {
    "clock_mismatch": f"/clock is compared with the stamps of the states for {WINDOW_S:g} s first"
}
UNSTAMPED = {
    "clock_mismatch": (
        "use_sim_time is true, and the states have no stamp (0) that /clock could be compared with:"
        " stamp them, or start without use_sim_time"
    )
}


class Moment(NamedTuple):
    """When a state came: `/clock` and the state's stamp [ns], steady time [s]."""

    clock_ns: int
    stamp_ns: int
    now: float


class ClockMatch:
    """Compare `/clock` with the stamps of states, and the progress of both window by window.

    Attributes:
        reasons: Why the arm must be held, by kind: the two are apart, disagreed in the last
            window, or no window is over. Empty before the first state.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if no state had come."""
        self.reasons: Mapping[str, str] = NO_REASONS
        self._first: Moment | None = None
        self._last: Moment | None = None

    def take(self, clock_ns: int, stamp_ns: int, now: float) -> None:
        """Take a state, with the newest `/clock` [ns] and the steady time [s] of its arrival.

        Args:
            clock_ns: Newest message of `/clock`.
            stamp_ns: Of the state; 0 where it has none.
            now: Steady time of arrival [s].
        """
        if stamp_ns == 0:
            self.forget()
            self.reasons = UNSTAMPED
            return
        apart_s = 1e-9 * (clock_ns - stamp_ns)
        if abs(apart_s) > MOST_APART_S:
            self.forget()
            self.reasons = {"clock_mismatch": _difference(apart_s)}
            return
        moment = Moment(clock_ns, stamp_ns, now)
        first, last = self._first, self._last
        self._last = moment
        if first is None or last is None or _steps_back(last, moment):
            self._first = moment
            self.reasons = self.reasons if last is not None else COMPARING
            return
        of_clock = 1e-9 * (clock_ns - first.clock_ns)
        of_states = 1e-9 * (stamp_ns - first.stamp_ns)
        fastest = max(of_clock, of_states)
        if fastest < WINDOW_S or now - first.now < LEAST_S:
            return
        self._first = moment
        is_same = abs(of_clock - of_states) <= TOLERANCE * fastest
        self.reasons = (
            NO_REASONS if is_same else {"clock_mismatch": _description(of_clock, of_states)}
        )


def _steps_back(last: Moment, moment: Moment) -> bool:
    """Return whether one of the times was reset."""
    most = round(OVERTAKEN_S * 1e9)
    return last.clock_ns - moment.clock_ns > most or last.stamp_ns - moment.stamp_ns > most


def _difference(apart_s: float) -> str:
    way = "ahead of" if apart_s > 0.0 else "behind"
    return (
        f"/clock is {abs(apart_s):.1f} s {way} the stamps of the states, at most {MOST_APART_S:g}"
        " s: it is another time than the arm's, as of a bag that is played. A real arm is started"
        " without use_sim_time"
    )


def _description(of_clock: float, of_states: float) -> str:
    return (
        f"/clock advanced by {of_clock:.2f} s while the stamps of the states advanced by"
        f" {of_states:.2f} s: it is another time than the arm's. A real arm is started without"
        " use_sim_time"
    )
