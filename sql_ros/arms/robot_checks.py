"""Check an arm and its task in simulation, before anything is trained or moved.

=============  ===============================================  ===================================
check          method                                           error or warning
=============  ===============================================  ===================================
order          compare `joints` with the description            warning: not from base to tool
limits         compare them with the description                error: beyond the description;
                                                                warning: perhaps degrees
guarded pairs  measure distances in the neutral pose            warning: there are no pairs, bodies
                                                                without shapes, or pairs nearer
                                                                than the clearance, or the scene
                                                                has objects that move
contact        find contacts in the neutral pose                error: shapes overlap
hold           command no motion for `HOLD_S`, in each mode     error: the arm moves, or the
                                                                simulation is unstable
step           command each joint a quarter of its speed limit  warning: a joint moves too little
               for `STEP_S`; only if there is no error          or too far
reach          inverse kinematics to points of the target box,  warning below 95 % of the points,
               without overlap of guarded shapes                error at 0 %
task           compare its values with the limits               warning: speeds or start poses
                                                                beyond the limits, or one target
unconfirmed    read the robot file                              warning: it has estimates
=============  ===============================================  ===================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import mujoco
import numpy as np

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import COMMAND_MODES
from sql_ros.robot.arm import Arm, Vector
from sql_ros.robot.config import UNLIMITED, RobotConfig
from sql_ros.robot.estimates import ROUNDING, ArmEstimates
from sql_ros.robot.model import overlaps_at_rest
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.protection import missing_shapes
from sql_ros.robot.task import Task
from sql_ros.sim.simulation import Simulation

HOLD_S = 0.5  # time for which an arm must hold its pose
HELD_RAD = 0.01  # largest motion of an arm that holds its pose
STEP_S = 0.4  # length of a step of velocity
STEP_SHARE = 0.25  # of the speed limits
FOLLOWS = (0.5, 1.3)  # ratios of measured to commanded motion of a joint that follows
TARGETS = 100  # points of the target box
IK_STEPS = 60
IK_STARTS = 4
IK_DAMPING = 1e-3
REACHED_M = 5e-3
MOSTLY = 0.95  # reachable share of the box below which a warning is given
MOST_TURNS_RAD = 4.0 * np.pi  # of a joint with limits


@dataclass
class RobotReport:
    """Result of the checks of an arm at its task.

    Attributes:
        self_pairs: Pairs of shapes of the arm that the safety filter keeps apart.
        scene_pairs: Pairs of a shape of the arm and one of the scene.
        near: Pairs of bodies nearer than the clearance in the neutral pose, with their distance, as
            text.
        unguarded: Pairs of bodies of the arm that the filter does not keep apart, with the reason.
        reachable: Share of the target box that the tool reaches, from 0 to 1.
        errors: Faults that prevent a training, one line each.
        warnings: Faults that do not prevent a training, one line each.
    """

    self_pairs: int = 0
    scene_pairs: int = 0
    near: list[str] = field(default_factory=list)
    unguarded: list[str] = field(default_factory=list)
    reachable: float = 0.0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """Return guarded pairs, pairs that are too near, and the reachable share as one line."""
        near = "; ".join(self.near) or "none"
        return (
            f"guarded: {self.self_pairs} self, {self.scene_pairs} scene pairs; too near at neutral:"
            f" {near}; reachable: {100.0 * self.reachable:.0f} %"
        )

    def lines(self) -> list[str]:
        """Return the lines for the user: the summary, unguarded pairs, errors and warnings."""
        return [
            self.summary,
            *(f"not kept apart: {text}" for text in self.unguarded),
            *(f"error: {text}" for text in self.errors),
            *(f"warning: {text}" for text in self.warnings),
        ]


def check_robot(task: Task) -> RobotReport:
    """Check the arm of a task, see the module's table.

    Args:
        task: The task, with its arm and scene.

    Raises:
        ConfigError: Arm, scene or control rate do not fit each other, so that no check is possible.
    """
    report = RobotReport()
    sim = Simulation(task.config.scene, task.robot, goal=True)
    sim.physics_steps(task.config.control_rate_hz)
    _check_order(sim, report)
    _check_limits(task, report)
    clearance = Clearance(task.robot, task.config.scene)
    _check_shapes(task, clearance, report)
    _check_contacts(sim, report)
    for mode in COMMAND_MODES:
        _check_hold(sim, mode, report)
    if not report.errors:
        _check_step(sim, report)
    _check_reach(task, clearance, report)
    _check_task(task, report)
    if task.robot.unconfirmed:
        report.warnings.append(
            f"nobody has confirmed {', '.join(task.robot.unconfirmed)} of robot"
            f" '{task.robot.name}': a real arm does not move before. Look the values up, and write"
            " them into the robot file"
        )
    return report


def require_sound_robot(task: Task) -> RobotReport:
    """Check the arm of a task, and refuse an arm that cannot be trained.

    Args:
        task: The task, with its arm and scene.

    Returns:
        The report, which has no errors.

    Raises:
        ConfigError: A check found an error, or no check is possible.
    """
    report = check_robot(task)
    if report.errors:
        raise ConfigError(f"robot '{task.robot.name}', task '{task.name}': {report.errors[0]}")
    return report


def _check_order(sim: Simulation, report: RobotReport) -> None:
    """Warn if the robot file does not list the joints from the base to the tool, the usual order of
    controllers.

    Args:
        sim: Simulation of the arm.
        report: Report, to which the warning is added.
    """
    robot = sim.robot
    ordered = sorted(robot.joints, key=lambda name: int(sim.model.joint(name).id))
    if tuple(ordered) != robot.joints:
        report.warnings.append(
            f"'joints' are {', '.join(robot.joints)}, but from the base to the tool they are"
            f" {', '.join(ordered)}: do the limits and the controller's `joints` have your order?"
        )


def _check_limits(task: Task, report: RobotReport) -> None:
    """Check that the limits are possible, and none is beyond the description."""
    robot = task.robot
    estimates = ArmEstimates(find_beside(robot.model, None), robot.joints)
    beyond = estimates.find_too_high(np.array(robot.velocity_limit), np.array(robot.effort_limit))
    if beyond:
        report.errors.append(f"limits beyond the description: {'; '.join(beyond)}")
    turns = [
        name
        for name, low, high in zip(robot.joints, robot.position_lower, robot.position_upper)
        if MOST_TURNS_RAD < max(-low, high) < UNLIMITED
    ]
    if turns:
        report.warnings.append(
            f"position limits of {', '.join(turns)} are beyond {MOST_TURNS_RAD:.1f} rad: degrees?"
        )


def _check_task(task: Task, report: RobotReport) -> None:
    """Warn of values of the task file that the arm cannot follow, and of a single target."""
    config = task.config
    robot = task.robot
    speed = np.array(robot.velocity_limit)
    most = {"velocity": speed, "position": speed / config.control_rate_hz}.get(config.command_mode)
    if config.action_scale and most is not None:
        beyond = [
            f"{name} {scale:g} (at most {limit:.3g})"
            for name, scale, limit in zip(robot.joints, config.action_scale, most)
            if scale > ROUNDING * limit
        ]
        if beyond:
            report.warnings.append(
                "'action_scale' is beyond velocity_limit"
                + (" in one control step" if config.command_mode == "position" else "")
                + f", so larger actions change nothing: {', '.join(beyond)}"
            )
    lower, upper = within_a_turn(robot)
    wide = [
        name
        for name, width in zip(robot.joints, upper - lower)
        if config.start_spread_rad > width / 2.0
    ]
    if wide:
        report.warnings.append(
            f"'start_spread_rad' is {config.start_spread_rad:g}, more than half the range of"
            f" {', '.join(wide)}: many start poses will be at a position limit"
        )
    if config.target_lower == config.target_upper:
        report.warnings.append(
            "'target_lower' and 'target_upper' are the same point: every episode has that target"
        )


def _check_shapes(task: Task, clearance: Clearance, report: RobotReport) -> None:
    """Count the guarded pairs. Warn of missing shapes, and of pairs that are too near.

    Args:
        task: The task, with its arm and scene.
        clearance: Distances of the arm in its scene.
        report: Report; `self_pairs`, `scene_pairs`, `near` and `unguarded` are set, warnings are
            added.
    """
    kinds = clearance.kinds.tolist()
    report.self_pairs = kinds.count("self_collision")
    report.scene_pairs = kinds.count("collision")
    if missing := missing_shapes(clearance, task.config.scene):
        report.warnings.append(missing)
    for text in _unguarded(clearance, report):
        report.warnings.append(text)
    for reason, pairs in (
        ("always overlapping", clearance.overlapping),
        ("<exclude> of the MJCF", clearance.excluded),
        ("neighbours, which the position limits have to keep apart", clearance.neighbours),
    ):
        if pairs:
            named = ", ".join("-".join(pair) for pair in pairs)
            report.unguarded.append(f"{named} ({reason})")
    distances = clearance.measure_all(np.array(task.robot.neutral_position))
    model = clearance.model
    near: dict[str, float] = {}
    for (one, two), distance in zip(clearance.pairs.tolist(), distances):
        if distance < clearance.margin:
            bodies = [_body_name(model, geom) for geom in (one, two)]
            name = "-".join(bodies)
            near[name] = min(float(distance), near.get(name, np.inf))
    report.near = [f"{name} ({1e3 * distance:.0f} mm)" for name, distance in near.items()]
    if near:
        report.warnings.append(
            f"in the neutral pose {', '.join(report.near)} are nearer than clearance_m"
            f" ({1e3 * clearance.margin:g} mm), so the safety filter keeps them from moving nearer:"
            " choose another neutral_position, name pairs that never meet under may_touch, or"
            " make clearance_m smaller"
        )


def _unguarded(clearance: Clearance, report: RobotReport) -> list[str]:
    """Return a line for whatever of the scene the filter does not keep the arm away from."""
    model = clearance.model
    moving = sorted(
        {
            str(model.body(body).name)
            for body in range(1, model.nbody)
            if model.body_dofnum[model.body_weldid[body]] and not clearance.is_of_arm(body)
        }
    )
    found = []
    if moving:
        found.append(
            f"{', '.join(moving)} of the scene can move, so the filter does not keep the arm away"
            " from it: remove its joint if it stands still"
        )
    if not report.scene_pairs and clearance.pairs.size:
        found.append("no shape of the scene is guarded: do arm and scene collide (contype)?")
    if not report.self_pairs and clearance.pairs.size:
        found.append(
            "no two shapes of the arm are guarded: do they collide (contype, conaffinity)?"
        )
    return found


def _body_name(model: mujoco.MjModel, geom: int) -> str:
    """Return the name of a shape's body. For a shape of the world return its own name, or "world".

    Args:
        model: Model with the shape.
        geom: Index of the shape.
    """
    body = int(model.geom_bodyid[geom])
    name = model.body(body).name if body else model.geom(geom).name
    return str(name or "world")


def _check_contacts(sim: Simulation, report: RobotReport) -> None:
    """Add an error to the report if shapes overlap in the neutral pose."""
    found = overlapping_bodies(sim)
    if found:
        named = ", ".join("-".join(pair) for pair in found)
        report.errors.append(
            f"in the neutral pose these overlap: {named}. Choose another neutral_position, or name"
            " pairs that are always in touch under always_near"
        )


def overlapping_bodies(sim: Simulation) -> list[tuple[str, str]]:
    """Return the pairs of bodies whose shapes overlap in the neutral pose, by name.

    A pair counts if a joint moves at least one of its bodies. Each pair is in alphabetical order.
    The world is named "world".

    Args:
        sim: Simulation of the arm.
    """
    model = sim.model
    return sorted(
        (min(names), max(names))
        for pair in overlaps_at_rest(model, sim.robot)
        if model.body_weldid[list(pair)].any()
        for names in [[str(model.body(body).name) for body in pair]]
    )


def _check_hold(sim: Simulation, mode: str, report: RobotReport) -> None:
    """Add an error to the report if the arm does not hold its neutral pose in a command mode.

    Args:
        sim: Simulation, which is reset to the neutral pose.
        mode: Command mode.
        report: Report, to which the error is added.
    """
    pose = np.array(sim.robot.neutral_position)
    sim.reset(pose)
    command = pose if mode == "position" else np.zeros_like(pose)
    away = _play(sim, mode, command, HOLD_S) - pose
    if not np.isfinite(away).all():
        report.errors.append(f"the simulation is unstable in {mode} mode: {_light_joints(sim)}")
    elif np.abs(away).max() > HELD_RAD:
        joint = int(np.abs(away).argmax())
        report.errors.append(
            f"in {mode} mode {sim.robot.joints[joint]} moves by {away[joint]:.3f} rad within"
            f" {HOLD_S:g} s although nothing is asked: is effort_limit"
            f" ({sim.robot.effort_limit[joint]:g}) less than its weight, or does it touch"
            " something?"
        )


def _play(sim: Simulation, mode: str, command: Vector, seconds: float) -> Vector:
    """Simulate the arm under one command, which is repeated every 0.05 s.

    Args:
        sim: Simulation.
        mode: Command mode.
        command: Command in the unit of the mode (N,).
        seconds: Simulated time [s].

    Returns:
        The joint positions at the end (N,) [rad]; NaN if the simulation became unstable.
    """
    timestep = sim.model.opt.timestep
    every = max(round(0.05 / timestep), 1)
    warnings = sim.data.warning
    unstable = mujoco.mjtWarning.mjWARN_BADQACC
    before = warnings[unstable].number
    for _ in range(max(round(seconds / (every * timestep)), 1)):
        sim.command(mode, command)
        sim.advance(every)
    if warnings[unstable].number > before:
        return np.full(len(command), np.nan)
    return np.array(sim.measure().position)


def _light_joints(sim: Simulation) -> str:
    """Return the remedies for an unstable simulation, as text."""
    return (
        "smaller servo_damping and servo_stiffness, more armature on the light joints, or a smaller"
        f" timestep than {sim.model.opt.timestep:g} s"
    )


def _check_step(sim: Simulation, report: RobotReport) -> None:
    """Warn of every joint that does not follow a velocity away from its nearer position limit.

    The joints are tested one after the other, each from the neutral pose.

    Args:
        sim: Simulation, which is reset to the neutral pose.
        report: Report, to which the warnings are added.
    """
    robot = sim.robot
    pose = np.array(robot.neutral_position)
    middle = 0.5 * (np.array(robot.position_lower) + np.array(robot.position_upper))
    for joint in range(len(pose)):
        speed = np.zeros_like(pose)
        sign = 1.0 if pose[joint] <= middle[joint] else -1.0
        speed[joint] = sign * STEP_SHARE * robot.velocity_limit[joint]
        sim.reset(pose)
        moved = (_play(sim, "velocity", speed, STEP_S) - pose)[joint]
        ratio = moved / (speed[joint] * STEP_S)
        if not FOLLOWS[0] <= ratio <= FOLLOWS[1]:
            report.warnings.append(
                f"{robot.joints[joint]} moves {ratio:.2f} times as far as a velocity of"
                f" {speed[joint]:.2f} rad/s asks for {STEP_S:g} s: effort_limit, servo_damping or"
                " something in its way"
            )


def _check_reach(task: Task, clearance: Clearance, report: RobotReport) -> None:
    """Estimate the share of the target box that the tool reaches.

    Add an error to the report if the share is 0, a warning if it is below `MOSTLY`.

    Args:
        task: The task, with its arm and target box.
        clearance: Distances of the arm in its scene.
        report: Report; `reachable` is set.
    """
    config = task.config
    report.reachable = reachable_share(
        Arm(task.robot), clearance, np.array(config.target_lower), np.array(config.target_upper)
    )
    percent = 100.0 * report.reachable
    box = f"{list(config.target_lower)} to {list(config.target_upper)} m in the base frame"
    if report.reachable == 0.0:
        report.errors.append(
            f"the tool '{task.robot.tool}' reaches no point of the target box {box}: metres, and in"
            " the frame of the base? Or is it inside the arm or something of the scene?"
        )
    elif report.reachable < MOSTLY:
        report.warnings.append(
            f"the tool '{task.robot.tool}' reaches {percent:.0f} % of the target box {box}: make it"
            " smaller, or move it away from its ends and from obstacles"
        )


def reachable_share(arm: Arm, clearance: Clearance, lower: Vector, upper: Vector) -> float:
    """Return the share of `TARGETS` random points of a box that the tool reaches, from 0 to 1.

    The orientation of the tool is free. Joint limits count. A point does not count if guarded
    shapes overlap in every pose that is tried.

    Args:
        arm: Kinematics.
        clearance: Distances of the arm in its scene.
        lower: Lower corner of the box, in the base frame (3,) [m].
        upper: Upper corner (3,) [m].
    """
    rng = np.random.default_rng(0)
    # pairs that overlap in the neutral pose are reported elsewhere
    least = np.minimum(clearance.measure_all(np.array(arm.config.neutral_position)), 0.0)

    def is_free(pose: Vector) -> bool:
        """Return whether no guarded shapes overlap more than in the neutral pose."""
        return bool((clearance.measure_all(pose) >= least).all())

    targets = rng.uniform(lower, upper, (TARGETS, 3))
    return float(np.mean([reaches(arm, is_free, target, rng) for target in targets]))


def reaches(
    arm: Arm, is_free: Callable[[Vector], bool], target: Vector, rng: np.random.Generator
) -> bool:
    """Return whether inverse kinematics brings the tool within `REACHED_M` of a position, in a pose
    that is free.

    It starts from the neutral pose, then from random poses, `IK_STARTS` in all.

    Args:
        arm: Kinematics.
        is_free: Whether the arm may be in a pose (N,).
        target: The position, in the base frame (3,) [m].
        rng: Generator of the random poses.
    """
    robot = arm.config
    low, high = within_a_turn(robot)
    for start in range(IK_STARTS):
        pose = np.array(robot.neutral_position) if start == 0 else rng.uniform(low, high)
        if _solve(arm, target, pose, (low, high)) and is_free(pose):
            return True
    return False


def _solve(arm: Arm, target: Vector, pose: Vector, limits: tuple[Vector, Vector]) -> bool:
    """Move a pose by inverse kinematics until the tool is within `REACHED_M` of a position.

    Args:
        arm: Kinematics.
        target: The position, in the base frame (3,) [m].
        pose: Pose from which it starts (N,); it is changed.
        limits: Lowest and highest positions, (N,) each.

    Returns:
        Whether the tool came there within `IK_STEPS` steps.
    """
    for _ in range(IK_STEPS):
        error = target - arm.tool_position(pose)
        if np.linalg.norm(error) < REACHED_M:
            return True
        jacobian = arm.jacobian(pose)[:3]
        damped = jacobian @ jacobian.T + IK_DAMPING * np.eye(3)
        step = jacobian.T @ np.linalg.solve(damped, error)
        pose[:] = np.clip(pose + np.clip(step, -0.3, 0.3), *limits)
    return False


def within_a_turn(robot: RobotConfig) -> tuple[Vector, Vector]:
    """Return the position limits of a robot, at most half a turn from 0, (N,) each [rad]."""
    lower = np.maximum(np.array(robot.position_lower), -np.pi)
    return lower, np.minimum(np.array(robot.position_upper), np.pi)
