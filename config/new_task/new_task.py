"""The task new_task: bring the tool to a target. Change it into your own: docs/your_task.md."""

from dataclasses import dataclass

import numpy as np

from sql_ros import Episode, RobotState, Task, TaskConfig, option


@dataclass(frozen=True, kw_only=True)
class NewTaskConfig(TaskConfig):
    """The keys of new_task.yaml beyond those that every task has."""

    tolerance_m: float = option(
        0.02, "the target counts as reached within this distance [m]", minimum=1e-4
    )
    distance_cost: float = option(4.0, "reward lost per metre of distance and step", minimum=0.0)
    bonus: float = option(1.0, "reward gained per step right at the target", minimum=0.0)


class NewTask(Task):
    """Observation, reward and success. Every method is a function of its arguments alone."""

    config: NewTaskConfig

    def __init__(self, name, config, robot):
        super().__init__(name, config, robot)
        # names of your observations, with offset and scale: the networks receive
        # (observation - offset) / scale
        labels = ("to_target/x", "to_target/y", "to_target/z")
        self.spec = self._spec(labels, offset=(0.0, 0.0, 0.0), scale=(0.1, 0.1, 0.1))

    def observe(self, state: RobotState, episode: Episode) -> np.ndarray:
        """Return joint positions [rad], joint velocities [rad/s], and one value for each label."""
        to_target = episode.target - state.tool_position
        observation = np.concatenate((state.position, state.velocity, to_target))
        return observation.astype(np.float32)

    def reward(self, state: RobotState, action: np.ndarray, episode: Episode) -> float:
        """Return the reward of a step that led to this state. `reward: sparse` in the YAML takes
        `is_reached` instead.
        """
        distance = self.distance(state, episode)
        closeness = np.exp(-((distance / self.config.tolerance_m) ** 2))
        return float(self.config.bonus * closeness - self.config.distance_cost * distance)

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the arm is at the goal. An episode succeeds if this is so in its last
        `hold_s` seconds.
        """
        return self.distance(state, episode) < self.config.tolerance_m
