"""Adapters from the commands of the actor to the message types of an arm's controllers.

The robot file (config/robots/*.yaml) names the type of each controller. The simulation bridge uses
the same adapters to read commands. Without a controller the interface is `forward`.

===========  ===============================  ====================================================
interface    type on `commands`               controller
===========  ===============================  ====================================================
forward      std_msgs/Float64MultiArray       ros2_control's forward_command_controller and group
                                              controllers, in every mode
trajectory   trajectory_msgs/JointTrajectory  ros2_control's joint_trajectory_controller, position
                                              mode: a point a period ahead, then the brake
intera       intera_core_msgs/JointCommand    Rethink's arms, through a bridge to their ROS 1, in
                                              every mode; see `nodes/intera.py`
===========  ===============================  ====================================================

In lockstep the simulation steps on exactly the command that answers its state. The label "answers
<stamp in ns>" names that state. It travels in the layout of a multi-array, or in header.frame_id,
where arms ignore it.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages import command_from_msg, command_to_msg, read_answers
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.command_models import Brake

# points of a trajectory after the first: at each the speed falls by an eighth
BRAKE_POINTS = 8
SHORTEST_BRAKE_S = 1e-3  # the times of the points must increase


class Adapter(Protocol):
    """Conversion between commands and the messages of one interface of an arm.

    Attributes:
        kind: Message type of a command.
    """

    kind: type[Any]

    def to_msg(self, values: Vector, answers_ns: int, brake: Brake | None = None) -> Any:
        """Convert a command to a message.

        Args:
            values: Command in the unit of the mode, (N,).
            answers_ns: Stamp of the state that the command answers [ns].
            brake: Braking motion that may follow the command, for a controller that brakes by
                itself. Other controllers ignore it. None: the arm is to rest at once.
        """

    def from_msg(self, message: Any) -> tuple[Vector, int | None]:
        """Convert a message to a command.

        Returns:
            The command (N,), and the stamp of the state that it answers [ns]. The stamp is None
            where the message has none.

        Raises:
            MessageError: The message does not fit the arm or the mode.
        """


def brakes_behind(robot: RobotConfig, mode: str) -> bool:
    """Return whether the controller of a command mode brakes the arm by itself after each
    command.
    """
    return robot.interface(mode) == "trajectory"


def make_adapter(robot: RobotConfig, mode: str, period_s: float) -> Adapter:
    """Return the adapter for the controller of a command mode.

    Args:
        robot: Names the controller of each mode. Without one the interface is `forward`.
        mode: Command mode of the task.
        period_s: Control period [s].

    Raises:
        ConfigError: The messages of the interface are not installed.
    """
    interface = robot.interface(mode)
    if interface == "trajectory":
        return TrajectoryAdapter(robot.wire_joints, period_s)
    if interface == "intera":
        from sql_ros.nodes.intera import InteraAdapter

        return InteraAdapter(robot.wire_joints, mode)
    return ForwardAdapter(robot.wire_joints, mode)


class ForwardAdapter:
    """Multi-arrays with the values in command order. Controllers read the data and ignore the
    labels.
    """

    kind = Float64MultiArray

    def __init__(self, joints: Sequence[str], mode: str) -> None:
        self._joints = joints
        self._mode = mode

    def to_msg(
        self, values: Vector, answers_ns: int, brake: Brake | None = None
    ) -> Float64MultiArray:
        """Convert a command to a labelled array. See `Adapter`."""
        return command_to_msg(values, self._mode, self._joints, answers_ns)

    def from_msg(self, message: Float64MultiArray) -> tuple[Vector, int | None]:
        """Convert an array to a command; check its labels, if it has any. See `Adapter`."""
        return command_from_msg(message, self._mode, self._joints)


class TrajectoryAdapter:
    """Trajectories of the command and the braking motion after it.

    The command is to be reached one control period after the message arrives (stamp 0: now). When
    the next command is late, the arm brakes within its limits. Without the brake it would have to
    stop at once.

    The points have positions only, and the controller interpolates linearly between them. The
    safety filter assumes the same: a constant velocity during the period. With velocities the
    controller would compute cubic splines. These start at the measured velocity, and exceed the
    commanded one by a third of each change.

    Args:
        joints: Joint names on topics, in command order.
        period_s: Control period [s].
    """

    kind = JointTrajectory

    def __init__(self, joints: Sequence[str], period_s: float) -> None:
        self._joints = list(joints)
        self._period = period_s

    def to_msg(
        self, values: Vector, answers_ns: int, brake: Brake | None = None
    ) -> JointTrajectory:
        """Convert a command to a point one period ahead, and the brake to points after it.
        See `Adapter`.
        """
        points = [_point(values, self._period)]
        if brake is not None:
            time_s = max(brake.time_s, SHORTEST_BRAKE_S)
            for count in range(1, BRAKE_POINTS + 1):
                share = count / BRAKE_POINTS
                way = brake.time_s * share * (1.0 - 0.5 * share) * brake.velocity
                points.append(_point(values + way, self._period + share * time_s))
        return JointTrajectory(
            header=Header(frame_id=f"answers {answers_ns}"), joint_names=self._joints, points=points
        )

    def from_msg(self, message: JointTrajectory) -> tuple[Vector, int | None]:
        """Convert the first point of a trajectory to a command. See `Adapter`."""
        if not message.points:
            raise MessageError(
                "trajectory has 0 points, expected the command, and the brake after it"
            )
        values = by_name(message.joint_names, message.points[0].positions, self._joints)
        return values, read_answers(message.header.frame_id)


def _point(positions: Vector, time_s: float) -> JointTrajectoryPoint:
    """Return a point of a trajectory.

    Args:
        positions: Joint positions, (N,) [rad].
        time_s: Time from the start of the trajectory [s].
    """
    nanoseconds = round(time_s * 1e9)
    due = Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return JointTrajectoryPoint(
        positions=array.array("d", positions.tobytes()), time_from_start=due
    )


# serialised command, and the offsets of its stamp and of its values [bytes]
_Template = tuple[memoryview, int, int]


class CommandEncoder:
    """Serialises commands from a template, in which only stamp and values are written anew.

    To convert a message takes as long as to send it. Where an adapter puts more than values and
    stamp into a message, such as a brake, rclpy serialises it. One encoder serves one thread,
    because it writes into its template.

    Args:
        adapter: Converts the commands from which templates are made.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._templates: dict[tuple[int, int], _Template | None] = {}

    def encode(self, values: Vector, answers_ns: int, brake: Brake | None = None) -> Any:
        """Return what to publish for a command: the serialised message, or the message itself.

        Args:
            values: Command in the unit of the mode, (N,).
            answers_ns: Stamp of the state that the command answers [ns].
            brake: See `Adapter.to_msg`.
        """
        if brake is not None:
            return self._adapter.to_msg(values, answers_ns, brake)
        stamp = b"%d" % answers_ns
        content = values.tobytes()
        sizes = len(stamp), len(values)
        if sizes not in self._templates:
            self._templates[sizes] = self._template(*sizes)
        template = self._templates[sizes]
        return (
            self._adapter.to_msg(values, answers_ns)
            if template is None
            else _fill(template, stamp, content)
        )

    def _template(self, digits: int, size: int) -> _Template | None:
        """Return a serialised command as a template for commands of its size.

        Messages are compared, not bytes: the bytes between aligned fields and after the last one
        are undefined.

        Args:
            digits: Number of digits of the stamp.
            size: Number of values.

        Returns:
            The template; None if two commands differ in more than values and stamp.
        """
        stamps = (int("1" * digits), int("2" * digits))
        values = (np.arange(size, dtype=np.float64) + 0.1, np.arange(size, dtype=np.float64) - 0.7)
        one = serialize_message(self._adapter.to_msg(values[0], stamps[0]))
        template = (
            memoryview(bytearray(one)),
            one.find(b"%d" % stamps[0]),
            one.find(values[0].tobytes()),
        )
        if min(template[1:]) < 0:
            return None
        other = deserialize_message(
            _fill(template, b"%d" % stamps[1], values[1].tobytes()), self._adapter.kind
        )
        return template if other == self._adapter.to_msg(values[1], stamps[1]) else None


def _fill(template: _Template, stamp: bytes, content: bytes) -> bytes:
    """Write stamp and values into a template; return a copy of it as bytes.

    Args:
        template: Serialised command.
        stamp: Digits of the stamp [ns], as many as in the template.
        content: The values as doubles, as many as in the template.
    """
    whole, stamp_at, content_at = template
    whole[stamp_at : stamp_at + len(stamp)] = stamp
    whole[content_at : content_at + len(content)] = content
    return bytes(whole)


def by_name(names: Sequence[str], values: Sequence[float], joints: Sequence[str]) -> Vector:
    """Return values sorted into the order of `joints`, (N,).

    Args:
        names: Joint of each value.
        values: Values, one per name.
        joints: Joint names in command order.

    Raises:
        MessageError: The names are not those of `joints`, the number of values differs, or a value
            is not finite.
    """
    if sorted(names) != sorted(joints):
        raise MessageError(
            f"command is for {', '.join(names) or 'no joints'}, expected {', '.join(joints)}"
        )
    if len(values) != len(names):
        raise MessageError(
            f"command has {len(values)} values, expected {len(names)}: {', '.join(names)}"
        )
    ordered = np.array([values[list(names).index(joint)] for joint in joints], np.float64)
    if not np.isfinite(ordered).all():
        raise MessageError(f"command is not finite: {ordered}")
    return ordered
