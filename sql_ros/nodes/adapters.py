"""How commands look to an arm: an adapter per type of controller in config/robots/*.yaml.

The bridge uses it the other way round. Without a controller the interface is `forward`.

===========  ===============================  ====================================================
interface    type on `commands`               controller
===========  ===============================  ====================================================
forward      std_msgs/Float64MultiArray       ros2_control's forward_command_controller and group
                                              controllers, in every mode
trajectory   trajectory_msgs/JointTrajectory  ros2_control's joint_trajectory_controller, position
                                              mode: one point, a period ahead
intera       intera_core_msgs/JointCommand    Rethink's arms, through a bridge to their ROS 1, in
                                              every mode; see `nodes/intera.py`
===========  ===============================  ====================================================

`to_msg` makes a command of values (N,), `from_msg` checks one and raises `MessageError`. In lockstep the simulation steps on exactly the
command that answers its state: the label "answers <stamp in ns>" travels in a layout or in header.frame_id, where arms ignore it.
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

from sql_ros.core.errors import MessageError
from sql_ros.nodes.messages import command_from_msg, command_to_msg, read_answers
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig


class Adapter(Protocol):
    """One interface of an arm.

    Attributes:
        kind: message type of a command.
    """

    kind: type[Any]

    def to_msg(self, values: Vector, answers_ns: int) -> Any:
        """A command (N,) in the unit of the mode, which answers the state of that stamp."""

    def from_msg(self, message: Any) -> tuple[Vector, int | None]:
        """The command (N,) and the stamp of the state it answers [ns], None where it does not say.

        Raises:
            MessageError: it does not fit the arm or its mode.
        """


def make_adapter(robot: RobotConfig, mode: str, period_s: float) -> Adapter:
    """Return the adapter for the controller of a command mode.

    Args:
        robot: Its controller of this mode decides; without one the interface is `forward`.
        mode: Command mode of the task.
        period_s: Of control [s].

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
    """Values in command order; controllers read the data and ignore the labels."""

    kind = Float64MultiArray

    def __init__(self, joints: Sequence[str], mode: str) -> None:
        self._joints, self._mode = joints, mode

    def to_msg(self, values: Vector, answers_ns: int) -> Float64MultiArray:
        """See `Adapter`."""
        return command_to_msg(values, self._mode, self._joints, answers_ns)

    def from_msg(self, message: Float64MultiArray) -> tuple[Vector, int | None]:
        """See `Adapter`."""
        return command_from_msg(message, self._mode, self._joints)


class TrajectoryAdapter:
    """A trajectory of one point, to be reached one control period after it arrives (stamp 0: now)."""

    kind = JointTrajectory

    def __init__(self, joints: Sequence[str], period_s: float) -> None:
        self._joints = list(joints)
        nanoseconds = round(period_s * 1e9)
        self._period = Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def to_msg(self, values: Vector, answers_ns: int) -> JointTrajectory:
        """See `Adapter`."""
        point = JointTrajectoryPoint(positions=array.array("d", values.tobytes()), time_from_start=self._period)
        return JointTrajectory(header=Header(frame_id=f"answers {answers_ns}"), joint_names=self._joints, points=[point])

    def from_msg(self, message: JointTrajectory) -> tuple[Vector, int | None]:
        """See `Adapter`."""
        if len(message.points) != 1:
            raise MessageError(f"trajectory has {len(message.points)} points, expected 1")
        values = by_name(message.joint_names, message.points[0].positions, self._joints)
        return values, read_answers(message.header.frame_id)


_Template = tuple[memoryview, int, int]  # a serialised command, where its stamp begins and where its values do


class Wire:
    """Commands as they go over the wire, of which only what changes is written anew: to convert a message takes as long as to send it.

    Where an adapter puts more into a command than its values and the stamp they answer, messages are left to rclpy.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._templates: dict[tuple[int, int], _Template | None] = {}

    def command(self, values: Vector, answers_ns: int) -> Any:
        """What to publish for `Adapter.to_msg` of these: its serialised form, or the message itself."""
        stamp, content = b"%d" % answers_ns, values.tobytes()
        sizes = len(stamp), len(values)
        if sizes not in self._templates:
            self._templates[sizes] = self._template(*sizes)
        template = self._templates[sizes]
        return self._adapter.to_msg(values, answers_ns) if template is None else _filled(template, stamp, content)

    def _template(self, digits: int, size: int) -> _Template | None:
        """A serialised command of that size; None if another one differs from it in more than values and stamp.

        Compared as messages: what stands between aligned fields, and behind the last, is whatever the memory held before.
        """
        stamps, values = (int("1" * digits), int("2" * digits)), (np.arange(size) + 0.1, np.arange(size) - 0.7)
        one = serialize_message(self._adapter.to_msg(values[0], stamps[0]))
        template = memoryview(bytearray(one)), one.find(b"%d" % stamps[0]), one.find(values[0].tobytes())
        if min(template[1:]) < 0:
            return None
        other = deserialize_message(_filled(template, b"%d" % stamps[1], values[1].tobytes()), self._adapter.kind)
        return template if other == self._adapter.to_msg(values[1], stamps[1]) else None


def _filled(template: _Template, stamp: bytes, content: bytes) -> bytes:
    whole, stamp_at, content_at = template
    whole[stamp_at : stamp_at + len(stamp)] = stamp
    whole[content_at : content_at + len(content)] = content
    return bytes(whole)


def by_name(names: Sequence[str], values: Sequence[float], joints: Sequence[str]) -> Vector:
    """Values (N,) in the order of `joints`.

    Raises:
        MessageError: other joints, another number of values, or a value that is not finite.
    """
    if sorted(names) != sorted(joints):
        raise MessageError(f"command is for {', '.join(names) or 'no joints'}, expected {', '.join(joints)}")
    if len(values) != len(names):
        raise MessageError(f"command has {len(values)} values, expected {len(names)}: {', '.join(names)}")
    ordered = np.array([values[list(names).index(joint)] for joint in joints], np.float64)
    if not np.isfinite(ordered).all():
        raise MessageError(f"command is not finite: {ordered}")
    return ordered
