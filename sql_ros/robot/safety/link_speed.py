"""The speeds of the outermost points of an arm: those of every link, of what it holds, and of
the tool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.safety.guarded_boxes import BodyPoint

TOOL = "tool"
# time step of the difference of two poses that gives the speeds
STEP_S = 1e-5
DIRECTIONS = 2000  # random directions in which the outermost points of a link are found
CORNERS = np.array(np.meshgrid((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0))).reshape(3, -1).T


class LinkSpeeds:
    """Compute the speeds of points that bound the speed of everything that the arm moves.

    The speed is a convex function of the point. So no point of a rigid body is faster than the
    fastest corner of a box around the body. The points are sites of a separate MuJoCo model, which
    has only the arm's joints, so that a pose is computed quickly.

    Args:
        model: MuJoCo model of the arm and its surroundings.
        joints: Joints of this model in command order.
        tool: Name of the tool's site, which becomes one of the points.
        guarded: Further points of the arm, of which those beyond its shapes become points, too.

    Attributes:
        tool: Index of the tool among the points.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        joints: list[Any],
        tool: str,
        guarded: Sequence[BodyPoint] = (),
    ) -> None:
        skeleton = _Skeleton(model, joints)
        skeleton.add_site(TOOL, int(model.site(tool).bodyid[0]), model.site(tool).pos)
        skeleton.add_shapes(guarded)
        self._model = skeleton.compile()
        self.tool: int = self._model.site(TOOL).id
        self._data = mujoco.MjData(self._model)
        address = [int(self._model.joint(joint.name).qposadr[0]) for joint in joints]
        in_order = address == list(range(len(address)))
        self._address: slice | list[int] = slice(None) if in_order else address
        # views, whose creation takes time
        self._pose = self._data.qpos
        self._points = self._data.site_xpos
        self._before = np.zeros_like(self._points)
        self._last_result: tuple[tuple[Vector, Vector], Vector] = (
            (np.zeros(0), np.zeros(0)),
            np.zeros(0),
        )

    @property
    def points(self) -> int:
        """Return the number of points P."""
        return len(self._points)

    def squared(self, position: Vector, velocity: Vector) -> Vector:
        """Return the squared speeds of all points (P,) [m^2/s^2].

        If both arrays are the same objects as in the last call, its result is returned again. So
        the caller must not change them in place.

        Args:
            position: Joint positions (N,) [rad].
            velocity: Joint velocities (N,) [rad/s].
        """
        inputs, speeds = self._last_result
        if inputs[0] is not position or inputs[1] is not velocity:
            speeds = self._squared(position, velocity)
            self._last_result = (position, velocity), speeds
        return speeds

    def squared_later(self, position: Vector, velocity: Vector, after_s: float) -> Vector:
        """Return the squared speeds of all points (P,) [m^2/s^2] after some time at constant joint
        velocities.

        Args:
            position: Joint positions now (N,) [rad].
            velocity: Constant joint velocities (N,) [rad/s].
            after_s: Time from now [s].
        """
        return self._squared(position + after_s * velocity, velocity)

    def _squared(self, position: Vector, velocity: Vector) -> Vector:
        """Compute the squared speeds of all points (P,) [m^2/s^2], by the finite difference
        of two poses `STEP_S` apart.
        """
        self._place(position)
        self._before[:] = self._points
        self._place(position + STEP_S * velocity)
        moved = (self._points - self._before) / STEP_S
        return np.asarray(np.einsum("ij,ij->i", moved, moved))

    def gradient(self, point: int, position: Vector, velocity: Vector) -> Vector:
        """Return the gradient of a point's speed with respect to the joint velocities (N,) [m/rad].

        Args:
            point: Index of the point.
            position: Joint positions (N,) [rad].
            velocity: Joint velocities (N,) [rad/s].
        """
        self._place(position)
        mujoco.mj_comPos(self._model, self._data)
        whole = np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, whole, None, point)
        jacobian = whole[:, self._address]
        moved = jacobian @ velocity
        return np.asarray(moved @ jacobian / max(math.sqrt(moved @ moved), 1e-12))

    def _place(self, position: Vector) -> None:
        """Set the pose of the model (N,) [rad]."""
        self._pose[self._address] = position
        mujoco.mj_kinematics(self._model, self._data)


class _Skeleton:
    """Build a small MuJoCo model ("skeleton") with the arm's joints, and sites on its links.

    Args:
        model: MuJoCo model of the arm and its surroundings ("full model").
        joints: Joints of the arm in the full model.

    Raises:
        ConfigError: Two joints are of one body.
    """

    def __init__(self, model: mujoco.MjModel, joints: list[Any]) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        # at the pose in which welded bodies are measured
        mujoco.mj_kinematics(model, self._data)
        self._spec = mujoco.MjSpec()
        self._spec.compiler.degree = False
        self._joints: dict[int, Any] = {}
        for joint in joints:
            other = self._joints.setdefault(int(joint.bodyid[0]), joint)
            if other is not joint:
                raise ConfigError(
                    f"the joints '{other.name}' and '{joint.name}' are of one body: give each a"
                    " body of its own"
                )
        self._made: dict[int, Any] = {0: self._spec.worldbody}

    def add_site(self, name: str, body: int, offset: Vector) -> None:
        """Add a site to the skeleton.

        Args:
            name: Name of the new site.
            body: Index of a body in the full model. The site moves with it.
            offset: Position of the site in the frame of that body (3,) [m].
        """
        root = self._model.body_weldid[body]
        place = self._data.xpos[body] + self._data.xmat[body].reshape(3, 3) @ offset
        self._body(root).add_site(name=name, pos=self._local(root, place[None])[0])

    def add_shapes(self, guarded: Sequence[BodyPoint]) -> None:
        """Add unnamed sites at the outermost corners of boxes around all that the arm moves.

        For each link, the outermost points in `DIRECTIONS` random directions are taken, from the
        origins of its bodies, the corners of its colliding geoms, and the guarded points.

        Args:
            guarded: Points on bodies of the full model.
        """
        model = self._model
        corners: dict[int, list[Vector]] = {}
        for body in range(1, model.nbody):
            root = int(model.body_weldid[body])
            if root and self._is_moved(root):
                corners.setdefault(root, []).append(self._local(root, self._data.xpos[body][None]))
        for geom in range(model.ngeom):
            root = int(model.body_weldid[model.geom_bodyid[geom]])
            collides = model.geom_contype[geom] or model.geom_conaffinity[geom]
            if root in corners and collides:
                box = model.geom_aabb[geom]
                turn = self._data.geom_xmat[geom].reshape(3, 3)
                corners[root].append(
                    self._local(
                        root, self._data.geom_xpos[geom] + (box[:3] + CORNERS * box[3:]) @ turn.T
                    )
                )
        for point in guarded:
            root = int(model.body_weldid[point.body])
            if root in corners:
                turn = self._data.xmat[point.body].reshape(3, 3)
                place = self._data.xpos[point.body] + turn @ point.offset
                corners[root].append(self._local(root, place[None]))
        directions = np.random.default_rng(0).standard_normal((DIRECTIONS, 3))
        for root, parts in corners.items():
            points = np.concatenate(parts)
            for index in np.unique((directions @ points.T).argmax(1)).tolist():
                self._body(root).add_site(pos=points[index])

    def compile(self) -> mujoco.MjModel:
        """Return the compiled skeleton."""
        return self._spec.compile()

    def _local(self, root: int, places: Vector) -> Vector:
        """Transform points from the world frame to the frame of a body (P, 3) [m].

        Args:
            root: Index of the body in the full model.
            places: Points in the world frame (P, 3) [m].
        """
        return np.asarray((places - self._data.xpos[root]) @ self._data.xmat[root].reshape(3, 3))

    def _is_moved(self, body: int) -> bool:
        """Return whether a joint of the arm moves a body of the full model."""
        while body:
            if body in self._joints:
                return True
            body = int(self._model.body_parentid[body])
        return False

    def _body(self, root: int) -> Any:
        """Return the body of the skeleton for a body of the full model; create it, its joint if the
        arm has one there, and its parents if needed.

        Args:
            root: Index in the full model of a body that is not welded to its parent.
        """
        if root not in self._made:
            model = self._model
            data = self._data
            below = int(model.body_weldid[model.body_parentid[root]])
            turn = data.xmat[below].reshape(3, 3).T @ data.xmat[root].reshape(3, 3)
            quaternion = np.zeros(4)
            mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(turn).ravel())
            body = self._body(below).add_body(
                pos=self._local(below, data.xpos[root][None])[0],
                quat=quaternion,
                mass=1.0,
                inertia=(1.0, 1.0, 1.0),
                explicitinertial=True,
            )
            if root in self._joints:
                joint = self._joints[root]
                number = joint.id
                body.add_joint(
                    name=joint.name,
                    type=mujoco.mjtJoint(int(model.jnt_type[number])),
                    axis=model.jnt_axis[number],
                    pos=model.jnt_pos[number],
                    ref=float(model.qpos0[model.jnt_qposadr[number]]),
                )
            self._made[root] = body
        return self._made[root]
