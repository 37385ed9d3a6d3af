"""When to hold: conditions on the states that arrive, and the book of those in force. Times are given in, control time [s].

==================  =====================================================  ==================================================
kind                begins with                                            ends with
==================  =====================================================  ==================================================
state_bad           a state that lacks some joints, has wrong lengths or   a good state
                    values that are not finite, or a joint far beyond its
                    limits
state_too_old       no state for longer than the limit                     a good state
stamps_frozen       states arrive, but their stamps stand for longer than  a later stamp; after a step back, `TRUST_AFTER`
                    the limit, or step back by more than it                later stamps in a row
state_jumped        a state where no arm can have moved to                 `TRUST_AFTER` plausible states in a row
state_too_fast      a state with a speed that no arm has                   `TRUST_AFTER` plausible states in a row
policy_missing      nothing to act with, and exploring is not allowed      a policy
policy_non_finite   an output of the policy that is not finite             the next finite output
loop_late           the control loop woke later than the limit             the next step in time
==================  =====================================================  ==================================================

Another publisher of a real arm's commands is a hold of `nodes/command_rivals.py` (`commands_shared`).
What people and robots stop the arm with is in `robot/latch.py`.
When a training may send its first command is in `nodes/barrier.py` (`learner_missing`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import RobotState, has_jumped, is_too_fast

OUTSIDE_RAD = 0.5  # so far beyond a limit no joint is: another unit, another zero
TRUST_AFTER = 3  # plausible states in a row, once one was not
NO_REASONS: Mapping[str, str] = {}
MOST_SEVERE_FIRST = (  # then the others
    "emergency_stop",
    "stop",
    "stop_lock",
    "robot",
    "enable_silent",
    "commands_shared",
    "clock_stopped",  # while time stands, so do the stamps of states
    "clock_jumped",
)


class StateWatch:
    """Judges every state that arrives and keeps the last that can be trusted; fed by one thread, asked by another.

    Args:
        max_age_s: of a state, and of a stamp that stands still.
        fastest: largest speed of each joint [rad/s], (N,).
        lower, upper: limits of each joint [rad], (N,); by default none.

    Attributes:
        state: the last one trusted; None before the second, whose stamp is later than the first one's.
    """

    def __init__(self, max_age_s: float, fastest: npt.ArrayLike, lower: npt.ArrayLike = -np.inf, upper: npt.ArrayLike = np.inf) -> None:
        self._max_age, self._fastest = max_age_s, np.asarray(fastest, np.float64)
        self._limits = [np.broadcast_to(each, self._fastest.shape).tolist() for each in (lower, upper)]
        self.forget()

    def forget(self) -> None:
        """As if nothing had arrived."""
        self.state: RobotState | None = None
        self._last: RobotState | None = None  # trusted or not
        self._heard = self._advanced = 0.0  # last state, last state with a later stamp
        self._bad = ""
        self._distrust: tuple[str, str, int] | None = None  # kind, why, plausible states still needed

    def good(self, state: RobotState, now: float) -> None:
        """Takes a well-formed state."""
        beyond = [max(low - angle, angle - high) for angle, low, high in zip(state.position.tolist(), *self._limits)]
        if (most := max(beyond)) > OUTSIDE_RAD:
            joint = beyond.index(most)
            low, high = (each[joint] for each in self._limits)
            self._bad = f"joint {joint} (from 0) is at {state.position[joint]:.3f} rad, its limits are {low:g} to {high:g}: radians?"
            return
        last, self._heard, self._bad = self._last, now, ""
        if last is not None and state.stamp_ns == last.stamp_ns:
            return  # whatever it says: the next is judged by the first of this stamp
        back = 0.0 if last is None else (last.stamp_ns - state.stamp_ns) * 1e-9
        if 0.0 < back <= self._max_age:
            return  # overtaken on its way: what is known is newer
        self._last = state
        if back > 0.0:
            self._distrust = ("stamps_frozen", f"the stamp of the state went back by {back:.3f} s", TRUST_AFTER)
            return
        self._advanced = now
        if last is not None and has_jumped(last, state, self._fastest):
            largest = float(np.abs(state.position - last.position).max())
            self._distrust = ("state_jumped", f"a joint jumped by {largest:.3f} rad, no arm can", TRUST_AFTER)
            return
        if is_too_fast(state, self._fastest):
            largest = float(np.abs(state.velocity).max())
            self._distrust = ("state_too_fast", f"a joint moves at {largest:.3f} rad/s, no arm can", TRUST_AFTER)
            return
        if self._distrust is not None:
            kind, why, needed = self._distrust
            if needed > 1:
                self._distrust = (kind, why, needed - 1)
                return
            self._distrust = None
        if last is not None:  # nothing moves before a stamp has advanced: it may stand from the start
            self.state = state

    def bad(self, why: str) -> None:
        """Notes a state that cannot be used."""
        self._bad = why

    def reasons(self, now: float) -> Mapping[str, str]:
        """Kind to description of what is wrong with the states; empty while all is well, and before the first state."""
        bad, distrust, last = self._bad, self._distrust, self._last
        age = now - self._advanced if last is not None else 0.0
        if not bad and distrust is None and age <= self._max_age:
            return NO_REASONS
        reasons = {}
        if bad:
            reasons["state_bad"] = bad
        if age > self._max_age and now - self._heard <= self._max_age:
            reasons["stamps_frozen"] = f"states arrive, but their stamp stands for {age:.3f} s, at most {self._max_age} s"
        elif age > self._max_age:
            reasons["state_too_old"] = f"the last state is {age:.3f} s old, at most {self._max_age} s"
        if distrust is not None:
            reasons[distrust[0]] = distrust[1]
        return reasons

    def is_sound(self, now: float) -> bool:
        """The state kept is good and recent."""
        return not self.reasons(now)


class Holds:
    """The reasons for holding in force, when each began, and how often each has.

    Attributes:
        counts: occurrences by kind.
        present: kind to description, as of the last step.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.present: Mapping[str, str] = NO_REASONS
        self._since: dict[str, float] = {}

    def note(self, reasons: Mapping[str, str], now: float) -> list[str]:
        """Takes the reasons of this step; returns a line to log for each that begins or ends with it."""
        self.present = reasons
        if not reasons and not self._since:
            return []
        lines = []
        for kind in [kind for kind in self._since if kind not in reasons]:
            lines.append(f"{kind} is over after {now - self._since.pop(kind):.3f} s")
        for kind, why in reasons.items():
            if kind not in self._since:
                self._since[kind] = now
                self.counts[kind] += 1
                lines.append(f"holding, {kind}: {why}")
        return lines

    def forget(self) -> None:
        """Nothing is in force any more, said nowhere; the counts stay."""
        self.present = NO_REASONS
        self._since.clear()

    def gravest(self) -> tuple[str, str] | None:
        """Kind and description of the one to name first."""
        present = self.present
        kind = next((k for k in (*MOST_SEVERE_FIRST, *present) if k in present), None)
        return None if kind is None else (kind, present[kind])
