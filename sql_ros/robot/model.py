"""Put an arm into a scene, and compile both as one MuJoCo model.

The arm comes from the description that its robot file names. The scene comes from an MJCF without
the arm. The two files may be in different folders. Except for joints, both may use the same names.
The world frame of the scene is the frame of the arm's base.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm_description import PREFIX, prepare_arm, read_description
from sql_ros.robot.config import RobotConfig

# name of a scene's custom text with the MJCF of the object in the hand and the body of the arm that
# it is fixed to
HELD = "held"
# content that replaces the arm where the scene includes it
NOTHING = b"<mujoco><custom/></mujoco>"
GOAL = "goal"
OVERVIEW = "overview"


def load_model(robot: RobotConfig, scene: str = "") -> mujoco.MjModel:
    """Compile an arm in a scene.

    Args:
        robot: The arm.
        scene: MJCF of the surroundings: an absolute path, or a path relative to the share folder or
            to the working folder. An include of the arm's own MJCF is ignored. Empty: the scene of
            `robot.scene`; the arm alone if that is empty, too. The arm's own MJCF as the scene also
            means the arm alone.

    Raises:
        ConfigError: A file cannot be read, MuJoCo does not accept it, or the description cannot be
            prepared (`prepare_arm`); or the scene has a joint with the name of a controlled joint,
            or a wrong custom text `HELD`.
    """
    arm_file = find_beside(robot.model, None)
    arm = read_description(arm_file)
    prepare_arm(arm, robot)
    name = scene or robot.scene
    scene_file = find_beside(name, None) if name else arm_file
    if scene_file.resolve() == arm_file.resolve():
        arm.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        return _compile_apart(arm, robot, str(arm_file))
    world = _read_scene(scene_file, arm_file)
    _check_scene(world, robot, scene_file)
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    arm.option = world.option  # MuJoCo warns where they differ
    _attach(world, arm)
    for text in world.texts:
        if text.name == HELD:
            _put_into_hand(world, text.data, scene_file)
    return _compile_apart(world, robot, str(scene_file))


def _read_scene(path: Path, arm: Path) -> mujoco.MjSpec:
    """Return the specification of a scene, without the arm.

    Args:
        path: Its MJCF.
        arm: Description of the arm. An include of this file is passed over.

    Raises:
        ConfigError: The file cannot be read, or MuJoCo does not accept it.
    """
    try:
        includes = [
            name
            for element in ElementTree.parse(path).getroot().iter("include")
            if (name := element.get("file", "")) and (path.parent / name).resolve() == arm.resolve()
        ]
        return mujoco.MjSpec.from_file(str(path), include=dict.fromkeys(includes, NOTHING))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"MJCF {path}: {error}") from None


def _check_scene(world: mujoco.MjSpec, robot: RobotConfig, path: Path) -> None:
    """Check that the scene does not have the arm already.

    Args:
        world: The scene.
        robot: Robot file of the arm.
        path: File of the scene, for the error.

    Raises:
        ConfigError: The scene has a joint with the name of a controlled joint.
    """
    for name in robot.joints:
        if world.joint(name) is not None:
            raise ConfigError(
                f"scene {path} has a joint '{name}' of its own: the arm of robot '{robot.name}' is"
                f" put into the scene from {robot.model}. Delete the <include> of the arm there"
            )


def _attach(world: mujoco.MjSpec, arm: mujoco.MjSpec) -> None:
    """Put the arm into the scene, at the origin of its world frame.

    Bodies, joints, sites, shapes, cameras, lights and actuators of the arm keep their names.
    Elements of the scene with the same kind and name get the prefix "scene/". Other elements of the
    arm, such as meshes and materials, get the prefix "arm/".

    Args:
        world: The scene, which is changed.
        arm: The arm, whose elements become elements of the scene.
    """
    kinds = ("bodies", "joints", "sites", "geoms", "cameras", "lights")
    for kind in kinds:
        taken = {element.name for element in getattr(arm, kind) if element.name}
        for element in getattr(world, kind):
            if element.name in taken - {"world"}:
                element.name = f"scene/{element.name}"
    world.attach(arm, frame=world.worldbody.add_frame(), prefix=PREFIX)
    for kind in (*kinds, "actuators"):
        for element in getattr(world, kind):
            element.name = element.name.removeprefix(PREFIX)
    for actuator in world.actuators:
        actuator.target = actuator.target.removeprefix(PREFIX)
    for exclude in world.excludes:
        exclude.bodyname1 = exclude.bodyname1.removeprefix(PREFIX)
        exclude.bodyname2 = exclude.bodyname2.removeprefix(PREFIX)
    for pair in world.pairs:
        pair.geomname1 = pair.geomname1.removeprefix(PREFIX)
        pair.geomname2 = pair.geomname2.removeprefix(PREFIX)


def _put_into_hand(world: mujoco.MjSpec, line: str, scene: Path) -> None:
    """Attach an object to a body of the arm.

    Args:
        world: Scene with the arm, which is changed.
        line: File of the object and name of the body, separated by a blank.
        scene: File of the scene; the object's file is relative to its folder or to the share
            folder.

    Raises:
        ConfigError: The line is not of this form, or the file cannot be read.
    """
    words = line.split()
    if len(words) != 2 or world.body(words[1]) is None:
        raise ConfigError(
            f"MJCF {scene}: the custom text '{HELD}' is '{line}', expected the file of an MJCF and"
            " a body of the arm"
        )
    file = find_beside(words[0], scene.parent)
    try:
        held = mujoco.MjSpec.from_file(str(file))
        world.body(words[1]).add_frame().attach_body(held.worldbody.first_body(), f"{HELD}/", "")
    except ValueError as error:
        raise ConfigError(f"MJCF {file}: {error}") from None


def _compile_apart(spec: mujoco.MjSpec, robot: RobotConfig, name: str) -> mujoco.MjModel:
    """Compile a specification, and exclude contacts of bodies whose shapes overlap by design.

    Two bodies that overlap in the neutral pose do not collide if they are adjacent, or if the robot
    file lists them under `always_near`. MuJoCo itself leaves out contacts of a body with its
    parent, but not with a parent that no joint moves. The shapes of many descriptions overlap
    there.

    Args:
        spec: The specification, to which excludes are added.
        robot: The arm.
        name: Name of the file, for the error.

    Raises:
        ConfigError: MuJoCo does not accept it.
    """
    always_near = {frozenset(pair) for pair in robot.always_near}
    model = _compile(spec, name)
    data = mujoco.MjData(model)
    for joint, position in zip(robot.joints, robot.neutral_position):
        data.qpos[model.joint(joint).qposadr[0]] = position
    mujoco.mj_fwdPosition(model, data)
    overlapping = {
        (int(one), int(two))
        for one, two in np.sort(model.geom_bodyid[data.contact.geom[data.contact.dist < 0.0]])
        if _is_adjacent(model, one, two)
        or frozenset((model.body(one).name, model.body(two).name)) in always_near
    }
    if not overlapping:
        return model
    for first, second in sorted(overlapping):
        spec.add_exclude(bodyname1=model.body(first).name, bodyname2=model.body(second).name)
    return _compile(spec, name)


def _is_adjacent(model: mujoco.MjModel, one: int, two: int) -> bool:
    """Return whether only a joint is between two bodies, both named and neither of them the world.

    Bodies that are fixed to each other count as one.

    Args:
        model: Compiled model.
        one: Index of a body.
        two: Index of another body.
    """
    first, second = model.body_weldid[one], model.body_weldid[two]
    parents = (
        model.body_weldid[model.body_parentid[first]],
        model.body_weldid[model.body_parentid[second]],
    )
    is_next = first != second and (parents[0] == second or parents[1] == first)
    return bool(one and two and is_next and model.body(one).name and model.body(two).name)


def _compile(spec: mujoco.MjSpec, name: str) -> mujoco.MjModel:
    """Compile a specification.

    Args:
        spec: The specification.
        name: Name of its file, for the error.

    Raises:
        ConfigError: MuJoCo does not accept it.
    """
    try:
        return spec.compile()
    except ValueError as error:
        raise ConfigError(f"MJCF {name}: {error}") from None
