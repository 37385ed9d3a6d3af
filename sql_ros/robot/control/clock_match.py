"""Check whether the `/clock` that control follows is the time of the arm, by the stamps of its
states.

A simulator stamps states with the time that it publishes on `/clock`. A real arm does not. Beside a
foreign `/clock` at ten times real time, every limit on speed and acceleration would be scaled by
ten. A bag that is played shows another time of day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sql_ros.robot.safety.state_watchdog import NO_REASONS

WINDOW_S = 1.0  # length of a window, by the faster of `/clock` and the stamps
# shortest window by the steady clock: a busy computer may read messages late, then in a burst
LEAST_S = 0.5
TOLERANCE = 0.2  # largest difference of the progress of both, as a share of the faster one
MOST_APART_S = 1.0  # largest difference between `/clock` and the stamp of a state
# a message or state that is older than the last one by at most this was overtaken by it [s]
OVERTAKEN_S = 0.1
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
    """The arrival of a state.

    Attributes:
        clock_ns: Newest time on `/clock` [ns].
        stamp_ns: Stamp of the state [ns].
        now: Steady time of arrival [s].
    """

    clock_ns: int
    stamp_ns: int
    now: float


class ClockMatch:
    """Compare `/clock` with the stamps of states, in windows of `WINDOW_S`.

    Two things must agree: the time on both, within `MOST_APART_S`, and the progress of both during
    a window, within `TOLERANCE`.

    Attributes:
        reasons: Why the arm must be held, by kind (only "clock_mismatch"): the times differ, the
            progress differed in the last window, states have no stamp, or the first window is not
            over. Empty before the first state and while both agree.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew, as if no state had come; `reasons` becomes empty."""
        self.reasons: Mapping[str, str] = NO_REASONS
        self._first: Moment | None = None
        self._last: Moment | None = None

    def take(self, clock_ns: int, stamp_ns: int, now: float) -> None:
        """Take a state and update `reasons`.

        A state without a stamp, or with a stamp more than `MOST_APART_S` from `/clock`, sets
        `reasons` at once and ends the comparison. The next state starts a comparison, with the
        reason that it is not over yet. A window ends after `WINDOW_S` by the faster of `/clock` and
        the stamps, and at least `LEAST_S` of steady time. `reasons` then say whether the progress
        of both differed. If `/clock` or the stamps go back by more than `OVERTAKEN_S`, the window
        starts again, and `reasons` stay.

        Args:
            clock_ns: Newest time on `/clock` [ns].
            stamp_ns: Stamp of the state [ns]; 0 where it has none.
            now: Steady time of arrival [s].
        """
        if stamp_ns == 0:
            self.forget()
            self.reasons = UNSTAMPED
            return
        apart_s = 1e-9 * (clock_ns - stamp_ns)
        if abs(apart_s) > MOST_APART_S:
            self.forget()
            self.reasons = {"clock_mismatch": _describe_offset(apart_s)}
            return
        moment = Moment(clock_ns, stamp_ns, now)
        first, last = self._first, self._last
        self._last = moment
        if first is None or last is None or _went_back(last, moment):
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
            NO_REASONS if is_same else {"clock_mismatch": _describe_drift(of_clock, of_states)}
        )


def _went_back(last: Moment, moment: Moment) -> bool:
    """Return whether `/clock` or the stamps went back by more than `OVERTAKEN_S` since the last
    state.
    """
    most = round(OVERTAKEN_S * 1e9)
    return last.clock_ns - moment.clock_ns > most or last.stamp_ns - moment.stamp_ns > most


def _describe_offset(apart_s: float) -> str:
    """Describe by how much `/clock` is ahead of the stamps of the states [s]; negative: behind."""
    way = "ahead of" if apart_s > 0.0 else "behind"
    return (
        f"/clock is {abs(apart_s):.1f} s {way} the stamps of the states, at most {MOST_APART_S:g}"
        " s: it is another time than the arm's, as of a bag that is played. A real arm is started"
        " without use_sim_time"
    )


def _describe_drift(of_clock: float, of_states: float) -> str:
    """Describe how far `/clock` and the stamps of the states advanced during a window [s]."""
    return (
        f"/clock advanced by {of_clock:.2f} s while the stamps of the states advanced by"
        f" {of_states:.2f} s: it is another time than the arm's. A real arm is started without"
        " use_sim_time"
    )
