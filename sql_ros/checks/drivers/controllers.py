"""Set-points that the controllers of ros2_control make of commands; pure.

Every time is in [s] of one clock that the caller chooses.

Sources: documentation of ros2_controllers (joint_trajectory_controller, forward_command_controller,
velocity_controllers, effort_controllers); Intera's API reference for the joint commands of Sawyer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import Vector

JOINS_RAD = 1e-4  # distance from the earlier trajectory below which a new one joins it
# largest velocity of a last point that joint_trajectory_controller accepts [rad/s]
NO_VELOCITY = float(np.finfo(np.float32).eps)


class CommandError(Exception):
    """The controller refuses a command. The last accepted command stays in force."""


class Point(NamedTuple):
    """A point of a trajectory as received.

    Attributes:
        time_s: Time from the start of the trajectory [s].
        positions: Positions (N,) [rad] in the order of the message's joint names.
        velocities: Velocities (N,) [rad/s] in the same order; empty: not given.
    """

    time_s: float
    positions: Sequence[float]
    velocities: Sequence[float] = ()


class _Knot(NamedTuple):
    """A point of a trajectory in the controller's joint order.

    Attributes:
        time_s: Time from the start of the trajectory [s].
        position: Positions (N,) [rad].
        velocity: Velocities (N,) [rad/s]; None: not given.
    """

    time_s: float
    position: Vector
    velocity: Vector | None


class TrajectoryController:
    """A joint_trajectory_controller on position interfaces.

    The set-point goes through the points in turn and stays at the last one. A segment is a cubic
    spline if both of its ends have velocities, otherwise a straight line. A new trajectory replaces
    the one under way. Its first segment begins at the measured position and velocity, or, with
    `interpolate_from_desired_state`, at the set-point of the replaced trajectory.

    The stack sends a trajectory with more than one point as a straight line to the first point,
    then an even braking to the last. Such a trajectory joins the one before if it begins on the
    line between the ends of that one.

    Args:
        joints: Names, in the order of the controller's parameter `joints`.
        position: Position of the arm at activation (N,) [rad], the set-point until a trajectory
            comes.
        speed: Share of its speed at which a trajectory progresses, as in the scaled controller.
        from_desired: The controller's parameter `interpolate_from_desired_state`.

    Attributes:
        joined_speed: Speed (N,) [rad/s] of the last trajectory up to its first point, if it joins
            the one before; None if not.
        left_speed: Speed (N,) [rad/s] of the trajectory before at the place where the last one
            joins; None if it does not join.
    """

    interface = "position"

    def __init__(
        self,
        joints: Sequence[str],
        position: Vector,
        speed: float = 1.0,
        *,
        from_desired: bool = False,
    ) -> None:
        self._speed = speed
        self._from_desired = from_desired
        self._joints = list(joints)
        self._start_s = 0.0
        # of the last trajectory: begin, first point, end [rad], speed [rad/s]
        self._way: tuple[Vector, Vector, Vector, Vector] | None = None
        self.joined_speed: Vector | None = None
        self.left_speed: Vector | None = None
        position = np.array(position, np.float64)
        self._knots = [_Knot(0.0, position, np.zeros_like(position))]

    def take_trajectory(
        self,
        now: float,
        names: Sequence[str],
        points: Sequence[Point],
        position: Vector,
        velocity: Vector,
    ) -> Vector:
        """Replace the trajectory by a new one that starts now.

        Args:
            now: Time of arrival [s].
            names: Names of all joints, in any order.
            points: Points with values in the order of `names`, at least one.
            position: Measured position of the arm (N,) [rad], in the order of the controller.
            velocity: Measured velocity of the arm (N,) [rad/s], in the order of the controller.

        Returns:
            The first point (N,) [rad], in the order of the controller.

        Raises:
            CommandError: The trajectory has other joints, no points, wrong lengths, times that do
                not grow, a value that is not finite, or a last point with a velocity.
        """
        if sorted(names) != sorted(self._joints):
            raise CommandError(f"trajectory for {list(names)}, expected {self._joints}")
        if not points:
            raise CommandError("trajectory without points")
        order = [list(names).index(joint) for joint in self._joints]
        knots = [_Knot(point.time_s, *_in_order(point, order)) for point in points]
        times = np.array([0.0, *(point.time_s for point in points)])
        if (np.diff(times) < 0.0).any() or (np.diff(times[1:]) <= 0.0).any():
            raise CommandError(f"times from start {times[1:].tolist()} do not grow")
        last = knots[-1].velocity
        if last is not None and np.abs(last).max() > NO_VELOCITY:
            raise CommandError(f"velocity of the last point is not zero: {last.tolist()}")
        before = self._sample(now) if self._from_desired else (position, velocity)
        self._start_s = now
        self._knots = [_Knot(0.0, *before), *knots]
        self._join(knots[0], knots[-1])
        return knots[0].position

    def setpoint(self, now: float) -> Vector:
        """Return the position set-point (N,) [rad] at a time.

        Args:
            now: Time, not before the arrival of the trajectory [s].
        """
        return self._sample(now)[0]

    def _join(self, first: _Knot, last: _Knot) -> None:
        """Set `joined_speed` and `left_speed` for a new trajectory; both None if it does not join
        the one before.

        Args:
            first: First point of the new trajectory.
            last: Last point of the new trajectory; the same object if there is only one, which
                never joins.
        """
        before = self._way
        self._way = self.joined_speed = self.left_speed = None
        if last is first:
            return
        speed = 2.0 * (last.position - first.position) / (last.time_s - first.time_s)
        begin = first.position - first.time_s * speed
        self._way = begin, first.position, last.position, speed
        if before is None or _distance_from_line(begin, before[0], before[2]) >= JOINS_RAD:
            return
        _, turn, end, left = before
        brake = end - turn
        share = (
            min(max(float((begin - turn) @ brake / (brake @ brake)), 0.0), 1.0)
            if brake.any()
            else 0.0
        )
        self.joined_speed = speed
        self.left_speed = left * np.sqrt(1.0 - share)  # the braking is even: v^2 falls linearly

    def _sample(self, now: float) -> tuple[Vector, Vector]:
        """Return positions (N,) [rad] and velocities (N,) [rad/s] of the trajectory at a time.

        Args:
            now: Time [s].
        """
        time_s = max((now - self._start_s) * self._speed, 0.0)
        after = next(
            (index for index, knot in enumerate(self._knots) if knot.time_s > time_s), None
        )
        if after is not None:
            return _between(self._knots[after - 1], self._knots[after], time_s)
        last = self._knots[-1].position
        return last, np.zeros_like(last)


def _distance_from_line(position: Vector, begin: Vector, end: Vector) -> float:
    """Return the distance of a position from the straight segment between two others [rad].

    The nearest point of the segment is taken in joint space. The distance is that of the farthest
    joint.

    Args:
        position: Position (N,) [rad].
        begin: Begin of the segment (N,) [rad].
        end: End of the segment (N,) [rad].
    """
    way = end - begin
    length = float(way @ way)
    share = min(max(float((position - begin) @ way) / length, 0.0), 1.0) if length else 0.0
    return float(np.abs(position - begin - share * way).max())


def _in_order(point: Point, order: Sequence[int]) -> tuple[Vector, Vector | None]:
    """Return positions (N,) [rad] and velocities (N,) [rad/s] of a point in the controller's order.

    Args:
        point: Point as received.
        order: For each joint of the controller, its index in the point.

    Returns:
        The positions, and the velocities or None if the point has none.

    Raises:
        CommandError: A number of values is wrong, or a value is not finite.
    """
    values: list[Vector] = []
    for what, given in (("positions", point.positions), ("velocities", point.velocities)):
        if what == "velocities" and not len(given):
            return values[0], None
        if len(given) != len(order):
            raise CommandError(f"a point has {len(given)} {what}, expected {len(order)}")
        values.append(np.array([given[index] for index in order], np.float64))
        if not np.isfinite(values[-1]).all():
            raise CommandError(f"{what} are not finite: {values[-1].tolist()}")
    return values[0], values[1]


def _between(start: _Knot, end: _Knot, time_s: float) -> tuple[Vector, Vector]:
    """Interpolate between two points of a trajectory.

    Args:
        start: Point before the time.
        end: Point after the time.
        time_s: Time from the start of the trajectory [s].

    Returns:
        Positions (N,) [rad] and velocities (N,) [rad/s].
    """
    duration = end.time_s - start.time_s
    left = time_s - start.time_s
    mean = (end.position - start.position) / duration
    if start.velocity is None or end.velocity is None:
        return start.position + mean * left, mean
    bend = (3.0 * mean - 2.0 * start.velocity - end.velocity) / duration
    twist = (start.velocity + end.velocity - 2.0 * mean) / duration**2
    position = start.position + left * (start.velocity + left * (bend + left * twist))
    return position, start.velocity + left * (2.0 * bend + 3.0 * left * twist)


class GroupController:
    """A forward_command_controller or a JointGroup controller, whose commands are arrays without
    names.

    The controller keeps the last command for ever, in the order of its parameter `joints`.

    Args:
        joints: Names, in the order of the controller's parameter `joints`.
        interface: "velocity" [rad/s] or "effort" [N m].
    """

    def __init__(self, joints: Sequence[str], interface: str) -> None:
        self._count = len(joints)
        self.interface = interface
        self._last: Vector | None = None

    def take_values(self, values: Sequence[float]) -> Vector:
        """Keep a command and return it as an array (N,).

        Args:
            values: Command in the unit of the interface, in the order of the controller.

        Raises:
            CommandError: The number of values is wrong, or one is not finite.
        """
        if len(values) != self._count:
            raise CommandError(f"{len(values)} values, expected {self._count}")
        if not np.isfinite(values).all():
            raise CommandError(f"values are not finite: {list(values)}")
        self._last = np.array(values, np.float64)
        return self._last

    def setpoint(self, now: float) -> Vector:
        """Return the last command (N,); zeros before the first.

        Args:
            now: Unused; a command has no timeout.
        """
        return np.zeros(self._count) if self._last is None else self._last


class JointCommandController:
    """Intera's joint control in velocity mode.

    The set-point is zero after a timeout without a new command, and while the robot is not enabled.

    Args:
        joints: Names, in the order of the double.
        timeout_s: Time after which a command ends [s].

    Attributes:
        timeout_s: Time after which a command ends [s]; may be changed.
        is_enabled: Whether the motors are on; False at first, set from outside.
    """

    interface = "velocity"
    VELOCITY_MODE = 2  # value of JointCommand.mode

    def __init__(self, joints: Sequence[str], timeout_s: float = 0.2) -> None:
        self._joints = list(joints)
        self.timeout_s = timeout_s
        self.is_enabled = False
        self._last = np.zeros(len(self._joints))
        self._renewed = -np.inf

    def take_joint_command(
        self, now: float, mode: int, names: Sequence[str], velocity: Sequence[float]
    ) -> Vector:
        """Keep a command until its timeout.

        Args:
            now: Time of arrival [s].
            mode: Command mode of the message; must be `VELOCITY_MODE`.
            names: Names of all joints, in any order.
            velocity: Velocities in the order of `names` [rad/s].

        Returns:
            The command in the order of the double (N,) [rad/s].

        Raises:
            CommandError: The mode is another one, or names or values are wrong.
        """
        if mode != self.VELOCITY_MODE:
            raise CommandError(f"mode {mode}, expected {self.VELOCITY_MODE}")
        if sorted(names) != sorted(self._joints) or len(velocity) != len(names):
            raise CommandError(f"{len(velocity)} values for {list(names)}, expected {self._joints}")
        if not np.isfinite(velocity).all():
            raise CommandError(f"velocities are not finite: {list(velocity)}")
        self._last = np.array([velocity[list(names).index(joint)] for joint in self._joints])
        self._renewed = now
        return self._last

    def setpoint(self, now: float) -> Vector:
        """Return the velocity set-point (N,) [rad/s]: the last command, or zeros after its timeout
        or without motors.

        Args:
            now: Time [s].
        """
        is_fresh = now - self._renewed <= self.timeout_s
        return self._last if is_fresh and self.is_enabled else np.zeros_like(self._last)
