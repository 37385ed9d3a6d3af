"""URDFs of the UR5e and of its predecessor, as their description packages have them, without
shapes.

Figures: UniversalRobots/Universal_Robots_ROS2_Description, config/ur5e and config/ur5,
default_kinematics.yaml and joint_limits.yaml.
"""

from __future__ import annotations

from math import pi

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
LINKS = (
    "base_link_inertia",
    "shoulder_link",
    "upper_arm_link",
    "forearm_link",
    "wrist_1_link",
    "wrist_2_link",
    "wrist_3_link",
)
LENGTHS = {  # shoulder z, upper arm x, forearm x, wrist 1 z, wrist 2 y, wrist 3 y [m]
    "ur5e": (0.1625, -0.425, -0.3922, 0.1333, -0.0997, 0.0996),
    "ur5": (0.089159, -0.425, -0.39225, 0.10915, -0.09465, 0.0823),
}


def ur_description(arm: str, prefix: str = "") -> str:
    """Return the URDF of a Universal Robots arm, without shapes.

    Args:
        arm: "ur5e" or "ur5".
        prefix: Put before every name, as the driver's `tf_prefix`; empty: none.

    Raises:
        KeyError: The arm is another one.
    """
    shoulder, upper, forearm, first, second, third = LENGTHS[arm]
    origins = (
        ((0, 0, shoulder), (0, 0, 0)),
        ((0, 0, 0), (pi / 2, 0, 0)),
        ((upper, 0, 0), (0, 0, 0)),
        ((forearm, 0, first), (0, 0, 0)),
        ((0, second, 0), (pi / 2, 0, 0)),
        ((0, third, 0), (pi / 2, pi, pi)),
    )
    parts = [_fixed("base_link-base_link_inertia", "base_link", LINKS[0], (0, 0, pi), prefix)]
    for index, (name, (xyz, rpy)) in enumerate(zip(JOINTS, origins)):
        most = pi if name == "elbow" else 2 * pi
        parts.append(
            f'<joint name="{prefix}{name}_joint" type="revolute"><parent'
            f' link="{prefix}{LINKS[index]}"/><child link="{prefix}{LINKS[index + 1]}"/><origin'
            f' xyz="{_text(xyz)}" rpy="{_text(rpy)}"/><axis xyz="0 0 1"/><limit lower="{-most}"'
            f' upper="{most}" velocity="{pi}" effort="150"/></joint>'
        )
    parts.append(_fixed("wrist_3-flange", LINKS[-1], "flange", (0, -pi / 2, -pi / 2), prefix))
    parts.append(_fixed("flange-tool0", "flange", "tool0", (pi / 2, 0, pi / 2), prefix))
    links = "".join(
        f'<link name="{prefix}{link}"/>' for link in ("base_link", *LINKS, "flange", "tool0")
    )
    return f'<?xml version="1.0" ?><robot name="{arm}">{links}{"".join(parts)}</robot>'


def _fixed(name: str, parent: str, child: str, rpy: tuple[float, float, float], prefix: str) -> str:
    """Return the URDF element of a fixed joint at the origin of its parent link.

    Args:
        name: Name of the joint.
        parent: Name of the parent link.
        child: Name of the child link.
        rpy: Roll, pitch and yaw of the child in the parent's frame [rad].
        prefix: Put before every name.
    """
    return (
        f'<joint name="{prefix}{name}" type="fixed"><parent link="{prefix}{parent}"/><child'
        f' link="{prefix}{child}"/><origin xyz="0 0 0" rpy="{_text(rpy)}"/></joint>'
    )


def _text(values: tuple[float, float, float]) -> str:
    """Return three numbers separated by blanks, as URDF attributes have them."""
    return " ".join(f"{value:.9g}" for value in values)
