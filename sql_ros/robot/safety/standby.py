"""Decide how another thread brakes an arm whose control loop has not sent a command in time.

=============  ============================================  ======================================
phase          begins with                                   the standby thread sends
=============  ============================================  ======================================
loop in time   a command of the loop                         nothing
standing in    no command of the loop for `patience_s`, or   velocity mode: the last velocity,
               a result that comes later                     braked along its own line, once a
                                                             period; torque mode: zero torques
at rest        the last of these commands                    zeros, for `REPEATED_S`
=============  ============================================  ======================================

The loop takes the arm back with its next control step, which is a hold. A command that it has
computed meanwhile is refused (`may_send`), so that no two commands come within one period. A result
that comes after `patience_s` is refused, too, where the standby thread itself has not run yet, as
in a process that was stopped. Braking commands are never too late: those of a hold, and those of a
deactivation, which begins where the loop may hang and ends the standby thread first.

Position commands end by themselves and need no standby. The command watchdog
(`robot/safety/command_timeout.py`) is another process: it sends zeros where this process is dead,
stopped or does not run its threads. While the standby thread brakes, it sends the heartbeats of the
loop.

Times are given by the caller, from a steady clock [s]. Two threads use a `Standby`; its lock is
held for some assignments only.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.safety.state_watchdog import NO_REASONS

REPEATED_S = 0.5
LONGEST_BRAKE_S = 0.1  # one command brakes by no longer time, whatever time has passed
STOOD_IN: Mapping[str, str] = {
    "loop_late": "the control loop sent nothing in time, and the arm was braked meanwhile"
}


class StandbyCommand(NamedTuple):
    """The last command of the standby thread.

    Attributes:
        velocity: Joint velocities that it sent (N,) [rad/s]; torque mode: zeros.
        left: When it was sent, steady time [s].
    """

    velocity: Vector
    left: float


class Standby:
    """Stands in for a control loop in velocity or torque mode.

    Args:
        acceleration: With which joints brake (N,) [rad/s^2]; infinite in torque mode, where rest is
            zero torques.
        period_s: Control period, steady time [s].
        patience_s: Time from a command to the first one that brakes, steady time [s].
        pace: Seconds of the arm in one second of steady time.

    Attributes:
        count: How often it stood in.
        reasons: Why the control step that takes the arm back must be a hold; empty otherwise.
    """

    def __init__(
        self, acceleration: Vector, period_s: float, patience_s: float, pace: float = 1.0
    ) -> None:
        self._acceleration = acceleration
        self._period = period_s
        self._patience = patience_s
        self._pace = pace
        self._lock = threading.Lock()
        # velocities sent last by loop or standby thread; None: nothing has to be braked
        self._velocity: Vector | None = None
        self._sent_at = 0.0  # time of sending [s]
        self._due = math.inf  # time at which the standby thread sends, if nothing changes [s]
        self._stands_in = False
        self._rested = math.inf  # time at which it sent the first zeros [s]
        self.count = 0
        self.reasons: Mapping[str, str] = NO_REASONS

    def forget(self) -> None:
        """Begin a new activation: nothing was sent."""
        with self._lock:
            self._velocity = None
            self._sent_at = 0.0
            self._due = math.inf
            self._stands_in = False
            self._rested = math.inf
        self.reasons = NO_REASONS

    # --- the control loop ---

    def may_send(self, now: float, *, brakes: bool = False) -> bool:
        """Return whether a command of the control loop may be sent; the waiting time then begins
        again.

        A result that comes too late makes the standby thread stand in: the next control step is a
        hold.

        Args:
            now: Steady time [s].
            brakes: The command brakes the arm or keeps it at rest, and may be late.
        """
        with self._lock:
            if not (self._stands_in or brakes) and now >= self._due:
                self._stand_in()
            if self._stands_in:
                return False
            self._due = now + self._patience
            return True

    def sent(self, velocity: Vector, sent_at: float) -> None:
        """Take a command that the control loop sent.

        Args:
            velocity: Joint velocities that it asks for (N,) [rad/s]; in torque mode anything but
                zeros where the torques are not zero.
            sent_at: When it was sent, steady time [s].
        """
        moves = bool(velocity.any())
        with self._lock:
            if not self._stands_in:
                self._velocity = velocity if moves else None
                self._sent_at = sent_at
                self._due = sent_at + self._patience
        self.reasons = NO_REASONS

    def take_back(self, now: float) -> StandbyCommand | None:
        """Begin a control step: the control loop commands the arm again.

        Args:
            now: Steady time [s].

        Returns:
            What was sent meanwhile; None if the standby thread did not stand in.
        """
        with self._lock:
            if not self._stands_in:
                if self._velocity is None:  # at rest the time runs from this step
                    self._due = now + self._patience
                return None
            self._stands_in = False
            self._rested = math.inf
            self._due = now + self._patience
            velocity = self._velocity
            command = StandbyCommand(
                np.zeros_like(self._acceleration) if velocity is None else velocity, self._sent_at
            )
        self.reasons = STOOD_IN
        return command

    # --- the standby thread ---

    def wait_s(self, now: float) -> float:
        """Return the time [s] until the standby thread has to send, or until that could be.

        Args:
            now: Steady time [s].
        """
        with self._lock:
            is_idle = self._velocity is None
            remaining_s = self._due - now
        return self._patience if is_idle else min(max(remaining_s, 0.0), self._patience)

    def advance(self, now: float) -> Vector | None:
        """Return the velocities (N,) [rad/s] that the standby thread has to send now, or None.

        They are zeros at the end.

        Args:
            now: Steady time [s].
        """
        with self._lock:
            if now < self._due or self._velocity is None:
                return None
            if now - self._rested > REPEATED_S:
                self._due = now + self._patience
                return None
            if not self._stands_in:
                self._stand_in()
            self._velocity = self._braked(self._velocity, (now - self._sent_at) * self._pace)
            if not self._velocity.any():
                self._rested = min(self._rested, now)
            self._sent_at = now
            self._due = now + self._period
            return self._velocity

    @property
    def stands_in(self) -> bool:
        """Return whether the standby thread commands the arm, or has brought it to rest."""
        return self._stands_in

    @property
    def is_braking(self) -> bool:
        """Return whether the last command of the standby thread still moves the arm."""
        velocity = self._velocity
        return self._stands_in and velocity is not None and bool(velocity.any())

    def _stand_in(self) -> None:
        """Begin to stand in; the lock must be held."""
        self._stands_in = True
        self.count += 1

    def _braked(self, velocity: Vector, elapsed_s: float) -> Vector:
        """Return velocities (N,) [rad/s] after braking along their line for a time [s].

        The time is limited to `LONGEST_BRAKE_S` or `patience_s`, whichever is longer.
        """
        stop_s = float((np.abs(velocity) / self._acceleration).max())
        elapsed_s = min(elapsed_s, max(LONGEST_BRAKE_S, self._patience * self._pace))
        return (
            velocity * (1.0 - elapsed_s / stop_s) if stop_s > elapsed_s else np.zeros_like(velocity)
        )
