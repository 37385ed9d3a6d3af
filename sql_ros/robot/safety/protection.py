"""Checks of protective parameters against the arm, and a description of the limits in force."""

from __future__ import annotations

import mujoco
import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.task import Task

# longest time for which an arm may continue without states or without its control loop, as a
# multiple of the time to stop
STOP_TIMES = 2.0
PERIODS = 3.0  # the same as a multiple of the control period; the longer one counts


def check_waits(task: Task, waits_s: dict[str, float]) -> None:
    """Check that a real arm does not continue for much longer than it needs to stop while something
    is missing.

    Each waiting time may be `STOP_TIMES` times the time to stop from full speed, or `PERIODS`
    control periods, whichever is longer.

    Args:
        task: The task, with its arm and control rate.
        waits_s: Times after which the arm is held [s], by the name of their parameter.

    Raises:
        ConfigError: A waiting time is longer.
    """
    robot = task.robot
    stop_s = float(np.max(np.divide(robot.velocity_limit, robot.acceleration_limit)))
    period_s = 1.0 / task.config.control_rate_hz
    longest = max(STOP_TIMES * stop_s, PERIODS * period_s)
    for name, seconds in waits_s.items():
        if seconds > longest:
            raise ConfigError(
                f"'{name}' is {seconds:g} s, expected at most {longest:.3g} s on a real arm:"
                f" '{robot.name}' stops from full speed within {stop_s:.3g} s, and must not go on"
                f" for much longer than that (control period: {period_s:g} s)"
            )


def missing_shapes(clearance: Clearance, scene: str) -> str:
    """Describe the collision shapes that the safety filter would need and the scene does not have.

    Args:
        clearance: Clearance of the safety filter.
        scene: Path of the MJCF, for the text.

    Returns:
        Empty if every body that the arm moves has a shape that can collide, and there is a pair
        of shapes to keep apart.
    """
    advice = (
        "expected geoms that collide (contype and conaffinity) on every link between base and tool"
    )
    bare = clearance.bare_bodies()
    if bare:
        return (
            f"MJCF {scene}: the arm moves {', '.join(bare)}, but no geom of them can collide:"
            f" {advice}"
        )
    if not len(clearance.pairs):
        return (
            f"MJCF {scene}: no two shapes are kept apart, neither of the arm nor of what stands"
            f" around it: {advice}"
        )
    return ""


def check_shapes(clearance: Clearance, scene: str) -> None:
    """Check that the safety filter can keep every link of a real arm at a distance.

    Args:
        clearance: Clearance of the safety filter.
        scene: Path of the MJCF, for the error message.

    Raises:
        ConfigError: A body that the arm moves has no shape that can collide, or no two shapes are
            kept apart.
    """
    missing = missing_shapes(clearance, scene)
    if missing:
        raise ConfigError(missing)


def effective_limits(
    task: Task, clearance: Clearance, lateness_s: float, waits_s: dict[str, float]
) -> str:
    """Describe the limits that are in force for a task, as lines for the log.

    They are: range, speed and acceleration of each joint; speed of tool and links; clearance and
    the pairs of bodies without one; workspace and keep-out boxes; payload; lateness, latency and
    the waiting times.

    Args:
        task: The task, with its arm.
        clearance: Clearance of its safety filter.
        lateness_s: Lateness of commands that the filter allows for [s].
        waits_s: Times after which the arm is held [s], by the name of their parameter.

    Returns:
        Several lines, separated by line breaks.
    """
    robot = task.robot
    config = task.config
    used = robot.limit_fraction
    margin = robot.position_margin_rad
    lines = [
        f"limits of {robot.name} for task {task.name}, {config.command_mode} commands at"
        f" {config.control_rate_hz:g} Hz:"
    ]
    for joint, low, high, speed, acceleration in zip(
        robot.joints,
        robot.position_lower,
        robot.position_upper,
        robot.velocity_limit,
        robot.acceleration_limit,
    ):
        is_slide = clearance.model.joint(joint).type[0] == mujoco.mjtJoint.mjJNT_SLIDE
        unit = "m" if is_slide else "rad"
        lines.append(
            f"  {joint}: {low + margin:.3f} to {high - margin:.3f} {unit}, {used * speed:.3g}"
            f" {unit}/s, {used * acceleration:.3g} {unit}/s^2"
        )
    people = ", people in reach" if robot.people_in_reach else ""
    lines.append(
        f"  tool and links: {used * robot.speed_limit_m_s:.3g} m/s ({used:g} of"
        f" {robot.speed_limit_m_s:g}{people})"
    )
    lines.append(
        f"  {robot.clearance_m:g} m between {len(clearance.pairs)} pairs of shapes, not between:"
        f" {_exempted_pairs(task)}"
    )
    if clearance.overlapping:
        lines.append(f"  not kept apart, always overlapping: {_named(clearance.overlapping)}")
    if clearance.excluded:
        lines.append(f"  not kept apart, <exclude> of the MJCF: {_named(clearance.excluded)}")
    lines.append(
        f"  workspace: {list(robot.workspace) or 'none'}; keep out:"
        f" {[list(box) for box in robot.keep_out] or 'none'}"
    )
    waits = ", ".join(f"{name} {seconds:g} s" for name, seconds in waits_s.items())
    load = f"up to {robot.payload_kg:g} kg" if robot.payload_kg else "none declared"
    known = ", known to the arm's gravity compensation" if robot.payload_is_compensated else ""
    lines.append(f"  payload beyond the model: {load}{known}")
    latency = (
        f"{robot.reckoned_latency_s:g} s{'' if robot.latency_s is not None else ' (not measured)'}"
    )
    lines.append(
        f"  commands late by {lateness_s:g} s and effective after {latency} are reckoned with; held"
        f" after: {waits}"
    )
    return "\n".join(lines)


def _named(pairs: list[tuple[str, str]]) -> str:
    """Return pairs of names as text: "a and b, c and d"."""
    return ", ".join(" and ".join(pair) for pair in pairs)


def _exempted_pairs(task: Task) -> str:
    """List the pairs of bodies between which no distance is kept, each with the file that exempts
    it.

    Returns:
        "a and b (task), c and d (robot)", or "none exempted".
    """
    robot = task.robot
    of_task = {frozenset(pair) for pair in task.config.may_touch}
    named = [
        (pair, "task" if frozenset(pair) in of_task else "robot")
        for pair in (*robot.may_touch, *robot.always_near)
    ]
    return (
        ", ".join(f"{' and '.join(pair)} ({source})" for pair, source in named) or "none exempted"
    )
