"""Find the joints, actuators and tool of an arm in the arrays of a MuJoCo model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig

Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ArmAddresses:
    """Indices of one arm in a MuJoCo model, in command order.

    Attributes:
        position: Indices of the joint positions in `qpos` (N,).
        velocity: Indices of the joints in `qvel` and in arrays of joint torques (N,).
        actuators: Indices of the actuators in `ctrl` (N,).
        hand: Index of the body that carries the tool.
        tool: Index of the site of the tool.
    """

    position: Indices
    velocity: Indices
    actuators: Indices
    hand: int
    tool: int


def find_arm(model: Any, robot: RobotConfig, scene: str) -> ArmAddresses:
    """Find an arm in a model by the names of its joints, actuators and tool.

    Args:
        model: A `mujoco.MjModel`.
        robot: The arm. In the model each joint has an actuator of the same name.
        scene: Path of the model, for the error message.

    Raises:
        ConfigError: The model lacks a joint, an actuator or the tool.
    """
    try:
        joints = [model.joint(name) for name in robot.joints]
        actuators = [model.actuator(name).id for name in robot.joints]
        tool = model.site(robot.tool)
    except KeyError as error:
        raise ConfigError(
            f"scene {scene}: {error.args[0]}; expected the joints of '{robot.name}', an"
            f" actuator of each one's name, and its tool: a site '{robot.tool}'"
        ) from None
    return ArmAddresses(
        position=np.array([joint.qposadr[0] for joint in joints]),
        velocity=np.array([joint.dofadr[0] for joint in joints]),
        actuators=np.array(actuators),
        hand=int(tool.bodyid[0]),
        tool=int(tool.id),
    )
