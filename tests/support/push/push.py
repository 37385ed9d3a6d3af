"""Push: move an object in a plane to a target by pushing it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import sql_ros
from sql_ros import Episode, ObjectPose, RobotState, option
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot.arm import Arm, Vector
from sql_ros.robot.config import RobotConfig

DOWN = np.diag([1.0, -1.0, -1.0])  # axes of a tool that points down
OFFSET_SCALE_M = 0.1  # scale of the networks' inputs


@dataclass(frozen=True, kw_only=True)
class TaskConfig(sql_ros.TaskConfig):
    """The keys of a task file of kind push."""

    start_lower: tuple[float, ...] = option(description="corner of the box of tool starts [m]")
    start_upper: tuple[float, ...] = option(description="opposite corner [m]")
    object_lower: tuple[float, ...] = option(description="corner of the box of object places [m]")
    object_upper: tuple[float, ...] = option(description="opposite corner [m]")
    tolerance_m: float = option(
        description="the object is at the target within this distance in the plane [m]",
        minimum=1e-3,
    )
    tool_cost: float = option(
        1.0, "reward lost per step and metre from the tool to its place behind the object"
    )
    behind_m: float = option(0.06, "distance of that place from the object [m]", minimum=0.0)
    distance_cost: float = option(6.0, "reward lost per step and metre from object to target")
    precision_bonus: float = option(1.0, "reward gained per step right at the target")
    action_cost: float = option(0.02, "reward lost per step at full action")

    def __post_init__(self) -> None:
        super().__post_init__()
        corners = (self.start_lower, self.start_upper, self.object_lower, self.object_upper)
        if any(len(corner) != 3 for corner in corners):
            raise ConfigError("each 'start_...' and 'object_...' must have 3 entries, x y z [m]")
        if len(self.object_names) != 1:
            raise ConfigError(f"'objects.names' is {list(self.object_names)}, expected one name")


class Task(sql_ros.Task):
    """The push task, see `robot.task.Task`. Heights do not count: the object lies on a plane."""

    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        super().__init__(name, config, robot)
        labels = [f"{part}/{axis}" for part in ("tool", "to_object", "to_target") for axis in "xy"]
        centre = 0.5 * (np.array(config.object_lower) + np.array(config.object_upper))
        self.spec: TaskSpec = self._spec(
            tuple(labels), (*centre[:2].tolist(), *[0.0] * 4), (OFFSET_SCALE_M,) * 6
        )
        (self._object,) = config.object_names
        self._arm = Arm(self.robot)

    def begin(self, rng: np.random.Generator) -> Episode:
        """Draw the place of the tool, of the object and of the target, each in its box.

        Args:
            rng: Generator that is advanced.

        Raises:
            ConfigError: The arm does not reach the place of the tool.
        """
        config = self.config
        place = rng.uniform(config.start_lower, config.start_upper)
        lies = ObjectPose(rng.uniform(config.object_lower, config.object_upper), np.eye(3))
        target = rng.uniform(config.target_lower, config.target_upper)
        try:
            start = self._arm.solve(place, DOWN, np.array(self.robot.neutral_position))
        except ValueError as error:
            raise ConfigError(f"the box 'start_lower' to 'start_upper': {error}") from None
        return Episode(start, target, {self._object: lies})

    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Return the observation (S,), S = 2 N + 6.

        In this order: joint positions [rad], joint velocities [rad/s], and in the plane the tool in
        the base frame, the vectors from the tool to the object and from there to the target [m].
        """
        tool = state.tool_position[:2]
        lies = self._place(state)
        return np.concatenate(
            (state.position, state.velocity, tool, lies - tool, episode.target[:2] - lies)
        ).astype(np.float32)

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Return the reward of a transition.

        With d the distance from object to target, w the tolerance and b the distance from the tool
        to the place `behind_m` behind the object, as seen from the target, it is `precision_bonus`
        exp(-(d / w)^2) - `distance_cost` d - `tool_cost` b - `action_cost` mean(action^2).

        Args:
            state: State that the action led to.
            action: Action that corresponds to the filtered command (A,), in [-1, 1].
            episode: Episode of the transition.
        """
        config = self.config
        lies = self._place(state)
        way = episode.target[:2] - lies
        distance = float(np.linalg.norm(way))
        # the direction means nothing within the noise of the pose, near the target
        behind = lies - config.behind_m * way / max(distance, 0.5 * config.tolerance_m)
        tool_m = float(np.linalg.norm(behind - state.tool_position[:2]))
        bonus = config.precision_bonus * float(np.exp(-((distance / config.tolerance_m) ** 2)))
        effort = config.action_cost * float(np.square(action).mean())
        return bonus - config.distance_cost * distance - config.tool_cost * tool_m - effort

    def distance(self, state: RobotState, episode: Episode) -> float:
        """Return the distance from the object to the target in the plane [m]."""
        return float(np.linalg.norm(episode.target[:2] - self._place(state)))

    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the object is within the tolerance of the target."""
        return self.distance(state, episode) < self.config.tolerance_m

    def _place(self, state: RobotState) -> Vector:
        """Return where the object is in the plane (2,) [m]."""
        return state.objects[self._object].position[:2]
