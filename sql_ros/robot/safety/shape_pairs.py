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
SAMPLES = 500  # random poses in which distances are measured
# neighbours are guarded if they are clear in the neutral pose, and come nearer than this multiple
# of the clearance
NEIGHBOUR_CLEARANCES = 2.0
REACH_GROWTH = 1.05  # factor on the radii, a reserve
SWEEPS = 10  # over the points of a chain whose length bounds a radius


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
    posed: PosedScene, pairs: npt.NDArray[np.intp], boxes: GuardedBoxes, config: RobotConfig
) -> Vector:
    """Return upper bounds of the distances between moving shapes or points and the joint axes that
    move them.

    The radius times the speed of a joint bounds the speed at which the joint changes a distance.

    Args:
        posed: The scene.
        pairs: Pairs of geoms (P, 2), of which the second one moves.
        boxes: The guarded points.
        config: The arm; its slides stay within their limits.

    Returns:
        Radius for each constraint and joint (C, N) [m], for slides 1; 0 where the joint does not
        change the distance.
    """
    model = posed.model
    posed.place(np.array(config.neutral_position))
    places = posed.data.geom_xpos[pairs[:, 1]]
    of_shapes = [
        _chain_lengths(posed, config, posed.arm_joints(model.geom_bodyid[two]), place)
        for two, place in zip(pairs[:, 1], places)
    ]
    of_points = [
        _chain_lengths(posed, config, posed.arm_joints(point.body), place)
        for point, place in zip(boxes.points, boxes.positions())
    ]
    joints = len(config.joints)
    shapes = np.array(of_shapes).reshape(-1, joints) + model.geom_rbound[pairs[:, 1]][:, None]
    radii = np.concatenate((shapes, np.array(of_points).reshape(-1, joints)[boxes.point_indices]))
    radii *= REACH_GROWTH
    radii[:, _is_slide(posed)] = 1.0  # every point moves as far as the joint
    moved = [
        posed.arm_joints(model.geom_bodyid[two]) & ~posed.arm_joints(model.geom_bodyid[one])
        for one, two in pairs
    ] + [posed.arm_joints(boxes.points[index].body) for index in boxes.point_indices]
    return np.asarray(radii * np.array(moved).reshape(radii.shape))


def _is_slide(posed: PosedScene) -> npt.NDArray[np.bool_]:
    """Return which joints of the arm are slides (N,)."""
    kinds = [int(joint.type[0]) for joint in posed.joints]
    return np.asarray(np.array(kinds) == int(mujoco.mjtJoint.mjJNT_SLIDE))


def _chain_lengths(
    posed: PosedScene, config: RobotConfig, moving: npt.NDArray[np.bool_], place: Vector
) -> Vector:
    """Return upper bounds, valid in any pose, of the distances of a point from the axes of the
    hinges that move it (N,) [m]; 0 for other joints.

    A chain from the axis to the point has one point on the axis of every hinge between. Its parts
    are rigid but for slides, which lengthen it at most by their ranges. So its length is a bound,
    wherever its points are; they are placed so that it is short in the neutral pose.

    Args:
        posed: The scene in the neutral pose.
        config: The arm.
        moving: Which joints of the arm move the point (N,).
        place: The point in the neutral pose (3,) [m].
    """
    order = np.argsort(posed.velocity_address)  # from base to tip
    is_slide = _is_slide(posed)
    hinges = [joint for joint in order if moving[joint] and not is_slide[joint]]
    neutral = np.array(config.neutral_position)
    ranges = np.maximum(config.position_upper - neutral, neutral - config.position_lower)
    numbers = [posed.joints[joint].id for joint in hinges]
    anchors = posed.data.xanchor[numbers]
    axes = posed.data.xaxis[numbers]
    lengths = np.zeros(len(moving))
    for first, joint in enumerate(hinges):
        chain = [*anchors[first:], place]
        for _ in range(SWEEPS):
            for link in range(len(chain) - 1):
                ends = np.array([*chain[max(link - 1, 0) : link], chain[link + 1]])
                chain[link] = _shortest(anchors[first + link], axes[first + link], ends)
        beyond = order.tolist().index(joint)
        slid = sum(ranges[other] for other in order[beyond:] if moving[other] and is_slide[other])
        lengths[joint] = np.linalg.norm(np.diff(chain, axis=0), axis=1).sum() + slid
    return lengths


def _shortest(anchor: Vector, axis: Vector, ends: Vector) -> Vector:
    """Return the point of an axis with the smallest sum of distances to one or two points (3,) [m].

    Args:
        anchor: A point on the axis (3,) [m].
        axis: Unit vector along the axis (3,).
        ends: The points (1 or 2, 3) [m].
    """
    along = (ends - anchor) @ axis
    away = np.linalg.norm(ends - anchor - np.outer(along, axis), axis=1)[::-1] + 1e-12
    return np.asarray(anchor + axis * (along @ away) / away.sum())
