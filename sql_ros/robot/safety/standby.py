"""Decide how another thread brakes an arm whose control loop has not sent a command in time.

=============  ============================================  ======================================
phase          begins with                                   the standby thread sends
=============  ============================================  ======================================
loop in time   a command of the loop                         nothing
standing in    no command of the loop for `patience_s`, or   velocity mode: the last velocity,
               a command that is ready only later            braked along its own line, once a
                                                             period; torque mode: zero torques
at rest        the last of these commands                    zeros, for `REPEATED_S`
=============  ============================================  ======================================

The loop takes the arm over again with its next control step, which is a hold. A command that the
loop has computed meanwhile is refused (`may_send`), so that no two commands are sent within one
period. A command that is ready only after `patience_s` is also refused if the standby thread itself
has not run yet, as in a process that was stopped. Braking commands are never too late: those of a
hold, and those of a deactivation. A deactivation may begin while the loop hangs, and ends the
standby thread first.

Position commands end by themselves and need no standby. The command watchdog
(`robot/safety/command_timeout.py`) is another process. It sends zeros where this process is dead,
stopped or does not run its threads. While the standby thread brakes, it sends the heartbeats of the
loop to the watchdog.

Times are steady time [s], given by the caller. Two threads use a `Standby`. Its lock is held for a
few assignments only.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.safety.state_watchdog import NO_REASONS

REPEATED_S = 0.5  # time for which the final zeros are repeated
STALLED_S = 0.2  # after such a gap the command watchdog or the robot's timeout has stopped the arm
LONGEST_BRAKE_S = 0.1  # longest time for which one command brakes, however late it is
STOOD_IN: Mapping[str, str] = {
    "loop_late": "the control loop sent nothing in time, and the arm was braked meanwhile"
}


class StandbyCommand(NamedTuple):
    """The last command of the standby thread.

    Attributes:
        velocity: Joint velocities that it sent (N,) [rad/s]; in torque mode zeros, for zero
            torques.
        left: Steady time at which it was sent [s].
    """

    velocity: Vector
    left: float


class Standby:
    """Brake the arm in place of a control loop in velocity or torque mode ("stand in").

    Args:
        acceleration: Acceleration with which joints brake (N,) [rad/s^2]; infinite in torque mode,
            where zero torques count as rest.
        period_s: Control period, in steady time [s].
        patience_s: Steady time from a command of the loop to the first braking command [s].
        pace: Seconds of the arm's time in one second of steady time.

    Attributes:
        count: How often the standby thread stood in.
        reasons: Reason, by kind ("loop_late"), why the control step that takes the arm over again
            must be a hold; empty otherwise.
    """

    def __init__(
        self, acceleration: Vector, period_s: float, patience_s: float, pace: float = 1.0
    ) -> None:
        self._acceleration = acceleration
        self._period = period_s
        self._patience = patience_s
        self._pace = pace
        self._lock = threading.Lock()
        # velocities sent last by loop or standby thread; None: there is no motion to brake
        self._velocity: Vector | None = None
        self._sent_at = 0.0  # time of sending [s]
        self._due = math.inf  # time at which the standby thread sends, if nothing changes [s]
        self._stands_in = False
        self._rested = math.inf  # time at which it sent the first zeros [s]
        self.count = 0
        self.reasons: Mapping[str, str] = NO_REASONS

    def forget(self) -> None:
        """Begin a new activation, in which nothing was sent. `reasons` become empty, `count`
        stays.
        """
        with self._lock:
            self._velocity = None
            self._sent_at = 0.0
            self._due = math.inf
            self._stands_in = False
            self._rested = math.inf
        self.reasons = NO_REASONS

    # --- the control loop ---

    def may_send(self, now: float, *, brakes: bool = False) -> bool:
        """Return whether the control loop may send a command now; if so, restart its waiting time.

        While the standby thread stands in, every command is refused. A command that does not brake
        is also refused if it is later than `patience_s`. The standby thread then stands in, which
        is counted in `count`, and the next control step must be a hold.

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
        """Take a command that the control loop sent, restart its waiting time, and clear `reasons`.

        Where it asks for no motion, the standby thread has nothing to brake. If the standby thread
        stands in, the command was held up after `may_send`: the standby thread then sends its own
        velocities again at once, zeros for `REPEATED_S` again, and `reasons` stay.

        Args:
            velocity: Joint velocities that it asks for (N,) [rad/s]. In torque mode: zeros for zero
                torques, otherwise any values but zeros.
            sent_at: Steady time at which it was sent [s].
        """
        moves = bool(velocity.any())
        with self._lock:
            if self._stands_in:
                self._due = sent_at
                self._rested = math.inf
                return
            self._velocity = velocity if moves else None
            self._sent_at = sent_at
            self._due = sent_at + self._patience
        self.reasons = NO_REASONS

    def take_back(self, now: float) -> StandbyCommand | None:
        """Begin a control step, in which the control loop commands the arm.

        If the standby thread stood in, it no longer does, and `reasons` say that this control step
        must be a hold. At rest, the waiting time restarts.

        Args:
            now: Steady time [s].

        Returns:
            The last command that the standby thread sent; None if it did not stand in.
        """
        with self._lock:
            if not self._stands_in:
                if self._velocity is None:  # at rest the waiting time starts with this step
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
        """Return how long the standby thread waits before it calls `advance` next [s], at most
        `patience_s`.

        Args:
            now: Steady time [s].
        """
        with self._lock:
            is_idle = self._velocity is None
            remaining_s = self._due - now
        return self._patience if is_idle else min(max(remaining_s, 0.0), self._patience)

    def advance(self, now: float) -> Vector | None:
        """Return the joint velocities that the standby thread has to send now (N,) [rad/s].

        They are the velocities sent last, braked along their own line for the time since then; in
        torque mode they are zeros at once. The first call that returns velocities begins to stand
        in, and is counted in `count`.

        Args:
            now: Steady time [s].

        Returns:
            Zeros once the arm is braked, for `REPEATED_S`. None: nothing is to be sent now, because
            it is not due yet, the loop's last command asked for no motion, or the zeros were
            repeated.
        """
        with self._lock:
            if now < self._due or self._velocity is None:
                return None
            if now - self._rested > REPEATED_S:
                self._due = now + self._patience
                return None
            if not self._stands_in:
                self._stand_in()
            if now - self._sent_at > STALLED_S:  # the command watchdog has stopped the arm
                self._velocity = np.zeros_like(self._velocity)
            self._velocity = self._braked(self._velocity, (now - self._sent_at) * self._pace)
            if not self._velocity.any():
                self._rested = min(self._rested, now)
            self._sent_at = now
            self._due = now + self._period
            return self._velocity

    @property
    def stands_in(self) -> bool:
        """Return whether the standby thread brakes the arm or has braked it, until `take_back`."""
        return self._stands_in

    @property
    def is_braking(self) -> bool:
        """Return whether the last command of the standby thread still moves the arm."""
        velocity = self._velocity
        return self._stands_in and velocity is not None and bool(velocity.any())

    def _stand_in(self) -> None:
        """Begin to stand in, and count it. The caller must hold the lock."""
        self._stands_in = True
        self.count += 1

    def _braked(self, velocity: Vector, elapsed_s: float) -> Vector:
        """Return joint velocities after braking along their own line (N,) [rad/s].

        Args:
            velocity: Joint velocities before (N,) [rad/s].
            elapsed_s: Time for which the arm brakes, in its own time [s]; limited to
                `LONGEST_BRAKE_S` or `patience_s`, whichever is longer.
        """
        stop_s = float((np.abs(velocity) / self._acceleration).max())
        elapsed_s = min(elapsed_s, max(LONGEST_BRAKE_S, self._patience * self._pace))
        return (
            velocity * (1.0 - elapsed_s / stop_s) if stop_s > elapsed_s else np.zeros_like(velocity)
        )
