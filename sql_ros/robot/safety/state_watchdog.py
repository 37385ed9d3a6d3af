"""Judge the states that arrive, and count the reasons to hold that are in force.

Times are given by the caller: control time [s].

===================  ======================================  ======================================
kind                 begins with                             ends with
===================  ======================================  ======================================
`state_bad`          a state that lacks some joints, has     a good state
                     wrong lengths or values that are not
                     finite, or a joint far beyond its
                     limits
`state_too_old`      no state for longer than the limit      a good state
`stamps_frozen`      states arrive, but their stamps stand   a later stamp; after a step back,
                     for longer than the limit, or step      `TRUST_AFTER` later stamps in a row
                     back by more than it
`state_jumped`       a state to which no arm can have moved  `TRUST_AFTER` plausible states in a
                     since the last one, or within           row
                     `motion_check.WINDOW_S`
`pose_changed`       after such states the arm is elsewhere   a report of this; a real arm then
                     than before                             needs a start
`velocity_wrong`     reported velocities contradict the      `TRUST_AFTER` plausible states in a
                     positions (`motion_check.py`)           row; a real arm then needs a start
                                                             (`permit.py`)
`state_too_fast`     a state with a speed that no arm has    `TRUST_AFTER` plausible states in a
                                                             row
`policy_missing`     no policy, where exploring is not       a policy
                     allowed
`policy_non_finite`  an output of the policy that is not     the next finite output
                     finite
`policy_late`        the policy answered so late that its    the next answer in time
                     command would be later than the limit,
                     or for a state that is too old
`loop_late`          the control loop woke later than the    the next step in time
                     limit, or the standby thread has
                     braked the arm (`standby.py`)
===================  ======================================  ======================================

Another publisher of a real arm's commands is a hold of `nodes/command_rivals.py`
(`commands_shared`). Stops by people and robots are in `robot/safety/stop_latch.py`. When a training
may send its first command is in `nodes/barrier.py` (`learner_missing`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import (
    FASTEST,
    JUMP_RAD,
    LONGEST_GAP_S,
    RobotState,
    has_jumped,
    is_too_fast,
)
from sql_ros.robot.safety.motion_check import MotionCheck

OUTSIDE_RAD = 0.5  # a joint farther beyond its limit has another unit or another zero
TRUST_AFTER = 3  # number of plausible states in a row that are needed after an implausible one
NO_REASONS: Mapping[str, str] = {}
# order in which reasons are named; reasons that are not listed follow
MOST_SEVERE_FIRST = (
    "emergency_stop",
    "stop",
    "stop_missing",
    "stop_shared",
    "stop_lock",
    "robot",
    "enable_silent",
    "commands_shared",
    "clock_stopped",  # while time stands, the stamps of states stand, too
    "clock_jumped",
)


class StateWatch:
    """Judge every state that arrives, and keep the last one that can be trusted.

    One thread calls `accept` and `reject`. Another thread may read `state` and call `reasons`.

    Args:
        max_age_s: Longest age of a state, and longest time for which a stamp may stand still [s].
        fastest: Velocity limits of the joints (N,) [rad/s].
        acceleration: Acceleration limits of the joints (N,) [rad/s^2].
        lower: Lower position limits of the joints (N,) [rad]; by default none.
        upper: Upper position limits of the joints (N,) [rad]; by default none.

    Attributes:
        state: The last state that was trusted. None before the first one, which is at the earliest
            the second state to arrive.
    """

    def __init__(
        self,
        max_age_s: float,
        fastest: npt.ArrayLike,
        acceleration: npt.ArrayLike,
        lower: npt.ArrayLike = -np.inf,
        upper: npt.ArrayLike = np.inf,
    ) -> None:
        self._max_age = max_age_s
        self._fastest = np.asarray(fastest, np.float64)
        self._limits = [
            np.broadcast_to(each, self._fastest.shape).tolist() for each in (lower, upper)
        ]
        self._motion = MotionCheck(fastest, acceleration)
        self.forget()

    def forget(self) -> None:
        """Forget all states and what was wrong with them; `state` becomes None."""
        self.state: RobotState | None = None
        self._last: RobotState | None = None  # last state, trusted or not
        self._heard = 0.0  # time of the last state [s]
        self._advanced = 0.0  # time of the last state with a later stamp [s]
        self._bad = ""  # what is wrong with the last state, in words
        self._motion.forget()
        # kind, description and number of plausible states still needed
        self._distrust: tuple[str, str, int] | None = None
        self._trusted_at = 0.0  # control time of the last trusted state [s]
        self._is_reported = True  # `reasons` has returned the distrust

    def accept(self, state: RobotState, now: float) -> None:
        """Take a well-formed state, judge it, and make it `state` if it can be trusted.

        A state with a joint more than `OUTSIDE_RAD` beyond its limits is "state_bad", and is not
        used. A state with the stamp of the last one is ignored. So is one with an older stamp that
        was overtaken on its way. The first state is never trusted. After a state that is
        implausible, or whose stamp went back by more than `max_age_s`, `TRUST_AFTER` plausible
        states in a row are needed.

        Args:
            state: The new state.
            now: Control time of its arrival [s].
        """
        outside = self._beyond_limits(state)
        if outside:
            self._bad = outside
            return
        last = self._last
        self._heard = now
        self._bad = ""
        if last is not None and state.stamp_ns == last.stamp_ns:
            return  # the next state is judged by the first one of this stamp
        back_s = 0.0 if last is None else (last.stamp_ns - state.stamp_ns) * 1e-9
        if 0.0 < back_s <= self._max_age:
            return  # a later state has overtaken this one
        self._last = state
        if back_s > 0.0:
            self._motion.forget()
            reason = f"the stamp of the state went back by {back_s:.3f} s"
            self._begin_distrust("stamps_frozen", reason)
            return
        self._advanced = now
        if self._is_plausible(last, state) and self._regains_trust(state, now) and last is not None:
            # the stamps may stand from the start, so the first state is not trusted
            self.state = state
            self._trusted_at = now

    def _beyond_limits(self, state: RobotState) -> str:
        """Describe the joint that is farthest beyond its limits; empty if none is by more
        than `OUTSIDE_RAD`.
        """
        beyond = [
            max(low - angle, angle - high)
            for angle, low, high in zip(state.position.tolist(), *self._limits)
        ]
        most = max(beyond)
        if not most > OUTSIDE_RAD:
            return ""
        joint = beyond.index(most)
        low, high = (each[joint] for each in self._limits)
        return (
            f"joint {joint} (from 0) is at {state.position[joint]:.3f} rad, its limits are"
            f" {low:g} to {high:g}: radians?"
        )

    def _is_plausible(self, last: RobotState | None, state: RobotState) -> bool:
        """Return whether an arm can be in a new state. If it cannot, store kind and reason in
        `_distrust`.

        The kinds are "state_jumped", "state_too_fast" and "velocity_wrong". The first two also
        restart the window of `MotionCheck`, which otherwise takes the state.

        Args:
            last: The state before, trusted or not; None if there is none.
            state: The new state.
        """
        if last is not None and has_jumped(last, state, self._fastest):
            largest = float(np.abs(state.position - last.position).max())
            reason = f"a joint jumped by {largest:.3f} rad, no arm can"
            self._begin_distrust("state_jumped", reason)
        elif reason := self._motion.jump(state):
            self._begin_distrust("state_jumped", reason)
        elif is_too_fast(state, self._fastest):
            largest = float(np.abs(state.velocity).max())
            reason = f"a joint moves at {largest:.3f} rad/s, no arm can"
            self._begin_distrust("state_too_fast", reason)
        else:
            reason = self._motion.take(state)
            if reason:
                self._begin_distrust("velocity_wrong", reason)
            return not reason
        self._motion.forget()
        return False

    def _begin_distrust(self, kind: str, reason: str) -> None:
        """Distrust the next states for a reason, until `_regains_trust`."""
        self._distrust = (kind, reason, TRUST_AFTER)
        self._is_reported = False

    def _pose_change(self, state: RobotState, now: float) -> str:
        """Describe by how far a joint is elsewhere than the last trusted state allows; empty if it
        is not.
        """
        trusted = self.state
        if trusted is None:
            return ""
        elapsed_s = min(max(now - self._trusted_at, 0.0), LONGEST_GAP_S)
        away = np.abs(state.position - trusted.position)
        if (away <= JUMP_RAD + FASTEST * elapsed_s * self._fastest).all():
            return ""
        return f"a joint is {away.max():.3f} rad from where it was before the states were wrong"

    def _regains_trust(self, state: RobotState, now: float) -> bool:
        """Count a plausible state, and return whether it and the next ones are trusted.

        A distrust lasts at least until `reasons` has reported it, because many states arrive within
        a control period. If the arm is then elsewhere than the last trusted state allows, the
        distrust goes on as "pose_changed", until that is reported.
        """
        if self._distrust is None:
            return True
        kind, reason, needed = self._distrust
        self._distrust = (kind, reason, max(needed - 1, 1))
        if needed > 1 or not self._is_reported:
            return False
        away = self._pose_change(state, now)
        if kind != "pose_changed" and away:
            self._distrust = ("pose_changed", away, 1)
            self._is_reported = False
            return False
        self._distrust = None
        return True

    def reject(self, reason: str) -> None:
        """Take that a state arrived that cannot be used ("state_bad"), until the next good one.

        Args:
            reason: Why it cannot be used, in words.
        """
        self._bad = reason

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return what is wrong with the states now: description by kind.

        The kinds are "state_bad"; "state_too_old", or "stamps_frozen" if states arrive but their
        stamps stand; and the kind for which the states are distrusted: "stamps_frozen",
        "state_jumped", "pose_changed", "state_too_fast" or "velocity_wrong".

        Args:
            now: Control time [s].

        Returns:
            Empty if nothing is wrong, and before the first state.
        """
        bad = self._bad
        distrust = self._distrust
        last = self._last
        age = now - self._advanced if last is not None else 0.0
        if not bad and distrust is None and age <= self._max_age:
            return NO_REASONS
        reasons = {}
        if bad:
            reasons["state_bad"] = bad
        if age > self._max_age and now - self._heard <= self._max_age:
            reasons["stamps_frozen"] = (
                f"states arrive, but their stamp stands for {age:.3f} s, at most {self._max_age} s"
            )
        elif age > self._max_age:
            reasons["state_too_old"] = (
                f"the last state is {age:.3f} s old, at most {self._max_age} s"
            )
        if distrust is not None:
            reasons[distrust[0]] = distrust[1]
            self._is_reported = True
        return reasons

    def is_sound(self, now: float) -> bool:
        """Return whether nothing is wrong with the states at a control time [s]."""
        return not self.reasons(now)


class Holds:
    """The reasons to hold that are in force, when each began, and how often each has occurred.

    Attributes:
        counts: Number of occurrences by kind.
        present: Description by kind, at the last control step.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.present: Mapping[str, str] = NO_REASONS
        self._since: dict[str, float] = {}

    def note(self, reasons: Mapping[str, str], now: float) -> list[str]:
        """Take the reasons of a control step as `present`, and count those that begin in `counts`.

        Args:
            reasons: Description by kind.
            now: Control time [s].

        Returns:
            A line for the log for each reason that begins or ends with this step.
        """
        self.present = reasons
        if not reasons and not self._since:
            return []
        lines = []
        for kind in [kind for kind in self._since if kind not in reasons]:
            lines.append(f"{kind} is over after {now - self._since.pop(kind):.3f} s")
        for kind, reason in reasons.items():
            if kind not in self._since:
                self._since[kind] = now
                self.counts[kind] += 1
                lines.append(f"holding, {kind}: {reason}")
        return lines

    def forget(self) -> None:
        """End all reasons without lines for the log; `counts` stays."""
        self.present = NO_REASONS
        self._since.clear()

    def gravest(self) -> tuple[str, str] | None:
        """Return kind and description of the reason to name first, by `MOST_SEVERE_FIRST`;
        None without a reason.
        """
        present = self.present
        kind = next((k for k in (*MOST_SEVERE_FIRST, *present) if k in present), None)
        return None if kind is None else (kind, present[kind])
