"""Convert the commands of the actor to the messages of an arm's controllers.

The robot file (config/robots/*.yaml) names the type of the controller of each command mode, and so
the interface. Without a controller the interface is `forward`. The simulation bridge reads commands
with the same adapters.

===========  ===============================  ====================================================
interface    type on `commands`               controller
===========  ===============================  ====================================================
forward      std_msgs/Float64MultiArray       ros2_control's forward_command_controller and group
                                              controllers, in every mode
trajectory   trajectory_msgs/JointTrajectory  ros2_control's joint_trajectory_controller, position
                                              mode: a point one period ahead, then the points of a
                                              braking motion
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
        kind: ROS message class of a command.
    """

    kind: type[Any]

    def to_msg(self, values: Vector, answers_ns: int, brake: Brake | None = None) -> Any:
        """Convert a command to a message.

        Args:
            values: Command (N,) in the unit of the command mode [rad], [rad/s] or [N m].
            answers_ns: Stamp of the state that the command answers [ns].
            brake: Braking motion for the trajectory controller to execute if no further command
                comes. None: that controller stops at the command. Other interfaces ignore it.
        """

    def from_msg(self, message: Any) -> tuple[Vector, int | None]:
        """Convert a message to a command.

        Returns:
            The command (N,) in command order, and the stamp of the state that it answers [ns],
            None if the message names no state.

        Raises:
            MessageError: The message does not fit the arm or the mode.
        """


def brakes_behind(robot: RobotConfig, mode: str) -> bool:
    """Return whether the commands of a mode contain a braking motion, which the controller executes
    if no further command comes.

    Args:
        robot: Names the controller of each mode.
        mode: Command mode.
    """
    return robot.interface(mode) == "trajectory"


def make_adapter(robot: RobotConfig, mode: str, period_s: float) -> Adapter:
    """Return the adapter for the controller of a command mode.

    Args:
        robot: Names the controller of each mode. Without one the interface is `forward`.
        mode: Command mode: "position", "velocity" or "torque".
        period_s: Control period [s]; used by the trajectory interface only.

    Raises:
        ConfigError: The message package of the interface is not installed.
    """
    interface = robot.interface(mode)
    if interface == "trajectory":
        return TrajectoryAdapter(robot.wire_joints, period_s)
    if interface == "intera":
        from sql_ros.nodes.intera import InteraAdapter

        return InteraAdapter(robot.wire_joints, mode)
    return ForwardAdapter(robot.wire_joints, mode)


class ForwardAdapter:
    """Adapter of the interface `forward`: multi-arrays with the values in command order.

    The labels of the layout name mode, joints and answered state. Controllers ignore the labels.

    Args:
        joints: Joint names on topics, in command order.
        mode: Command mode.
    """

    kind = Float64MultiArray

    def __init__(self, joints: Sequence[str], mode: str) -> None:
        self._joints = joints
        self._mode = mode

    def to_msg(
        self, values: Vector, answers_ns: int, brake: Brake | None = None
    ) -> Float64MultiArray:
        """Convert a command (N,) in the unit of the mode to an array with labels. `brake` is
        ignored. See `Adapter`.
        """
        return command_to_msg(values, self._mode, self._joints, answers_ns)

    def from_msg(self, message: Float64MultiArray) -> tuple[Vector, int | None]:
        """Convert an array to a command. Labels are optional. See `Adapter`.

        Returns:
            The command (N,) in the unit of the mode, and the stamp of the state that it answers
            [ns], None if no label names one.

        Raises:
            MessageError: The length is wrong, a value is not finite, or the labels name another
                mode, other joints or another order.
        """
        return command_from_msg(message, self._mode, self._joints)


class TrajectoryAdapter:
    """Adapter of the interface `trajectory`: the command, then the points of a braking motion.

    The command is to be reached one control period after the message arrives (stamp 0: now). When
    the next command is late, the arm executes the braking motion, within its limits. Without that
    motion it would have to stop at once.

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
        """Convert a command to a trajectory. See `Adapter`.

        Args:
            values: Joint positions (N,) to be reached one period after the message arrives [rad].
            answers_ns: Stamp of the state that the command answers [ns].
            brake: Braking motion, which becomes `BRAKE_POINTS` further points in which the speed
                falls linearly to 0. None: the trajectory has one point.
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
        """Convert the first point of a trajectory to a command; ignore the others. See `Adapter`.

        Returns:
            Joint positions (N,) in command order [rad], and the stamp of the state that they
            answer [ns], None if the message names no state.

        Raises:
            MessageError: There is no point, or its joints or values do not fit the arm.
        """
        if not message.points:
            raise MessageError(
                "trajectory has 0 points, expected the command, and the brake after it"
            )
        values = in_command_order(message.joint_names, message.points[0].positions, self._joints)
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
    """Serialises commands by writing stamp and values into a serialised template.

    Serialising a message in rclpy takes as long as publishing it. A template is made once per
    number of values and number of digits of the stamp. Messages that contain more than values and
    stamp, such as a braking motion, are left to rclpy. An encoder must be used by one thread only,
    because it writes into its templates.

    Args:
        adapter: Converts the commands from which templates are made.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._templates: dict[tuple[int, int], _Template | None] = {}

    def encode(self, values: Vector, answers_ns: int, brake: Brake | None = None) -> Any:
        """Return a command in a form that `Publisher.publish` takes.

        Args:
            values: Command (N,) in the unit of the command mode.
            answers_ns: Stamp of the state that the command answers [ns].
            brake: Braking motion after the command, see `Adapter.to_msg`; None: none.

        Returns:
            The serialised message as bytes, or the message itself where there is a brake or no
            template fits.
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

        The template is tested with a second command. The test compares messages and not bytes,
        because the bytes between aligned fields and after the last field are undefined.

        Args:
            digits: Number of digits of the stamp.
            size: Number of values.

        Returns:
            The template; None if a command contains more than values and stamp.
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
    """Write stamp and values into a template; return a copy of the template as bytes.

    Args:
        template: Serialised command; changed in place.
        stamp: Decimal digits of the stamp [ns], as many as in the template.
        content: Bytes of the values as doubles, as many as in the template.
    """
    whole, stamp_at, content_at = template
    whole[stamp_at : stamp_at + len(stamp)] = stamp
    whole[content_at : content_at + len(content)] = content
    return bytes(whole)


def in_command_order(
    names: Sequence[str], values: Sequence[float], joints: Sequence[str]
) -> Vector:
    """Return the values of a command message (N,), sorted into the order of `joints`.

    Args:
        names: Joint name of each value, in the order of the message.
        values: Values, one per name.
        joints: Joint names in command order.

    Raises:
        MessageError: `names` is not a permutation of `joints`, the number of values differs, or a
            value is not finite.
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
