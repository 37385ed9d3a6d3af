"""Kinematics of the arm, from its MJCF: joint positions in, pose of the tool out."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.core.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.share import share_folder

Vector = npt.NDArray[np.float64]
JUMP_RAD = 0.05  # beyond what the velocity limits allow: encoder noise and the servo's overshoot
LONGEST_GAP_S = 0.5


@dataclass(frozen=True)
class RobotState:
    """The arm at one instant. Tasks are functions of this, be it measured or simulated.

    Attributes:
        stamp_ns: time of measurement on the clock of the robot [ns].
        position: joint positions [rad], (N,).
        velocity: joint velocities [rad/s], (N,).
        effort: measured joint torques [N m], (N,).
        tool_position: of the tool in the base frame [m], (3,).
        tool_rotation: tool axes in the base frame, as columns, (3, 3).
    """

    stamp_ns: int
    position: Vector
    velocity: Vector
    effort: Vector
    tool_position: Vector
    tool_rotation: Vector


def has_jumped(last: RobotState, state: RobotState, velocity_limit: Vector) -> bool:
    """The arm is where it cannot have moved to since the last state, at one and a half times its velocity limits (N,) [rad/s].

    A gap of more than `LONGEST_GAP_S`, by the stamps, gives it no more room.
    """
    elapsed = min((state.stamp_ns - last.stamp_ns) * 1e-9, LONGEST_GAP_S)
    return bool((np.abs(state.position - last.position) > JUMP_RAD + 1.5 * elapsed * velocity_limit).any())


class Arm:
    """Forward kinematics by MuJoCo, without stepping any physics.

    Raises:
        ConfigError: the MJCF cannot be read, or lacks a joint or the tool site of the config.
    """

    def __init__(self, config: RobotConfig) -> None:
        self.config = config
        self.size = len(config.joints)
        path = share_folder() / config.model
        try:
            self._model = mujoco.MjModel.from_xml_path(str(path))
            self._address = np.array([self._model.joint(name).qposadr[0] for name in config.joints])
            self._site = self._model.site(config.tool).id
        except (ValueError, KeyError) as error:
            raise ConfigError(f"robot '{config.name}', model {path}: {error}") from None
        self._data = mujoco.MjData(self._model)

    def state(self, stamp_ns: int, position: Vector, velocity: Vector, effort: Vector) -> RobotState:
        """Completes measured joint values (N,) by the pose of the tool; copies them."""
        self._data.qpos[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)
        return RobotState(
            stamp_ns=stamp_ns,
            position=np.array(position, np.float64),
            velocity=np.array(velocity, np.float64),
            effort=np.array(effort, np.float64),
            tool_position=self._data.site_xpos[self._site].copy(),
            tool_rotation=self._data.site_xmat[self._site].reshape(3, 3).copy(),
        )
