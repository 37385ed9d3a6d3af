"""Stack: press the brick in the hand onto another one. Observation, reward and limits are those that taught a real Sawyer in two hours.

Source: `shared/facts/soft_q_learning.md`, section 4 (the Sawyer scripts of 2018). Differences: positions are counted from the target and
angles from the aligned brick, so that a target that moves means the same; the force F_z is what the commanded torques press with, at the
target's pose, since not every arm has a wrench sensor, and its weight is a choice: its unit was never published; `fine_bonus`, at
the seat, is none of the source's. Rewards are counted in tens, so that values are of the size that the networks begin with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.core.config import option
from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import TaskSpec
from sql_ros.robot import task
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.task import Episode

TO_TARGET_SCALE_M, ANGLE_SCALE_RAD = 0.05, 0.2  # differences that matter, for the networks
FLOOR_M2 = 1e-3  # of the logarithm
ABOVE, ALIGNED = (0.03, 0.25), (0.015, 0.12)  # the two stages: within this distance [m] and angle [rad]


@dataclass(frozen=True, kw_only=True)
class TaskConfig(task.TaskConfig):
    """The keys of a config/tasks/*.yaml of kind stack."""

    seated_height_m: float = option(0.001, "seated: no higher above the seated brick's height [m]", minimum=0.0)
    seated_aside_m: float = option(0.002, "nor farther aside [m]", minimum=0.0)
    seated_angle_rad: float = option(0.0349, "nor turned by more [rad]", minimum=0.0)
    stage_bonus: float = option(1.5, "reward per step above the target, and again when nearly aligned", minimum=0.0)
    press_bonus: float = option(0.05, "reward per newton that presses down, above the target", minimum=0.0)
    most_press_n: float = option(10.0, "no more is paid for [N]", minimum=0.0)
    torque_cost: float = option(0.001, "reward lost per (N m)^2", minimum=0.0)
    angle_cost: float = option(3.0, "reward lost per radian", minimum=0.0)
    distance_cost: float = option(10.0, "reward lost per metre, beside the logarithm", minimum=0.0)
    reward_scale: float = option(0.1, "of all of the reward; the temperature goes with it", minimum=0.0)
    fine_bonus: float = option(0.0, "reward per step right at the seat, half of it at the widths below; none in the source", minimum=0.0)
    fine_scale_m: float = option(0.004, "half width of the fine bonus [m]", minimum=1e-5)
    fine_scale_rad: float = option(0.03, "half width of the fine bonus [rad]", minimum=1e-5)


class Task(task.Task):
    """See `robot.task.Task`; the target is where the middle of the held brick's underside comes to lie."""

    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        super().__init__(name, config, robot)
        labels = (*[f"from_target/{axis}" for axis in "xyz"], "roll", "pitch", "yaw")
        self.spec: TaskSpec = self._spec(labels, (0.0,) * 6, (*[TO_TARGET_SCALE_M] * 3, *[ANGLE_SCALE_RAD] * 3))
        self._scale = np.array(config.action_scale)
        self._press = self._pressing()

    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Joint positions [rad], velocities [rad/s], brick from target [m], roll, pitch, yaw [rad]: (S,) = (2 N + 6,)."""
        from_target = state.tool_position - episode.target
        return np.concatenate((state.position, state.velocity, from_target, _euler(state.tool_rotation))).astype(np.float32)

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Of the state reached and the action that led there."""
        config, (x, y, z) = self.config, state.tool_position - episode.target
        angle, torque = angle_of(state.tool_rotation), self._scale * action
        squared = float(x * x + y * y + 1.25 * z * z)
        distance = squared**0.5
        reward = -config.torque_cost * float(torque @ torque) - config.angle_cost * angle
        reward -= float(np.log(2.0 * squared + FLOOR_M2)) + config.distance_cost * distance
        if distance < ABOVE[0] and angle < ABOVE[1]:
            press = min(max(float(self._press @ torque), 0.0), config.most_press_n)
            reward += config.stage_bonus + config.press_bonus * press
            widths = squared / config.fine_scale_m**2 + (angle / config.fine_scale_rad) ** 2
            reward += config.fine_bonus / (1.0 + widths)  # a tail that long tells askew on the studs from less askew
            if distance < ALIGNED[0] and angle < ALIGNED[1]:
                reward += config.stage_bonus
        return float(config.reward_scale * reward)

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Seated, by height, position aside and angle."""
        config, (x, y, z) = self.config, state.tool_position - episode.target
        lies = abs(z) < config.seated_height_m and np.hypot(x, y) < config.seated_aside_m
        return bool(lies and angle_of(state.tool_rotation) < config.seated_angle_rad)

    def _pressing(self) -> Vector:
        """How much each joint's torque presses down at the target, (N,) [1/m]: the force that would be balanced by these torques."""
        arm = Arm(self.robot)
        centre = 0.5 * (np.array(self.config.target_lower) + np.array(self.config.target_upper))
        try:
            pose = arm.solve(centre, np.eye(3), np.array(self.robot.neutral_position))
        except ValueError as error:
            raise ConfigError(f"the middle of 'target_lower' and 'target_upper': {error}") from None
        return -np.asarray(np.linalg.pinv(arm.jacobian(pose).T)[2])


def angle_of(rotation: Vector) -> float:
    """The angle of a rotation (3, 3) [rad]."""
    return float(np.arccos(min(max(0.5 * (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1.0), -1.0), 1.0)))


def _euler(rotation: Vector) -> Vector:
    """Roll, pitch and yaw about fixed axes [rad] (3,)."""
    pitch = -np.arcsin(min(max(float(rotation[2, 0]), -1.0), 1.0))
    return np.array([np.arctan2(rotation[2, 1], rotation[2, 2]), pitch, np.arctan2(rotation[1, 0], rotation[0, 0])])
