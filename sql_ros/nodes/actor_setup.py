"""Load and check the actor's task, and make the parts that depend on the actor's parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher

from sql_ros.common.data_files import find_file, find_policies
from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.arm_link import ArmLink, check_pace, is_real_arm
from sql_ros.nodes.managed import ManagedNode
from sql_ros.policy.blend import Blend, parse_weights
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.cache_warmer import CacheWarmer
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.goals import GoalFollower
from sql_ros.robot.control.step_schedule import declared_lateness_s
from sql_ros.robot.measured import (
    MeasuredArm,
    check_is_measured,
    known_latency,
    measured_arm,
    present_domain,
)
from sql_ros.robot.policy_file import check_speed, read_blend, read_policy
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.protection import (
    check_shapes,
    check_waits,
    effective_limits,
    missing_shapes,
)
from sql_ros.robot.safety.standby import Standby
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task

ROUNDING = 1.0 + 1e-6  # factor by which a typed temperature may exceed that of the policy
REHEARSAL_S = 1e-3  # time of rehearsed steps before a state is due
MOST_REHEARSED = 0.3  # largest share of a control period that is spent on rehearsed steps


class LoadedTask(NamedTuple):
    """A task and the measurement record of its arm.

    Attributes:
        task: The task. For a real arm, `task.robot.latency_s` is the latency that is known.
        arm: Identity of a real arm, which names its measurement record; None for a simulated arm.
        declares_latency: Whether the robot file states a latency. A measured one is then not used.
        state_delay_s: Usual time from the stamp of a state to its arrival [s]; 0 for a simulated
            arm.
    """

    task: Task
    arm: MeasuredArm | None = None
    declares_latency: bool = False
    state_delay_s: float = 0.0


def load_actor_task(node: Node, config: ActorConfig) -> LoadedTask:
    """Load the task of an actor; look up and log the latency of a real arm.

    The latency is that of the robot file, else that of the measurement record. Without either it is
    unknown: the filter assumes 0, and a warning is logged.

    Args:
        node: Resolves the command topic and logs.
        config: Parameters of the actor.

    Returns:
        The task. For a real arm also its identity and the usual delay of its states; the latency
        that is known is then set in `task.robot`.

    Raises:
        ConfigError: The task cannot be loaded; or a real arm would move although its latency is
            unknown and no identification is to come; or `dry_run` is true in lockstep.
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
    arm = measured_arm(robot_file, mode, topic, task.robot.wire_joints, present_domain())
    latency = known_latency(task.robot, arm)
    loaded = LoadedTask(task, arm, task.robot.latency_s is not None, latency.usual_state_delay_s)
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
    """Return whether control time is that of `/clock`.

    `/clock` is followed if both `use_sim_time` and `follows_clock` are true, except in lockstep.

    Args:
        node: Gives the parameter `use_sim_time`.
        config: Parameters of the actor.
    """
    uses_sim_time: bool = node.get_parameter("use_sim_time").value
    return uses_sim_time and config.follows_clock and not config.is_lockstep


def make_control_clock(node: Node, config: ActorConfig) -> ControlClock:
    """Return a control clock that starts now, on the steady clock or on `/clock`."""
    return ControlClock(follows_clock(node, config), config.max_clock_age_s, time.monotonic())


def lateness_s(config: ActorConfig, task: Task) -> float:
    """Return the lateness of a command that the safety filter allows for [s].

    The lateness is at most `max_lateness_s`, see `declared_lateness_s`; 0 in lockstep.

    Args:
        config: Parameters of the actor.
        task: Task; gives the control rate.
    """
    if config.is_lockstep:
        return 0.0
    return declared_lateness_s(1.0 / task.config.control_rate_hz, config.max_lateness_s)


def most_late_s(config: ActorConfig, task: Task, *, is_real: bool) -> float:
    """Return the lateness above which a control step is a hold [s of control time].

    For a real arm it is what the safety filter allows for (`lateness_s`), for a simulated arm the
    parameter `max_lateness_s`.

    Args:
        config: Parameters of the actor.
        task: Task; gives the control rate.
        is_real: Whether the arm is real.
    """
    return lateness_s(config, task) if is_real else config.max_lateness_s


def policy_period_s(node: Node, config: ActorConfig, task: Task) -> float:
    """Return the time between two control steps on the steady clock [s]; infinite in lockstep.

    If `/clock` is followed, it is the control period of the task, as if `/clock` ran in real time.

    Args:
        node: Gives the parameter `use_sim_time`.
        config: Parameters of the actor.
        task: Task; gives the control rate.
    """
    if config.is_lockstep:
        return math.inf
    pace = 1.0 if follows_clock(node, config) else config.realtime_factor
    return 1.0 / task.config.control_rate_hz / pace


def check_policy_speed(policy: Policy | Blend, path: str, period_s: float) -> None:
    """Check that a policy answers fast enough, by timing some thirty inferences.

    Args:
        policy: Policy to time.
        path: File of the policy, for the error.
        period_s: Control period [s]; infinite: the policy is not timed.

    Raises:
        ConfigError: An inference takes a larger share of the period than `check_speed` allows.
    """
    try:
        check_speed(policy, period_s)
    except PolicyError as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None


def check_temperature(config: ActorConfig, policy: Policy | Blend | None) -> None:
    """Check the parameter `temperature` against the mode and the policy.

    Args:
        config: Parameters of the actor.
        policy: Policy in use; None while there is none.

    Raises:
        ConfigError: The temperature is not 0 in training, or is higher than the temperature at
            which the policy was trained.
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


def check_blend(config: ActorConfig, policy: Policy | Blend | None) -> None:
    """Check the parameter `weights` against the mode and the policy.

    Args:
        config: Parameters of the actor.
        policy: Policy in use; None while there is none.

    Raises:
        ConfigError: Weights are given without several skills, or cannot be used.
    """
    if isinstance(policy, Blend):
        if config.mode != "play":
            raise ConfigError("several policies act together in mode:=play only: name one policy")
        parse_weights(config.weights, len(policy.weights))
    elif config.weights:
        raise ConfigError(
            f"'weights' is {config.weights!r:.80}, but 'policy' names no several skills: give"
            " policy:=A.onnx,B.onnx"
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
    """Return the link from a publisher of commands to the arm.

    Args:
        node: The actor node.
        config: Parameters of the actor.
        task: Task; gives robot, scene, command mode and control rate.
        publisher: Publisher of the commands.
        clock: Control clock.
        may_switch: Returns whether a controller may be activated now. Not used unless the parameter
            `switch_controllers` is true.
        is_at_rest: Returns whether the last command asked for no motion.

    Raises:
        ConfigError: Pace, rate, command mode or controller do not suit a real arm.
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
    """Return the `Standby`, which brakes the arm while the control loop sends no command in time.

    Args:
        config: Parameters of the actor.
        task: Task; gives command mode and limits of the arm.
        clock: Control clock.
        period_s: Control period on the steady clock [s].
        most_late_s: Lateness above which a control step is a hold [s].

    Returns:
        The standby; None where none is needed or possible: in lockstep, where `/clock` is followed,
        in a dry run, and in position mode, whose commands end at rest by themselves.
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
) -> CacheWarmer | None:
    """Return the `CacheWarmer`, which runs the stages of a step on copies to warm the caches.

    A rehearsal begins `REHEARSAL_S` before a state is due, at most `MOST_REHEARSED` of a period.

    Args:
        config: Parameters of the actor.
        task: Task whose control steps are rehearsed.
        clock: Control clock.
        period_s: Control period on the steady clock [s].

    Returns:
        The cache warmer; None in lockstep and where `/clock` is followed.
    """
    if config.is_lockstep or clock.follows:
        return None
    ahead_s = min(REHEARSAL_S, MOST_REHEARSED * period_s)
    return CacheWarmer(task, ahead_s, lateness_s(config, task))


def make_actor(config: ActorConfig, task: Task, mapper: ActionMapper, period_s: float) -> Actor:
    """Return an actor for the parameter `mode`, with the policy file and temperature of the
    parameters.

    Args:
        config: Parameters of the actor.
        task: Task of the actor.
        mapper: Map from actions to commands, with the safety filter.
        period_s: Control period on the steady clock [s]. A policy must answer within a share of it.

    Returns:
        An actor, whose rules are a `GoalFollower` in mode play. Its policy is None where the
        parameter `policy` is empty.

    Raises:
        ConfigError: The policy file cannot be read or is too slow, or the temperature cannot be
            used.
    """
    if config.trains:
        actor = Actor(task, config.seed, explores=config.explores, mapper=mapper)
    else:
        waits = config.targets == "goal"
        actor = GoalFollower(task, config.seed, waits=waits, mapper=mapper).actor
    if config.policy:
        several = "," in config.policy
        paths = find_policies(config.policy) if several else (Path(config.policy),)
        if len(paths) > 1:
            actor.policy = read_blend(paths, config.weights, task)
        else:
            actor.policy = read_policy(paths[0], task)
        check_policy_speed(actor.policy, config.policy, period_s)
    check_blend(config, actor.policy)
    check_temperature(config, actor.policy)
    actor.temperature = config.temperature
    return actor


def check_limits(
    node: Node, config: ActorConfig, task: Task, clearance: Clearance, *, is_real: bool
) -> None:
    """Check that parameters and scene protect a real arm; log the limits in force.

    For another arm, links without a collision shape only cause a warning.

    Args:
        node: Logs; gives the parameter `use_sim_time`.
        config: Parameters of the actor.
        task: Task; gives robot and scene.
        clearance: Distances of the safety filter.
        is_real: Whether the arm is real and commands are sent to it.

    Raises:
        ConfigError: A wait in the parameters is too long, a link has no collision shape, or the
            scene does not have the arm of the robot file.
    """
    waits_s = config.waits_s(follows_clock=follows_clock(node, config))
    scene = task.config.scene
    if is_real:
        check_waits(task, waits_s)
        check_shapes(clearance, scene)
        task.robot.check_confirmed()
    elif missing := missing_shapes(clearance, scene):
        node.get_logger().warning(missing)
    limits = effective_limits(task, clearance, lateness_s(config, task), waits_s)
    node.get_logger().info(limits)
