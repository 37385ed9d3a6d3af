"""`JointState` messages as drivers fill them, built field by field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import JointState

from sql_ros.robot.arm import Vector

GRIPPER = "robotiq_85_left_knuckle_joint"  # a joint that ros2_kortex publishes among the arm's
CHOICES = ("measured", "nan", "empty")  # content of velocity and effort in a message


@dataclass(frozen=True)
class StateHabits:
    """How a driver publishes the states of its joints.

    Attributes:
        rate_hz: Rate of the publisher [Hz].
        reliable: Whether the publisher is reliable; otherwise it is best effort.
        order: Order of the joints in a message: "given" (that of the robot file), "reversed" or
            "sorted".
        prefix: Put before each joint's name.
        gripper: Where a gripper's states come: "": there is none; "inside": in the same message;
            "beside": by a publisher of its own.
        velocity: Content of the velocities, one of `CHOICES`.
        effort: Content of the efforts, one of `CHOICES`.
        jitter: Longest delay of a message, as a share of a period.
        dropout: Share of the messages that are left out.
        stamps: "now"; "zero": the driver sets none; "frozen": all the same; "other_clock": hours
            away from the clock of this machine.
        noise_rad: Standard deviation of the noise on positions [rad].
        duplicate: Whether the first joint's name comes twice; the position of its first copy never
            changes.
        second: Whether a second publisher sends the same joints at other positions from the start
            on.
    """

    rate_hz: float = 500.0
    reliable: bool = True
    order: str = "given"
    prefix: str = ""
    gripper: str = ""
    velocity: str = "measured"
    effort: str = "measured"
    jitter: float = 0.0
    dropout: float = 0.0
    stamps: str = "now"
    noise_rad: float = 0.0
    duplicate: bool = False
    second: bool = False


def arrange(joints: Sequence[str], order: str) -> list[int]:
    """Return the indices of joints in the order in which a driver publishes them.

    Args:
        joints: Names of the joints.
        order: "given", "reversed" or "sorted" by name.
    """
    if order == "reversed":
        return list(range(len(joints)))[::-1]
    if order == "sorted":
        return sorted(range(len(joints)), key=lambda index: joints[index])
    return list(range(len(joints)))


def joint_state(
    stamp_ns: int,
    joints: Sequence[str],
    values: tuple[Vector, Vector, Vector],
    habits: StateHabits,
    stale: Vector,
) -> JointState:
    """Build the message of one state as the driver sends it.

    Args:
        stamp_ns: Time of measurement [ns]; not set with the stamps "zero".
        joints: Names (N,) without prefix.
        values: Position [rad], velocity [rad/s], effort [N m], each (N,) in the order of `joints`.
        habits: How the driver publishes states.
        stale: Positions (N,) [rad] whose first is sent for the first copy of a duplicate joint.
    """
    index = arrange(joints, habits.order)
    names = [habits.prefix + joints[i] for i in index]
    position, velocity, effort = (value[index].tolist() for value in values)
    velocity = _filled(velocity, habits.velocity)
    effort = _filled(effort, habits.effort)
    if habits.gripper == "inside":
        at = len(names) // 2
        names.insert(at, habits.prefix + GRIPPER)
        position.insert(at, 0.2)
        for field in (velocity, effort):
            if field:
                field.insert(at, math.nan)
    if habits.duplicate:
        names.insert(0, habits.prefix + joints[0])
        position.insert(0, float(stale[0]))
        for field in (velocity, effort):
            if field:
                field.insert(0, 0.0)
    message = JointState()
    message.header.frame_id = "base_link"
    if habits.stamps != "zero":
        message.header.stamp.sec = stamp_ns // 10**9
        message.header.stamp.nanosec = stamp_ns % 10**9
    message.name = names
    message.position = position
    message.velocity = velocity
    message.effort = effort
    return message


def gripper_state(stamp_ns: int) -> JointState:
    """Return the message of a gripper's own publisher, with the joints that franka_gripper sends.

    Args:
        stamp_ns: Time of measurement [ns].
    """
    message = JointState()
    message.header.stamp.sec = stamp_ns // 10**9
    message.header.stamp.nanosec = stamp_ns % 10**9
    message.name = ["fr3_finger_joint1", "fr3_finger_joint2"]
    message.position = [0.02, 0.02]
    message.velocity = [0.0, 0.0]
    message.effort = [0.0, 0.0]
    return message


def _filled(values: list[float], choice: str) -> list[float]:
    """Return the values of a field as a driver fills it.

    Args:
        values: Measured values.
        choice: One of `CHOICES`: the measured values, as many nan, or an empty list.
    """
    if choice == "empty":
        return []
    return [math.nan] * len(values) if choice == "nan" else values


def elsewhere(position: Vector) -> Vector:
    """Return the positions (N,) [rad] that a second publisher of the same arm sends: 0.02 rad
    farther.
    """
    return np.asarray(position + 0.02)
