"""Reach: bring the tool to a target position and keep it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import COMMAND_MODES, TaskSpec
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

TOOL_SCALE_M, TO_TARGET_SCALE_M = 0.3, 0.1  # differences that matter, for the networks


@dataclass(frozen=True)
class TaskConfig(Config):
    """The keys of a config/tasks/*.yaml of kind reach."""

    robot: str = option(description="name of a file in config/robots/")
    scene: str = option(description="MJCF of arm and objects, relative to the share folder")
    control_rate_hz: float = option(description="control steps per second", minimum=0.1, maximum=1000.0)
    command_mode: str = option(description="what an action becomes", choices=COMMAND_MODES)
    action_scale: tuple[float, ...] = option(description="command at action 1, per joint", minimum=1e-6)
    episode_s: float = option(description="an episode is cut (truncated) after this time [s]", minimum=0.01)
    start_spread_rad: float = option(description="start poses: neutral +- this, uniform per joint [rad]", minimum=0.0)
    target_lower: tuple[float, ...] = option(description="corner of the box of targets [m]")
    target_upper: tuple[float, ...] = option(description="opposite corner [m]")
    tolerance_m: float = option(description="a target counts as reached within this distance [m]", minimum=0.0)
    hold_s: float = option(description="success: within the tolerance throughout the last so many seconds [s]", minimum=0.0)
    distance_cost: float = option(4.0, "reward lost per metre of distance and step", minimum=0.0)
    precision_bonus: float = option(1.0, "reward gained per step right at the target", minimum=0.0)
    action_cost: float = option(0.02, "reward lost per step at full action in every joint", minimum=0.0)


@dataclass(frozen=True)
class Episode:
    """What is drawn at the start of an episode: the start pose [rad] (N,) and the target [m] (3,)."""

    start: Vector
    target: Vector


class Task:
    """Pure functions of the robot's state and the episode; keeps nothing between calls.

    Args:
        name: of the task, part of the spec.
        config: see `TaskConfig`.
        robot: the arm.

    Raises:
        ConfigError: the config does not fit the arm.
    """

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        if len(config.action_scale) != len(robot.joints):
            raise ConfigError(f"'action_scale' has {len(config.action_scale)} entries, expected one per joint: {len(robot.joints)}")
        if not len(config.target_lower) == len(config.target_upper) == 3:
            raise ConfigError("'target_lower' and 'target_upper' must have 3 entries, x y z [m]")
        self.config, self.robot = config, robot
        joints = robot.joints
        labels = [f"position/{j}" for j in joints] + [f"velocity/{j}" for j in joints]
        labels += [f"tool/{axis}" for axis in "xyz"] + [f"to_target/{axis}" for axis in "xyz"]
        centre = [(low + high) / 2 for low, high in zip(config.target_lower, config.target_upper)]
        self.spec = TaskSpec(
            task=name,
            observation=tuple(labels),
            observation_offset=(*robot.neutral_position, *[0.0] * len(joints), *centre, 0.0, 0.0, 0.0),
            observation_scale=(*[1.0] * 2 * len(joints), *[TOOL_SCALE_M] * 3, *[TO_TARGET_SCALE_M] * 3),
            joints=joints,
            command_mode=config.command_mode,
            action_scale=config.action_scale,
            control_rate_hz=config.control_rate_hz,
        )
        self.episode_steps = max(round(config.episode_s * config.control_rate_hz), 1)
        self.hold_steps = max(round(config.hold_s * config.control_rate_hz), 1)

    def begin(self, rng: np.random.Generator) -> Episode:
        """Draws the start pose and the target of an episode."""
        spread = self.config.start_spread_rad
        start = np.array(self.robot.neutral_position) + rng.uniform(-spread, spread, len(self.robot.joints))
        return Episode(start, rng.uniform(self.config.target_lower, self.config.target_upper))

    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Joint positions [rad], velocities [rad/s], tool position and vector to the target [m]: (S,) = (2 N + 6,)."""
        to_target = episode.target - state.tool_position
        return np.concatenate((state.position, state.velocity, state.tool_position, to_target)).astype(np.float32)

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Of the state reached and the action that led there; a narrow bonus keeps the last centimetres worth while."""
        distance = self.distance(state, episode)
        closeness = np.exp(-((distance / self.config.tolerance_m) ** 2))
        effort = float(np.square(action).mean())
        bonus = self.config.precision_bonus * float(closeness)
        return bonus - self.config.distance_cost * distance - self.config.action_cost * effort

    def distance(self, state: RobotState, episode: Episode) -> float:
        """From the tool to the target [m]."""
        return float(np.linalg.norm(episode.target - state.tool_position))

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Within the tolerance at this instant; `hold_steps` of these in a row at the end of an episode are a success."""
        return self.distance(state, episode) < self.config.tolerance_m

    def is_terminated(self, state: RobotState, episode: Episode) -> bool:
        """Never: holding the target is worth something at every step, so the episode goes on until it is truncated."""
        return False
