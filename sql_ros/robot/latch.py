"""Stops from outside: a stop that latches, an emergency stop, a lock, a deadman's switch, and what the robot says of itself.

===============  =========================================================  ===================================================
kind             begins with                                                ends with
===============  =========================================================  ===================================================
stop             a call of stop, or an emergency stop                       reset, refused while any of the others is in force
emergency_stop   a true of the emergency stop                               its false; the latched stop stays
stop_lock        a true of the lock; its silence, where one is required     the next false
robot            the robot says it is stopped, in error or not enabled;     the robot says it is well
                 its silence, where it is to speak
enable_silent    no fresh true of the switch, where one is required         the next true
===============  =========================================================  ===================================================

Pure: times are given in, from a steady clock [s]. Fed, reset and asked by any threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sql_ros.robot.watchdog import NO_REASONS


class StopLatch:
    """Remembers who said what, and when.

    Args:
        lock_timeout_s: longest silence of the lock; 0: none is required, though a true still locks.
        enable_timeout_s: longest silence of the deadman's switch; 0: none is required.
    """

    def __init__(self, lock_timeout_s: float, enable_timeout_s: float) -> None:
        self._lock_timeout, self._enable_timeout = lock_timeout_s, enable_timeout_s
        self._latching = threading.Lock()  # a stop that comes while one is being reset is not reset with it
        self._latched = ""
        self._pressed = False
        self._locked, self._lock_heard = False, -float("inf")
        self._enabled = -float("inf")  # time of the last true
        self._robot, self._robot_heard, self._robot_timeout = "", -float("inf"), 0.0

    def stop(self, why: str) -> None:
        """Latches a stop; the first reason stays."""
        with self._latching:
            self._latched = self._latched or why

    def emergency_stop(self, pressed: bool) -> None:
        """Takes the state of an emergency stop; pressed latches."""
        self._pressed = pressed
        if pressed:
            self.stop("the emergency stop was pressed")

    def lock(self, locked: bool, now: float) -> None:
        """Takes the state of the lock."""
        self._locked, self._lock_heard = locked, now

    def enable(self, enabled: bool, now: float) -> None:
        """Takes the state of the deadman's switch."""
        self._enabled = now if enabled else -float("inf")

    def expect_robot(self, timeout_s: float) -> None:
        """From now on the robot has to speak at least so often; 0: it need not."""
        self._robot, self._robot_heard, self._robot_timeout = "", -float("inf"), timeout_s

    def robot(self, why: str, now: float) -> None:
        """Takes what the robot says: why it does not move, empty if it can."""
        self._robot, self._robot_heard = why, now

    def reset(self, now: float) -> tuple[bool, str]:
        """Ends a latched stop, if nothing else stops the arm; returns success and a message."""
        with self._latching:
            causes = [why for kind, why in self.reasons(now).items() if kind not in ("stop", "enable_silent")]
            if causes:
                return False, f"still stopped: {'; '.join(causes)}"
            was, self._latched = self._latched, ""
        return True, f"released: {was}" if was else "was not stopped"

    def reasons(self, now: float) -> Mapping[str, str]:
        """Kind to description of all that stops the arm now; empty if nothing does."""
        silent = self._enable_timeout > 0 and now - self._enabled > self._enable_timeout
        lock_silent = self._lock_timeout > 0 and now - self._lock_heard > self._lock_timeout
        robot_silent = self._robot_timeout > 0 and now - self._robot_heard > self._robot_timeout
        if not (silent or lock_silent or robot_silent or self._locked or self._latched or self._pressed or self._robot):
            return NO_REASONS
        reasons = {}
        if self._pressed:
            reasons["emergency_stop"] = "the emergency stop is pressed"
        if self._latched:
            reasons["stop"] = f"{self._latched}; ~/reset releases it"
        if self._locked or lock_silent:
            reasons["stop_lock"] = "the stop lock is closed" if self._locked else self._silence("stop lock", self._lock_heard, now)
        if self._robot or robot_silent:
            reasons["robot"] = self._silence("robot", self._robot_heard, now) if robot_silent else self._robot
        if silent:
            reasons["enable_silent"] = self._silence("enable switch", self._enabled, now)
        return reasons

    @staticmethod
    def _silence(what: str, heard: float, now: float) -> str:
        return f"no word from the {what} for {now - heard:.3f} s" if heard >= 0 else f"the {what} is off or was never heard"
