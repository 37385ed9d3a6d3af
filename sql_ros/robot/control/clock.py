"""Time of control: the steady clock, or the `/clock` of a foreign simulator.

Reasons to hold the arm:

==================  ==============================================  ===========================
kind                begins with                                     ends with
==================  ==============================================  ===========================
clock_stopped       no later `/clock` for longer than the limit,    a later one
                    by the steady clock; or none so far
clock_jumped        `/clock` goes back by more than `OVERTAKEN_S`   `SETTLED_S` of control time
==================  ==============================================  ===========================

`clock_match.py` checks whether `/clock` is the time of the arm at all (`clock_mismatch`). A
`/clock` that jumps forward appears as a late control step with an old state
(`robot/safety/state_watchdog.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.robot.safety.state_watchdog import NO_REASONS

# a message of /clock that is older than the last one by at most this was overtaken by it [s]
OVERTAKEN_S = 0.1
# control time after a reset of the simulator until its states are consistent again; several steps
SETTLED_S = 0.5


class ControlClock:
    """Map steady time to control time, which never goes back.

    With `follows`, control time advances with every later message of `/clock`, and stands still
    between two messages. After `max_age_s` without a later message it advances with the steady
    clock, so that holds are still sent.

    Args:
        follows: Whether `/clock` is followed. If not, control time is steady time.
        max_age_s: Time for which `/clock` may stand still, by the steady clock [s].
        now: Steady time [s].

    Attributes:
        follows: As given.
        stamp_ns: Time in the newest message of `/clock` [ns]; None before the first.
    """

    def __init__(self, follows: bool = False, max_age_s: float = 0.0, now: float = 0.0) -> None:
        self.follows = follows
        self._max_age = max_age_s
        self.stamp_ns: int | None = None
        self._time = now  # control time at the newest message of `/clock` [s]
        self._advanced = now - max_age_s  # steady time of that message [s]
        self._back_s = 0.0  # time by which `/clock` went back last [s]
        self._settled = now  # control time at which `clock_jumped` ends [s]

    def take(self, stamp_ns: int, now: float) -> None:
        """Take a message of `/clock`.

        A later message advances control time by the difference of the times in both messages. A
        message that is not later than the last one is ignored if it is older by at most
        `OVERTAKEN_S`. One that is older by more starts `clock_jumped` (see `reasons`), and control
        time stays where it is. Messages that are not ignored set `stamp_ns`.

        Args:
            stamp_ns: Time in the message [ns].
            now: Steady time at which it arrived [s].
        """
        last = self.stamp_ns
        elapsed = 0.0 if last is None else (stamp_ns - last) * 1e-9
        if last is not None and -OVERTAKEN_S <= elapsed <= 0.0:
            return
        self._time = self.at(now) + max(elapsed, 0.0)
        self._advanced = now
        self.stamp_ns = stamp_ns
        if elapsed < 0.0:
            self._back_s = -elapsed
            self._settled = self._time + SETTLED_S

    def at(self, now: float) -> float:
        """Return the control time at a steady time [s].

        Args:
            now: Steady time [s].

        Returns:
            Steady time where `/clock` is not followed. Otherwise the control time of the last later
            message of `/clock`, plus the time by which it is older than `max_age_s`.
        """
        if not self.follows:
            return now
        stood = now - self._advanced - self._max_age
        return self._time + stood if stood > 0.0 else self._time

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held because of `/clock`, see the module's table.

        Args:
            now: Steady time [s].

        Returns:
            Description by kind ("clock_stopped", "clock_jumped"); empty without a reason or where
            `/clock` is not followed.
        """
        if not self.follows:
            return NO_REASONS
        if self.stamp_ns is None:
            why = (
                "use_sim_time is true, and nothing has come on /clock so far: is the simulator"
                " running?"
            )
            return {"clock_stopped": why}
        age = now - self._advanced
        reasons = {}
        if age > self._max_age:
            limit = f"at most {self._max_age} s (max_clock_age_s)"
            reasons["clock_stopped"] = (
                f"/clock stands for {age:.3f} s of the steady clock, {limit}: is the simulator"
                " paused?"
            )
        if self.at(now) < self._settled:
            what = "was the simulator reset, or is there a second publisher?"
            reasons["clock_jumped"] = f"/clock went back by {self._back_s:.3f} s: {what}"
        return reasons or NO_REASONS
