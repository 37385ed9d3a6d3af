"""The arm and its scene as the page draws them: triangles once, then a pose of each body."""

from __future__ import annotations

import json
import struct
from typing import Any

import mujoco
import numpy as np

from sql_ros.page.shapes import COLLISION_GROUP, VERTEX, body_vertices
from sql_ros.robot.arm import Vector
from sql_ros.robot.model import load_model
from sql_ros.robot.task import Task

LEVEL = 0.999  # cosine of the largest slope of a floor; others are not drawn
DECIMALS = 4  # of positions [m] and quaternions that are sent


class ArmScene:
    """The model of a task, posed by joint positions.

    Args:
        task: Task with the arm and the scene.

    Raises:
        ConfigError: The description of the arm or the scene cannot be read.
    """

    def __init__(self, task: Task) -> None:
        robot = task.robot
        self._task = task
        self._model = load_model(robot, task.config.scene)
        self._data = mujoco.MjData(self._model)
        self._address = np.array([self._model.joint(name).qposadr[0] for name in robot.joints])
        self._tool = int(self._model.site(task.config.tool or robot.tool).id)
        self.pose(np.array(robot.neutral_position))

    def pose(self, position: Vector) -> None:
        """Pose the arm at joint positions (N,) [rad]."""
        self._data.qpos[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)

    @property
    def tool(self) -> list[float]:
        """Return the position of the tool in the base frame (3,) [m]."""
        return _rounded(self._data.site_xpos[self._tool])

    def bodies(self) -> list[float]:
        """Return the pose of each body (7 B,): position [m] and quaternion (w, x, y, z)."""
        return _rounded(np.concatenate((self._data.xpos, self._data.xquat), 1).ravel())

    def pushable(self) -> list[str]:
        """Return the bodies of the arm from the hand to the base, which a push can have."""
        model = self._model
        body = int(model.site_bodyid[self._tool])
        names = []
        while body:
            if model.body_dofnum[body]:
                names.append(str(model.body(body).name))
            body = int(model.body_parentid[body])
        return names

    def package(self) -> bytes:
        """Return the scene for the browser: length of the header (4 bytes, little endian), header
        (JSON), vertices (`VERTEX`).

        The header has `meshes` (body, first vertex, number of vertices), `floors` (heights [m]),
        `boxes` (kind, lower and upper corner [m]), `centre` (3,) and `extent` [m] for the camera.
        """
        model = self._model
        arm = {int(model.jnt_bodyid[model.joint(name).id]) for name in self._task.robot.joints}
        of_arm = np.isin(model.geom_bodyid, list(arm))
        has_visuals = bool((model.geom_group[of_arm] < COLLISION_GROUP).any())
        parts = []
        meshes = []
        count = 0
        for body in range(model.nbody):
            if model.body(body).mocapid[0] >= 0:  # the goal, which the page draws itself
                continue
            vertices = body_vertices(model, body, collision=body in arm and not has_visuals)
            if len(vertices):
                meshes.append({"body": body, "first": count, "count": len(vertices)})
                parts.append(vertices)
                count += len(vertices)
        header = {
            "meshes": meshes,
            "stride": VERTEX.itemsize,
            "floors": self._floors(),
            "boxes": self._boxes(),
            "centre": _rounded(model.stat.center),
            "extent": float(model.stat.extent),
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)  # vertices are aligned
        return struct.pack("<I", len(text)) + text + b"".join(part.tobytes() for part in parts)

    def _floors(self) -> list[float]:
        """Return the heights of the horizontal planes of the scene [m]."""
        model = self._model
        planes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
        is_level = np.abs(self._data.geom_xmat[planes, 8]) > LEVEL
        return [float(self._data.geom_xpos[plane][2]) for plane in planes[is_level]]

    def _boxes(self) -> list[dict[str, Any]]:
        """Return workspace, keep-out boxes and the box of targets: kind, lower and upper corner."""
        robot = self._task.robot
        config = self._task.config
        boxes = [("keep_out", box[:3], box[3:]) for box in robot.keep_out]
        if robot.workspace:
            boxes.append(("workspace", robot.workspace[:3], robot.workspace[3:]))
        boxes.append(("targets", config.target_lower, config.target_upper))
        return [
            {"kind": kind, "lower": list(lower), "upper": list(upper)}
            for kind, lower, upper in boxes
        ]


def _rounded(values: Any) -> list[float]:
    """Return numbers as a list, rounded to `DECIMALS`."""
    return [round(float(value), DECIMALS) for value in values]
