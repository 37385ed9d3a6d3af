"""Write the files of an arm from its description: robot file, reach task and scene.

A value that the description does not state is a guess. Every guess is listed for the user, who must
confirm it. The robot file names the guesses on which a real arm must not rely (`unconfirmed`).
"""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np
import yaml

from sql_ros.arms.robot_checks import (
    RobotReport,
    check_robot,
    overlapping_bodies,
    reachable_share,
    within_a_turn,
)
from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm, Vector
from sql_ros.robot.arm_description import read_description
from sql_ros.robot.config import UNLIMITED, RobotConfig
from sql_ros.robot.estimates import complete_robot
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.posed_scene import PosedScene
from sql_ros.robot.safety.shape_pairs import near_bodies
from sql_ros.robot.tasks import FLOOR, load_task
from sql_ros.sim.simulation import Simulation

ROBOT_FILE = "robot.yaml"
POSES = 2000  # random poses among which a rest pose is searched
MEASURED = 200  # number of the best poses whose distances are measured
SHARE_OF_RANGE = 0.8  # of each joint's range in which the rest pose lies
MARGINS = 2.0  # position margins that the rest pose keeps from each limit
FREE_M = 0.02  # by which the distances in the rest pose exceed the clearance
NEIGHBOURS_M = 0.005  # distance above the clearance up to which bodies count as always near
NEARLY = 0.9  # share of the largest distance of a pair that is enough where hulls are always near
HEIGHT = (0.15, 0.7)  # of the tool in the rest pose, as a share of the reach
DISTANCE = (0.35, 0.8)  # of the tool from the base, as a share of the reach
SPANS = (0.3, 0.25, 0.2)  # edges of the target box, as a share of the reach
# distances of the box from the base that are tried in turn, as a share of the tool's distance
DISTANCES = (1.0, 0.9, 0.8, 0.7, 1.1, 1.2, 1.3)
PLANAR = 1e-3  # share of the largest motion of the tool below which it does not move in a direction
DENSITY = 1000.0  # MuJoCo's, of a shape whose description states none [kg/m^3]
FLOOR_M = 0.05  # lowest height of the target box
REACHED = 0.98  # share of the box that must be reachable
SPEED = 0.8  # of a joint at action 1 [rad/s]
SPEED_SHARE = 0.4  # largest share of the speed limit that action 1 asks for
# words in the names of joints and links of grippers
GRIPPER = ("finger", "grip", "jaw", "knuckle", "hand", "claw", "mover")
# ros2_control's usual controllers by command mode
CONTROLLERS = {
    "position": {
        "name": "joint_trajectory_controller",
        "type": "joint_trajectory_controller/JointTrajectoryController",
    },
    "velocity": {
        "name": "forward_velocity_controller",
        "type": "velocity_controllers/JointGroupVelocityController",
    },
    "torque": {
        "name": "forward_effort_controller",
        "type": "effort_controllers/JointGroupEffortController",
    },
}


@dataclass
class ImportedArm:
    """Files of an imported arm, the guesses in them, and the result of the checks.

    Attributes:
        robot: Path of the robot file.
        task: Path of the reach task.
        picture: Path for a picture of the arm. The caller draws it.
        guesses: Values that the description does not state, and values computed from it, one line
            each.
        report: Result of the checks.
    """

    robot: Path
    task: Path
    picture: Path
    guesses: list[str] = field(default_factory=list)
    report: RobotReport = field(default_factory=RobotReport)


def import_robot(description: Path, out: Path, tool: str = "", prefix: str = "") -> ImportedArm:
    """Write robot.yaml, a reach task and its scene into a folder, and check the arm.

    An arm whose checks find errors is written, too: see `ImportedArm.report`.

    Args:
        description: MJCF or URDF of the arm.
        out: The folder. It is created, and must not have a robot.yaml.
        tool: Site, body or link whose pose the tasks observe. Empty: the only candidate.
        prefix: Prefix of the driver's names that the description does not have, as `joint_prefix`
            of a robot file.

    Raises:
        ConfigError: The description cannot be read, or has no joint that moves the tool; `tool` is
            empty and there is no single candidate, or this one belongs to a gripper; `tool` is not
            in the description; the folder has a robot.yaml; or no rest pose or no box of reachable
            targets was found. No file is left then.
    """
    spec = read_description(description)
    tool = tool or _only_tool(spec, description)
    joints = _joints_to(spec, tool, description)
    name = re.sub(r"\W+", "_", spec.modelname or description.stem).strip("_") or "arm"
    arm = ImportedArm(out / ROBOT_FILE, out / f"{name}_reach.yaml", out / "arm.png")
    check_is_new(out)
    out.mkdir(parents=True, exist_ok=True)
    scene = out / "scene.xml"
    try:
        shutil.copyfile(share_folder() / FLOOR, scene)
        _write_files(arm, spec, description, scene, tool=tool, joints=joints, prefix=prefix)
    except ConfigError:
        for file in (arm.robot, arm.task, scene):
            file.unlink(missing_ok=True)
        raise
    return arm


def check_is_new(out: Path) -> None:
    """Raise `ConfigError` if a folder for an arm has a robot.yaml already."""
    if (out / ROBOT_FILE).exists():
        raise ConfigError(f"{out / ROBOT_FILE} exists, expected a new folder: --out DIR")


def _write_files(
    arm: ImportedArm,
    spec: mujoco.MjSpec,
    description: Path,
    scene: Path,
    *,
    tool: str,
    joints: tuple[str, ...],
    prefix: str,
) -> None:
    """Write robot and task file, and set guesses and report of the arm.

    Args:
        arm: The files to write.
        spec: Description of the arm.
        description: Its file.
        scene: The scene, which is there.
        tool: Name of the tool.
        joints: Names of the controlled joints, from the base to the tool.
        prefix: `joint_prefix` of the robot file; empty: none.

    Raises:
        ConfigError: The arm cannot be imported.
    """
    values: dict[str, Any] = {
        "name": arm.task.stem.removesuffix("_reach"),
        "model": str(description.resolve()),
        "tool": tool,
        "joints": list(joints),
    }
    guessed = complete_robot(values, description)
    origins = [
        f"'{key}' is estimated: {values[key]}" for key in guessed if key != "neutral_position"
    ]
    values["base_frame"] = _base_frame(spec)
    arm.guesses, unconfirmed = _hidden_joints(spec, description, values)
    values["controllers"] = CONTROLLERS
    arm.guesses = [
        f"'tool' is {tool}",
        f"'joints' are {', '.join(joints)}",
        f"'base_frame' is {values['base_frame']}",
        *origins,
        *arm.guesses,
    ]
    if prefix:
        values["joint_prefix"] = prefix
    arm.guesses += _exempt_neighbours(values, str(scene))
    robot = RobotConfig(**values)
    if "neutral_position" in guessed:
        values["neutral_position"] = _rounded(_find_neutral(robot, str(scene)))
        arm.guesses.append(
            f"'neutral_position' was searched, free of contact: {values['neutral_position']}"
        )
    arm.guesses += _exempt_overlaps(values, str(scene))
    exempt = [key for key in ("always_near", "may_touch") if key in values]
    values["unconfirmed"] = [*guessed, *unconfirmed, *exempt, "base_frame", "controllers"]
    arm.guesses.append("'controllers' have ros2_control's usual names and types")
    _write_robot(arm.robot, values, arm.guesses)
    _write_task(arm, load_robot(str(arm.robot)), scene)
    task = load_task(str(arm.task))
    arm.report = check_robot(task)


def _base_frame(spec: mujoco.MjSpec) -> str:
    """Return the name of the frame of the description: its root body, or "world" where that stands
    elsewhere.
    """
    model = spec.copy().compile()
    is_at_origin = model.nbody > 1 and not model.body_pos[1].any() and model.body_quat[1][0] == 1.0
    return str(model.body(1).name or "world") if is_at_origin else "world"


def _hidden_joints(
    spec: mujoco.MjSpec, description: Path, values: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Fix the other joints at their widest posture; find what the import cannot take over.

    Args:
        spec: The description.
        description: Its file.
        values: Content of the robot file, to which `fixed_joints` may be added.

    Returns:
        Guesses, and the keys that nobody has confirmed.

    Raises:
        ConfigError: A ball joint moves the tool.
    """
    joints = values["joints"]
    model = spec.copy().compile()
    fixed = {}
    for index in range(model.njnt):
        joint = model.joint(index)
        if joint.name in joints or joint.type[0] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        if joint.type[0] == mujoco.mjtJoint.mjJNT_BALL:
            raise ConfigError(
                f"{description}: '{joint.name}' is a ball joint, expected hinges and slides"
            )
        fixed[str(joint.name)] = _widest(joint.range) if model.jnt_limited[index] else 0.0
    guesses = []
    keys = []
    if fixed:
        values["fixed_joints"] = fixed
        keys.append("fixed_joints")
        named = ", ".join(f"{name} at {value:g}" for name, value in fixed.items())
        guesses.append(
            f"'fixed_joints' are {named}: the shapes behind them are guarded there and nowhere else"
        )
    coupled = sorted(set(joints) & _coupled_joints(spec, description))
    if coupled:
        keys.append("joints")
        guesses.append(
            f"'joints' has {', '.join(coupled)}, which the description couples to another joint;"
            " here each is commanded by itself"
        )
    if guessed := _guessed_masses(spec):
        keys.append("model")
        guesses.append(
            f"'model' has {len(guessed)} links without <inertial>, mass from the volume of their"
            f" shapes: {', '.join(guessed)}"
        )
    for exclude in spec.excludes:
        guesses.append(
            f"an <exclude> of the description: {exclude.bodyname1}-{exclude.bodyname2} are not kept"
            " apart"
        )
    return guesses, keys


def _guessed_masses(spec: mujoco.MjSpec) -> list[str]:
    """Return the names of the moved bodies whose mass follows from the volume of their shapes,
    because the description states neither an inertia nor masses or densities.

    Args:
        spec: The description.
    """
    return [
        str(body.name)
        for body in spec.bodies[1:]
        if not body.explicitinertial
        and _chain(body)
        and any(np.isnan(geom.mass) and geom.density == DENSITY for geom in body.geoms)
    ]


def _widest(limits: Vector) -> float:
    """Return the limit of a joint that is farther from 0, rounded to 4 decimals inside its range.

    Args:
        limits: Lower and upper limit (2,).
    """
    low, high = (float(limit) for limit in limits)
    rounded = math.trunc(1e4 * max(low, high, key=abs)) / 1e4
    return min(max(rounded, low), high)


def _coupled_joints(spec: mujoco.MjSpec, description: Path) -> set[str]:
    """Return the joints that an equality of an MJCF or a mimic of a URDF couples to another."""
    coupled = {
        name
        for equality in spec.equalities
        if equality.type == mujoco.mjtEq.mjEQ_JOINT
        for name in (equality.name1, equality.name2)
        if name
    }
    root = ElementTree.parse(description).getroot()
    mimics = [
        joint.get("name", "") for joint in root.iter("joint") if joint.find("mimic") is not None
    ]
    return coupled | set(mimics)


def _exempt_neighbours(values: dict[str, Any], scene: str) -> list[str]:
    """Exempt pairs of bodies that are always near from the clearance of the safety filter.

    They are neighbours with coarse shapes. Pairs that are never farther apart than `clearance_m`
    are listed under `always_near`. Pairs that are at most `NEIGHBOURS_M` farther apart are listed
    under `may_touch`.

    Args:
        values: Content of the robot file, which is changed.
        scene: Path of the scene.

    Returns:
        A line with the guess for each key that was added.
    """
    robot = RobotConfig(**values)
    always = near_bodies(robot, PosedScene(robot, scene))
    wider = replace(robot, clearance_m=robot.clearance_m + NEIGHBOURS_M)
    often = [pair for pair in near_bodies(wider, PosedScene(wider, scene)) if pair not in always]
    guesses = []
    for key, pairs in (("always_near", always), ("may_touch", often)):
        if pairs:
            values[key] = [list(pair) for pair in pairs]
            named = "; ".join("-".join(pair) for pair in pairs)
            guesses.append(f"'{key}', shapes of neighbours that are not kept apart: {named}")
    return guesses


def _exempt_overlaps(values: dict[str, Any], scene: str) -> list[str]:
    """Add the pairs of bodies of the arm that overlap in the neutral pose to `always_near`.

    The assumption is that they overlap in every pose.

    Args:
        values: Content of the robot file, which is changed.
        scene: Path of the scene.

    Returns:
        A line with the guess; empty if no bodies overlap.
    """
    robot = RobotConfig(**values)
    pairs = [
        [one, two]
        for one, two in overlapping_bodies(Simulation(scene, robot))
        if "world" not in (one, two)
    ]
    if not pairs:
        return []
    values["always_near"] = [*values.get("always_near", []), *pairs]
    named = "; ".join("-".join(pair) for pair in pairs)
    return [f"'always_near', shapes that overlap in the neutral pose: {named}"]


def candidates(spec: mujoco.MjSpec) -> list[str]:
    """Return the names of the candidates for the tool: the sites, and the bodies that a joint moves
    and that have no child body.
    """
    parents = {body.parent.name for body in spec.bodies[1:]}
    ends = [body.name for body in spec.bodies[1:] if body.name not in parents and _chain(body)]
    return [*[site.name for site in spec.sites if site.name], *ends]


def _only_tool(spec: mujoco.MjSpec, description: Path) -> str:
    """Return the name of the only candidate for the tool.

    Args:
        spec: Description of the arm.
        description: Its file, for the error.

    Raises:
        ConfigError: There are several candidates or none; or a word of `GRIPPER` is in the name of
            the only one, or of a joint that moves it.
    """
    found = candidates(spec)
    body = _tool_body(spec, found[0]) if found else None
    chain = _chain(body) if body is not None else []
    names = [*found, *(joint.name for joint in chain)]
    if len(found) != 1 or any(word in name.lower() for word in GRIPPER for name in names):
        raise ConfigError(
            f"{description}: which frame is the tool? --tool NAME, one of:"
            f" {', '.join(found) or 'none'}; or any other link or body:"
            f" {', '.join(body.name for body in spec.bodies[1:])}"
        )
    return found[0]


def _joints_to(spec: mujoco.MjSpec, tool: str, description: Path) -> tuple[str, ...]:
    """Return the names of the hinge and slide joints from the base to the tool.

    Args:
        spec: Description of the arm.
        tool: Name of a site, body or link.
        description: File of the description, for the error.

    Raises:
        ConfigError: There is no such tool, no joint moves it, or a joint has no name.
    """
    body = _tool_body(spec, tool)
    if body is None:
        known = sorted({b.name for b in spec.bodies[1:]} | {s.name for s in spec.sites})
        raise ConfigError(
            f"{description}: there is no site, body or link '{tool}', expected one of:"
            f" {', '.join(known)}"
        )
    joints = tuple(joint.name for joint in _chain(body))
    if not joints or not all(joints):
        raise ConfigError(
            f"{description}: no joint moves '{tool}', expected named hinge or slide joints between"
            " the base and the tool"
        )
    return joints


def _tool_body(spec: mujoco.MjSpec, tool: str) -> mujoco.MjsBody | None:
    """Return the body that carries a site, or the body of this name; None if there is neither."""
    site = spec.site(tool)
    return site.parent if site is not None else spec.body(tool)


def _chain(body: mujoco.MjsBody) -> list[mujoco.MjsJoint]:
    """Return the hinge and slide joints between the world and a body, the joint next to the world
    first.
    """
    found: list[mujoco.MjsJoint] = []
    while body is not None and body.name != "world":
        own = [
            joint
            for joint in body.joints
            if joint.type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
        ]
        found = [*own, *found]
        body = body.parent
    return found


def _find_neutral(robot: RobotConfig, scene: str) -> Vector:
    """Return joint positions (N,) [rad] for a rest pose, the best of `POSES` random poses.

    The tool is in front of the base (x), and above the floor, if the arm has such poses. Poses are
    preferred in which the tool moves easily in all directions, those of a planar arm, and the
    joints are far from their limits. In the returned pose
    every distance that the safety filter keeps exceeds the clearance, where possible by `FREE_M`.

    Args:
        robot: Robot file.
        scene: Path of the scene.

    Raises:
        ConfigError: No such pose was found.
    """
    arm = Arm(robot)
    rng = np.random.default_rng(0)
    lower, upper = within_a_turn(robot)
    middle = 0.5 * (lower + upper)
    half = 0.5 * SHARE_OF_RANGE * (upper - lower)
    half = np.minimum(
        half, np.maximum(0.5 * (upper - lower) - MARGINS * robot.position_margin_rad, 0.0)
    )
    poses = rng.uniform(middle - half, middle + half, (POSES, arm.size))
    tools = np.array([arm.tool_position(pose) for pose in poses])
    reach = float(np.linalg.norm(tools, axis=1).max())
    gains = np.array([np.linalg.svd(arm.jacobian(pose)[:3], compute_uv=False) for pose in poses])
    directions = gains.max(0) > PLANAR * gains.max()
    freedom = gains[:, directions].prod(1)
    shares = np.divide(poses - middle, half, out=np.zeros_like(poses), where=half > 0.0)
    centred = 1.0 - 0.5 * np.abs(shares).mean(1)
    distance = np.linalg.norm(tools, axis=1) / reach
    is_placed = (
        (HEIGHT[0] < tools[:, 2] / reach)
        & (tools[:, 2] / reach < HEIGHT[1])
        & (DISTANCE[0] < distance)
        & (distance < DISTANCE[1])
        & (np.abs(tools[:, 1]) < 0.25 * reach)
        & (tools[:, 0] > 0.25 * reach)
    )
    scores = freedom * centred * (is_placed if is_placed.any() else 1.0)
    clearance = Clearance(robot, scene)
    best = [index for index in np.argsort(scores)[::-1][:MEASURED] if scores[index] > 0.0]
    distances = np.array([clearance.measure_all(poses[index]) for index in best])
    # hulls of some neighbours are never far apart
    wanted = np.minimum(clearance.margin + FREE_M, NEARLY * distances.max(0, initial=0.0))
    wanted = np.maximum(wanted, clearance.margin)
    for index, distance in zip(best, distances):
        if (distance > wanted).all():
            return np.asarray(poses[index])
    raise ConfigError(
        f"robot '{robot.name}': no pose was found in which nothing is nearer than clearance_m"
        f" ({clearance.margin:g} m) and the tool is in front of the base. Write a robot file with"
        " a neutral_position and the pairs that may_touch, and look at it: sql-ros check-robot"
    )


def _write_task(arm: ImportedArm, robot: RobotConfig, scene: Path) -> None:
    """Write the reach task of an arm, with a target box that its tool reaches.

    Args:
        arm: Paths of the files; the box is added to its guesses.
        robot: Robot file.
        scene: Path of the scene, in the folder of the task.

    Raises:
        ConfigError: The tool reaches none of the boxes that are tried.
    """
    kinematics = Arm(robot)
    tool = kinematics.tool_position(np.array(robot.neutral_position))
    lower, upper = _target_box(kinematics, Clearance(robot, str(scene)), tool)
    speed = np.minimum(SPEED, SPEED_SHARE * np.array(robot.velocity_limit))
    values = {
        "kind": "reach",
        "robot": arm.robot.name,
        "scene": scene.name,
        "control_rate_hz": 20.0,
        "command_mode": "velocity",
        "action_scale": _rounded(speed),
        "episode_s": 5.0,
        "start_spread_rad": 0.2,
        "target_lower": _rounded(lower),
        "target_upper": _rounded(upper),
        "tolerance_m": 0.02,
        "hold_s": 0.5,
    }
    arm.guesses.append(
        f"targets from {values['target_lower']} to {values['target_upper']} m in the base frame"
    )
    arm.task.write_text(
        f"# Bring the tool of {robot.name} to a target drawn anew for each episode, and keep it"
        " there.\n" + yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    )


def _target_box(arm: Arm, clearance: Clearance, tool: Vector) -> tuple[Vector, Vector]:
    """Return lower and upper corner, (3,) each [m], of a target box near a position of the tool.

    It is the largest box of `SPANS` of which the tool reaches the share `REACHED`. Boxes around the
    position of the tool are tried first, then boxes nearer to the base, then farther ones
    (`DISTANCES`). The box is flat along an axis in which the tool never moves.

    Args:
        arm: Kinematics.
        clearance: Distances of the arm in its scene.
        tool: Position of the tool in the rest pose, in the base frame (3,) [m].

    Raises:
        ConfigError: The tool reaches none of the boxes.
    """
    robot = arm.config
    rng = np.random.default_rng(1)
    poses = rng.uniform(*within_a_turn(robot), (POSES, arm.size))
    tools = np.array([arm.tool_position(pose) for pose in poses])
    reach = float(np.linalg.norm(tools, axis=1).max())
    moves = np.ptp(tools, axis=0) > PLANAR * reach
    for span in SPANS:
        for distance in DISTANCES:
            half = 0.5 * span * reach * moves
            center = np.where(moves, distance, 1.0) * tool
            if moves[2]:
                center[2] = max(center[2], FLOOR_M + half[2])
            if reachable_share(arm, clearance, center - half, center + half) >= REACHED:
                return center - half, center + half
    raise ConfigError(
        f"robot '{robot.name}': the tool does not reach a box of {SPANS[-1] * reach:.2f} m around"
        f" {np.round(tool, 3).tolist()}, where it is in neutral_position, without touching the arm"
        " or the floor: write a robot file with another neutral_position, and a task file"
    )


def _write_robot(path: Path, values: dict[str, Any], guesses: list[str]) -> None:
    """Write a robot file, with every guess as a comment at its top.

    Args:
        path: Path of the robot file.
        values: Content of the robot file. A joint without position limits gets null.
        guesses: The guesses, one line each.
    """
    shown = dict(values)
    for key in ("position_lower", "position_upper"):
        shown[key] = [None if abs(value) >= UNLIMITED else value for value in values[key]]
    lines = [
        "# Written by `sql-ros import-robot`. Confirm each of these guesses, correct it if it is",
        "# wrong, and then remove its key from 'unconfirmed': a real arm does not move before.",
        *(f"# - {guess}" for guess in guesses),
    ]
    text = yaml.safe_dump(shown, sort_keys=False, default_flow_style=None, width=100)
    path.write_text("\n".join(lines) + "\n" + text)


def _rounded(values: Vector) -> list[float]:
    """Return values (N,) as a list of numbers, rounded to three decimals."""
    return [round(float(value), 3) for value in values]
