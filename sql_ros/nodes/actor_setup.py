"""Loading and checks of the actor's task, and the parts of the actor that its parameters choose."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher

from sql_ros.common.data_files import find_file
from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.arm_link import ArmLink, check_pace, is_real_arm
from sql_ros.nodes.managed import ManagedNode
from sql_ros.policy.runtime import Policy
from sql_ros.robot.config import load_robot
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.control.cache_warmer import Rehearsal
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.goals import GoalActor
from sql_ros.robot.control.step_schedule import declared_lateness_s
from sql_ros.robot.measured import MeasuredArm, check_is_measured, known_latency, measured_arm
from sql_ros.robot.policy_file import check_speed, read_policy
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.protection import (
    check_shapes,
    check_waits,
    effective_limits,
    missing_shapes,
)
from sql_ros.robot.safety.standby import Standby
from sql_ros.robot.scene_arm import check_scene_arm
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task

ROUNDING = 1.0 + 1e-6  # factor that admits a temperature typed with the digits that are shown
MOST_REHEARSED = 0.3  # largest share of a control period that is spent on rehearsed steps


class LoadedTask(NamedTuple):
    """A task and the measurement record of its arm.

    Attributes:
        task: Its robot has the latency that was found.
        arm: Identity of a real arm for its measurement record; None for a simulated arm.
        declares_latency: The robot file has a latency, which precedes a measured one.
        state_delay_s: Usual time from the stamp of a state to its arrival, for a real arm [s].
    """

    task: Task
    arm: MeasuredArm | None = None
    declares_latency: bool = False
    state_delay_s: float = 0.0


def load_actor_task(node: Node, config: ActorConfig) -> LoadedTask:
    """Load the task of an actor and log the latency of a real arm.

    Args:
        node: Resolves the command topic and logs.
        config: Parameters of the actor.

    Raises:
        ConfigError: The task cannot be loaded, a real arm would move although its latency was not
            measured, or a dry run is asked for in lockstep.
    """
    if config.dry_run and config.is_lockstep:
        raise ConfigError(
            "parameter 'dry_run' is true, but in lockstep (realtime_factor 0) the simulation"
            " waits for commands"
        )
    task = load_task(config.task, config.joint_prefix, people_in_reach=config.people_in_reach)
    topic = node.resolve_topic_name("commands")
    if config.is_lockstep or not is_real_arm(topic, real_arm=config.real_arm):
        return LoadedTask(task)
    robot_file = find_file(task.config.robot, "config/robots")
    mode = task.spec.command_mode
    arm = measured_arm(robot_file, mode, topic, task.robot.wire_joints)
    latency = known_latency(task.robot, arm)
    loaded = LoadedTask(task, arm, task.robot.latency_s is not None, latency.of_states_s)
    if not config.dry_run:
        check_is_measured(latency, task.robot, robot_file, mode, config.identify)
    if latency.seconds is None:
        node.get_logger().warning(
            f"the latency of robot '{task.robot.name}' is not known and is taken as 0 until the"
            f" identification has measured it: neither {robot_file} ('latency_s') nor a record"
            " says it"
        )
        return loaded
    node.get_logger().info(
        f"latency of robot '{task.robot.name}': {latency.seconds:g} s ({latency.source})"
    )
    task.robot = replace(task.robot, latency_s=latency.seconds)
    return loaded


def follows_clock(node: Node, config: ActorConfig) -> bool:
    """Return whether control time is that of `/clock`, as `use_sim_time` asks for."""
    uses_sim_time: bool = node.get_parameter("use_sim_time").value
    return uses_sim_time and config.follows_clock and not config.is_lockstep


def make_control_clock(node: Node, config: ActorConfig) -> ControlClock:
    """Return the clock of control, which begins now."""
    return ControlClock(follows_clock(node, config), config.max_clock_age_s, time.monotonic())


def lateness_s(config: ActorConfig, task: Task) -> float:
    """Return by how much a command may be late for the safety filter [s]; 0 in lockstep."""
    if config.is_lockstep:
        return 0.0
    return declared_lateness_s(1.0 / task.config.control_rate_hz, config.max_lateness_s)


def most_late_s(config: ActorConfig, task: Task, *, is_real: bool) -> float:
    """Return the lateness from which on a control step is a hold [s of control time].

    On a real arm it is at most what the safety filter reckons with, see `lateness_s`.
    """
    return lateness_s(config, task) if is_real else config.max_lateness_s


def policy_period_s(node: Node, config: ActorConfig, task: Task) -> float:
    """Return the time between two control steps on the steady clock [s]; infinite in lockstep."""
    if config.is_lockstep:
        return math.inf
    pace = 1.0 if follows_clock(node, config) else config.realtime_factor
    return 1.0 / task.config.control_rate_hz / pace


def check_policy_speed(policy: Policy, path: str, period_s: float) -> None:
    """Check that the policy of the parameters answers fast enough.

    Args:
        policy: Is asked some thirty times.
        path: Its file, for the message.
        period_s: Of control [s].

    Raises:
        ConfigError: It takes too large a share of a control period.
    """
    try:
        check_speed(policy, period_s)
    except PolicyError as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None


def check_temperature(config: ActorConfig, policy: Policy | None) -> None:
    """Check the parameter `temperature` against the mode and the policy.

    Args:
        config: Parameters of the actor.
        policy: In use; None while there is none.

    Raises:
        ConfigError: The actor trains, or the policy was trained at a lower temperature.
    """
    if config.temperature and config.trains:
        raise ConfigError(
            "'temperature' is of mode:=play: in training the policy acts at the temperature"
            " that it learns at"
        )
    if policy is not None and config.temperature > policy.info.temperature * ROUNDING:
        trained = policy.info.temperature
        raise ConfigError(
            f"'temperature' is {config.temperature:g}, expected at most {trained:g}, at which"
            " the policy was trained"
        )


def make_link(
    node: ManagedNode,
    config: ActorConfig,
    task: Task,
    publisher: Publisher,
    clock: ControlClock,
    *,
    may_switch: Callable[[], bool],
    is_at_rest: Callable[[], bool],
) -> ArmLink:
    """Return the way to the arm behind a publisher of commands.

    Args:
        node: The actor.
        config: Its parameters.
        task: Gives robot, scene, command mode and control rate.
        publisher: Of the commands.
        clock: Of control.
        may_switch: Whether a controller may be activated now, where the parameters allow it.
        is_at_rest: Whether the last command asked for no motion.

    Raises:
        ConfigError: A real arm must not be commanded like this.
    """
    rate_hz = task.config.control_rate_hz
    if config.real_arm and not config.dry_run:
        check_pace(config.realtime_factor, rate_hz, publisher.topic_name)
    return ArmLink(
        node,
        task.robot,
        task.config.scene,
        task.spec.command_mode,
        publisher,
        1.0 / rate_hz,
        real_arm=config.real_arm,
        may_switch=may_switch if config.switch_controllers else None,
        is_at_rest=is_at_rest,
        is_used=not config.dry_run,
        in_real_time=not config.is_lockstep,
        is_paced=not clock.follows,
    )


def make_standby(
    config: ActorConfig, task: Task, clock: ControlClock, period_s: float, most_late_s: float
) -> Standby | None:
    """Return what brakes the arm while the control loop sends nothing in time.

    Args:
        config: Parameters of the actor.
        task: Gives command mode and arm.
        clock: Of control.
        period_s: Of control, on the steady clock [s].
        most_late_s: Lateness from which on a control step is a hold [s].

    Returns:
        None in lockstep, with a foreign clock, in a dry run, and in position mode, where commands
        end by themselves.
    """
    mode, robot = task.spec.command_mode, task.robot
    if config.is_lockstep or clock.follows or config.dry_run or mode == "position":
        return None
    acceleration = robot.limit_fraction * np.array(robot.acceleration_limit)
    if mode == "torque":
        acceleration = np.full_like(acceleration, np.inf)
    return Standby(acceleration, period_s, period_s + most_late_s, config.realtime_factor)


def make_rehearsal(
    config: ActorConfig, task: Task, clock: ControlClock, period_s: float
) -> Rehearsal | None:
    """Return the rehearsal of control steps.

    Args:
        config: Parameters of the actor; `rehearsal_s` is bounded by `MOST_REHEARSED`.
        task: Of which steps are rehearsed.
        clock: Of control.
        period_s: Of control, on the steady clock [s].

    Returns:
        None in lockstep, with a foreign clock, and where `rehearsal_s` is 0.
    """
    if config.is_lockstep or clock.follows or not config.rehearsal_s:
        return None
    ahead_s = min(config.rehearsal_s, MOST_REHEARSED * period_s)
    return Rehearsal(task, ahead_s, lateness_s(config, task))


def make_actor(config: ActorConfig, task: Task, drive: Drive, period_s: float) -> Actor:
    """Return the actor of the mode, with the policy of the parameters.

    Args:
        config: Parameters of the actor.
        task: Of the actor.
        drive: Of the task.
        period_s: Of control on the steady clock [s]; the policy must answer within a share of it.

    Raises:
        ConfigError: The policy or the temperature cannot be used.
    """
    actor: Actor
    if config.trains:
        actor = Actor(task, config.seed, explores=config.explores, drive=drive)
    else:
        actor = GoalActor(task, config.seed, waits=config.targets == "goal", drive=drive)
    if config.policy:
        actor.policy = read_policy(config.policy, task)
        check_policy_speed(actor.policy, config.policy, period_s)
    check_temperature(config, actor.policy)
    actor.temperature = config.temperature
    return actor


def check_limits(
    node: Node, config: ActorConfig, task: Task, clearance: Clearance, *, is_real: bool
) -> None:
    """Check the protective parameters of a real arm; log the limits in force.

    Args:
        node: Logs; its parameter `use_sim_time` counts.
        config: Parameters of the actor.
        task: Gives robot and scene.
        clearance: Of the safety filter.
        is_real: The arm is a real one that is commanded. Otherwise missing shapes are a warning.

    Raises:
        ConfigError: A parameter or the scene does not protect a real arm.
    """
    waits_s = config.waits_s(follows_clock=follows_clock(node, config))
    scene = task.config.scene
    if is_real:
        check_waits(task, waits_s)
        check_shapes(clearance, scene)
        check_scene_arm(load_robot(task.config.robot), scene)
    elif missing := missing_shapes(clearance, scene):
        node.get_logger().warning(missing)
    limits = effective_limits(task, clearance, lateness_s(config, task), waits_s)
    node.get_logger().info(limits)
