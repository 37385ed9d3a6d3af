"""Stack: press the brick in the hand onto another one.

Observation, reward and limits follow those with which a real Sawyer learned the task in two hours.

Source: `shared/facts/soft_q_learning.md`, section 4 (the Sawyer scripts of 2018). Differences:

- Positions are relative to the target and angles relative to the aligned brick, so that they mean
  the same when the target moves.
- The downward force is computed from the commanded torques at the target's pose, since not every
  arm has a wrench sensor. Its weight `press_bonus` is a choice, since the unit in the source was
  never published.
- `fine_bonus` at the seat is not in the source.
- Rewards are divided by ten (`reward_scale`), so that values have the size that networks start
  with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.common.config import option
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot import task
from sql_ros.robot.action_space import DIMENSIONS
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.task import Episode

# scales of the networks' inputs
TO_TARGET_SCALE_M = 0.05
ANGLE_SCALE_RAD = 0.2
LINEAR_Z = DIMENSIONS.index("linear_z")
FLOOR_M2 = 1e-3  # added in the logarithm of the reward
# largest distance [m] and angle [rad] of the two stages of the reward
ABOVE = (0.03, 0.25)
ALIGNED = (0.015, 0.12)


@dataclass(frozen=True, kw_only=True)
class TaskConfig(task.TaskConfig):
    """The keys of a task file of kind stack."""

    seated_height_m: float = option(
        0.001, "seated: no higher above the seated brick's height [m]", minimum=0.0
    )
    seated_aside_m: float = option(0.002, "seated: no farther aside [m]", minimum=0.0)
    seated_angle_rad: float = option(0.0349, "seated: turned by no more [rad]", minimum=0.0)
    stage_bonus: float = option(
        1.5, "reward per step above the target, and again when nearly aligned", minimum=0.0
    )
    press_bonus: float = option(
        0.05, "reward per newton that presses down, above the target", minimum=0.0
    )
    most_press_n: float = option(10.0, "largest rewarded force [N]", minimum=0.0)
    torque_cost: float = option(0.001, "reward lost per (N m)^2", minimum=0.0)
    angle_cost: float = option(3.0, "reward lost per radian", minimum=0.0)
    distance_cost: float = option(10.0, "reward lost per metre, beside the logarithm", minimum=0.0)
    reward_scale: float = option(
        0.1, "factor of the whole reward; the temperature scales with it", minimum=0.0
    )
    fine_bonus: float = option(
        0.0,
        "reward per step right at the seat, half of it at the widths below; none in the source",
        minimum=0.0,
    )
    fine_scale_m: float = option(0.004, "half width of the fine bonus [m]", minimum=1e-5)
    fine_scale_rad: float = option(0.03, "half width of the fine bonus [rad]", minimum=1e-5)


class Task(task.Task):
    """The stack task, see `robot.task.Task`.

    The target is the final position of the centre of the held brick's underside.
    """

    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        super().__init__(name, config, robot)
        labels = (*[f"from_target/{axis}" for axis in "xyz"], "roll", "pitch", "yaw")
        self.spec: TaskSpec = self._spec(
            labels, (0.0,) * 6, (*[TO_TARGET_SCALE_M] * 3, *[ANGLE_SCALE_RAD] * 3)
        )
        if config.twist is None:
            self._scale = np.array(config.action_scale)
            self._press = self._pressing()
        else:
            # an action is no torque; down at full speed counts as the largest rewarded force
            self._scale = np.ones(self.spec.action_size)
            self._press = np.zeros(self.spec.action_size)
            if LINEAR_Z in config.twist.free:
                self._press[config.twist.free.index(LINEAR_Z)] = -config.most_press_n

    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Return the observation (S,), S = 2 N + 6.

        In this order: joint positions [rad], joint velocities [rad/s], vector from the target to
        the brick [m], and roll, pitch and yaw of the brick from its aligned pose [rad].
        """
        from_target = state.tool_position - episode.target
        return np.concatenate(
            (state.position, state.velocity, from_target, _euler(state.tool_rotation))
        ).astype(np.float32)

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Return the reward of a transition.

        With d the distance to the target, a the angle from the aligned pose and t the torques, it
        is `reward_scale` times the sum of

        - always: - `torque_cost` t^2 - `angle_cost` a - log(2 d^2 + `FLOOR_M2`) - `distance_cost`
          d;
        - where d and a are within `ABOVE`: `stage_bonus`, `press_bonus` times the downward force (0
          to `most_press_n`), and `fine_bonus` / (1 + (d / `fine_scale_m`)^2 + (a /
          `fine_scale_rad`)^2);
        - where d and a are within `ALIGNED` as well: `stage_bonus` again.

        The squared height counts 1.25 times in d^2. In the action space `twist` t is the action,
        and its downward component, 0 to 1, counts as a force of 0 to `most_press_n`.

        Args:
            state: State that the action led to.
            action: Action that corresponds to the filtered command (A,), in [-1, 1].
            episode: Episode of the transition.
        """
        config = self.config
        x, y, z = state.tool_position - episode.target
        angle = angle_of(state.tool_rotation)
        torque = self._scale * action
        squared = float(x * x + y * y + 1.25 * z * z)
        distance = squared**0.5
        reward = -config.torque_cost * float(torque @ torque) - config.angle_cost * angle
        reward -= float(np.log(2.0 * squared + FLOOR_M2)) + config.distance_cost * distance
        if distance < ABOVE[0] and angle < ABOVE[1]:
            press = min(max(float(self._press @ torque), 0.0), config.most_press_n)
            reward += config.stage_bonus + config.press_bonus * press
            widths = squared / config.fine_scale_m**2 + (angle / config.fine_scale_rad) ** 2
            # the tail is long enough to distinguish poses in which the brick is askew on the studs
            reward += config.fine_bonus / (1.0 + widths)
            if distance < ALIGNED[0] and angle < ALIGNED[1]:
                reward += config.stage_bonus
        return float(config.reward_scale * reward)

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the brick is seated: height, lateral distance and angle are within
        their limits.
        """
        config = self.config
        x, y, z = state.tool_position - episode.target
        lies = abs(z) < config.seated_height_m and np.hypot(x, y) < config.seated_aside_m
        return bool(lies and angle_of(state.tool_rotation) < config.seated_angle_rad)

    def _pressing(self) -> Vector:
        """Return how much each joint's torque presses down at the centre of the box of targets (N,)
        [1/m].

        The product with torques (N,) [N m] is the downward force [N] that balances them.

        Raises:
            ConfigError: The centre is out of reach.
        """
        arm = Arm(self.robot)
        centre = 0.5 * (np.array(self.config.target_lower) + np.array(self.config.target_upper))
        try:
            pose = arm.solve(centre, np.eye(3), np.array(self.robot.neutral_position))
        except ValueError as error:
            raise ConfigError(f"the middle of 'target_lower' and 'target_upper': {error}") from None
        return -np.asarray(np.linalg.pinv(arm.jacobian(pose).T)[2])


def angle_of(rotation: Vector) -> float:
    """Return the angle, from 0 to pi, by which a rotation matrix (3, 3) turns about its axis
    [rad].
    """
    return float(
        np.arccos(
            min(max(0.5 * (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1.0), -1.0), 1.0)
        )
    )


def _euler(rotation: Vector) -> Vector:
    """Return roll, pitch and yaw of a rotation matrix (3, 3), about the fixed axes x, y, z in
    this order (3,) [rad].
    """
    pitch = -np.arcsin(min(max(float(rotation[2, 0]), -1.0), 1.0))
    return np.array(
        [
            np.arctan2(rotation[2, 1], rotation[2, 2]),
            pitch,
            np.arctan2(rotation[1, 0], rotation[0, 0]),
        ]
    )
