"""Distances of the arm to itself, to its surroundings and to the walls of its boxes, at a pose and
along a motion.

A constraint is a pair of shapes, or a guarded point and a wall or box, that must stay apart.
"""

from __future__ import annotations

import math
from itertools import compress
from typing import NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.guarded_boxes import GuardedBoxes
from sql_ros.robot.safety.link_speed import LinkSpeeds
from sql_ros.robot.safety.posed_scene import HORIZON_M, PosedScene, has_bits, moving_dofs
from sql_ros.robot.safety.shape_pairs import find_pairs, largest_radii, sample_poses

TOUCHING_M = 1e-9  # two points that are nearer have no line between them with a direction
# largest number of poses that are measured along one motion; a motion that needs more passes too
# near to something
MOST_STEPS = 24
SCALAR_LIMIT = 16  # up to this number of constraints a Python loop is faster than numpy
# a distance that stays above the margin by more than this is not measured
DOUBT_M = 2e-3
TOUCHING_STEP_M = 1e-3  # motion of a point between two measurements where shapes touch already
KINDS = ("self_collision", "collision", "workspace", "keep_out")


class WatchedConstraint(NamedTuple):
    """A constraint that a motion may break.

    Attributes:
        constraint: Index of the constraint.
        required: Distance to keep [m].
        closing: Largest speed at which the distance shrinks [m/s].
        floor: Smallest distance that is allowed between two measurements [m].
    """

    constraint: int
    required: float
    closing: float
    floor: float


class Clearance:
    """Measure distances between collision shapes by MuJoCo, without stepping any physics.

    The constraints are first the pairs of shapes that the arm can move against each other, then
    those of `GuardedBoxes`. Objects that can move and are not part of the arm (bodies with joints
    of their own) are left out, because the filter does not know where they are.

    The methods use the pose and the distances of the last measurement. So an instance belongs to
    one thread.

    Args:
        config: The arm, its clearance and boxes.
        scene: MJCF with the arm and its surroundings, relative to the share folder.

    Attributes:
        model: MuJoCo model of the scene.
        data: MuJoCo data at the pose measured last.
        margin: Distance to keep [m].
        pairs: Pairs of geoms of the first constraints (P, 2), the geom nearer to the base first.
        overlapping: Pairs of bodies of the arm with shapes that overlap in every pose, and that are
            not kept apart, by name.
        neighbours: Pairs of a body and its parent with shapes that are not kept apart although they
            can come nearer than the margin, by name.
        excluded: Pairs of bodies that the arm moves against each other and an <exclude> of the MJCF
            exempts, by name.
        kinds: Kind of each constraint (C,), one of `KINDS`.
        count: Number of constraints C.

    Raises:
        ConfigError: The scene cannot be read, or lacks a joint, a point or a body of the config; or
            two shapes are never farther apart than the clearance and not listed in `always_near`.
    """

    def __init__(self, config: RobotConfig, scene: str) -> None:
        self._posed = PosedScene(config, scene)
        self._tool_name = config.tool
        self._boxes = GuardedBoxes(config, self._posed, scene)
        self.model = self._posed.model
        self.data = self._posed.data
        self.margin = config.clearance_m
        self._body_of = self.model.geom_bodyid.tolist()
        self._is_moved = [bool(moving_dofs(self.model, body)) for body in self._body_of]
        poses = sample_poses(config)
        found = find_pairs(config, self._posed, poses)
        self.pairs = found.pairs
        self.overlapping = found.overlapping
        self.neighbours = found.neighbours
        self.excluded = self._posed.excluded()
        self._pair_list = self.pairs.tolist()
        # the bounding sphere of a plane is infinite
        radius = np.where(self.model.geom_rbound > 0.0, self.model.geom_rbound, np.inf)
        self._radii = radius[self.pairs].sum(1)
        is_own = [
            self._posed.arm_joints(self.model.geom_bodyid[one]).any() for one in self.pairs[:, 0]
        ]
        kinds = [KINDS[0] if is_arm else KINDS[1] for is_arm in is_own] + self._boxes.kinds
        self.kinds = np.array(kinds)
        self.count = len(kinds)
        self._all = np.arange(self.count)
        # pose and distances measured last
        self._measured = np.zeros(len(self._posed.joints)), np.full(self.count, -np.inf)
        self._reach = largest_radii(self._posed, self.pairs, self._boxes, config)

    def is_of_arm(self, body: int) -> bool:
        """Return whether a joint of the arm moves a body, given by its index in the model."""
        return bool(self._posed.arm_joints(body).any())

    def measure_all(self, position: Vector) -> Vector:
        """Measure the distances of all constraints, and store them as the last measurement.

        Args:
            position: Joint positions (N,) [rad].

        Returns:
            Distances (C,) [m], negative where shapes overlap. Values above `HORIZON_M` are only
            lower bounds.
        """
        self._posed.place(position)
        distance = self._measure(self._all)
        self._measured = np.array(position), distance
        return distance

    def stays_far(self, position: Vector, velocity: Vector, duration: float) -> bool:
        """Return whether the last measurement already shows that a motion keeps the margin. Nothing
        is measured.

        False means that the distances have to be measured, not that the motion breaks the margin.

        Args:
            position: Joint positions at the start of the motion (N,) [rad].
            velocity: Constant joint velocities (N,) [rad/s].
            duration: Duration of the motion [s].
        """
        pose, distance = self._measured
        path = np.abs(position - pose) + duration * np.abs(velocity)
        return bool((distance - self._reach @ path).min(initial=np.inf) >= self.margin)

    def measure_near(self, position: Vector, velocity: Vector, duration: float) -> Vector:
        """Measure only the distances that a motion could bring below the margin; store all as the
        last measurement.

        Args:
            position: Joint positions at the start of the motion (N,) [rad].
            velocity: Constant joint velocities (N,) [rad/s].
            duration: Duration of the motion [s].

        Returns:
            Distances at the start of the motion (C,) [m], see `measure_all`. Those that were not
            measured are lower bounds: the last distance less the most by which it can have shrunk
            since. All are -inf for a pose that is not finite, and nothing is stored.
        """
        if not math.isfinite(position.sum()):
            return np.full(self.count, -np.inf)
        pose, distance = self._measured
        distance = distance - self._reach @ np.abs(position - pose)
        # a NaN is doubted, too
        doubted = ~(distance - self._reach @ np.abs(velocity) * duration >= self.margin + DOUBT_M)
        if doubted.any():
            self._posed.place(position)
            which = np.flatnonzero(doubted)
            distance[which] = (
                self._measure_each(which.tolist())
                if len(which) <= SCALAR_LIMIT
                else self._measure(which)
            )
        self._measured = np.array(position), distance
        return distance

    def closing(self, velocity: Vector) -> Vector:
        """Return upper bounds, valid in any pose, of the speeds at which distances shrink (C,)
        [m/s].

        Args:
            velocity: Joint velocities (N,) [rad/s].
        """
        return np.asarray(self._reach @ np.abs(velocity))

    def gradients(self, wanted: npt.NDArray[np.bool_]) -> tuple[Vector, npt.NDArray[np.intp]]:
        """Compute the gradients of distances with respect to the joint positions, at the pose
        measured last.

        Args:
            wanted: Which constraints to compute (C,). Those beyond `HORIZON_M` are left out.

        Returns:
            Gradients (R, N) [m/rad], and the indices of their constraints (R,).
        """
        which = np.flatnonzero(wanted & (self._measured[1] < HORIZON_M))
        pairs = len(self.pairs)
        mujoco.mj_comPos(self.model, self.data)
        gradients = [
            self._gradient(*self._pair_list[index])
            if index < pairs
            else self._boxes.gradient(index - pairs)
            for index in which.tolist()
        ]
        return np.array(gradients).reshape(len(which), len(self._posed.joints)), which

    def bare_bodies(self) -> list[str]:
        """Return the names of bodies that the arm moves and none of whose geoms has bits.

        Bodies without geoms are left out.
        """
        collides = has_bits(self.model)
        bare = []
        for body in range(1, self.model.nbody):
            is_of_body = self.model.geom_bodyid == body
            if (
                is_of_body.any()
                and not collides[is_of_body].any()
                and self._posed.arm_joints(body).any()
            ):
                bare.append(self.model.body(body).name)
        return bare

    def link_speeds(self) -> LinkSpeeds:
        """Return a new model of the speeds of the arm's links, tool and guarded points."""
        return LinkSpeeds(self.model, self._posed.joints, self._tool_name, self._boxes.points)

    def conflict(
        self,
        position: Vector,
        velocity: Vector,
        duration: float,
        required: Vector,
        first: Vector | None = None,
    ) -> str:
        """Return the kind of the constraint that a straight motion in joint space breaks first.

        The motion is followed in steps (conservative advancement). With a measured distance d and a
        required distance r, every point may move on by d - r / 2 before the next measurement. So
        the distance is at least r / 2 between two measurements, and at least r at the measurements
        and at the end. A motion that needs more than `MOST_STEPS` measurements counts as a
        conflict. `data` is left at the pose measured last on the way. The stored last measurement
        changes only if `first` is None: it becomes that at the start.

        Args:
            position: Joint positions at the start of the motion (N,) [rad].
            velocity: Constant joint velocities (N,) [rad/s].
            duration: Duration of the motion [s].
            required: Distance to keep for each constraint (C,) [m], at most `DOUBT_M` more than the
                margin.
            first: Distances at the start (C,) [m], from `measure_near` for this motion; None: they
                are measured.

        Returns:
            One of `KINDS`; empty if the motion breaks no constraint.
        """
        distance = self.measure_near(position, velocity, duration) if first is None else first
        spare = distance - required
        if not spare.min(initial=0.0) >= 0.0:
            return str(self.kinds[np.argmin(spare)])
        closing = self.closing(velocity) + 1e-9
        # the constraints that are not watched cannot be broken by this motion; a NaN is watched
        (watched,) = (~(spare >= closing * duration)).nonzero()
        if not len(watched) or duration <= 0.0:
            return ""
        distance = distance[watched]
        required = required[watched]
        closing = closing[watched]
        floor = np.where(required > 0.0, 0.5 * required, required - TOUCHING_STEP_M)
        elapsed = 0.0
        for step in range(1, MOST_STEPS):
            if len(watched) <= SCALAR_LIMIT:
                constraints = [
                    WatchedConstraint(*each)
                    for each in zip(
                        *(values.tolist() for values in (watched, required, closing, floor))
                    )
                ]
                return self._conflict_by_loop(
                    position, velocity, duration, constraints, distance.tolist(), elapsed, step
                )
            elapsed = min(elapsed + float(((distance - floor) / closing).min()), duration)
            self._posed.place(position + velocity * elapsed)
            distance = self._measure(watched)
            spare = distance - required
            if not spare.min() >= 0.0:
                return str(self.kinds[watched[np.argmin(spare)]])
            goes_on = ~(spare >= closing * (duration - elapsed))
            if elapsed >= duration or not goes_on.any():
                return ""
            watched = watched[goes_on]
            distance, required, closing, floor = (
                values[goes_on] for values in (distance, required, closing, floor)
            )
        return str(self.kinds[watched[np.argmin((distance - floor) / closing)]])

    def _conflict_by_loop(
        self,
        position: Vector,
        velocity: Vector,
        duration: float,
        watched: list[WatchedConstraint],
        distances: list[float],
        elapsed: float,
        step: int,
    ) -> str:
        """Continue `conflict` for few constraints, in a Python loop that is faster than calls of
        numpy.

        Args:
            position: Joint positions at the start of the motion (N,) [rad].
            velocity: Constant joint velocities (N,) [rad/s].
            duration: Duration of the motion [s].
            watched: Constraints that the motion may still break.
            distances: Distances of these constraints at the last measurement [m].
            elapsed: Time from the start of the motion to the last measurement [s].
            step: Number of the next measurement.

        Returns:
            The kind of the constraint that the motion breaks first; empty if it breaks none.
        """
        while True:
            times = [
                (distance - each.floor) / each.closing for each, distance in zip(watched, distances)
            ]
            soonest = min(times)
            if step >= MOST_STEPS:
                return str(self.kinds[watched[times.index(soonest)].constraint])
            elapsed = min(elapsed + soonest, duration)
            step += 1
            pose = position + velocity * elapsed
            if not math.isfinite(pose.sum()):
                return str(self.kinds[watched[0].constraint])
            self._posed.place(pose)
            distances = self._measure_each([each.constraint for each in watched])
            spares = [distance - each.required for each, distance in zip(watched, distances)]
            if not all(spare >= 0.0 for spare in spares):  # false for a NaN
                return str(self.kinds[watched[spares.index(min(spares))].constraint])
            remaining_s = duration - elapsed
            goes_on = [
                not spare >= each.closing * remaining_s for each, spare in zip(watched, spares)
            ]
            if remaining_s <= 0.0 or not any(goes_on):
                return ""
            watched = list(compress(watched, goes_on))
            distances = list(compress(distances, goes_on))

    # --- shapes ---

    def _measure(self, watched: npt.NDArray[np.intp]) -> Vector:
        """Measure the distances of some constraints at the pose placed last, by numpy.

        `mj_geomDistance` is used, because MuJoCo's collision detection with a margin does not
        always report the distance: it gave 8 cm for cylinders that overlap by 5 cm.

        Args:
            watched: Indices of the constraints (W,), in ascending order.

        Returns:
            Distances (W,) [m]. Values above `HORIZON_M` are only lower bounds.
        """
        distance = np.empty(len(watched))
        shapes = int(np.searchsorted(watched, len(self.pairs)))
        one, two = self.pairs[watched[:shapes]].T
        centres = self.data.geom_xpos
        offset = centres[one] - centres[two]
        # between the bounding spheres
        gap = np.sqrt(np.einsum("ij,ij->i", offset, offset)) - self._radii[watched[:shapes]]
        near = np.flatnonzero(gap < HORIZON_M)
        gap[np.isnan(gap)] = -np.inf
        distance[:shapes] = gap
        for index, first, second in zip(near.tolist(), one[near].tolist(), two[near].tolist()):
            distance[index] = mujoco.mj_geomDistance(
                self.model, self.data, first, second, HORIZON_M, None
            )
        if shapes < len(watched):
            distance[shapes:] = self._boxes.distances()[watched[shapes:] - len(self.pairs)]
        return distance

    def _measure_each(self, watched: list[int]) -> list[float]:
        """Measure the distances of few constraints at the pose placed last, in a Python loop.

        Args:
            watched: Indices of the constraints, in any order.

        Returns:
            Distances [m]; `HORIZON_M` where they are larger.
        """
        pairs = len(self.pairs)
        boxes = self._boxes.distances() if max(watched) >= pairs else np.empty(0)
        return [
            (
                float(boxes[index - pairs])
                if index >= pairs
                else mujoco.mj_geomDistance(
                    self.model, self.data, *self._pair_list[index], HORIZON_M, None
                )
            )
            for index in watched
        ]

    def _gradient(self, one: int, two: int) -> Vector:
        """Return the gradient of the distance of two geoms with respect to the joint positions (N,)
        [m/rad].

        It is that at the pose placed last. The caller must have called `mj_comPos`.

        Args:
            one: Index of the geom nearer to the base.
            two: Index of the other geom.
        """
        ends = np.zeros(6)
        distance = mujoco.mj_geomDistance(self.model, self.data, one, two, HORIZON_M, ends)
        away = ends[3:] - ends[:3] if distance >= 0.0 else ends[:3] - ends[3:]
        if np.abs(away).max() < TOUCHING_M:
            away = self.data.geom_xpos[two] - self.data.geom_xpos[one]
        away /= math.sqrt(away @ away)
        gradient = away @ self._posed.jacobian(ends[3:], self._body_of[two])
        if self._is_moved[one]:
            gradient -= away @ self._posed.jacobian(ends[:3], self._body_of[one])
        return np.asarray(gradient)
