"""Decide when an arm that was held needs a start (`~/start`) before it moves again.

The hold `start_needed` ends with `~/start`. It begins with one of these:

=====================  ===========================================================
arm                    `start_needed` begins with
=====================  ===========================================================
real or simulated      the end of a stop that was reset
real, has moved        the end of a hold that lasted longer than `MOMENT_S`
real, has moved        the end of a hold by people or by the robot, however short
real                   the end of a hold because commands contradict the motion, or
                       velocities the positions (`velocity_wrong`)
real, not moved yet    a hold by people or by the robot for longer than `PROMPT_S`
real, not moved yet    any other hold for longer than `FIRST_S`
real                   no control step for longer than `MOMENT_S`
real                   a last actor that did not end in order, or that ended while
                       the arm was held (`unfinished.py`)
real                   a deactivation; the next activation waits
real                   an overload of the control loop
real                   a motion of the arm while it was held
=====================  ===========================================================

A simulated arm moves on by itself after other holds, because no person is near it and long
trainings must survive the end of a process. The first motion of a process needs no start if it
comes soon and the last actor ended in order, because the user who launched the stack asked for it.
Times are steady time [s], given by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping

from sql_ros.robot.safety.state_watchdog import NO_REASONS
from sql_ros.robot.safety.stop_latch import FROM_OUTSIDE

MOMENT_S = 1.0  # longest hold after motion that needs no start
# time after activation within which a robot and switches that are present are heard
PROMPT_S = 5.0
# time after activation within which a driver may be started and a policy may arrive
FIRST_S = 30.0
STOPS = frozenset({"stop", "emergency_stop"})
LATCHED_AT_ONCE = STOPS | {"not_following", "velocity_wrong", "pose_changed"}


class Permit:
    """Decide whether the arm needs a start before it moves.

    One thread calls `check` at every control step. Any thread may call `start` and `withdraw`.

    Attributes:
        is_real: The arm is real, so a hold that lasted longer than a moment needs a start.
    """

    def __init__(self) -> None:
        self.is_real = False
        self._start_reason = ""
        self._has_moved = False
        self._since: float | None = None  # begin of the current hold, steady time [s]
        self._reasons: Mapping[str, str] = NO_REASONS

    def forget(self) -> None:
        """Begin a new activation, in which the arm has not moved yet. A start that is needed
        stays needed.
        """
        self._has_moved = False
        self._since = None
        self._reasons = NO_REASONS

    def withdraw(self, reason: str) -> None:
        """Require a start. If one is needed already, its reason stays.

        Args:
            reason: Why a start is needed, in words.
        """
        self._start_reason = self._start_reason or reason

    def check(
        self, reasons: Mapping[str, str], now: float, fault: Mapping[str, str] = NO_REASONS
    ) -> Mapping[str, str]:
        """Return all reasons to hold at this control step, by kind: those given, or else
        "start_needed" if a start is needed.

        The call also counts the duration of a hold. It requires a start if a hold of this kind or
        of this duration needs one (module's table). If the call returns no reason, and there is
        no fault, the arm counts as having moved from now on.

        Args:
            reasons: Other reasons to hold at this control step, by kind.
            now: Steady time [s].
            fault: Reasons why the step before was a hold although nothing forbade motion, by kind.
                This step tries to move the arm again, so they are not returned; they count for the
                duration of a hold.

        Returns:
            Description by kind; empty: the arm may move.
        """
        self._reasons = reasons
        interruption = reasons or fault
        if interruption:
            self._interrupt(interruption, now)
        else:
            self._since = None
        if reasons:
            return reasons
        if self._start_reason:
            return {"start_needed": f"{self._start_reason}; ~/start moves the arm"}
        if fault:
            return NO_REASONS
        self._has_moved = True
        return NO_REASONS

    def start(self, stops: Mapping[str, str]) -> tuple[bool, str]:
        """Permit motion (`~/start`), unless something holds the arm.

        Args:
            stops: Reasons by kind that stop the arm from outside now. They replace the reasons of
                these kinds that the last control step had.

        Returns:
            Whether motion is permitted, also where no start was needed; and a message for the
            caller: "started, after ...", "no start was needed", or "still held: ..." with all
            reasons.
        """
        others = {
            kind: reason for kind, reason in self._reasons.items() if kind not in FROM_OUTSIDE
        }
        reasons = {**others, **stops}
        if reasons:
            return (
                False,
                f"still held: {'; '.join(f'{kind}: {text}' for kind, text in reasons.items())}",
            )
        was = self._start_reason
        if not was:
            return True, "no start was needed"
        self._start_reason = ""
        self._since = None
        return True, f"started, after: {was}"

    @property
    def obstacle(self) -> str:
        """Return why a start is needed; empty if none is."""
        return self._start_reason

    def _interrupt(self, reasons: Mapping[str, str], now: float) -> None:
        """Note a hold, and require a start if its kind or its duration needs one (module's table).

        If a start is needed already, nothing changes.

        Args:
            reasons: Reasons of the hold, by kind.
            now: Steady time [s].
        """
        if self._start_reason:
            return
        kind = next(iter(reasons))
        if self._since is None:
            self._since = now
        at_once = LATCHED_AT_ONCE if self.is_real else STOPS
        if self.is_real and self._has_moved:
            at_once = at_once | FROM_OUTSIDE
        latched = at_once.intersection(reasons)
        if latched:
            kind = min(latched)
            detail = f" ({reasons[kind]})" if kind == "not_following" else ""
            self._start_reason = f"the arm was held by {kind}{detail}"
            return
        most_s = MOMENT_S
        if not self._has_moved:
            most_s = PROMPT_S if FROM_OUTSIDE.intersection(reasons) else FIRST_S
        if self.is_real and now - self._since > most_s:
            self._start_reason = f"the arm was held by {kind} for longer than {most_s:g} s"
