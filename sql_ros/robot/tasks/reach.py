"""Reach: bring the tool to a target position and keep it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sql_ros.common.config import option
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot import task
from sql_ros.robot.arm import RobotState
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.task import Episode

# scales of the networks' inputs
TOOL_SCALE_M = 0.3
TO_TARGET_SCALE_M = 0.1


@dataclass(frozen=True, kw_only=True)
class TaskConfig(task.TaskConfig):
    """The keys of a task file of kind reach."""

    tolerance_m: float = option(
        description="a target counts as reached within this distance [m]", minimum=1e-4
    )
    distance_cost: float = option(4.0, "reward lost per metre of distance and step", minimum=0.0)
    precision_bonus: float = option(1.0, "reward gained per step right at the target", minimum=0.0)
    action_cost: float = option(
        0.02, "reward lost per step at full action in every joint", minimum=0.0
    )


class Task(task.Task):
    """The reach task: bring the tool to a target position and keep it there. See
    `robot.task.Task`.
    """

    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        super().__init__(name, config, robot)
        centre = [(low + high) / 2 for low, high in zip(config.target_lower, config.target_upper)]
        labels = (*[f"tool/{axis}" for axis in "xyz"], *[f"to_target/{axis}" for axis in "xyz"])
        self.spec: TaskSpec = self._spec(
            labels, (*centre, 0.0, 0.0, 0.0), (*[TOOL_SCALE_M] * 3, *[TO_TARGET_SCALE_M] * 3)
        )

    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Return the observation (S,), S = 2 N + 6.

        In this order: joint positions [rad], joint velocities [rad/s], tool position in the base
        frame [m], vector from the tool to the target [m].
        """
        to_target = episode.target - state.tool_position
        return np.concatenate(
            (state.position, state.velocity, state.tool_position, to_target)
        ).astype(np.float32)

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Return the reward of a transition.

        With d the distance to the target and w the tolerance it is `precision_bonus` exp(-(d /
        w)^2) - `distance_cost` d - `action_cost` mean(action^2).

        Args:
            state: State that the action led to.
            action: Action that corresponds to the filtered command (A,), in [-1, 1].
            episode: Episode of the transition.
        """
        distance = self.distance(state, episode)
        closeness = np.exp(-((distance / self.config.tolerance_m) ** 2))
        effort = float(np.square(action).mean())
        bonus = self.config.precision_bonus * float(closeness)
        return bonus - self.config.distance_cost * distance - self.config.action_cost * effort

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the tool is within the tolerance of the target."""
        return self.distance(state, episode) < self.config.tolerance_m
