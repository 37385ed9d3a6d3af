"""How far the arm is from itself, from what stands around it and from the walls of its boxes, now and along a motion."""

from __future__ import annotations

import math
from itertools import compress
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.core.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model

HORIZON_M = 0.3  # larger distances are not measured
FARTHEST_M = 10.0  # apart that two shapes of a scene can be
TOUCHING_M = 1e-9  # nearer than this the line between two points has no direction
MOST_LOOKS = 24  # along one motion; a motion that needs more passes too near to something
FEW = 16  # constraints, of which distances are measured one by one
FIXED_M = 1e-3  # two shapes whose distance never varies by more belong together: no motion can bring them nearer
SAMPLES = 500  # random poses in which that, and how far shapes can be from the axes, is found out
REACH_GROWTH = 1.05  # for poses not among them
DOUBT_M = 2e-3  # what cannot come nearer than the margin and so much more is not measured
TOUCHING_STEP_M = 1e-3  # how far a point may move between two looks where shapes touch already
KINDS = ("self_collision", "collision", "workspace", "keep_out")


class Watched(NamedTuple):
    """A constraint that a motion may break.

    Attributes:
        which: of the constraints (C,).
        required: distance to keep [m].
        closing: how fast it shrinks at most [m/s].
        floor: what it may not come below between two looks [m].
    """

    which: int
    required: float
    closing: float
    floor: float


class Clearance:
    """Distances between collision shapes by MuJoCo, without stepping any physics.

    One constraint per pair of shapes that the arm can move against each other, then one per guarded point and wall of the workspace, then
    one per guarded point and keep-out box. Objects that are no part of the arm and can move (bodies with joints of their own) are left out:
    the filter does not know where they are.

    Args:
        config: the arm, its margin and boxes.
        scene: MJCF with the arm and what stands around it, relative to the share folder.

    Raises:
        ConfigError: the scene cannot be read or lacks a joint or a point of the config.
    """

    def __init__(self, config: RobotConfig, scene: str) -> None:
        self.model, joints = load_scene(config, scene)
        try:
            self._points = [_body_point(self.model, name) for name in config.guarded_points or (config.tool,)]
        except KeyError as error:
            raise ConfigError(f"robot '{config.name}', scene {scene}: {error}") from None
        self._tool = self.model.site(config.tool).id
        self._position_address = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_address = np.array([joint.dofadr[0] for joint in joints])
        self.data = mujoco.MjData(self.model)
        self._pose = self.data.qpos  # a view, which takes a moment to make
        self.margin = config.clearance_m
        self._body_of = self.model.geom_bodyid.tolist()
        self._is_moved = [bool(_dofs(self.model, body)) for body in self._body_of]
        self._may_touch = self._bodies(config.may_touch)
        self._workspace = np.array(config.workspace).reshape(-1, 2, 3)
        self._keep_out = np.array(config.keep_out).reshape(-1, 2, 3)
        poses = np.random.default_rng(0).uniform(config.position_lower, config.position_upper, (SAMPLES, len(joints)))
        self.pairs = self._find_pairs(poses)
        self._paired = self.pairs.tolist()
        radius = np.where(self.model.geom_rbound > 0.0, self.model.geom_rbound, np.inf)  # a plane has none
        self._radii = radius[self.pairs].sum(1)
        walls, boxes = 6 * len(self._workspace), len(self._keep_out)
        own = [int(self._arm_joints(self.model.geom_bodyid[one]).any()) for one in self.pairs[:, 0]]
        kinds = [KINDS[1 - mine] for mine in own] + ["workspace"] * walls * len(self._points) + ["keep_out"] * boxes * len(self._points)
        self.kinds, self.count = np.array(kinds), len(kinds)
        self._all = np.arange(self.count)
        self._seen = np.zeros(len(joints)), np.full(self.count, -np.inf)  # pose and distances of the last look
        self._reach = self._find_reach(
            poses, np.repeat(np.arange(len(self._points)), walls), np.repeat(np.arange(len(self._points)), boxes)
        )

    def look(self, position: Vector) -> Vector:
        """Distances of all constraints (C,) [m] at joint positions (N,) [rad]; beyond `HORIZON_M` no more than they are."""
        self._place(position)
        distance = self._measure(self._all)
        self._seen = np.array(position), distance
        return distance

    def stays_far(self, position: Vector, velocity: Vector, duration: float) -> bool:
        """By the last look alone: no motion from there to a pose (N,) [rad] and on for a duration [s] can have used up the distances."""
        pose, distance = self._seen
        path = np.abs(position - pose) + duration * np.abs(velocity)
        return bool((distance - self._reach @ path).min(initial=np.inf) >= self.margin)

    def glance(self, position: Vector, velocity: Vector, duration: float) -> Vector:
        """A look at those alone that a motion from a pose (N,) [rad] could bring nearer than the margin, for all that is known of them.

        Returns:
            distances (C,) [m] as by `look`, of the others a lower bound: as far as they can have come since they were measured.
        """
        if not math.isfinite(position.sum()):  # nobody knows
            return np.full(self.count, -np.inf)
        pose, distance = self._seen
        distance = distance - self._reach @ np.abs(position - pose)
        doubted = ~(distance - self._reach @ np.abs(velocity) * duration >= self.margin + DOUBT_M)  # a NaN, too
        if doubted.any():
            self._place(position)
            which = np.flatnonzero(doubted)
            distance[which] = self._measure_few(which.tolist()) if len(which) <= FEW else self._measure(which)
        self._seen = np.array(position), distance
        return distance

    def closing(self, velocity: Vector) -> Vector:
        """Upper bound (C,) [m/s] of the speed at which distances shrink at joint velocities (N,) [rad/s], in any pose."""
        return np.asarray(self._reach @ np.abs(velocity))

    def rows(self, wanted: npt.NDArray[np.bool_]) -> tuple[Vector, npt.NDArray[np.intp]]:
        """How those of the constraints (C,) that are wanted change with the joints, at the pose last looked at; within the horizon only.

        Returns:
            gradients (R, N) [m/rad] and the constraints (R,) they belong to.
        """
        which = np.flatnonzero(wanted & (self._seen[1] < HORIZON_M))
        gradients, pairs = [], len(self.pairs)
        mujoco.mj_comPos(self.model, self.data)
        for index in which.tolist():
            if index < pairs:
                gradients.append(self._gradient(*self.pairs[index].tolist()))
            else:
                point, normal = self._facing(index - pairs)
                gradients.append(normal @ self._jacobian(self._point(point), point[0]))
        return np.array(gradients).reshape(len(which), len(self._velocity_address)), which

    def tip_jacobian(self, position: Vector | None = None) -> Vector:
        """Of the position of the tool, (3, N) [m/rad], at joint positions (N,) [rad]; by default at the pose last looked at."""
        if position is not None:
            self._place(position)
        mujoco.mj_comPos(self.model, self.data)
        jacobian = np.empty((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, jacobian, None, self._tool)
        return np.asarray(jacobian[:, self._velocity_address])

    def conflict(self, position: Vector, velocity: Vector, duration: float, required: Vector, first: Vector | None = None) -> str:
        """Looks along a straight motion and says what it comes too near to.

        After a look with distance d every point may move on by d - r / 2, so that between two looks the distance stays above half of what
        is required, r; at the looks and at the end it is at least r (conservative advancement).

        Args:
            position: where the motion starts (N,) [rad].
            velocity: of the joints (N,) [rad/s].
            duration: of the motion [s].
            required: distance to keep, per constraint (C,) [m], at most `DOUBT_M` more than the margin.
            first: what a look or a glance along this motion said of its start, if there was one (C,) [m].

        Returns:
            The kind of the constraint, or "".
        """
        distance = self.glance(position, velocity, duration) if first is None else first
        spare = distance - required
        if not spare.min(initial=0.0) >= 0.0:
            return str(self.kinds[np.argmin(spare)])
        closing = self.closing(velocity) + 1e-9
        (watched,) = (~(spare >= closing * duration)).nonzero()  # whatever else there is cannot come too near any more; a NaN goes on
        if not len(watched) or duration <= 0.0:
            return ""
        distance, required, closing = distance[watched], required[watched], closing[watched]
        floor = np.where(required > 0.0, 0.5 * required, required - TOUCHING_STEP_M)
        elapsed = 0.0
        for look in range(1, MOST_LOOKS):
            if len(watched) <= FEW:
                few = [Watched(*each) for each in zip(*(values.tolist() for values in (watched, required, closing, floor)))]
                return self._conflict_of_few(position, velocity, duration, few, distance.tolist(), elapsed, look)
            elapsed = min(elapsed + float(((distance - floor) / closing).min()), duration)
            self._place(position + velocity * elapsed)
            distance = self._measure(watched)
            spare = distance - required
            if not spare.min() >= 0.0:
                return str(self.kinds[watched[np.argmin(spare)]])
            goes_on = ~(spare >= closing * (duration - elapsed))
            if elapsed >= duration or not goes_on.any():
                return ""
            watched = watched[goes_on]
            distance, required, closing, floor = (values[goes_on] for values in (distance, required, closing, floor))
        return str(self.kinds[watched[np.argmin((distance - floor) / closing)]])

    def _conflict_of_few(
        self, position: Vector, velocity: Vector, duration: float, watched: list[Watched], distances: list[float], elapsed: float, look: int
    ) -> str:
        """`conflict` from a look on, with so few constraints left that numpy's calls would take most of the time."""
        while True:
            times = [(distance - one.floor) / one.closing for one, distance in zip(watched, distances)]
            soonest = min(times)
            if look >= MOST_LOOKS:
                return str(self.kinds[watched[times.index(soonest)].which])
            elapsed, look = min(elapsed + soonest, duration), look + 1
            pose = position + velocity * elapsed
            if not math.isfinite(pose.sum()):  # nobody knows
                return str(self.kinds[watched[0].which])
            self._place(pose)
            distances = self._measure_few([one.which for one in watched])
            spares = [distance - one.required for one, distance in zip(watched, distances)]
            if not all(spare >= 0.0 for spare in spares):  # a NaN is not
                return str(self.kinds[watched[spares.index(min(spares))].which])
            left = duration - elapsed
            going_on = [not spare >= one.closing * left for one, spare in zip(watched, spares)]
            if left <= 0.0 or not any(going_on):
                return ""
            watched, distances = list(compress(watched, going_on)), list(compress(distances, going_on))

    # --- shapes ---

    def _place(self, position: Vector) -> None:
        """Puts the shapes where they are at joint positions (N,) [rad]."""
        self._pose[self._position_address] = position
        mujoco.mj_kinematics(self.model, self.data)

    def _measure(self, watched: npt.NDArray[np.intp]) -> Vector:
        """Distances (W,) [m] of some constraints (W,), in rising order, at the pose placed last; beyond `HORIZON_M` no more than they are.

        By `mj_geomDistance`. What MuJoCo's collision detection lists with a margin is not always the distance: it gave 8 cm for cylinders
        that are 5 cm inside each other.
        """
        distance = np.empty(len(watched))
        known = int(np.searchsorted(watched, len(self.pairs)))
        one, two = self.pairs[watched[:known]].T
        place = self.data.geom_xpos
        apart = place[one] - place[two]
        gap = np.sqrt(np.einsum("ij,ij->i", apart, apart)) - self._radii[watched[:known]]  # between the spheres around both
        near = np.flatnonzero(gap < HORIZON_M)
        gap[np.isnan(gap)] = -np.inf  # nobody knows
        distance[:known] = gap
        for index, first, second in zip(near.tolist(), one[near].tolist(), two[near].tolist()):
            distance[index] = mujoco.mj_geomDistance(self.model, self.data, first, second, HORIZON_M, None)
        if known < len(watched):
            distance[known:] = self._measure_boxes()[watched[known:] - len(self.pairs)]
        return distance

    def _measure_few(self, watched: list[int]) -> list[float]:
        """The same of a few constraints, in any order, in a third of the time; `HORIZON_M` where they are more."""
        pairs = len(self.pairs)
        boxes = self._measure_boxes() if max(watched) >= pairs else np.empty(0)
        return [
            float(boxes[which - pairs])
            if which >= pairs
            else mujoco.mj_geomDistance(self.model, self.data, *self._paired[which], HORIZON_M, None)
            for which in watched
        ]

    def _measure_boxes(self) -> Vector:
        """Distances of the guarded points to walls and boxes [m], at the pose placed last; `HORIZON_M` where they are more."""
        points = np.array([self._point(point) for point in self._points])
        return np.minimum(np.concatenate((self._walls(points), self._boxes(points)), None), HORIZON_M)

    def _gradient(self, one: int, two: int) -> Vector:
        """How the distance of two shapes changes with the joints (N,) [m/rad], at the pose placed last."""
        ends = np.zeros(6)
        distance = mujoco.mj_geomDistance(self.model, self.data, one, two, HORIZON_M, ends)
        away = ends[3:] - ends[:3] if distance >= 0.0 else ends[:3] - ends[3:]
        if np.abs(away).max() < TOUCHING_M:
            away = self.data.geom_xpos[two] - self.data.geom_xpos[one]
        away /= math.sqrt(away @ away)
        gradient = away @ self._jacobian(ends[3:], self._body_of[two])
        if self._is_moved[one]:
            gradient -= away @ self._jacobian(ends[:3], self._body_of[one])
        return np.asarray(gradient)

    def _bodies(self, pairs: tuple[tuple[str, ...], ...]) -> set[frozenset[str]]:
        for name in {name for pair in pairs for name in pair}:
            try:
                self.model.body(name)
            except KeyError:
                raise ConfigError(f"'may_touch' names the body '{name}', which the scene does not have") from None
        return {frozenset(pair) for pair in pairs}

    def _arm_joints(self, body: int) -> npt.NDArray[np.bool_]:
        """Which joints of the arm move a body, (N,)."""
        dofs = _dofs(self.model, body)
        return np.array([address in dofs for address in self._velocity_address])

    def _find_pairs(self, poses: Vector) -> npt.NDArray[np.intp]:
        """Pairs of shapes (P, 2) that may collide and that the arm can move against each other, the one nearer to its base first."""
        model, data = self.model, self.data
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE  # which is for the margins that the model was compiled with
        model.geom_margin[:] = model.body_margin[:] = FARTHEST_M  # all that may collide is listed
        listed = []
        for position in poses[: SAMPLES // 25]:
            data.qpos[self._position_address] = position
            mujoco.mj_fwdPosition(model, data)
            listed.append(np.sort(data.contact.geom, axis=1))
        candidates = np.unique(np.concatenate(listed), axis=0)
        least, largest = np.full((2, model.ngeom, model.ngeom), FARTHEST_M)
        largest *= -1.0
        for position in poses[: SAMPLES // 5]:
            self._place(position)
            for one, two in candidates.tolist():
                distance = mujoco.mj_geomDistance(model, data, one, two, FARTHEST_M, None)
                least[one, two], largest[one, two] = min(least[one, two], distance), max(largest[one, two], distance)
        varying = (largest - least > FIXED_M) & (largest > self.margin)
        joints = [self._arm_joints(body) for body in model.geom_bodyid]
        free = [len(_dofs(model, body)) > mine.sum() for body, mine in zip(model.geom_bodyid, joints)]
        found = [(one, two) for one, two in np.argwhere(varying) if (joints[one] != joints[two]).any() and not (free[one] or free[two])]
        bodies = [model.body(body).name for body in model.geom_bodyid]
        found = [(one, two) for one, two in found if frozenset((bodies[one], bodies[two])) not in self._may_touch]
        ordered = [(one, two) if joints[one].sum() <= joints[two].sum() else (two, one) for one, two in found]
        return np.array(ordered, np.intp).reshape(-1, 2)

    def _find_reach(self, poses: Vector, *points: npt.NDArray[np.intp]) -> Vector:
        """How far the second shape of a pair, or a point, can be from the axis of each joint that moves it, (C, N) [m]."""
        model, data = self.model, self.data
        bodies = [body for body, _ in self._points]
        index = np.concatenate(points)
        axes = [model.dof_jntid[address] for address in self._velocity_address]
        farthest, marks = np.zeros((len(self.pairs), len(axes))), np.zeros((len(bodies), len(axes)))
        for position in poses:
            data.qpos[self._position_address] = position
            mujoco.mj_kinematics(model, data)
            anchor, axis = data.xanchor[axes], data.xaxis[axes]
            np.maximum(farthest, _from_axes(data.geom_xpos[self.pairs[:, 1]], anchor, axis), out=farthest)
            np.maximum(marks, _from_axes(np.array([self._point(point) for point in self._points]), anchor, axis), out=marks)
        farthest = REACH_GROWTH * (farthest + model.geom_rbound[self.pairs[:, 1]][:, None])
        between = [self._arm_joints(model.geom_bodyid[two]) & ~self._arm_joints(model.geom_bodyid[one]) for one, two in self.pairs]
        moved = np.array([self._arm_joints(body) for body in bodies])
        reach: Vector = np.concatenate((farthest * np.array(between).reshape(farthest.shape), (REACH_GROWTH * marks * moved)[index]))
        return reach

    # --- points and boxes ---

    def _point(self, point: tuple[int, Vector]) -> Vector:
        body, offset = point
        return np.asarray(self.data.xpos[body] + self.data.xmat[body].reshape(3, 3) @ offset)

    def _walls(self, points: Vector) -> Vector:
        """Distances from points (P, 3) to the walls of the workspace, (P, 6) or (P, 0)."""
        inside = [part for low, high in self._workspace for part in (points - low, high - points)]
        return np.asarray(np.concatenate(inside, 1)) if inside else np.empty((len(points), 0))

    def _boxes(self, points: Vector) -> Vector:
        """Signed distances from points (P, 3) to the keep-out boxes, (P, B)."""
        beyond = np.maximum(self._keep_out[:, 0] - points[:, None], points[:, None] - self._keep_out[:, 1])
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
        return np.asarray(np.where(outside > 0.0, outside, beyond.max(-1, initial=-np.inf)))

    def _facing(self, index: int) -> tuple[tuple[int, Vector], Vector]:
        """The point of a wall or box constraint, and the direction in which its distance grows (3,)."""
        walls = 6 * len(self._workspace)
        if index < walls * len(self._points):
            axis = index % walls
            return self._points[index // walls], np.eye(3)[axis % 3] * (1.0 if axis < 3 else -1.0)
        number, box = divmod(index - walls * len(self._points), len(self._keep_out))
        point = self._point(self._points[number])
        low, high = self._keep_out[box]
        away = point - np.clip(point, low, high)
        if not away.any():
            beyond = np.concatenate((low - point, point - high))
            axis = int(np.argmax(beyond))
            away = np.eye(3)[axis % 3] * (-1.0 if axis < 3 else 1.0)
        return self._points[number], away / np.linalg.norm(away)

    def _jacobian(self, point: Vector, body: int) -> Vector:
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, self.data, jacobian, None, point, body)
        return np.asarray(jacobian[:, self._velocity_address])


def load_scene(config: RobotConfig, scene: str) -> tuple[mujoco.MjModel, list[Any]]:
    """The MJCF with the arm in it, and the arm's joints in command order.

    Raises:
        ConfigError: it cannot be read, or lacks a joint or the tool site.
    """
    model = load_model(scene)
    try:
        model.site(config.tool)
        return model, [model.joint(name) for name in config.joints]
    except KeyError as error:
        raise ConfigError(f"robot '{config.name}', MJCF {scene}: {error}") from None


def _body_point(model: mujoco.MjModel, name: str) -> tuple[int, Vector]:
    """A site or a body by name, as body and offset (3,) in its frame."""
    names = [model.site(i).name for i in range(model.nsite)]
    if name in names:
        site = model.site(name)
        return int(site.bodyid[0]), np.array(site.pos)
    return int(model.body(name).id), np.zeros(3)


def _from_axes(points: Vector, anchors: Vector, axes: Vector) -> Vector:
    """Distances of points (P, 3) from lines through anchors (N, 3) along axes (N, 3), (P, N)."""
    return np.asarray(np.linalg.norm(np.cross(points[:, None] - anchors, axes), axis=-1))


def _dofs(model: mujoco.MjModel, body: int) -> set[int]:
    """Degrees of freedom that move a body."""
    dofs: set[int] = set()
    while body:
        first, count = model.body_dofadr[body], model.body_dofnum[body]
        dofs |= set(range(first, first + count))
        body = model.body_parentid[body]
    return dofs
