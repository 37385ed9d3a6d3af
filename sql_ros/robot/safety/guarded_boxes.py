"""Distances of guarded points of the arm from the walls of its workspace and from keep-out boxes.

The constraints are one per guarded point and wall of the workspace, then one per guarded point and
keep-out box.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.posed_scene import HORIZON_M, PosedScene


class BodyPoint(NamedTuple):
    """A point that is fixed to a body.

    Attributes:
        body: Index of the body in the model.
        offset: Position of the point in the frame of the body (3,) [m].
    """

    body: int
    offset: Vector


class GuardedBoxes:
    """Distances of guarded points from walls and boxes, at the pose that the scene was set to last.

    Args:
        config: The arm, with its guarded points and boxes.
        posed: The scene, whose pose the caller sets.
        scene: Path of the scene, for error messages.

    Attributes:
        points: The guarded points P.
        kinds: Kind of each constraint: "workspace" or "keep_out".
        point_indices: Index of the guarded point of each constraint (C,).

    Raises:
        ConfigError: The scene lacks a guarded point.
    """

    def __init__(self, config: RobotConfig, posed: PosedScene, scene: str) -> None:
        self._posed = posed
        try:
            self.points = [
                _body_point(posed.model, name) for name in config.guarded_points or (config.tool,)
            ]
        except KeyError as error:
            raise ConfigError(f"robot '{config.name}', scene {scene}: {error}") from None
        for name, point in zip(config.guarded_points, self.points):
            if not posed.arm_joints(point.body).any():
                raise ConfigError(
                    f"robot '{config.name}', scene {scene}: no joint moves '{name}' of"
                    " 'guarded_points'"
                )
        self._workspace = np.array(config.workspace).reshape(-1, 2, 3)
        self._keep_out = np.array(config.keep_out).reshape(-1, 2, 3)
        self._walls = 6 * len(self._workspace)
        boxes = len(self._keep_out)
        count = len(self.points)
        self.kinds = ["workspace"] * self._walls * count + ["keep_out"] * boxes * count
        self.point_indices = np.concatenate(
            (np.repeat(np.arange(count), self._walls), np.repeat(np.arange(count), boxes))
        )

    def positions(self) -> Vector:
        """Return the positions of the guarded points in the world frame (P, 3) [m]."""
        return np.array([self._position(point) for point in self.points])

    def distances(self) -> Vector:
        """Return the distances of all constraints (C,) [m]; `HORIZON_M` where they are larger.

        A distance is negative where a point is outside of the workspace or inside a keep-out box.
        """
        points = self.positions()
        return np.minimum(
            np.concatenate((self._to_walls(points), self._to_boxes(points)), None), HORIZON_M
        )

    def gradient(self, index: int) -> Vector:
        """Return the gradient of a constraint's distance with respect to the joint positions (N,)
        [m/rad].

        The caller must have called `mj_comPos` for the pose.

        Args:
            index: Index of the constraint among those of this class.
        """
        point, normal = self._point_and_normal(index)
        return np.asarray(normal @ self._posed.jacobian(self._position(point), point.body))

    def _position(self, point: BodyPoint) -> Vector:
        """Return the position of a point in the world frame (3,) [m]."""
        data = self._posed.data
        rotation = data.xmat[point.body].reshape(3, 3)
        return np.asarray(data.xpos[point.body] + rotation @ point.offset)

    def _to_walls(self, points: Vector) -> Vector:
        """Return the distances from points (P, 3) to the six walls of the workspace (P, 6) [m].

        They are negative outside. Without a workspace the result is (P, 0).
        """
        inside = [part for low, high in self._workspace for part in (points - low, high - points)]
        return np.asarray(np.concatenate(inside, 1)) if inside else np.empty((len(points), 0))

    def _to_boxes(self, points: Vector) -> Vector:
        """Return the distances from points (P, 3) to the keep-out boxes (P, B) [m], negative
        inside.
        """
        beyond = np.maximum(
            self._keep_out[:, 0] - points[:, None], points[:, None] - self._keep_out[:, 1]
        )
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
        return np.asarray(np.where(outside > 0.0, outside, beyond.max(-1, initial=-np.inf)))

    def _point_and_normal(self, index: int) -> tuple[BodyPoint, Vector]:
        """Return the guarded point of a constraint, and the unit vector (3,) along which its
        distance grows.

        Args:
            index: Index of the constraint among those of this class.
        """
        walls = self._walls
        if index < walls * len(self.points):
            axis = index % walls
            return self.points[index // walls], np.eye(3)[axis % 3] * (1.0 if axis < 3 else -1.0)
        number, box = divmod(index - walls * len(self.points), len(self._keep_out))
        point = self._position(self.points[number])
        low, high = self._keep_out[box]
        away = point - np.clip(point, low, high)
        if not away.any():
            beyond = np.concatenate((low - point, point - high))
            axis = int(np.argmax(beyond))
            away = np.eye(3)[axis % 3] * (-1.0 if axis < 3 else 1.0)
        return self.points[number], away / np.linalg.norm(away)


def _body_point(model: mujoco.MjModel, name: str) -> BodyPoint:
    """Return the point of a site; if there is no site of this name, the origin of a body.

    Args:
        model: The MuJoCo model.
        name: Name of the site or body.

    Raises:
        KeyError: The model has neither.
    """
    names = [model.site(i).name for i in range(model.nsite)]
    if name in names:
        site = model.site(name)
        return BodyPoint(int(site.bodyid[0]), np.array(site.pos))
    return BodyPoint(int(model.body(name).id), np.zeros(3))
