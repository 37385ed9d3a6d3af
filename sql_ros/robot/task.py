"""The base of all tasks: the keys of a task file, the interface of a task, and the start of
episodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import COMMAND_MODES, TaskSpec
from sql_ros.robot.action_space import TwistConfig, check_twist
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import HELD, load_model
from sql_ros.robot.objects import NO_OBJECTS, Objects, ObjectsConfig, scene_objects

FARTHEST_M = 5.0  # no arm reaches a target that is farther from its base


@dataclass(frozen=True)
class Variation:
    """Ranges from which the simulated arm of an episode is drawn, uniformly around its model.

    Attributes:
        friction: Largest relative change of contact friction; 0: none.
        damping: Largest relative change of joint damping; 0: none.
        armature: Largest relative change of the rotor inertia of the drives; 0: none.
        torque: Largest relative change of the torque that a command causes; 0: none.
        delay_steps: Largest delay of commands [control steps]; 0: none.
    """

    friction: float = 0.0
    damping: float = 0.0
    armature: float = 0.0
    torque: float = 0.0
    delay_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Config):
    """The keys that every task file config/tasks/*.yaml may have.

    Raises:
        ConfigError: A value is out of range, or values contradict each other.
    """

    robot: str = option(description="name of a file in config/robots/")
    scene: str = option(
        "",
        "MJCF of what is around the arm, relative to the task file or to the share folder; empty:"
        " the robot's scene, or a floor",
    )
    control_rate_hz: float = option(
        description="control steps per second", minimum=0.1, maximum=1000.0
    )
    command_mode: str = option(description="command mode of actions", choices=COMMAND_MODES)
    reward: str = option(
        "dense",
        "dense: the reward of the task's code; sparse: 1 in a state at the goal, 0 elsewhere",
        choices=("dense", "sparse"),
    )
    action_scale: tuple[float, ...] = option(
        (), description="command at action 1, per joint; none with 'twist'", minimum=1e-6
    )
    twist: TwistConfig | None = option(  # noqa: RUF009
        None, "actions are velocities of the tool, with these keys; none: commands of the joints"
    )
    objects: ObjectsConfig | None = option(  # noqa: RUF009
        None, "objects that the task observes, with these keys; none: the arm alone"
    )
    episode_s: float = option(
        description="an episode is cut (truncated) after this time [s]", minimum=0.01
    )
    start_spread_rad: float = option(
        description="start poses: neutral +- this, uniform per joint, within the position limits"
        " [rad; slides: the same number in m]",
        minimum=0.0,
    )
    target_lower: tuple[float, ...] = option(description="corner of the box of targets [m]")
    target_upper: tuple[float, ...] = option(description="opposite corner [m]")
    hold_s: float = option(
        0.05, "success: time at the goal at the end of an episode [s]", minimum=0.0
    )
    release_s: float = option(
        0.0,
        "time after an episode in which the arm is left alone, and after which it still has to be"
        " at the goal [s]",
        minimum=0.0,
    )
    rest_s: float = option(
        0.0, "time of rest at the start pose before an episode begins [s]", minimum=0.0
    )
    tool: str = option(
        "",
        "site of the hand or of what it holds, whose pose the task sees; empty: the robot's. The"
        " robot's guarded points and payload centre stay where they are",
    )
    tip_speed_limit_m_s: float = option(
        0.0,
        "largest speed of tool and links, at most the robot's; 0: the robot's [m/s]",
        minimum=0.0,
    )
    may_touch: tuple[tuple[str, ...], ...] = option(
        (),
        "pairs of bodies that are meant to touch: no distance is kept between them. The arm's own"
        " only as its robot file allows",
    )
    payload_kg: float = option(
        0.0,
        "largest mass in the hand beyond the model; at least the robot's; 0: the robot's [kg]",
        minimum=0.0,
    )
    payload_center_m: tuple[float, ...] = option(
        (),
        "centre of mass of payload_kg in the frame of the tool [m]; empty: the robot's, which a"
        " task cannot move",
    )
    vary_friction: float = option(
        0.0, "in simulation, per episode: contact friction +- this share", minimum=0.0, maximum=0.9
    )
    vary_damping: float = option(
        0.0, "in simulation, per episode: joint damping +- this share", minimum=0.0, maximum=0.9
    )
    vary_armature: float = option(
        0.0,
        "in simulation, per episode: inertia of the drives +- this share",
        minimum=0.0,
        maximum=0.9,
    )
    vary_torque: float = option(
        0.0,
        "in simulation, per episode: torque of a command +- this share",
        minimum=0.0,
        maximum=0.9,
    )
    vary_delay_steps: int = option(
        0,
        "in simulation, per episode: largest delay of commands [control steps]",
        minimum=0,
        maximum=10,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.target_lower) == len(self.target_upper) == 3:
            raise ConfigError("'target_lower' and 'target_upper' must have 3 entries, x y z [m]")
        lower = np.array(self.target_lower)
        upper = np.array(self.target_upper)
        if (lower > upper).any():
            raise ConfigError(
                f"'target_lower' is {list(self.target_lower)}, expected no entry above"
                f" 'target_upper', {list(self.target_upper)}"
            )
        nearest = float(np.linalg.norm(np.clip(0.0, lower, upper)))
        if nearest > FARTHEST_M:
            raise ConfigError(
                f"the box 'target_lower' to 'target_upper' begins {nearest:.6g} m from the base,"
                f" expected {FARTHEST_M} at most: metres?"
            )
        if self.hold_s > self.episode_s:
            raise ConfigError(
                f"'hold_s' is {self.hold_s:g}, expected at most 'episode_s', {self.episode_s:g}: an"
                " episode could not succeed"
            )
        if any(len(pair) != 2 for pair in self.may_touch):
            raise ConfigError(f"'may_touch' is {self.may_touch}, expected pairs of bodies")

    @property
    def component_scale(self) -> tuple[float, ...]:
        """Return the value at action 1 of each component of an action (A,), see `TaskSpec`."""
        return self.twist.scale if self.twist else self.action_scale

    @property
    def component_labels(self) -> tuple[str, ...]:
        """Return the label of each component of an action (A,); none without `twist`."""
        return self.twist.labels if self.twist else ()

    @property
    def object_names(self) -> tuple[str, ...]:
        """Return the names of the objects that the task observes."""
        return self.objects.names if self.objects else ()

    @property
    def variation(self) -> Variation:
        """Return the ranges from which the simulation draws the arm of an episode."""
        return Variation(
            self.vary_friction,
            self.vary_damping,
            self.vary_armature,
            self.vary_torque,
            self.vary_delay_steps,
        )


@dataclass(frozen=True)
class Episode:
    """The start pose and the target of an episode.

    Attributes:
        start: Start pose (N,) [rad].
        target: Target in the base frame (3,) [m].
        objects: Poses in which objects are placed before the episode begins, by name; others stay
            where they are.
    """

    start: Vector
    target: Vector
    objects: Objects = field(default_factory=lambda: NO_OBJECTS)


class Task(ABC):
    """Observation, reward and end of an episode, as pure functions of the robot's state and the
    episode.

    Args:
        name: Name of the task, which becomes a part of `spec`.
        config: Content of the task file.
        robot: Content of the robot file.

    A subclass declares the class of its settings by the annotation of `config`, and sets `spec` in
    its `__init__`. `load_task` then checks all that the subclass does (`robot/task_check.py`).

    Attributes:
        spec: Interface of the task that policies and processes share.
        robot: The arm as this task needs it, see `robot_for`.
        name: As given.
        config: As given.
        episode_steps: Length of an episode [control steps].
        hold_steps: Time at the goal that makes a success [control steps].
        release_steps: Time for which the arm is left alone after a truncated episode [control
            steps].
        rest_steps: Time of rest at the start pose before an episode [control steps].
        scene_objects: Poses of the observed objects in the scene file, by name.

    Raises:
        ConfigError: The task file does not fit the arm, or loosens its protection.
    """

    spec: TaskSpec
    config: TaskConfig

    def __init__(self, name: str, config: TaskConfig, robot: RobotConfig) -> None:
        if config.twist and config.action_scale:
            raise ConfigError("'action_scale' is given beside 'twist', which has its own limits")
        if not config.twist and len(config.action_scale) != len(robot.joints):
            raise ConfigError(
                f"'action_scale' has {len(config.action_scale)} entries, expected one per joint of"
                f" '{robot.name}': {len(robot.joints)}"
            )
        check_only_tightens(config, robot)
        self.robot = robot_for(config, robot)
        if config.twist:
            check_twist(config.twist, self.robot)
        self.scene_objects: Objects = NO_OBJECTS
        if config.object_names:
            self.scene_objects = scene_objects(robot, config.scene, config.object_names)
        self.name = name
        self.config = config
        rate = config.control_rate_hz
        self.episode_steps = max(round(config.episode_s * rate), 1)
        self.hold_steps = max(round(config.hold_s * rate), 1)
        self.release_steps = round(config.release_s * rate)
        self.rest_steps = round(config.rest_s * rate)

    def _spec(
        self, labels: tuple[str, ...], offset: tuple[float, ...], scale: tuple[float, ...]
    ) -> TaskSpec:
        """Return the spec of the task. Joint positions and velocities come before the task's own
        observations.

        Args:
            labels: Names of the task's own observations.
            offset: Value that the networks receive as 0, for each label.
            scale: Difference from the offset that the networks receive as 1, for each label.
        """
        robot = self.robot
        config = self.config
        joints = robot.joints
        return TaskSpec(
            task=self.name,
            observation=(
                *[f"position/{j}" for j in joints],
                *[f"velocity/{j}" for j in joints],
                *labels,
            ),
            observation_offset=(*robot.neutral_position, *[0.0] * len(joints), *offset),
            observation_scale=(*[1.0] * 2 * len(joints), *scale),
            joints=joints,
            command_mode=config.command_mode,
            action_scale=config.component_scale,
            control_rate_hz=config.control_rate_hz,
            action=config.component_labels,
        )

    def begin(self, rng: np.random.Generator) -> Episode:
        """Draw the start pose and the target of an episode, both uniformly.

        A start pose beyond the position limits, less their margin, is moved to the nearest one
        inside.

        Args:
            rng: Generator that is advanced.
        """
        spread = self.config.start_spread_rad
        start = np.array(self.robot.neutral_position) + rng.uniform(
            -spread, spread, len(self.robot.joints)
        )
        margin = self.robot.position_margin_rad
        start = np.clip(
            start,
            np.array(self.robot.position_lower) + margin,
            np.array(self.robot.position_upper) - margin,
        )
        return Episode(start, rng.uniform(self.config.target_lower, self.config.target_upper))

    @abstractmethod
    def observe(self, state: RobotState, episode: Episode) -> npt.NDArray[np.float32]:
        """Return the observation of a state (S,), in the order and the units of `spec.observation`.

        Offsets and scales of the spec are not applied.
        """

    def reward(self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode) -> float:
        """Return the dense reward of a transition. Here it is the sparse one: 1 at the goal, 0
        elsewhere.

        Args:
            state: State that the action led to.
            action: Action that corresponds to the filtered command (A,), in [-1, 1].
            episode: Episode of the transition.
        """
        return float(self.is_reached(state, episode))

    def transition_reward(
        self, state: RobotState, action: npt.NDArray[np.float32], episode: Episode
    ) -> float:
        """Return the reward of a transition as the key `reward` of the task file has it.

        Args:
            state: See `reward`.
            action: See `reward`.
            episode: See `reward`.
        """
        if self.config.reward == "sparse":
            return float(self.is_reached(state, episode))
        return self.reward(state, action, episode)

    def distance(self, state: RobotState, episode: Episode) -> float:
        """Return the distance from the tool to the target [m]."""
        return float(np.linalg.norm(episode.target - state.tool_position))

    @abstractmethod
    def is_reached(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the arm is at the goal at this instant.

        An episode succeeds if its last `hold_steps` states are at the goal, and also the state
        after the release, if there is one.
        """

    def is_terminated(self, state: RobotState, episode: Episode) -> bool:
        """Return whether the task ends in this state, so that the backup leaves out its value. Here
        always False.

        A terminated episode is a success if it was at the goal in its last `hold_steps` states,
        otherwise a failure. Being at the goal is rewarded at every step, so a task that terminates
        there loses the rewards of the remaining steps.
        """
        return False


def robot_for(config: TaskConfig, robot: RobotConfig) -> RobotConfig:
    """Return the arm as a task needs it: with the task's tool, payload, tip speed and pairs that
    may touch.

    Args:
        config: Content of the task file.
        robot: Content of the robot file.

    Raises:
        ConfigError: The scene has no site of the task's tool, or it is not fixed to the hand.
    """
    if config.tool:
        robot = _with_tool(robot, config)
    tip_speed = config.tip_speed_limit_m_s or robot.tip_speed_limit_m_s
    robot = replace(
        robot, tip_speed_limit_m_s=tip_speed, may_touch=(*robot.may_touch, *config.may_touch)
    )
    if config.payload_kg:
        center = config.payload_center_m or robot.payload_center_m
        robot = replace(robot, payload_kg=config.payload_kg, payload_center_m=center)
    return robot


def _with_tool(robot: RobotConfig, config: TaskConfig) -> RobotConfig:
    """Return the arm with the tool of a task. Its guarded points and its payload stay where they
    are.

    The tool of the robot file is guarded beside that of the task if `guarded_points` is empty.

    Args:
        robot: The arm of the robot file.
        config: Task file with a `tool`, which may be on an object that only its scene has.

    Raises:
        ConfigError: The scene has no site of the task's name, or the site is not fixed to the hand.
    """
    points = robot.guarded_points or tuple(dict.fromkeys((robot.tool, config.tool)))
    model = load_model(replace(robot, scene=config.scene))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    try:
        old, new = (model.site(name) for name in (robot.tool, config.tool))
    except KeyError as error:
        raise ConfigError(f"scene {config.scene}: 'tool' of the task: {error}") from None
    if model.body_weldid[old.bodyid[0]] != model.body_weldid[new.bodyid[0]]:
        raise ConfigError(
            f"'tool' of the task is {config.tool}, expected a site that moves with {robot.tool},"
            f" the tool of the robot file '{config.robot}'"
        )
    center = robot.payload_center_m
    if robot.payload_kg:
        turn = data.site_xmat[new.id].reshape(3, 3).T
        place = data.site_xpos[old.id] + data.site_xmat[old.id].reshape(3, 3) @ np.array(center)
        center = tuple((turn @ (place - data.site_xpos[new.id])).tolist())
    return replace(
        robot,
        scene=config.scene,
        tool=config.tool,
        tool_frame="",
        guarded_points=points,
        payload_center_m=center,
    )


def check_only_tightens(config: TaskConfig, robot: RobotConfig) -> None:
    """Check that a task file does not loosen the protection of its robot file.

    Raises:
        ConfigError: The task allows a faster tool, a smaller payload than the robot file, or a
            payload beside a compensated one; has a payload centre without a payload, or beside that
            of the robot file; or exempts a pair with a body of the arm that `tasks_may_exempt` does
            not list.
    """
    if config.tip_speed_limit_m_s > robot.tip_speed_limit_m_s:
        raise ConfigError(
            f"'tip_speed_limit_m_s' is {config.tip_speed_limit_m_s:g}, expected at most"
            f" {robot.tip_speed_limit_m_s:g}, that of the robot file '{config.robot}': a task only"
            " tightens it"
        )
    if config.payload_kg and config.payload_kg < robot.payload_kg:
        raise ConfigError(
            f"'payload_kg' is {config.payload_kg:g}, expected at least {robot.payload_kg:g}, that"
            f" of the robot file '{config.robot}'"
        )
    if config.payload_kg and robot.payload_is_compensated:
        raise ConfigError(
            f"'payload_kg' is {config.payload_kg:g}, but the robot file '{config.robot}' says that"
            f" the arm compensates its own payload_kg of {robot.payload_kg:g}"
            " (payload_is_compensated): declare the payload there"
        )
    if config.payload_center_m and not config.payload_kg:
        raise ConfigError("'payload_center_m' is given without a 'payload_kg'")
    if config.payload_center_m and robot.payload_kg:
        raise ConfigError(
            f"'payload_center_m' is given, but the robot file '{config.robot}' has a payload_kg"
            f" of {robot.payload_kg:g} at {list(robot.payload_center_m)}: a task cannot move it"
        )
    if not config.may_touch:
        return
    model = load_model(robot)
    roots = {
        int(model.body_rootid[model.jnt_bodyid[model.joint(name).id]]) for name in robot.joints
    }
    bodies = [
        model.body(body).name for body in range(1, model.nbody) if model.body_rootid[body] in roots
    ]
    of_arm = {name for name in bodies if not name.startswith(f"{HELD}/")}
    allowed = {frozenset(pair) for pair in robot.tasks_may_exempt}
    for pair in config.may_touch:
        if of_arm & set(pair) and frozenset(pair) not in allowed:
            named = ", ".join(sorted(of_arm & set(pair)))
            raise ConfigError(
                f"'may_touch' names {' and '.join(pair)}, but {named} is of the arm itself: a task"
                " may exempt what the arm holds; of the arm, only pairs under 'tasks_may_exempt'"
                f" of the robot file '{config.robot}'"
            )
