"""Convert joint states, as drivers send them, to the joint values of one arm.

===================  ==========================================================================
received             result
===================  ==========================================================================
other joints only    `ForeignStateError`: a gripper's or a mobile base's message
joint missing, twice `MessageError`: names the joints
position not finite  `MessageError`
velocity NaN, none   `MessageError` that names `velocity_from_position`; with it, positions are
                     differentiated and the velocity in the message is not read
effort NaN, none     NaN: not measured
a continuous joint   the position on the turn that is nearest to the last one, at first to the
                     neutral position: drivers may report such joints from -pi to pi
stamp 0              the time of arrival: the driver sets no stamp
===================  ==========================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import isfinite, isinf, isnan
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from sql_ros.common.errors import MessageError
from sql_ros.robot.arm import Vector
from sql_ros.robot.turns import Turns
from sql_ros.robot.velocity import LONGEST_GAP_NS, WINDOW_NS, PositionDifferentiator

JointValues = tuple[int, Vector, Vector, Vector]


class ForeignStateError(MessageError):
    """The message has none of the arm's joints, such as that of a gripper."""


def arrival_clock(control_time: Callable[[], float] = time.monotonic) -> Callable[[], int]:
    """Return a clock that starts at the present time and advances with control time.

    The returned clock never steps back, even if the clock of this computer is set.

    Args:
        control_time: Returns the control time [s].

    Returns:
        A function that returns the time [ns since 1970].
    """
    offset = time.time_ns() - round(control_time() * 1e9)
    return lambda: offset + round(control_time() * 1e9)


class StateReader:
    """Reads the joints of one arm from JointState messages, by name.

    The order of a message and further joints in it do not matter.

    Args:
        joints: Joint names on topics, in command order.
        velocity_from_position: Whether to differentiate positions instead of reading velocities.
        arrival_ns: Returns the stamp for a message that has none [ns]. None: such a stamp stays 0,
            as in lockstep.
        turns: Which joints are continuous and may be reported on any turn; None: none.

    Attributes:
        is_unstamped: Whether the last message had no stamp.
    """

    def __init__(
        self,
        joints: Sequence[str],
        *,
        velocity_from_position: bool = False,
        arrival_ns: Callable[[], int] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._joints = list(joints)
        self._names: list[str] | None = None
        self._foreign: list[str] | None = None  # joint names of the last foreign message
        self._index = np.empty(0, np.intp)
        self._unmeasured = np.full(len(self._joints), np.nan)
        self._differentiator = PositionDifferentiator() if velocity_from_position else None
        self._arrival_ns = arrival_ns
        self._turns = turns
        self.is_unstamped = False

    def forget(self) -> None:
        """Begin a new activation: continuous joints are on the turn nearest to neutral."""
        if self._turns is not None:
            self._turns.forget()

    def read(self, message: JointState) -> JointValues:
        """Convert a message.

        Args:
            message: The message.

        Returns:
            Stamp [ns]; then positions [rad], velocities [rad/s] and efforts [N m], (N,) each in
            command order. Efforts are NaN if they were not measured.

        Raises:
            ForeignStateError: The message has none of the arm's joints.
            MessageError: A joint is missing or named twice, lengths differ, a value is not finite,
                or there is no velocity (yet).
        """
        if message.name != self._names:
            self._learn_names(list(message.name))
        stamp_ns = self._stamp(message)
        position = self._select(message.position, "position")
        if not all(map(isfinite, position.tolist())):  # a third of the time of np.isfinite
            raise MessageError(f"joint_states has a position that is not finite: {position}")
        if self._turns is not None:
            position = self._turns.nearest(position)
        velocity = self._velocity(message, stamp_ns, position)
        return stamp_ns, position, velocity, self._effort(message)

    def _learn_names(self, names: list[str]) -> None:
        """Store where the arm's joints are among the names of a message.

        Args:
            names: Joint names of the message, in its order.

        Raises:
            ForeignStateError: None of the arm's joints is among the names.
            MessageError: A joint is missing or named twice.
        """
        missing: list[str] = []
        if names != self._foreign:
            missing = [joint for joint in self._joints if joint not in names]
        there = ", ".join(names) or "no names"
        if names == self._foreign or len(missing) == len(self._joints):
            self._foreign = names
            raise ForeignStateError(f"joint_states lacks {', '.join(self._joints)}; it has {there}")
        if missing:
            raise MessageError(f"joint_states lacks {', '.join(missing)}; it has {there}")
        twice = [joint for joint in self._joints if names.count(joint) > 1]
        if twice:
            raise MessageError(f"joint_states names {', '.join(twice)} twice; it has {there}")
        self._index = np.array([names.index(joint) for joint in self._joints])
        self._names = names

    def _stamp(self, message: JointState) -> int:
        """Return the stamp of a message [ns]; if it has none, the present time of `arrival_ns`.

        Sets `is_unstamped`.
        """
        stamp = message.header.stamp
        stamp_ns = int(stamp.sec * 1_000_000_000 + stamp.nanosec)
        self.is_unstamped = stamp_ns == 0
        if self.is_unstamped and self._arrival_ns is not None:
            return self._arrival_ns()
        return stamp_ns

    def _velocity(self, message: JointState, stamp_ns: int, position: Vector) -> Vector:
        """Return the joint velocities (N,) [rad/s], as measured or from positions.

        Args:
            message: The message.
            stamp_ns: Its stamp [ns].
            position: Its joint positions (N,) [rad].

        Raises:
            MessageError: A velocity is missing or not finite, or there are not enough positions to
                differentiate yet.
        """
        if self._differentiator is not None:
            velocity = self._differentiator.velocity(stamp_ns, position)
            if velocity is None:
                raise MessageError(
                    "no velocity from positions yet, which takes states over "
                    f"{WINDOW_NS // 10**6} ms, no two of them more than "
                    f"{LONGEST_GAP_NS // 10**6} ms apart"
                )
            return velocity
        velocity = (
            self._select(message.velocity, "velocity") if message.velocity else self._unmeasured
        )
        values = velocity.tolist()
        if any(map(isnan, values)):
            lacking = [joint for joint, value in zip(self._joints, values) if isnan(value)]
            raise MessageError(
                f"joint_states has no velocity of {', '.join(lacking)}: if the driver measures "
                "none, set velocity_from_position: true in the robot's file"
            )
        if any(map(isinf, values)):
            raise MessageError(f"joint_states has a velocity that is not finite: {velocity}")
        return velocity

    def _effort(self, message: JointState) -> Vector:
        """Return the joint efforts of a message (N,) [N m]; NaN if they were not measured.

        Raises:
            MessageError: An effort is infinite, or there is not one per name.
        """
        if not message.effort:
            return self._unmeasured
        effort = self._select(message.effort, "effort")
        if any(map(isinf, effort.tolist())):
            raise MessageError(f"joint_states has an infinite effort: {effort}")
        return effort

    def _select(self, values: Any, what: str) -> Vector:
        """Return the values (N,) of the arm's joints, in command order.

        Args:
            values: Values of all joints of the message, an array of doubles.
            what: Name of the values, for the error.

        Raises:
            MessageError: There is not one value per name.
        """
        count = len(self._names or ())
        if len(values) != count:
            raise MessageError(
                f"joint_states has {len(values)} values of {what}, expected one per name: {count}"
            )
        picked: Vector = np.frombuffer(values, np.float64)[self._index]
        return picked
