"""Reach: bring the tool to a target position and keep it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.core.config import option
from sql_ros.core.spec import TaskSpec
from sql_ros.robot import task
from sql_ros.robot.arm import RobotState
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.task import Episode

TOOL_SCALE_M, TO_TARGET_SCALE_M = 0.3, 0.1  # differences that matter, for the networks


@dataclass(frozen=True, kw_only=True)
class TaskConfig(task.TaskConfig):
    """The keys of a config/tasks/*.yaml of kind reach."""

    tolerance_m: float = option(description="a target counts as reached within this distance [m]", minimum=0.0)
    distance_cost: float = option(4.0, "reward lost per metre of distance and step", minimum=0.0)
    precision_bonus: float = option(1.0, "reward gained per step right at the target", minimum=0.0)
    action_cost: float = option(0.02, "reward lost per step at full action in every joint", minimum=0.0)


class Task(task.Task):
    """See `robot.task.Task`."""

    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        super().__init__(name, config, robot)
        centre = [(low + high) / 2 for low, high in zip(config.target_lower, config.target_upper)]
        labels = (*[f"tool/{axis}" for axis in "xyz"], *[f"to_target/{axis}" for axis in "xyz"])
        self.spec: TaskSpec = self._spec(labels, (*centre, 0.0, 0.0, 0.0), (*[TOOL_SCALE_M] * 3, *[TO_TARGET_SCALE_M] * 3))

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

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Within the tolerance."""
        return self.distance(state, episode) < self.config.tolerance_m
