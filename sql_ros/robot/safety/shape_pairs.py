"""Find the pairs of shapes that the arm can move against each other."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.guarded_boxes import GuardedBoxes
from sql_ros.robot.safety.posed_scene import PosedScene, has_bits, moving_dofs

FARTHEST_M = 10.0  # no two shapes of a scene are farther apart
# two shapes whose distance varies by less are fixed to each other
FIXED_M = 1e-3
SAMPLES = 500  # random poses in which distances and the largest radii are found
# neighbours are guarded if they are clear in the neutral pose, and come nearer than this multiple
# of the clearance
NEIGHBOUR_CLEARANCES = 2.0
REACH_GROWTH = 1.05  # factor on the radii, for poses that are not among the samples


def sample_poses(config: RobotConfig) -> Vector:
    """Return the random poses in which pairs are found (`SAMPLES`, N) [rad].

    They are uniform within the position limits of the robot file, and the same at every call.
    """
    return np.random.default_rng(0).uniform(
        config.position_lower, config.position_upper, (SAMPLES, len(config.joints))
    )


class ShapePairs(NamedTuple):
    """The pairs of shapes that are kept apart, and the pairs of bodies that are not.

    Attributes:
        pairs: Pairs of geoms that are kept apart (P, 2), the one nearer to the base first.
        overlapping: Names of bodies of the arm with shapes that overlap in every pose.
        neighbours: Names of bodies and their parents with shapes that come nearer than the
            clearance and are not kept apart, because they are so in the neutral pose.
    """

    pairs: npt.NDArray[np.intp]
    overlapping: list[tuple[str, str]]
    neighbours: list[tuple[str, str]]


class _MovablePairs(NamedTuple):
    """Pairs of geoms that the arm moves against each other, by their indices.

    Attributes:
        joints: Which joints of the arm move each geom (G, N).
        kept: Pairs that can be kept apart, also those of `near`.
        near: Pairs that are never farther apart than the clearance, of which those of the arm alone
            do not always overlap, with the names of their bodies in alphabetical order.
        overlapping: Names of bodies of the arm with shapes that always overlap.
        neighbours: Names of neighbours that are not kept apart.
    """

    joints: list[npt.NDArray[np.bool_]]
    kept: list[tuple[int, int]]
    near: dict[tuple[int, int], tuple[str, str]]
    overlapping: list[tuple[str, str]]
    neighbours: list[tuple[str, str]]


def find_pairs(config: RobotConfig, posed: PosedScene, poses: Vector) -> ShapePairs:
    """Find the pairs of shapes that may collide and that the arm can move against each other.

    Left out are exempted pairs, pairs of the arm that always overlap, shapes of bodies that move
    freely, pairs never farther apart than the clearance, and a body with its parent if they are
    nearer than the clearance in the neutral pose.

    Args:
        config: The arm, its clearance, and the pairs of bodies that are exempted.
        posed: The scene.
        poses: Random poses (S, N) [rad].

    Raises:
        ConfigError: An exempted body does not exist, or two shapes are never farther apart than the
            clearance and not listed in `always_near`.
    """
    always_near = _body_pairs(posed.model, config.always_near, "always_near")
    found = _movable_pairs(config, posed, poses)
    _check_near_pairs(config, sorted(set(found.near.values())), always_near)
    joints = found.joints
    ordered = [
        (one, two) if joints[one].sum() <= joints[two].sum() else (two, one)
        for one, two in found.kept
        if (one, two) not in found.near
    ]
    pairs = np.array(ordered, np.intp).reshape(-1, 2)
    return ShapePairs(pairs, found.overlapping, found.neighbours)


def near_bodies(config: RobotConfig, posed: PosedScene) -> list[tuple[str, str]]:
    """Return the pairs of bodies that are never farther apart than the clearance, by name.

    Args:
        config: The arm, its clearance, and the pairs of bodies that are exempted.
        posed: The scene.
    """
    return sorted(set(_movable_pairs(config, posed, sample_poses(config)).near.values()))


def _movable_pairs(config: RobotConfig, posed: PosedScene, poses: Vector) -> _MovablePairs:
    """Find the pairs of shapes that may collide, are not exempted, and move against each other.

    Args:
        config: The arm.
        posed: The scene.
        poses: Random poses (S, N) [rad].
    """
    model = posed.model
    may_touch = _body_pairs(model, config.may_touch, "may_touch")
    bodies = model.geom_bodyid.tolist()
    of_body = [posed.arm_joints(body) for body in range(model.nbody)]
    joints = [of_body[body] for body in bodies]
    listed = _moved_pairs(posed, joints)
    least, largest = _distance_ranges(posed, listed, poses[: SAMPLES // 5])
    neutral, _ = _distance_ranges(posed, listed, np.array(config.neutral_position)[None])
    names = [str(model.body(body).name) for body in bodies]
    found = _MovablePairs(joints, [], {}, [], [])
    for one, two in listed.tolist():
        pair = (min(names[one], names[two]), max(names[one], names[two]))
        if frozenset(pair) in may_touch:
            continue
        nearest = least[one, two]
        farthest = largest[one, two]
        if _is_neighbour(model, bodies[one], bodies[two]):
            if nearest > NEIGHBOUR_CLEARANCES * config.clearance_m or farthest - nearest <= FIXED_M:
                continue
            if neutral[one, two] > config.clearance_m:
                found.kept.append((one, two))
            else:
                found.neighbours.append(pair)
        elif farthest <= 0.0 and posed.is_arm(bodies[one]) and posed.is_arm(bodies[two]):
            found.overlapping.append(pair)
        elif farthest <= 0.0 or farthest - nearest > FIXED_M:
            found.kept.append((one, two))
            if farthest <= config.clearance_m:
                found.near[one, two] = pair
    return found._replace(
        overlapping=sorted(set(found.overlapping)), neighbours=sorted(set(found.neighbours))
    )


def _is_neighbour(model: mujoco.MjModel, one: int, two: int) -> bool:
    """Return whether one body carries another by its joints; the world carries none.

    Args:
        model: Model of the scene.
        one: Index of a body.
        two: Index of the other body.
    """
    first, second = model.body_weldid[one], model.body_weldid[two]
    if not first or not second:
        return False
    below = model.body_weldid[model.body_parentid[[first, second]]]
    return bool(below[0] == second or below[1] == first)


def _body_pairs(
    model: mujoco.MjModel, pairs: tuple[tuple[str, ...], ...], key: str
) -> set[frozenset[str]]:
    """Return pairs of body names as sets.

    Args:
        model: Model of the scene.
        pairs: Pairs of body names.
        key: Key of the robot file that lists them, for the error message.

    Raises:
        ConfigError: The scene lacks a body that is named.
    """
    for name in {name for pair in pairs for name in pair}:
        try:
            model.body(name)
        except KeyError:
            raise ConfigError(
                f"'{key}' names the body '{name}', which the scene does not have"
            ) from None
    return {frozenset(pair) for pair in pairs}


def _moved_pairs(posed: PosedScene, joints: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.intp]:
    """Return the pairs of geoms that the arm moves against each other (C, 2), also those of a body
    and its parent; the smaller index first.

    Both shapes have bits, whether these match or not, or a <pair> names them. Left out are pairs of
    bodies of an <exclude>, and bodies that move freely.

    Args:
        posed: The scene.
        joints: Which joints of the arm move each geom (G, N).
    """
    model = posed.model
    bodies = model.geom_bodyid
    moved = np.array(joints)
    may_meet = has_bits(model)[:, None] & has_bits(model)
    signature = (np.minimum.outer(bodies, bodies) << 16) + np.maximum.outer(bodies, bodies)
    may_meet &= ~np.isin(signature, model.exclude_signature)
    may_meet[model.pair_geom1, model.pair_geom2] = True
    may_meet[model.pair_geom2, model.pair_geom1] = True
    dofs = np.array([len(moving_dofs(model, body)) for body in range(model.nbody)])[bodies]
    is_free = dofs > moved.sum(axis=1)
    may_meet &= ~(is_free[:, None] | is_free)
    moves = np.zeros_like(may_meet)
    for of_joint in moved.T:
        moves |= of_joint[:, None] != of_joint
    return np.argwhere(np.triu(may_meet & moves))


def _distance_ranges(
    posed: PosedScene, candidates: npt.NDArray[np.intp], poses: Vector
) -> tuple[Vector, Vector]:
    """Measure the smallest and the largest distances of pairs of geoms over some poses.

    Args:
        posed: The scene.
        candidates: Pairs of geoms to measure (C, 2).
        poses: Joint positions (S, N) [rad].

    Returns:
        Smallest and largest distances (G, G) [m], by the indices of both geoms. Pairs that were not
        measured have `FARTHEST_M` and -`FARTHEST_M`.
    """
    model = posed.model
    least = np.full((model.ngeom, model.ngeom), FARTHEST_M)
    largest = np.full((model.ngeom, model.ngeom), -FARTHEST_M)
    for position in poses:
        posed.place(position)
        for one, two in candidates.tolist():
            distance = mujoco.mj_geomDistance(model, posed.data, one, two, FARTHEST_M, None)
            least[one, two] = min(least[one, two], distance)
            largest[one, two] = max(largest[one, two], distance)
    return least, largest


def _check_near_pairs(
    config: RobotConfig, near: list[tuple[str, str]], always_near: set[frozenset[str]]
) -> None:
    """Check that `always_near` lists all pairs of bodies that are never farther apart than the
    clearance.

    Args:
        config: The arm.
        near: Names of these pairs.
        always_near: Pairs that the robot file lists.

    Raises:
        ConfigError: A pair is not listed.
    """
    unnamed = [pair for pair in near if frozenset(pair) not in always_near]
    if unnamed:
        raise ConfigError(
            f"'clearance_m' is {config.clearance_m:g}, but these are never so far apart:"
            f" {'; '.join(' and '.join(pair) for pair in unnamed)}. Make it smaller, or name"
            " them under 'always_near' of the robot file: no distance is kept between those"
        )


def largest_radii(
    posed: PosedScene, pairs: npt.NDArray[np.intp], boxes: GuardedBoxes, poses: Vector
) -> Vector:
    """Return upper bounds of the distances between moving shapes or points and the joint axes that
    move them.

    The radius times the speed of a joint bounds the speed at which the joint changes a distance.

    Args:
        posed: The scene.
        pairs: Pairs of geoms (P, 2), of which the second one moves.
        boxes: The guarded points.
        poses: Random poses (S, N) [rad].

    Returns:
        Radius for each constraint and joint (C, N) [m], for slides 1; 0 where the joint does not
        change the distance.
    """
    model = posed.model
    data = posed.data
    bodies = [point.body for point in boxes.points]
    axes = [model.dof_jntid[address] for address in posed.velocity_address]
    of_shapes = np.zeros((len(pairs), len(axes)))
    of_points = np.zeros((len(bodies), len(axes)))
    for position in poses:
        posed.place(position)
        anchor = data.xanchor[axes]
        axis = data.xaxis[axes]
        np.maximum(of_shapes, _from_axes(data.geom_xpos[pairs[:, 1]], anchor, axis), out=of_shapes)
        np.maximum(of_points, _from_axes(boxes.positions(), anchor, axis), out=of_points)
    is_slide = model.jnt_type[axes] == mujoco.mjtJoint.mjJNT_SLIDE
    of_shapes = REACH_GROWTH * (of_shapes + model.geom_rbound[pairs[:, 1]][:, None])
    of_shapes[:, is_slide] = 1.0  # every point moves as far as the joint
    of_points[:, is_slide] = 1.0
    between = [
        posed.arm_joints(model.geom_bodyid[two]) & ~posed.arm_joints(model.geom_bodyid[one])
        for one, two in pairs
    ]
    moved = np.array([posed.arm_joints(body) for body in bodies])
    radii: Vector = np.concatenate(
        (
            of_shapes * np.array(between).reshape(of_shapes.shape),
            (REACH_GROWTH * of_points * moved)[boxes.point_indices],
        )
    )
    return radii


def _from_axes(points: Vector, anchors: Vector, axes: Vector) -> Vector:
    """Return the distances of points from joint axes (P, N) [m].

    Args:
        points: Points (P, 3) [m].
        anchors: A point on each axis (N, 3) [m].
        axes: Unit vector along each axis (N, 3).
    """
    return np.asarray(np.linalg.norm(np.cross(points[:, None] - anchors, axes), axis=-1))
