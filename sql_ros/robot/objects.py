"""Objects that a task observes beside the arm: their poses, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model

# type of arrays of float64, as in `robot/arm.py`, which imports this module
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ObjectPose:
    """The pose of an object in the base frame.

    Attributes:
        position: Position (3,) [m].
        rotation: Axes of the object in the base frame, as columns (3, 3).
    """

    position: Vector
    rotation: Vector


Objects = Mapping[str, ObjectPose]
NO_OBJECTS: Objects = {}
UNKNOWN = ObjectPose(np.zeros(3), np.eye(3))  # of an object not seen yet, whose arm is held


@dataclass(frozen=True, kw_only=True)
class ObjectsConfig(Config):
    """The keys under `objects` of a task file.

    Raises:
        ConfigError: A value is out of range, or no object is named, or one twice.
    """

    names: tuple[str, ...] = option(
        description="names of the observed objects: bodies of the scene with a free joint, and on"
        " a real arm the topics objects/<name>"
    )
    max_age_s: float = option(
        0.3, "largest age of the last pose; an older one is a hold [s]", minimum=0.01, maximum=10.0
    )
    place_tolerance_m: float = option(
        0.02, "an object is placed when it is seen this near to where it is to be [m]", minimum=1e-3
    )
    place_timeout_s: float = option(
        30.0, "the request to place the objects is repeated after this time [s]", minimum=1.0
    )
    noise_m: float = option(
        0.0,
        "in simulation: standard deviation of each coordinate of a pose [m]",
        minimum=0.0,
        maximum=0.1,
    )
    noise_rad: float = option(
        0.0,
        "in simulation: standard deviation of a pose's rotation about each axis [rad]",
        minimum=0.0,
        maximum=1.0,
    )
    delay_s: float = option(
        0.0, "in simulation: time from a pose to its message [s]", minimum=0.0, maximum=1.0
    )
    lost_share: float = option(
        0.0, "in simulation: share of the messages that are lost", minimum=0.0, maximum=0.9
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"'names' is {list(self.names)}, expected different names")
        for name in self.names:
            if not (name.isascii() and name.isidentifier()) or "__" in name:
                raise ConfigError(
                    f"'names' has {name!r}, expected letters, digits and single underscores, as in"
                    " the topic of its pose"
                )


def pose_from_quaternion(position: Vector, quaternion: Vector) -> ObjectPose:
    """Return the pose of a position and a rotation.

    Args:
        position: Position (3,) [m].
        quaternion: Unit quaternion (4,) in the order w, x, y, z.
    """
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, quaternion)
    return ObjectPose(np.array(position, np.float64), rotation.reshape(3, 3))


def quaternion_of(pose: ObjectPose) -> Vector:
    """Return the rotation of a pose as a unit quaternion (4,) in the order w, x, y, z."""
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(pose.rotation, np.float64).ravel())
    return quaternion


def object_addresses(model: mujoco.MjModel, names: tuple[str, ...], scene: str) -> dict[str, int]:
    """Return the index in `qpos` of the free joint of each object.

    Args:
        model: Model of the scene.
        names: Names of the objects.
        scene: Path of the scene, for the error.

    Raises:
        ConfigError: The scene lacks a body of a name, or it has no free joint.
    """
    found = {}
    for name in names:
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
        joint = model.body_jntadr[body] if body > 0 else -1
        if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            raise ConfigError(
                f"scene {scene} has no body {name!r} with a free joint, expected one for each of"
                f" 'objects.names': <body name='{name}'><freejoint/>...</body>"
            )
        found[name] = int(model.jnt_qposadr[joint])
    return found


def scene_objects(robot: RobotConfig, scene: str, names: tuple[str, ...]) -> dict[str, ObjectPose]:
    """Return the poses that the objects have in the file of a scene.

    Args:
        robot: The arm.
        scene: MJCF of the scene.
        names: Names of the objects.

    Raises:
        ConfigError: See `object_addresses`.
    """
    model = load_model(robot, scene)
    addresses = object_addresses(model, names, scene)
    return {name: pose_at(model.qpos0, start) for name, start in addresses.items()}


def pose_at(qpos: Vector, start: int) -> ObjectPose:
    """Return the pose in the entries of a free joint.

    Args:
        qpos: Positions of a model.
        start: Index of the first of the seven entries.
    """
    return pose_from_quaternion(qpos[start : start + 3], qpos[start + 3 : start + 7])
