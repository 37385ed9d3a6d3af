"""What the controllers of ros2_control make of commands: pure, times in [s] of any one clock.

Sources: documentation of ros2_controllers (joint_trajectory_controller, forward_command_controller,
velocity_controllers, effort_controllers); Intera's API reference for the joint commands of Sawyer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


class CommandError(Exception):
    """A command that the controller would refuse; the command before stays in force."""


class TrajectoryController:
    """A joint_trajectory_controller on position interfaces.

    It interpolates from where the arm is to each point in turn, and holds the last point for ever.
    A new trajectory replaces the one under way.

    Args:
        joints: names, in the order of the controller's parameter `joints`.
        position: of the arm at activation (N,) [rad], held until a trajectory comes.
        speed: share at which a trajectory progresses, as the scaled controller has it.
    """

    interface = "position"

    def __init__(self, joints: Sequence[str], position: Vector, speed: float = 1.0) -> None:
        self._speed = speed
        self._joints = list(joints)
        self._times = np.zeros(1)
        self._points = np.array([position], np.float64)

    def take_trajectory(
        self,
        now: float,
        names: Sequence[str],
        points: Sequence[tuple[float, Sequence[float]]],
        position: Vector,
    ) -> Vector:
        """Start a trajectory now.

        Args:
            now: time of arrival [s].
            names: of joints, in any order, all of them.
            points: time from start [s] and positions [rad], in the order of `names`.
            position: of the arm (N,) [rad], in the order of the controller.

        Returns:
            The last point (N,) [rad], in the order of the controller.

        Raises:
            CommandError: other joints, no points, wrong lengths, times that do not grow, or a value
                that is not finite.
        """
        if sorted(names) != sorted(self._joints):
            raise CommandError(f"trajectory for {list(names)}, expected {self._joints}")
        if not points:
            raise CommandError("trajectory without points")
        times = np.array([0.0, *(time for time, _ in points)])
        if (np.diff(times) < 0.0).any() or (np.diff(times[1:]) <= 0.0).any():
            raise CommandError(f"times from start {times[1:].tolist()} do not grow")
        if any(len(values) != len(self._joints) for _, values in points):
            raise CommandError(f"a point does not have {len(self._joints)} positions")
        order = [list(names).index(joint) for joint in self._joints]
        targets = np.array([[values[index] for index in order] for _, values in points])
        if not np.isfinite(targets).all():
            raise CommandError(f"positions are not finite: {targets.tolist()}")
        self._times = now + times / self._speed
        self._points = np.vstack((position, targets))
        return np.asarray(targets[-1])

    def setpoint(self, now: float) -> Vector:
        """Return the position command at a time (N,) [rad]."""
        columns = [np.interp(now, self._times, column) for column in self._points.T]
        return np.array(columns)


class GroupController:
    """A forward_command_controller, or a JointGroup controller: an array without joint names.

    It keeps the last command for ever, in the order of its parameter `joints`.

    Args:
        joints: names, in the order of the controller's parameter `joints`.
        interface: "velocity" [rad/s] or "effort" [N m].
    """

    def __init__(self, joints: Sequence[str], interface: str) -> None:
        self._count = len(joints)
        self.interface = interface
        self._last: Vector | None = None

    def take_values(self, values: Sequence[float]) -> Vector:
        """Keep a command (N,) and return it.

        Raises:
            CommandError: another number of values, or one that is not finite.
        """
        if len(values) != self._count:
            raise CommandError(f"{len(values)} values, expected {self._count}")
        if not np.isfinite(values).all():
            raise CommandError(f"values are not finite: {list(values)}")
        self._last = np.array(values, np.float64)
        return self._last

    def setpoint(self, now: float) -> Vector:
        """Return the last command (N,); zeros before the first."""
        return np.zeros(self._count) if self._last is None else self._last


class JointCommandController:
    """Intera's joint control in velocity mode.

    A command that is not renewed within the timeout ends in a hold, and a robot that is not enabled
    does not move.

    Args:
        joints: names, in the order of the double.
        timeout_s: of a command [s].

    Attributes:
        timeout_s: of a command [s].
        is_enabled: the motors are on.
    """

    interface = "velocity"
    VELOCITY_MODE = 2  # JointCommand.mode

    def __init__(self, joints: Sequence[str], timeout_s: float = 0.2) -> None:
        self._joints = list(joints)
        self.timeout_s = timeout_s
        self.is_enabled = False
        self._last = np.zeros(len(self._joints))
        self._renewed = -np.inf

    def take_joint_command(self, now: float, mode: int, names: Sequence[str], velocity: Sequence[float]) -> Vector:
        """Keep a command for the timeout; return it in the order of the double (N,) [rad/s].

        Raises:
            CommandError: another mode, other joints, wrong lengths, or a value that is not finite.
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
        """Return the velocity command at a time (N,) [rad/s]."""
        is_fresh = now - self._renewed <= self.timeout_s
        return self._last if is_fresh and self.is_enabled else np.zeros_like(self._last)
