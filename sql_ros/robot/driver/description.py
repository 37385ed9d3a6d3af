"""Check whether the arm that a driver describes (URDF on `/robot_description`) is that of the robot
file.

Joint names alone do not tell: those of a UR5 and a UR5e are the same, and their tools are 79 mm
apart. Three things are compared: the positions of the tool in some poses; by how much the tool
turns from the first of these poses to the others, since the frames of both tools may differ by a
constant rotation; and the limits of position and speed, which must not be wider in the robot file
than in the description.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

from sql_ros.common.errors import MessageError
from sql_ros.robot.arm import Arm, Vector, comparison_poses
from sql_ros.robot.config import RobotConfig

MOST_BYTES = 16 * 2**20  # largest length of a description
POSES = 8  # random poses, beside the neutral one
SEED = 0
# largest distance between the positions of the tool; a calibrated arm differs from its maker's
# dimensions by some millimetres
TOLERANCE_M = 0.01
TOLERANCE_RAD = 0.02  # largest angle between the turns of the tool, for the same reason
ROUNDING = 5e-3  # error of limits with two decimals [rad] and [rad/s]
TURNING_KINDS = ("revolute", "continuous")
SLIDING_KIND = "prismatic"
MOVING_KINDS = (*TURNING_KINDS, SLIDING_KIND)


@dataclass(frozen=True)
class UrdfJoint:
    """A joint of a URDF.

    Attributes:
        name: Name of the joint.
        kind: Type of the joint: "revolute", "continuous", "fixed", ...
        parent: Name of the parent link.
        child: Name of the child link.
        translation: Origin of the joint's frame in the parent's frame (3,) [m].
        rotation: Axes of the joint's frame in the parent's frame, as columns (3, 3).
        axis: Unit vector of the joint's axis in the joint's frame (3,).
        limits: Lowest position, highest position [rad or m], largest speed [rad/s or m/s]; infinite
            speed where the URDF gives none.
    """

    name: str
    kind: str
    parent: str
    child: str
    translation: Vector
    rotation: Vector
    axis: Vector
    limits: tuple[float, float, float]


def read_urdf(text: str) -> dict[str, UrdfJoint]:
    """Parse the joints of a URDF.

    Args:
        text: The URDF, as XML.

    Returns:
        The joints by name.

    Raises:
        MessageError: The text is no URDF, is longer than `MOST_BYTES`, or has entities.
    """
    if len(text) > MOST_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise MessageError(
            f"robot_description of {len(text)} bytes, expected a URDF without entities of at most"
            f" {MOST_BYTES}"
        )
    try:
        root = ElementTree.fromstring(text)
        joints = [_parse_joint(each) for each in root.findall("joint")]
    except (ElementTree.ParseError, ValueError, KeyError, AttributeError) as error:
        raise MessageError(f"robot_description is no URDF that can be read: {error!r}") from None
    return {joint.name: joint for joint in joints}


def difference(robot: RobotConfig, text: str) -> str:
    """Describe how a described arm differs from the arm of a robot file.

    Args:
        robot: Content of the robot file.
        text: URDF that the driver publishes.

    Returns:
        The first missing joint or wider limit, otherwise the largest difference of the tool's
        position or else of its turn, in words. Empty if there is none.

    Raises:
        MessageError: The text is no URDF, or no chain of joints connects the base frame and the
            tool frame.
    """
    joints = read_urdf(text)
    missing = [
        name
        for name in robot.wire_joints
        if name not in joints or joints[name].kind not in MOVING_KINDS
    ]
    if missing:
        return f"robot_description has no moving joint {', '.join(missing)}"
    return _wider_limit(robot, joints) or _tool_difference(robot, joints)


def _wider_limit(robot: RobotConfig, joints: dict[str, UrdfJoint]) -> str:
    """Describe a limit of position or speed that is wider in the robot file than in the
    description. Position limits of joints of type "continuous" are not compared.

    Args:
        robot: Content of the robot file.
        joints: Joints of the description by name.

    Returns:
        The first such limit, in words; empty if there is none.
    """
    for name, low, high, speed in zip(
        robot.wire_joints, robot.position_lower, robot.position_upper, robot.velocity_limit
    ):
        lowest, highest, fastest = joints[name].limits
        kind = joints[name].kind
        unit = "m" if kind == SLIDING_KIND else "rad"
        if kind != "continuous" and (low < lowest - ROUNDING or high > highest + ROUNDING):
            return (
                f"{name} may go from {low:g} to {high:g} {unit} by the robot file, in"
                f" robot_description from {lowest:g} to {highest:g} {unit}"
            )
        if speed > fastest + ROUNDING:
            return (
                f"{name} may move at {speed:g} {unit}/s by the robot file, in robot_description at"
                f" {fastest:g} {unit}/s"
            )
    return ""


def _tool_difference(robot: RobotConfig, joints: dict[str, UrdfJoint]) -> str:
    """Describe the pose in which the tool differs most between description and robot file.

    Args:
        robot: Content of the robot file.
        joints: Joints of the description by name.

    Returns:
        The difference of its position, otherwise that of its turn, in words; empty if they are at
        most `TOLERANCE_M` and `TOLERANCE_RAD` in all poses.

    Raises:
        MessageError: No chain of joints connects the base frame and the tool frame.
    """
    chain = _chain(joints, robot.wire_base_frame, robot.wire_tool_frame)
    arm = Arm(robot)
    zeros = np.zeros(len(robot.joints))
    fixed = {f"{robot.joint_prefix}{name}": at for name, at in robot.fixed_joints.items()}
    apart: list[tuple[float, Vector]] = []  # distance and pose
    turned: list[tuple[float, Vector]] = []  # angle and pose
    first: tuple[Vector, Vector] | None = None  # rotations in the first pose
    for pose in comparison_poses(robot, POSES, SEED):
        expected = arm.state(1, pose, zeros, zeros)
        position, rotation = _tool_pose(chain, {**fixed, **dict(zip(robot.wire_joints, pose))})
        apart.append((float(np.linalg.norm(position - expected.tool_position)), pose))
        first = first or (rotation, expected.tool_rotation)
        described, filed = rotation @ first[0].T, expected.tool_rotation @ first[1].T
        turned.append((_angle_between(described, filed), pose))
    away, pose = max(apart, key=lambda each: each[0])
    if away > TOLERANCE_M:
        return (
            f"{robot.wire_tool_frame} is {1e3 * away:.0f} mm away from where '{robot.name}' has"
            f" it, at joint positions {np.round(pose, 2).tolist()}: another arm, or another"
            " tool frame?"
        )
    angle, pose = max(turned, key=lambda each: each[0])
    if angle > TOLERANCE_RAD:
        return (
            f"{robot.wire_tool_frame} is turned by {angle:.2f} rad from how '{robot.name}' has it,"
            f" at joint positions {np.round(pose, 2).tolist()}: is the axis of a joint reversed?"
        )
    return ""


def _angle_between(one: Vector, other: Vector) -> float:
    """Return the angle of the rotation between two rotation matrices (3, 3) [rad]."""
    cosine = (float(np.trace(one.T @ other)) - 1.0) / 2.0
    return math.acos(min(max(cosine, -1.0), 1.0))


def _chain(joints: dict[str, UrdfJoint], base: str, tool: str) -> list[UrdfJoint]:
    """Return the joints from a base link to a tool link, in this order.

    Args:
        joints: All joints by name.
        base: Name of the base link.
        tool: Name of the tool link.

    Raises:
        MessageError: No chain of joints connects them.
    """
    above = {joint.child: joint for joint in joints.values()}
    chain: list[UrdfJoint] = []
    link = tool
    while link != base and link in above and len(chain) <= len(joints):
        chain.append(above[link])
        link = above[link].parent
    if link != base:
        raise MessageError(
            f"robot_description has no way from link {base} to {tool} ('base_frame' and"
            " 'tool_frame' of the robot file)"
        )
    return chain[::-1]


def _tool_pose(chain: list[UrdfJoint], positions: dict[str, float]) -> tuple[Vector, Vector]:
    """Compute the pose of a chain's end in the frame of its base.

    Args:
        chain: Joints from the base on.
        positions: Joint positions by name [rad or m]; joints that are not in it are at 0.

    Returns:
        Position (3,) [m], and axes as columns (3, 3).
    """
    position = np.zeros(3)
    rotation = np.eye(3)
    for joint in chain:
        position = position + rotation @ joint.translation
        rotation = rotation @ joint.rotation
        moved = float(positions.get(joint.name, 0.0))
        if joint.kind in TURNING_KINDS:
            rotation = rotation @ _rotation_about(joint.axis, moved)
        elif joint.kind == SLIDING_KIND:
            position = position + rotation @ joint.axis * moved
    return position, rotation


def _rotation_about(axis: Vector, angle: float) -> Vector:
    """Return the rotation matrix of an angle about an axis, by the formula of Rodrigues (3, 3).

    Args:
        axis: Unit vector (3,).
        angle: Angle [rad].
    """
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross)


def _parse_joint(element: ElementTree.Element) -> UrdfJoint:
    """Parse the XML element `joint` of a URDF. Missing parts have the defaults of URDF.

    Raises:
        ValueError: A number is wrong, or a link element is missing.
        KeyError: The joint has no name or no type, or a link element has no link.
    """
    origin = element.find("origin")
    axis = element.find("axis")
    limit = element.find("limit")
    roll, pitch, yaw = _numbers(origin, "rpy", "0 0 0")
    rotation = (
        _rotation_about(np.eye(3)[2], yaw)
        @ _rotation_about(np.eye(3)[1], pitch)
        @ _rotation_about(np.eye(3)[0], roll)
    )
    direction = _numbers(axis, "xyz", "1 0 0")
    length = float(np.linalg.norm(direction))
    limits = [
        _number(limit, name, default)
        for name, default in (("lower", 0.0), ("upper", 0.0), ("velocity", math.inf))
    ]
    return UrdfJoint(
        name=element.attrib["name"],
        kind=element.attrib["type"],
        parent=_link_name(element, "parent"),
        child=_link_name(element, "child"),
        translation=_numbers(origin, "xyz", "0 0 0"),
        rotation=rotation,
        axis=direction / length if length > 0.0 else direction,
        limits=(limits[0], limits[1], limits[2]),
    )


def _link_name(element: ElementTree.Element, name: str) -> str:
    """Return the name of the link in a child element ("parent" or "child") of a joint.

    Raises:
        ValueError: The joint has no such element.
        KeyError: The element names no link.
    """
    found = element.find(name)
    if found is None:
        raise ValueError(f"joint {element.get('name')} has no {name}")
    return found.attrib["link"]


def _numbers(element: ElementTree.Element | None, name: str, default: str) -> Vector:
    """Parse three numbers (3,) from an attribute of an XML element.

    Args:
        element: The element; None: the default is parsed.
        name: Name of the attribute.
        default: Text that is parsed where the attribute is missing.

    Raises:
        ValueError: The text does not have three finite numbers.
    """
    text = default if element is None else element.get(name, default)
    numbers = np.array([float(word) for word in text.split()])
    if numbers.shape != (3,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is '{text}', expected three numbers")
    return numbers


def _number(element: ElementTree.Element | None, name: str, default: float) -> float:
    """Parse a number from an attribute of an element, or return the default where it is missing."""
    return default if element is None else float(element.get(name, default))
