"""Collect the stops from outside: a stop that latches, switches (`stop_switch.py`), and the robot's
own state.

================  ==============================================  ==================================
kind              begins with                                     ends with
================  ==============================================  ==================================
`stop`            a call of stop, or an emergency stop            reset, refused while any of the
                                                                  others is in force
`emergency_stop`  a true of an emergency stop                     its false; the latched stop stays
`stop_lock`       a true of a lock; its silence, where it is      the next false
                  required
`stop_missing`    of a required switch: it has no publisher, or   a publisher of its type, and a
                  its type is wrong; of an emergency stop:        message of it
                  silence, too
`stop_shared`     a topic of a switch has several publishers      one publisher
`robot`           the robot reports that it is stopped, in error  the robot reports that it can move
                  or not enabled; its silence, where it must
                  report
`enable_silent`   no fresh true of a deadman's switch that is     the next true
                  required
================  ==============================================  ==================================

Times are given by the caller, from a steady clock [s]. Any thread may feed, reset and ask.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import EMERGENCY_STOP, ENABLE, STOP_LOCK
from sql_ros.robot.safety.state_watchdog import NO_REASONS
from sql_ros.robot.safety.stop_switch import NEVER, Switch

FROM_OUTSIDE = frozenset(
    {
        "stop",
        "emergency_stop",
        "stop_lock",
        "stop_missing",
        "stop_shared",
        "robot",
        "enable_silent",
    }
)


class StopLatch:
    """Remember which stops are in force, and when each source was last heard.

    Attributes:
        stops: Number of stops that were latched, also of those already reset.
    """

    def __init__(self) -> None:
        # a stop that arrives during a reset must not be reset with the older one
        self._latching = threading.Lock()
        self._latched = ""
        self.stops = 0
        self._switches: dict[str, Switch] = {}  # by topic
        self._robot = ""  # why the robot does not move
        self._robot_heard = NEVER  # time of its last report [s]
        self._robot_timeout = 0.0

    def switch(self, kind: str, topic: str, deadline_s: float = 0.0) -> Switch:
        """Return the switch of a topic, and create it if there is none yet.

        Args:
            kind: Kind of the switch, see `stop_switch.py`.
            topic: Resolved topic, which identifies the switch.
            deadline_s: Longest silence of the switch [s], which requires it; of several callers'
                deadlines the shortest counts. 0: this caller does not require the switch.

        Raises:
            ConfigError: The topic belongs to a switch of another kind.
        """
        found = self._switches.get(topic)
        if found is not None and found.kind != kind:
            raise ConfigError(
                f"{topic} is {found.kind} already and cannot be {kind}, too: give each stop a topic"
                " of its own"
            )
        if found is None:
            found = Switch(kind, topic)
            # one assignment, because other threads may read
            self._switches = {**self._switches, topic: found}
        if deadline_s:
            found.require(deadline_s)
        return found

    def stop(self, reason: str) -> None:
        """Latch a stop and count it. If one is latched already, its reason stays.

        Args:
            reason: Why the arm is stopped, in words.
        """
        with self._latching:
            self.stops += 1
            self._latched = self._latched or reason

    def take(self, switch: Switch, is_on: bool, now: float, late_s: float = 0.0) -> None:
        """Take a message of a switch. A true of an emergency stop also latches a stop.

        Args:
            switch: The switch.
            is_on: Value of the message.
            now: Steady time at which the message was read [s].
            late_s: Time by which it was read later than usual [s].
        """
        switch.take(is_on, now, late_s)
        if is_on and switch.kind == EMERGENCY_STOP:
            self.stop("the emergency stop was pressed")

    def expect_robot(self, timeout_s: float) -> None:
        """Set the longest silence of the robot, and forget its reports.

        Args:
            timeout_s: The longest silence [s]; 0: the robot need not report.
        """
        self._robot = ""
        self._robot_heard = NEVER
        self._robot_timeout = timeout_s

    def take_robot_report(self, reason: str, now: float) -> None:
        """Take a report of the robot's own state.

        The reason stops the arm until the next report, and does not latch.

        Args:
            reason: Why the robot does not move, in words; empty if it can move.
            now: Steady time [s].
        """
        self._robot = reason
        self._robot_heard = now

    def reset(self, now: float) -> tuple[bool, str]:
        """End a latched stop, unless something else stops the arm. A silent deadman's switch does
        not prevent that.

        Args:
            now: Steady time [s].

        Returns:
            Whether no stop is latched any more, and a message for the caller: what was released, or
            what still stops the arm.
        """
        with self._latching:
            causes = [
                reason
                for kind, reason in self.reasons(now).items()
                if kind not in ("stop", "enable_silent")
            ]
            if causes:
                return False, f"still stopped: {'; '.join(causes)}"
            latched = self._latched
            self._latched = ""
        return True, f"released: {latched}; ~/start moves the arm" if latched else "was not stopped"

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return what stops the arm now: description by kind, see the module's table. Empty if
        nothing does.

        Args:
            now: Steady time [s].
        """
        switches = self._switches
        robot_silent = self._robot_timeout > 0 and now - self._robot_heard > self._robot_timeout
        stopping = [switch for switch in switches.values() if switch.stops(now)]
        if not (stopping or robot_silent or self._latched or self._robot):
            return NO_REASONS
        reasons: dict[str, str] = {}
        if self._latched:
            reasons["stop"] = f"{self._latched}; ~/reset releases it"
        for switch in stopping:
            self._add_reasons(switch, reasons, now)
        if self._robot or robot_silent:
            reasons["robot"] = self._silence_of_robot(now) if robot_silent else self._robot
        return reasons

    @staticmethod
    def _add_reasons(switch: Switch, reasons: dict[str, str], now: float) -> None:
        """Add the reasons of a switch that stops the arm, by the kinds of the module's table.

        Args:
            switch: The switch.
            reasons: Descriptions by kind, which are extended.
            now: Steady time [s].
        """
        is_silent = switch.is_silent(now)
        if switch.several:
            reasons["stop_shared"] = switch.several
        if switch.is_required and switch.complaint:
            reasons["stop_missing"] = switch.complaint
        elif switch.kind == EMERGENCY_STOP and is_silent:
            reasons["stop_missing"] = switch.silence(now)
        if switch.kind == EMERGENCY_STOP and switch.is_on:
            reasons["emergency_stop"] = f"the emergency stop is pressed ({switch.topic})"
        elif switch.kind == STOP_LOCK and switch.is_on:
            reasons["stop_lock"] = f"the stop lock is closed ({switch.topic})"
        elif switch.kind == STOP_LOCK and is_silent:
            reasons["stop_lock"] = switch.silence(now)
        elif switch.kind == ENABLE and is_silent:
            reasons["enable_silent"] = switch.silence(now)

    def _silence_of_robot(self, now: float) -> str:
        """Describe for how long the robot was not heard, at a steady time [s]."""
        if self._robot_heard == NEVER:
            return "the robot is off or was never heard"
        return f"no word from the robot for {now - self._robot_heard:.3f} s"
