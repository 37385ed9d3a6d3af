"""Read the description of an arm, an MJCF or a URDF, and prepare it for control.

Bodies, shapes and controlled joints stay as the description has them. Its actuators, keyframes,
sensors, tendons and equality constraints are deleted. Control needs, and `prepare_arm` adds:

- one torque actuator for each controlled joint, by the joint's name, without a range of its own;
- gravity compensation of every body, within the joint's torque limit;
- the torque limits of the robot file;
- a site at the tool, where the robot file names a body or a link.

A free joint at the base is removed: the arm stands. Every other joint that is not controlled, such
as that of a finger, is fixed at its posture, so that the shapes behind it belong to the arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import mujoco
import numpy as np

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.urdf import compile_fault, read_urdf

PREFIX = "arm/"  # of the names of an arm's assets in a scene
SLIDE = mujoco.mjtJoint.mjJNT_SLIDE
FREE = mujoco.mjtJoint.mjJNT_FREE
ROUNDING = 1e-6  # of a posture beyond its range


class FixedJoint(NamedTuple):
    """A joint of the description that is not controlled.

    Attributes:
        position: Where it is fixed [rad; slides: m].
        is_slide: Whether it is a slide.
    """

    position: float
    is_slide: bool


def read_description(path: Path) -> mujoco.MjSpec:
    """Return the MuJoCo specification of an MJCF or of a URDF, not compiled yet.

    Args:
        path: The file. A file whose root element is `<robot>` is a URDF.

    Raises:
        ConfigError: The file cannot be read, or MuJoCo does not accept it.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise ConfigError(f"{path}: {error}") from None
    if root.tag == "robot":
        return read_urdf(path, root)
    try:
        return scale_masses(mujoco.MjSpec.from_file(str(path)))
    except ValueError as error:
        raise ConfigError(f"MJCF {path}: {error}") from None


def scale_masses(spec: mujoco.MjSpec) -> mujoco.MjSpec:
    """Apply the compiler's `settotalmass` to the masses of a file, and return the same spec.

    MuJoCo would apply it to all that is compiled together: the arm in its scene.

    Args:
        spec: Content of one MJCF; masses, densities and `settotalmass` are changed.

    Raises:
        ValueError: MuJoCo does not accept the file.
    """
    total = spec.compiler.settotalmass
    if total <= 0.0:
        return spec
    spec.compiler.settotalmass = -1.0
    factor = total / float(spec.copy().compile().body_mass.sum())
    for body in spec.bodies[1:]:
        body.mass *= factor
        body.inertia = factor * np.array(body.inertia)
        body.fullinertia = factor * np.array(body.fullinertia)
    for geom in spec.geoms:
        geom.mass *= factor
        geom.density *= factor
    return spec


def prepare_arm(spec: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Make the description ready for torque control.

    Delete its actuators, keyframes, sensors, tendons and equality constraints, and every joint that
    is not controlled; the bodies of such a joint stay at its posture. Add the tool's site, gravity
    compensation of every body, torque limits, and one torque actuator for each controlled joint,
    with the joint's name.

    Args:
        spec: Description of the arm; it is changed.
        robot: Robot file, with the controlled joints (`joints`), the tool (`tool`), the torque
            limits (`effort_limit`) and the postures of other joints (`fixed_joints`).

    Raises:
        ConfigError: A joint or the tool is missing, a joint is neither a hinge nor a slide,
            `fixed_joints` names a joint that the description does not have or that is controlled, a
            joint in a `<frame>` would have to be fixed elsewhere than at its zero position, or
            MuJoCo does not accept the description.
    """
    for elements in (spec.actuators, spec.keys, spec.sensors, spec.tendons, spec.equalities):
        for element in list(elements):
            spec.delete(element)
    _check_joints(spec, robot)
    _fix_other_joints(spec, robot)
    _add_tool(spec, robot)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
    for name, effort in zip(robot.joints, robot.effort_limit):
        joint = spec.joint(name)
        joint.actgravcomp = True
        joint.actfrclimited = mujoco.mjtLimited.mjLIMITED_TRUE
        joint.actfrcrange = [-effort, effort]
        spec.add_actuator(
            name=name,
            target=name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        )


def _check_joints(spec: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Check that the description has every controlled joint, with one degree of freedom.

    Args:
        spec: Description of the arm.
        robot: Robot file, with the controlled joints.

    Raises:
        ConfigError: It lacks a controlled joint, or a controlled joint is a ball or a free joint.
    """
    of_one = {
        joint.name for joint in spec.joints if joint.type in (mujoco.mjtJoint.mjJNT_HINGE, SLIDE)
    }
    for name in robot.joints:
        if name not in of_one:
            raise ConfigError(
                f"robot '{robot.name}': {robot.model} has no hinge or slide joint '{name}',"
                f" expected one of: {', '.join(sorted(of_one)) or 'none'}"
            )


def _fix_other_joints(spec: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Delete every joint that is not controlled; its bodies stay at the posture of that joint.

    A controlled joint of the same body keeps its axis in space.

    The posture is that of the robot file's `fixed_joints`, otherwise 0 or the nearest position in
    the joint's range. A free joint and a ball joint are deleted at their pose in the description.

    Args:
        spec: Description of the arm; it is changed.
        robot: Robot file, with the controlled joints and `fixed_joints`.

    Raises:
        ConfigError: MuJoCo does not accept the description, `fixed_joints` names a joint that is
            controlled or not there, or a body that has to move is in a `<frame>`.
    """
    others = [joint for joint in spec.joints if joint.name not in robot.joints]
    fixed = {name: float(value) for name, value in robot.fixed_joints.items()}
    if unknown := sorted(fixed.keys() - {joint.name for joint in others}):
        raise ConfigError(
            f"'fixed_joints' names {', '.join(unknown)}, expected joints of {robot.model} that are"
            f" not under 'joints': {', '.join(joint.name for joint in others) or 'none'}"
        )
    if not others:
        return
    model = _compile(spec, robot)
    _check_chain(model, robot)
    data = mujoco.MjData(model)
    has_moved = set()
    for index in range(model.njnt):
        joint = model.joint(index)
        if joint.name in robot.joints or joint.type[0] == FREE or joint.qpos0.size > 1:
            continue
        posture = _posture(model, index, fixed.get(joint.name), robot)
        if not math.isclose(posture, float(joint.qpos0[0]), abs_tol=1e-12):
            data.qpos[joint.qposadr[0]] = posture
            has_moved.add(int(joint.bodyid[0]))
    mujoco.mj_kinematics(model, data)
    bodies = {body.id: body for body in spec.bodies}
    for index in has_moved:
        if bodies[index].frame is not None:
            raise ConfigError(
                f"robot '{robot.name}': {robot.model} has the body '{bodies[index].name}' in a"
                " <frame>, so that its joint cannot be fixed elsewhere than at 0: give the pose to"
                " the body itself"
            )
        _place_body(bodies[index], model, data, index)
    for joint in others:
        spec.delete(joint)


def _check_chain(model: mujoco.MjModel, robot: RobotConfig) -> None:
    """Check that each joint that carries a controlled joint or the tool, and is not controlled
    itself, has a posture in `fixed_joints`. At a wrong posture all bodies behind it are guarded
    where they are not.

    Args:
        model: Compiled description, with all its joints.
        robot: Robot file.

    Raises:
        ConfigError: A hinge or slide has none.
    """
    carried = {int(model.joint(name).bodyid[0]) for name in robot.joints}
    site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, robot.tool)
    tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, robot.tool)
    carried |= {int(model.site_bodyid[site])} if site >= 0 else set()
    carried |= {tool} if tool >= 0 else set()
    chain: set[int] = set()
    for body in carried:
        while body:
            chain.add(body)
            body = int(model.body_parentid[body])
    for index in range(model.njnt):
        joint = model.joint(index)
        is_given = joint.name in robot.joints or joint.name in robot.fixed_joints
        if int(joint.bodyid[0]) in chain and joint.qpos0.size == 1 and not is_given:
            raise ConfigError(
                f"robot '{robot.name}': the joint '{joint.name}' of {robot.model} carries the arm"
                " or its tool and is not controlled: give its posture under 'fixed_joints'. A joint"
                " that another one moves (mimic) cannot be guarded"
            )


def fixed_joints(robot: RobotConfig) -> dict[str, FixedJoint]:
    """Return the hinges and slides of the description that are not controlled, by name.

    Args:
        robot: The arm.

    Raises:
        ConfigError: The description cannot be read, or `fixed_joints` has a position beyond a
            joint's range.
    """
    spec = read_description(find_beside(robot.model, None))
    if all(joint.name in robot.joints for joint in spec.joints):
        return {}
    model = _compile(spec, robot)
    found = {}
    for index in range(model.njnt):
        joint = model.joint(index)
        if joint.name and joint.name not in robot.joints and joint.qpos0.size == 1:
            posture = _posture(model, index, robot.fixed_joints.get(joint.name), robot)
            found[str(joint.name)] = FixedJoint(posture, joint.type[0] == SLIDE)
    return found


def _posture(model: mujoco.MjModel, index: int, given: float | None, robot: RobotConfig) -> float:
    """Return the position at which a joint that is not controlled is fixed [rad or m].

    Args:
        model: Compiled description.
        index: Index of the joint.
        given: Position of the robot file; None: 0, or the nearest position in the joint's range.
        robot: The arm, for the error.

    Raises:
        ConfigError: The given position is outside the joint's range.
    """
    joint = model.joint(index)
    least, most = joint.range.tolist() if model.jnt_limited[index] else (-math.inf, math.inf)
    if given is None:
        return min(max(0.0, least), most)
    if not least - ROUNDING <= given <= most + ROUNDING:
        raise ConfigError(
            f"'fixed_joints' has {joint.name}: {given:g}, expected {least:g} to {most:g}, its range"
            f" in {robot.model}"
        )
    return given


def _place_body(
    body: mujoco.MjsBody, model: mujoco.MjModel, data: mujoco.MjData, index: int
) -> None:
    """Set the pose of a body in its parent, and of its joints, to that in the MuJoCo data.

    A joint moves within its body where a fixed joint of the same body is behind it.

    Args:
        body: Body of the specification; it is changed.
        model: Compiled specification.
        data: MuJoCo data of the model, with computed kinematics.
        index: Index of the body in the model.
    """
    parent = int(model.body_parentid[index])
    inverse = np.zeros(4)
    position = np.zeros(3)
    rotation = np.zeros(4)
    mujoco.mju_negQuat(inverse, data.xquat[parent])
    mujoco.mju_rotVecQuat(position, data.xpos[index] - data.xpos[parent], inverse)
    mujoco.mju_mulQuat(rotation, inverse, data.xquat[index])
    body.pos = position
    body.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    body.quat = rotation
    turn = data.xmat[index].reshape(3, 3).T
    for joint in body.joints:
        joint.pos = turn @ (data.xanchor[joint.id] - data.xpos[index])
        joint.axis = turn @ data.xaxis[joint.id]


def _add_tool(spec: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Add a site at the frame of the body that the robot file names as its tool, with the name of
    the body.

    Nothing is done if the tool is a site already, or if the robot file has a `scene`.

    Args:
        spec: Description of the arm; it is changed.
        robot: Robot file, with the name of the tool.

    Raises:
        ConfigError: The description has neither a site nor a body of that name.
    """
    if spec.site(robot.tool) is not None:
        return
    body = spec.body(robot.tool)
    if body is None and robot.scene:
        return  # a site of what the arm holds is in the scene
    if body is None:
        names = sorted({*_names(spec.sites), *_names(spec.bodies[1:])})
        raise ConfigError(
            f"robot '{robot.name}': {robot.model} has no site, body or link '{robot.tool}', which"
            f" 'tool' names, expected one of: {', '.join(names)}"
        )
    body.add_site(name=robot.tool, group=3)


def _names(elements: Sequence[mujoco.MjsElement]) -> list[str]:
    """Return the names of elements that have one."""
    return [element.name for element in elements if element.name]


def _compile(spec: mujoco.MjSpec, robot: RobotConfig) -> mujoco.MjModel:
    """Return the compiled model of a description.

    Args:
        spec: Description of the arm.
        robot: Robot file, for the error message.

    Raises:
        ConfigError: MuJoCo does not accept the description.
    """
    try:
        return spec.compile()
    except ValueError as error:
        raise ConfigError(f"robot '{robot.name}', {robot.model}: {compile_fault(error)}") from None
