"""Kinematics of the arm, from its MJCF: joint positions in, pose of the tool out."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.core.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model

Vector = npt.NDArray[np.float64]
JUMP_RAD = 0.05  # beyond what the velocity limits allow: encoder noise and the servo's overshoot
FASTEST = 1.5  # shares of the velocity limits that an arm can have: pushed, or its servo overshoots
LONGEST_GAP_S = 0.5
ROUNDING_RAD = 5e-3  # by which the limits of a config may go beyond those of the MJCF: two decimals
SOLVER_STEPS, SOLVED, LONGEST_STEP_RAD = 200, 1e-4, 0.3  # of the inverse kinematics; m and rad


@dataclass(frozen=True)
class RobotState:
    """The arm at one instant. Tasks are functions of this, be it measured or simulated.

    Attributes:
        stamp_ns: time of measurement on the clock of the robot [ns].
        position: joint positions [rad], (N,).
        velocity: joint velocities [rad/s], (N,).
        effort: measured joint torques [N m], (N,); NaN where the arm measures none.
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
    """The arm is where it cannot have moved to since the last state, at `FASTEST` times its velocity limits (N,) [rad/s].

    A gap of more than `LONGEST_GAP_S`, by the stamps, gives it no more room.
    """
    elapsed = min((state.stamp_ns - last.stamp_ns) * 1e-9, LONGEST_GAP_S)
    moves = zip(state.position.tolist(), last.position.tolist(), velocity_limit.tolist())  # numpy takes twice as long for so few
    return any(abs(now - before) > JUMP_RAD + FASTEST * elapsed * fastest for now, before, fastest in moves)


def is_too_fast(state: RobotState, velocity_limit: Vector) -> bool:
    """A joint is said to move faster than `FASTEST` times its velocity limit (N,) [rad/s]."""
    return any(abs(speed) > FASTEST * fastest for speed, fastest in zip(state.velocity.tolist(), velocity_limit.tolist()))


class Arm:
    """Forward kinematics by MuJoCo, without stepping any physics.

    Raises:
        ConfigError: the MJCF cannot be read, or lacks a joint or the tool site of the config, or has a joint whose range ends before
            the position limits of the config.
    """

    def __init__(self, config: RobotConfig) -> None:
        self.config = config
        self.size = len(config.joints)
        self._model = load_model(config.model)
        try:
            self._address = np.array([self._model.joint(name).qposadr[0] for name in config.joints])
            self._dofs = np.array([self._model.joint(name).dofadr[0] for name in config.joints])
            self._site = self._model.site(config.tool).id
        except KeyError as error:
            raise ConfigError(f"robot '{config.name}', model {config.model}: {error}") from None
        self._check_range()
        self._data = mujoco.MjData(self._model)
        # views, which take a moment to make
        self._pose = self._data.qpos
        self._tool_position, self._tool_rotation = self._data.site_xpos[self._site], self._data.site_xmat[self._site].reshape(3, 3)

    def _check_range(self) -> None:
        """The position limits of the config are no wider than the MJCF's, where it has any."""
        config = self.config
        for name, low, high in zip(config.joints, config.position_lower, config.position_upper):
            joint = self._model.joint(name)
            least, most = joint.range.tolist()
            if joint.limited and (low < least - ROUNDING_RAD or high > most + ROUNDING_RAD):
                raise ConfigError(
                    f"robot '{config.name}': 'position_lower' and 'position_upper' of {name} are {low:.6g} and {high:.6g}, but in "
                    f"{config.model} its range is {least:.6g} to {most:.6g}: radians? (the MJCF's unit is its compiler's angle)"
                )

    def state(self, stamp_ns: int, position: Vector, velocity: Vector, effort: Vector) -> RobotState:
        """Completes measured joint values (N,) by the pose of the tool; copies them."""
        self._pose[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)
        return RobotState(
            stamp_ns=stamp_ns,
            position=np.array(position, np.float64),
            velocity=np.array(velocity, np.float64),
            effort=np.array(effort, np.float64),
            tool_position=self._tool_position.copy(),
            tool_rotation=self._tool_rotation.copy(),
        )

    def jacobian(self, position: Vector) -> Vector:
        """Of the tool at joint positions (N,): linear, then angular velocity per joint velocity, base frame, (6, N)."""
        self._pose[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        whole = np.zeros((6, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, whole[:3], whole[3:], self._site)
        return np.asarray(whole[:, self._dofs])

    def solve(self, tool_position: Vector, tool_rotation: Vector, start: Vector) -> Vector:
        """Inverse kinematics by Gauss-Newton steps from joint positions `start` (N,): joint positions (N,) [rad] for a pose of the tool.

        Args:
            tool_position: in the base frame (3,) [m].
            tool_rotation: (3, 3).
            start: the nearest solution to it is looked for, whatever the joint limits say.

        Raises:
            ValueError: it did not come within 0.1 mm and 0.1 mrad: the pose is out of reach.
        """
        position = np.array(start, np.float64)
        for _ in range(SOLVER_STEPS):
            jacobian = self.jacobian(position)
            turn = np.zeros(3)
            quaternions = np.zeros((2, 4))
            mujoco.mju_mat2Quat(quaternions[0], np.ascontiguousarray(tool_rotation, np.float64).ravel())
            mujoco.mju_mat2Quat(quaternions[1], self._tool_rotation.ravel())
            mujoco.mju_subQuat(turn, quaternions[0], quaternions[1])  # in the frame of the tool
            turn = self._tool_rotation @ turn
            error = np.concatenate((tool_position - self._tool_position, turn))
            if np.abs(error).max() < SOLVED:
                return position
            step = np.linalg.pinv(jacobian, rcond=1e-3) @ error
            position += step / max(1.0, float(np.abs(step).max()) / LONGEST_STEP_RAD)
        raise ValueError(f"no joint positions found for the tool at {np.round(tool_position, 3)}: out of reach of '{self.config.name}'")
