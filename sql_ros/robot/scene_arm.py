"""Check that the arm in a task's scene is the arm of its robot file.

The kinematics and the comparison with `robot_description` use the MJCF of the robot file. The
safety filter measures distances in the scene of the task. Nothing else compares the two models.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector, comparison_poses
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import HELD, load_model

POSES = 4  # random poses, beside the neutral one
SEED = 0
TOLERANCE_M = 1e-3  # largest distance between the same points of both models
LEVER_M = 0.1  # distance from the origin of a frame to the compared points on its axes


@dataclass(frozen=True)
class Frame:
    """A body or a site that the robot's model and the scene both have.

    Attributes:
        kind: "link" for a body, "tool" for a site.
        name: Name of the body or the site.
        ids: Its index in the robot's model, and its index in the scene.
    """

    kind: str
    name: str
    ids: tuple[int, int]

    def points(self, data: mujoco.MjData, index: int) -> Vector:
        """Return the origin of the frame and a point on each of its axes at `LEVER_M` (4, 3) [m].

        Args:
            data: MuJoCo data of one model, with computed kinematics.
            index: Model of these data: 0 for the robot's model, 1 for the scene.
        """
        is_site = self.kind == "tool"
        positions = data.site_xpos if is_site else data.xpos
        rotations = data.site_xmat if is_site else data.xmat
        origin = positions[self.ids[index]]
        rotation = rotations[self.ids[index]].reshape(3, 3)
        return np.vstack((origin, origin + LEVER_M * rotation.T))


def check_scene_arm(robot: RobotConfig, scene: str) -> None:
    """Check that the frames of links and tool are the same in the robot's model and in a scene.

    They are compared in the neutral pose and in `POSES` random poses.

    Args:
        robot: Content of the robot file, without what a task replaces.
        scene: MJCF of the task, relative to the share folder. The robot's own MJCF passes.

    Raises:
        ConfigError: An MJCF cannot be read; a joint, link or the tool is missing in the scene; or a
            point of a frame differs by more than `TOLERANCE_M`.
    """
    if robot.model == scene:
        return
    models = load_model(robot.model), load_model(scene)
    frames = _frames(robot, models, scene)
    datas = mujoco.MjData(models[0]), mujoco.MjData(models[1])
    for pose in comparison_poses(robot, POSES, SEED):
        for model, data in zip(models, datas):
            data.qpos[[model.joint(name).qposadr[0] for name in robot.joints]] = pose
            mujoco.mj_kinematics(model, data)
        for frame in frames:  # from the base on: the first difference is the cause
            away = np.linalg.norm(frame.points(datas[0], 0) - frame.points(datas[1], 1), axis=1)
            if away.max() > TOLERANCE_M:
                _refuse(robot, scene, frame, away, pose)


def _refuse(robot: RobotConfig, scene: str, frame: Frame, away: Vector, pose: Vector) -> None:
    """Raise an error that describes by how much a frame differs.

    Args:
        robot: Content of the robot file.
        scene: MJCF of the task, relative to the share folder.
        frame: The frame that differs.
        away: Distances between its four points in both models (4,) [m].
        pose: Joint positions in which they differ (N,) [rad].

    Raises:
        ConfigError: Always.
    """
    difference = (
        f"{1e3 * away[0]:.1f} mm away"
        if away[0] > TOLERANCE_M
        else f"turned by about {away.max() / LEVER_M:.3f} rad"
    )
    raise ConfigError(
        f"scene {scene}: {frame.kind} '{frame.name}' is {difference} from where the model of robot"
        f" '{robot.name}' ({robot.model}) has it, at joint angles {np.round(pose, 2).tolist()} rad;"
        f" expected the same arm within {1e3 * TOLERANCE_M:g} mm: the safety filter measures"
        " distances in the scene. Include the robot's MJCF there"
    )


def _frames(
    robot: RobotConfig, models: tuple[mujoco.MjModel, mujoco.MjModel], scene: str
) -> list[Frame]:
    """Return the frames of links and tool in both models, from the base on; the tool is last.

    Args:
        robot: Content of the robot file.
        models: The robot's model, and the scene.
        scene: Path of the scene, for error messages.

    Raises:
        ConfigError: The scene lacks a joint, a link or the tool.
    """
    names = {
        "joint": [*robot.joints],
        "link": _links(robot, models[0]),
        "tool": [robot.tool],
    }
    objects = {
        "joint": mujoco.mjtObj.mjOBJ_JOINT,
        "link": mujoco.mjtObj.mjOBJ_BODY,
        "tool": mujoco.mjtObj.mjOBJ_SITE,
    }
    frames: list[Frame] = []
    for kind, named in names.items():
        for name in named:
            ids = [mujoco.mj_name2id(model, objects[kind], name) for model in models]
            if ids[1] < 0:
                raise ConfigError(
                    f"scene {scene} has no {kind} '{name}', which the model of robot '{robot.name}'"
                    f" ({robot.model}) has: expected the same arm. Include the robot's MJCF there"
                )
            frames.append(Frame(kind, name, (ids[0], ids[1])))
    return [frame for frame in frames if frame.kind != "joint"]


def _links(robot: RobotConfig, model: mujoco.MjModel) -> list[str]:
    """Return the names of the bodies that the arm's joints move, from the base on.

    Bodies without a name and those of a held object are left out.
    """
    moved: set[int] = {int(model.jnt_bodyid[model.joint(name).id]) for name in robot.joints}
    names: list[str] = []
    for body in range(1, model.nbody):  # a parent comes before its children
        if int(model.body_parentid[body]) in moved:
            moved.add(body)
        name = model.body(body).name
        if body in moved and name and not name.startswith(f"{HELD}/"):
            names.append(name)
    return names
