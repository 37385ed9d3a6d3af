"""What every task has: its arm, its interface, where episodes begin, and what the simulation may vary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import COMMAND_MODES, TaskSpec
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

FARTHEST_M = 5.0  # from the base: no arm reaches a target there


@dataclass(frozen=True)
class Variation:
    """How far the simulated arm may differ from its model in an episode, drawn uniformly; 0: not at all.

    Attributes:
        friction, damping, armature, torque: share by which contact friction, joint damping, drive inertia and what a torque really gives
            may be more or less.
        delay_steps: control steps by which commands may come late, at most.
    """

    friction: float = 0.0
    damping: float = 0.0
    armature: float = 0.0
    torque: float = 0.0
    delay_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Config):
    """The keys that every config/tasks/*.yaml has."""

    robot: str = option(description="name of a file in config/robots/")
    scene: str = option(description="MJCF of arm and objects, relative to the share folder")
    control_rate_hz: float = option(description="control steps per second", minimum=0.1, maximum=1000.0)
    command_mode: str = option(description="what an action becomes", choices=COMMAND_MODES)
    action_scale: tuple[float, ...] = option(description="command at action 1, per joint", minimum=1e-6)
    episode_s: float = option(description="an episode is cut (truncated) after this time [s]", minimum=0.01)
    start_spread_rad: float = option(description="start poses: neutral +- this, uniform per joint [rad]", minimum=0.0)
    target_lower: tuple[float, ...] = option(description="corner of the box of targets [m]")
    target_upper: tuple[float, ...] = option(description="opposite corner [m]")
    hold_s: float = option(0.05, "success: at the goal throughout the last so many seconds [s]", minimum=0.0)
    release_s: float = option(
        0.0, "after an episode the arm is left alone for so long, and then still has to be at the goal [s]", minimum=0.0
    )
    rest_s: float = option(0.0, "the arm rests at the start pose for so long before an episode begins [s]", minimum=0.0)
    tool: str = option("", "site whose pose the task sees; empty: the robot's")
    tip_speed_limit_m_s: float = option(0.0, "largest speed of that; 0: the robot's [m/s]", minimum=0.0)
    may_touch: tuple[tuple[str, ...], ...] = option(
        (), "pairs of bodies that are meant to touch: the safety filter keeps no distance between them"
    )
    vary_friction: float = option(0.0, "in simulation, per episode: contact friction +- this share", minimum=0.0, maximum=0.9)
    vary_damping: float = option(0.0, "joint damping +- this share", minimum=0.0, maximum=0.9)
    vary_armature: float = option(0.0, "inertia of the drives +- this share", minimum=0.0, maximum=0.9)
    vary_torque: float = option(0.0, "what a torque command gives +- this share", minimum=0.0, maximum=0.9)
    vary_delay_steps: int = option(0, "control steps by which commands come late, at most", minimum=0, maximum=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.target_lower) == len(self.target_upper) == 3:
            raise ConfigError("'target_lower' and 'target_upper' must have 3 entries, x y z [m]")
        lower, upper = np.array(self.target_lower), np.array(self.target_upper)
        if (lower > upper).any():
            raise ConfigError(
                f"'target_lower' is {list(self.target_lower)}, expected no entry above 'target_upper', {list(self.target_upper)}"
            )
        nearest = float(np.linalg.norm(np.clip(0.0, lower, upper)))
        if nearest > FARTHEST_M:
            raise ConfigError(
                f"the box 'target_lower' to 'target_upper' begins {nearest:.6g} m from the base, expected {FARTHEST_M} at most: metres?"
            )
        if any(len(pair) != 2 for pair in self.may_touch):
            raise ConfigError(f"'may_touch' is {self.may_touch}, expected pairs of bodies")

    @property
    def variation(self) -> Variation:
        """What the simulation varies."""
        return Variation(self.vary_friction, self.vary_damping, self.vary_armature, self.vary_torque, self.vary_delay_steps)


@dataclass(frozen=True)
class Episode:
    """What is drawn at the start of an episode: the start pose [rad] (N,) and the target [m] (3,)."""

    start: Vector
    target: Vector


class Task(ABC):
    """Pure functions of the robot's state and the episode; keeps nothing between calls.

    Args:
        name: of the task, part of the spec.
        config: of the task.
        robot: the arm.

    Attributes:
        spec: what crosses process boundaries.
        robot: the arm as this task sees it: with what it holds, the task's tool and what may touch.
        episode_steps, hold_steps, release_steps, rest_steps: the times of the config in control steps.

    Raises:
        ConfigError: the config does not fit the arm.
    """

    spec: TaskSpec

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        if len(config.action_scale) != len(robot.joints):
            raise ConfigError(
                f"'action_scale' has {len(config.action_scale)} entries, expected one per joint of '{robot.name}': {len(robot.joints)}"
            )
        if config.tool:  # of something in the hand, which only the scene has
            robot = replace(robot, model=config.scene, tool=config.tool, tool_frame="")
        tip_speed = config.tip_speed_limit_m_s or robot.tip_speed_limit_m_s
        self.robot = replace(robot, tip_speed_limit_m_s=tip_speed, may_touch=(*robot.may_touch, *config.may_touch))
        self.name, self.config = name, config
        rate = config.control_rate_hz
        self.episode_steps, self.hold_steps = (max(round(time * rate), 1) for time in (config.episode_s, config.hold_s))
        self.release_steps, self.rest_steps = (round(time * rate) for time in (config.release_s, config.rest_s))

    def _spec(self, labels: tuple[str, ...], offset: tuple[float, ...], scale: tuple[float, ...]) -> TaskSpec:
        """With joint positions and velocities before what a task adds."""
        robot, config = self.robot, self.config
        joints = robot.joints
        return TaskSpec(
            task=self.name,
            observation=(*[f"position/{j}" for j in joints], *[f"velocity/{j}" for j in joints], *labels),
            observation_offset=(*robot.neutral_position, *[0.0] * len(joints), *offset),
            observation_scale=(*[1.0] * 2 * len(joints), *scale),
            joints=joints,
            command_mode=config.command_mode,
            action_scale=config.action_scale,
            control_rate_hz=config.control_rate_hz,
        )

    def begin(self, rng: np.random.Generator) -> Episode:
        """Draws the start pose and the target of an episode."""
        spread = self.config.start_spread_rad
        start = np.array(self.robot.neutral_position) + rng.uniform(-spread, spread, len(self.robot.joints))
        return Episode(start, rng.uniform(self.config.target_lower, self.config.target_upper))

    @abstractmethod
    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """What the policy sees, (S,)."""

    @abstractmethod
    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Of the state reached and the action (A,) in [-1, 1] that led there."""

    def distance(self, state: RobotState, episode: Episode) -> float:
        """From the tool to the target [m]."""
        return float(np.linalg.norm(episode.target - state.tool_position))

    @abstractmethod
    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """At the goal at this instant; `hold_steps` of these in a row at the end, and one after the release, are a success."""

    def is_terminated(self, state: RobotState, episode: Episode) -> bool:
        """Never: being at the goal is worth something at every step, so the episode goes on until it is truncated."""
        return False
