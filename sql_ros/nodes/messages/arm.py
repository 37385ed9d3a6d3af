"""Messages of an arm: time stamps, states, commands and targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages.layout import as_doubles
from sql_ros.robot.arm import Vector


def stamp_to_msg(stamp_ns: int) -> Time:
    """Convert a time [ns since 1970, or simulated] to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def clock_to_msg(stamp_ns: int) -> Clock:
    """Convert simulated time [ns] to a message of /clock."""
    return Clock(clock=stamp_to_msg(stamp_ns))


def state_to_msg(
    stamp_ns: int, joints: Sequence[str], position: Vector, velocity: Vector, effort: Vector
) -> JointState:
    """Convert a state of the arm to JointState.

    Args:
        stamp_ns: Time of the measurement [ns].
        joints: Joint names on topics.
        position: Joint positions (N,) [rad].
        velocity: Joint velocities (N,) [rad/s].
        effort: Joint torques (N,) [N m].
    """
    message = JointState(name=list(joints))
    message.header.stamp = stamp_to_msg(stamp_ns)
    message.position, message.velocity, message.effort = (
        as_doubles(x) for x in (position, velocity, effort)
    )
    return message


def command_to_msg(
    values: Vector, mode: str, joints: Sequence[str], answers_ns: int
) -> Float64MultiArray:
    """Convert a command to an array whose labels are "<mode> <joints>" and "answers <stamp>".

    Controllers of ros2_control read the data and ignore the labels.

    Args:
        values: Command (N,) in the unit of the mode.
        mode: Command mode: "position", "velocity" or "torque".
        joints: Joint names on topics, in command order.
        answers_ns: Stamp of the state that the command answers [ns]. In lockstep the simulation
            steps only on the command that answers its state.
    """
    count = len(joints)
    names = MultiArrayDimension(label=f"{mode} {' '.join(joints)}", size=count, stride=count)
    answers = MultiArrayDimension(label=f"answers {answers_ns}", size=1, stride=1)
    return Float64MultiArray(layout=MultiArrayLayout(dim=[names, answers]), data=as_doubles(values))


def command_from_msg(
    message: Float64MultiArray, mode: str, joints: Sequence[str]
) -> tuple[Vector, int | None]:
    """Convert a message to a command.

    Args:
        message: The message; its labels are optional.
        mode: Expected command mode.
        joints: Expected joint names, in command order.

    Returns:
        The command (N,) in the unit of the mode; and the stamp of the state that the command
        answers [ns], None if no label names one.

    Raises:
        MessageError: The length is wrong, a value is not finite, or the labels name another mode,
            other joints or another order.
    """
    values = np.frombuffer(message.data, np.float64)
    if len(values) != len(joints):
        raise MessageError(
            f"command has {len(values)} values, expected {len(joints)}: {', '.join(joints)}"
        )
    if not np.isfinite(values).all():
        raise MessageError(f"command is not finite: {values}")
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"{mode} {' '.join(joints)}"
    if labels and labels[0] and labels[0] != expected:
        raise MessageError(f"command is labelled '{labels[0]}', expected '{expected}'")
    return values, read_answers(labels[1]) if len(labels) > 1 else None


def read_answers(label: str) -> int | None:
    """Return the stamp [ns] in a label "answers <stamp>"; None for an empty label.

    Raises:
        MessageError: The label has another form.
    """
    if not label:
        return None
    word, _, stamp = label.partition(" ")
    if word != "answers" or not stamp.isdecimal():
        raise MessageError(f"command has label '{label}', expected 'answers <stamp in ns>'")
    return int(stamp)


def target_to_msg(position: Vector, stamp_ns: int, frame: str) -> PoseStamped:
    """Convert the target of an episode to a pose, whose orientation is the identity.

    Args:
        position: Target of the tool (3,) in the base frame [m].
        stamp_ns: Stamp of the state at which the episode begins [ns].
        frame: Name of the base frame.
    """
    message = PoseStamped()
    message.header.frame_id = frame
    message.header.stamp = stamp_to_msg(stamp_ns)
    message.pose.position.x, message.pose.position.y, message.pose.position.z = (
        float(value) for value in position
    )
    message.pose.orientation.w = 1.0
    return message


def target_from_msg(message: PoseStamped, frame: str) -> Vector:
    """Return the position of a target (3,) in the base frame [m].

    Args:
        message: The message; an empty frame stands for the base frame.
        frame: Name of the base frame.

    Raises:
        MessageError: The frame is another one, or a value is not finite.
    """
    if message.header.frame_id not in ("", frame):
        raise MessageError(f"target in frame '{message.header.frame_id}', expected '{frame}'")
    position = np.array([message.pose.position.x, message.pose.position.y, message.pose.position.z])
    if not np.isfinite(position).all():
        raise MessageError(f"target {position} is not finite")
    return position
