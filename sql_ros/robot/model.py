"""Put an arm into a scene, and compile both as one MuJoCo model.

The arm comes from the description that its robot file names, the scene from an MJCF without the
arm. The two files may be in different folders. Except for joints, both may use the same names.

The world frame of the compiled model is the frame of the base, which is the world frame of the
arm's description, wherever the base stands. So the scene is put around the base (`_move_scene`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm_description import PREFIX, prepare_arm, read_description, scale_masses
from sql_ros.robot.config import BasePose, RobotConfig
from sql_ros.robot.urdf import compile_fault

Vector = npt.NDArray[np.float64]
# name of a scene's custom text with the MJCF of the object in the hand and the body of the arm that
# it is fixed to
HELD = "held"
CAMERA = "overview"  # which takes the pictures
CAMERA_M = (2.0, -1.5, 1.0)  # place of that camera in a scene that has none, as in floor.xml
CAMERA_AXES = ((0.6, 0.8, 0.0), (-0.26, 0.2, 0.945), (0.757, -0.567, 0.328))  # its x, y, z
PICTURE = (1280, 960)  # width, height of the largest picture [px]
# kinds of elements that keep their names when the arm is put into the scene
KINDS = ("bodies", "joints", "sites", "geoms", "cameras", "lights")
# content that replaces the arm where the scene includes it
NOTHING = b"<mujoco><custom/></mujoco>"


def load_model(robot: RobotConfig, scene: str = "", *, for_physics: bool = False) -> mujoco.MjModel:
    """Compile an arm in a scene.

    Args:
        robot: The arm.
        scene: MJCF of the surroundings: an absolute path, or a path relative to the share folder or
            to the working folder. An include of the arm's own MJCF is ignored. Empty: the scene of
            `robot.scene`; the arm alone if that is empty, too. The arm's own MJCF as the scene also
            means the arm alone.
        for_physics: Whether the model is stepped. Then neighbours whose shapes overlap do not
            collide. The safety filter needs their shapes.

    Raises:
        ConfigError: A file cannot be read, the description lacks a joint or the tool of the robot
            file, the scene has a joint of the arm or an exclude of its bodies, arm and scene have
            different gravities, or the description has a gravity of its own beside a turned `base`.
    """
    arm_file = find_beside(robot.model, None)
    arm = read_description(arm_file)
    prepare_arm(arm, robot)
    arm.compiler.discardvisual = False  # it would delete links without any shape that collides
    _check_excludes(arm, robot)
    own_bodies = {body.name for body in arm.bodies[1:]}
    _check_gravity_at_base(arm, robot)
    name = scene or robot.scene
    scene_file = find_beside(name, None) if name else arm_file
    if scene_file.resolve() == arm_file.resolve():
        arm.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        _turn_options(arm, robot.base)
        return _compile(arm, robot, str(arm_file), for_physics=for_physics)
    world = read_scene(scene_file, arm_file)
    _check_scene(world, arm, robot, scene_file)
    world.compiler.discardvisual = False
    _make_visible(world, robot.base)
    if not robot.base.is_origin:
        _move_scene(world, robot.base)
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    arm.option = world.option  # MuJoCo warns where they differ
    _attach(world, arm)
    for text in world.texts:
        if text.name == HELD:
            _put_into_hand(world, text.data, scene_file, own_bodies)
    return _compile(world, robot, str(scene_file), for_physics=for_physics)


def read_scene(path: Path, arm: Path) -> mujoco.MjSpec:
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
        scene = mujoco.MjSpec.from_file(str(path), include=dict.fromkeys(includes, NOTHING))
        return scale_masses(scene)
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"MJCF {path}: {error}") from None


def _make_visible(world: mujoco.MjSpec, base: BasePose) -> None:
    """Add the camera `CAMERA` to a scene without it, and make room for pictures of `PICTURE`.

    Args:
        world: The scene, which is changed.
        base: Pose of the base, which the camera sees.
    """
    if world.camera(CAMERA) is None:
        rotation = np.zeros(4)
        mujoco.mju_mat2Quat(rotation, np.array(CAMERA_AXES).T.flatten())
        place = np.add(CAMERA_M, base.xyz)
        world.worldbody.add_camera(name=CAMERA, pos=place, quat=rotation, fovy=40.0)
    size = world.visual.global_
    size.offwidth = max(size.offwidth, PICTURE[0])
    size.offheight = max(size.offheight, PICTURE[1])


def _scene_to_base(base: BasePose) -> tuple[Vector, Vector]:
    """Return the pose of the scene in the frame of the base.

    Args:
        base: Pose of the base in the scene.

    Returns:
        Origin of the scene (3,) [m], and its axes as a quaternion (w, x, y, z).
    """
    turn = np.zeros(4)
    inverse = np.zeros(4)
    origin = np.zeros(3)
    mujoco.mju_euler2Quat(turn, np.array(base.rpy), "XYZ")
    mujoco.mju_negQuat(inverse, turn)
    mujoco.mju_rotVecQuat(origin, -np.array(base.xyz), inverse)
    return origin, inverse


def _turn_options(spec: mujoco.MjSpec, base: BasePose) -> None:
    """Express gravity, wind and the magnetic field in the frame of the base.

    Args:
        spec: Specification whose vectors are in the frame of the scene; it is changed.
        base: Pose of the base in the scene. An upright base at the origin changes nothing.
    """
    if base.is_origin:
        return
    _, turn = _scene_to_base(base)
    for name in ("gravity", "wind", "magnetic"):
        vector = np.zeros(3)
        mujoco.mju_rotVecQuat(vector, getattr(spec.option, name), turn)
        setattr(spec.option, name, vector)


def _move_scene(world: mujoco.MjSpec, base: BasePose) -> None:
    """Express the content and the gravity of a scene in the frame of the base.

    Keyframes of the scene are deleted: their poses of free bodies are in the frame of the scene.

    Args:
        world: The scene, which is changed.
        base: Pose of the base in the scene.
    """
    origin, turn = _scene_to_base(base)
    top = world.worldbody
    content = [
        element
        for kind in ("frames", "bodies", "geoms", "sites", "cameras", "lights")
        for element in getattr(top, kind)
        if element.frame is None
    ]
    frame = top.add_frame(pos=origin, quat=turn)
    for element in content:
        element.set_frame(frame)
    for key in list(world.keys):
        world.delete(key)
    _turn_options(world, base)


def _check_excludes(arm: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Check that no <exclude> of the arm's description names the world.

    Raises:
        ConfigError: One does, and would exempt a link from shapes of every scene.
    """
    for exclude in arm.excludes:
        names = {exclude.bodyname1, exclude.bodyname2}
        if "world" in names:
            raise ConfigError(
                f"{robot.model} has an <exclude> of {exclude.bodyname1} and {exclude.bodyname2}:"
                " it would also hold for the scene. Delete it; what of the arm may touch is said by"
                " 'may_touch' of robot and task file"
            )


def _check_gravity_at_base(arm: mujoco.MjSpec, robot: RobotConfig) -> None:
    """Check that a description whose base is turned has no gravity of its own.

    Raises:
        ConfigError: It has one, and its direction would be ambiguous.
    """
    if any(robot.base.rpy) and not np.allclose(arm.option.gravity, mujoco.MjSpec().option.gravity):
        raise ConfigError(
            f"robot '{robot.name}' has a turned 'base', but {robot.model} has the gravity"
            f" {arm.option.gravity.tolist()} of its own: delete it there, gravity is the scene's"
        )


def _check_scene(world: mujoco.MjSpec, arm: mujoco.MjSpec, robot: RobotConfig, path: Path) -> None:
    """Check that the scene has no arm of its own, and takes no protection from the arm.

    Raises:
        ConfigError: It has a joint of the arm's name, an exclude or a pair of the arm's bodies or
            shapes, or another gravity than the arm's description.
    """
    for name in robot.joints:
        if world.joint(name) is not None:
            raise ConfigError(
                f"scene {path} has a joint '{name}' of its own: the arm of robot '{robot.name}' is"
                f" put into the scene from {robot.model}. Delete the <include> of the arm there"
            )
    named = [(e.bodyname1, e.bodyname2) for e in world.excludes]
    named += [(p.geomname1, p.geomname2) for p in world.pairs]
    own = {element.name for element in (*world.bodies, *world.geoms)}
    foreign = sorted({name for pair in named for name in pair if name not in own})
    if foreign:
        raise ConfigError(
            f"scene {path} has an <exclude> or <pair> of {', '.join(foreign)}, which is not in the"
            " scene: what of the arm may touch is said by 'may_touch' of robot and task file"
        )
    if not np.allclose(arm.option.gravity, mujoco.MjSpec().option.gravity) and not np.allclose(
        arm.option.gravity, world.option.gravity
    ):
        raise ConfigError(
            f"the gravity of {robot.model} is {arm.option.gravity.tolist()}, but that of scene"
            f" {path} is {world.option.gravity.tolist()}: give the scene the same <option gravity>"
        )


def _attach(world: mujoco.MjSpec, arm: mujoco.MjSpec) -> None:
    """Put the arm into the world. Bodies, joints, sites and shapes of the arm keep their names.

    Elements of the scene with the name of any element of the arm get the prefix "scene/"; the arm's
    assets get the prefix "arm/".

    Args:
        world: The scene, which is changed.
        arm: The arm, whose elements become the scene's.
    """
    taken = {e.name for kind in KINDS for e in getattr(arm, kind) if e.name} - {"world", "goal"}
    _rename(world, lambda name: f"scene/{name}" if name in taken else name)
    world.attach(arm, frame=world.worldbody.add_frame(), prefix=PREFIX)
    _rename(world, lambda name: name.removeprefix(PREFIX))
    for actuator in world.actuators:
        actuator.name = actuator.name.removeprefix(PREFIX)
        actuator.target = actuator.target.removeprefix(PREFIX)


def _rename(world: mujoco.MjSpec, new_name: Callable[[str], str]) -> None:
    """Rename the elements of `KINDS`, also where an <exclude> or <pair> names them.

    Args:
        world: The scene, which is changed.
        new_name: Returns the new name of an element, given the present one.
    """
    for kind in KINDS:
        for element in getattr(world, kind):
            element.name = new_name(element.name)
    for exclude in world.excludes:
        exclude.bodyname1 = new_name(exclude.bodyname1)
        exclude.bodyname2 = new_name(exclude.bodyname2)
    for pair in world.pairs:
        pair.geomname1 = new_name(pair.geomname1)
        pair.geomname2 = new_name(pair.geomname2)


def _put_into_hand(world: mujoco.MjSpec, line: str, scene: Path, hands: set[str]) -> None:
    """Attach an object to a body of the arm.

    Args:
        world: Scene with the arm, which is changed.
        line: File of the object and name of the body, separated by a blank.
        scene: File of the scene; the object's file is relative to its folder or to the share
            folder.
        hands: Names of the bodies of the arm.

    Raises:
        ConfigError: The line is not of this form, or the file cannot be read.
    """
    words = line.split()
    if len(words) != 2 or words[1] not in hands:
        raise ConfigError(
            f"MJCF {scene}: the custom text '{HELD}' is '{line}', expected the file of an MJCF and"
            " a body of the arm"
        )
    file = find_beside(words[0], scene.parent)
    try:
        held = scale_masses(mujoco.MjSpec.from_file(str(file)))
        if len(held.worldbody.bodies) != 1 or held.worldbody.geoms or held.joints:
            raise ConfigError(
                f"MJCF {file} is held: expected one body without joints, and no shape outside of"
                " it: the safety filter moves it with the hand"
            )
        held.compiler.discardvisual = False
        for body in held.bodies[1:]:
            body.gravcomp = 1.0
        world.body(words[1]).add_frame().attach_body(held.worldbody.first_body(), f"{HELD}/", "")
    except ValueError as error:
        raise ConfigError(f"MJCF {file}: {error}") from None


def _compile(
    spec: mujoco.MjSpec, robot: RobotConfig, name: str, *, for_physics: bool
) -> mujoco.MjModel:
    """Compile a specification; for physics without contacts of overlapping neighbours.

    MuJoCo leaves out contacts of a body with its parent, but not where the parent stands still.
    Shapes of many descriptions always overlap there. Bodies that the robot file lists under
    `always_near` do not collide either where they overlap. Overlaps count in the neutral pose.

    Args:
        spec: The specification; excludes may be added.
        robot: The arm.
        name: Name of the file, for the error.
        for_physics: Whether the model is stepped.

    Raises:
        ConfigError: MuJoCo does not accept it, it has a flex, or a height field that moves.
    """
    try:
        model = spec.compile()
        fields = model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD
        moved = np.flatnonzero(fields & (model.body_weldid[model.geom_bodyid] != 0))
        if moved.size:
            body = model.body(model.geom_bodyid[moved[0]]).name
            raise ConfigError(
                f"MJCF {name} has a height field on '{body}', which moves, and MuJoCo measures no"
                " distance from it to a plane or another height field: replace it by boxes"
            )
        if model.nflex:
            raise ConfigError(
                f"MJCF {name} has a flex, which the safety filter cannot measure: replace it by"
                " geoms"
            )
        overlapping = _overlapping_neighbours(model, robot) if for_physics else []
        for first, second in overlapping:
            spec.add_exclude(bodyname1=first, bodyname2=second)
        return spec.compile() if overlapping else model
    except ValueError as error:
        raise ConfigError(f"MJCF {name}: {compile_fault(error)}") from None


def _overlapping_neighbours(model: mujoco.MjModel, robot: RobotConfig) -> list[tuple[str, str]]:
    """Return the neighbours, and the bodies under `always_near`, that overlap in the neutral pose.

    Args:
        model: The arm in its scene.
        robot: The arm.

    Returns:
        Pairs of body names.
    """
    always_near = {frozenset(pair) for pair in robot.always_near}
    found = set()
    for one, two in overlaps_at_rest(model, robot):
        names = (str(model.body(one).name), str(model.body(two).name))
        if all(names) and (_is_adjacent(model, one, two) or frozenset(names) in always_near):
            found.add(names)
    return sorted(found)


def overlaps_at_rest(model: mujoco.MjModel, robot: RobotConfig) -> list[tuple[int, int]]:
    """Return the pairs of bodies whose shapes overlap and collide in the neutral pose.

    Args:
        model: The arm in its scene.
        robot: The arm.

    Returns:
        Indices of the bodies, the smaller one first, each pair once.
    """
    data = mujoco.MjData(model)
    for joint, position in zip(robot.joints, robot.neutral_position):
        data.qpos[model.joint(joint).qposadr[0]] = position
    mujoco.mj_fwdPosition(model, data)
    bodies = np.sort(model.geom_bodyid[data.contact.geom[data.contact.dist < 0.0]])
    return sorted({(one, two) for one, two in bodies.tolist()})


def _is_adjacent(model: mujoco.MjModel, one: int, two: int) -> bool:
    """Return whether one body carries the other by a single joint; the world carries none.

    Args:
        model: The arm in its scene.
        one: Index of a body, smaller than `two`.
        two: Index of the other body.
    """
    if not one or model.body_weldid[one] == model.body_weldid[two]:
        return False
    joint_body = model.body_weldid[two]  # the body of the group with the joint
    below = int(model.body_parentid[joint_body])
    while below and below != one and model.body_weldid[below] == model.body_weldid[one]:
        below = int(model.body_parentid[below])
    return bool(below == one)
