"""Distances of the arm from itself, the scene and its boxes, against MuJoCo's own pairwise
distances.
"""

import dataclasses

import mujoco
import numpy as np
import pytest

import sql_ros.robot.safety.clearance as clearance_module
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import HORIZON_M, SCALAR_LIMIT, Clearance

ROBOT = load_robot("sawyer")
SCENE = "sim/scenes/sawyer_reach.xml"
NEUTRAL = np.array(ROBOT.neutral_position)
BOXED = dataclasses.replace(
    ROBOT, workspace=(-0.5, -0.5, 0.0, 0.8, 0.5, 1.0), keep_out=((0.3, 0.3, 0.0, 0.6, 0.6, 0.4),)
)


@pytest.fixture(scope="module")
def clearance() -> Clearance:
    return Clearance(ROBOT, SCENE)


def _poses(rng, count):
    return rng.uniform(ROBOT.position_lower, ROBOT.position_upper, (count, 7))


@pytest.mark.parametrize("scene", [SCENE, "sim/scenes/sawyer_stack.xml"])
def test_distances_are_those_between_the_nearest_points(scene, rng):
    """These are found by going to and fro between the two shapes, each time to the nearest point
    of the other.
    """
    clearance, compared = Clearance(ROBOT, scene), 0
    for position in _poses(rng, 60):
        distance = clearance.measure_all(position)
        for index, (one, two) in enumerate(clearance.pairs):
            if distance[index] < HORIZON_M:
                reached = _nearest_points(clearance.model, clearance.data, one, two)
                assert max(distance[index], 0.0) == pytest.approx(reached, abs=1e-4), (
                    clearance.model.geom(one).name
                )
                compared += distance[index] > 0.0
    assert compared > 500


def _nearest_points(model, data, one, two) -> float:
    """Distance of two shapes; 0 where they touch."""
    there, back = data.geom_xpos[one].copy(), None
    for _ in range(20_000):
        back = _into(model, data, two, there)
        there, before = _into(model, data, one, back), there
        if np.abs(there - before).max() < 1e-8:
            break
    return float(np.linalg.norm(there - back))


def _into(model, data, geom, point):
    """The point of a shape that is nearest to a given one."""
    place, turn, size, kind = (
        data.geom_xpos[geom],
        data.geom_xmat[geom].reshape(3, 3),
        model.geom_size[geom],
        model.geom_type[geom],
    )
    local = turn.T @ (point - place)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        local = np.clip(local, -size, size)
    elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        local = local * min(1.0, size[0] / max(np.linalg.norm(local), 1e-12))
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        axis = np.array([0.0, 0.0, np.clip(local[2], -size[1], size[1])])
        local = axis + (local - axis) * min(1.0, size[0] / max(np.linalg.norm(local - axis), 1e-12))
    else:
        assert kind == mujoco.mjtGeom.mjGEOM_CYLINDER
        local[:2] *= min(1.0, size[0] / max(np.hypot(*local[:2]), 1e-12))
        local[2] = np.clip(local[2], -size[1], size[1])
    return place + turn @ local


def test_only_pairs_that_the_arm_can_bring_nearer_are_watched(clearance):
    names = {tuple(sorted(clearance.model.geom(g).name for g in pair)) for pair in clearance.pairs}
    assert ("right_hand_collision", "table_top") in names
    assert ("floor", "table_top") not in names
    assert ("right_l1_collision", "right_l1_collision_2") not in names
    # a sphere that turns about its own middle
    assert ("head_collision", "right_arm_base_link_collision") not in names
    assert set(clearance.kinds) == {"self_collision", "collision"}


def test_nothing_comes_nearer_faster_than_the_bound_says(clearance, rng):
    step = 1e-4
    for position in _poses(rng, 200):
        velocity = rng.uniform(-1, 1, 7)
        before, after = (
            clearance.measure_all(position),
            clearance.measure_all(position + step * velocity),
        )
        seen = (before < HORIZON_M) & (before > 0) & (after > 0)
        assert ((before - after)[seen] / step <= clearance.closing(velocity)[seen] + 0.02).all()


def test_gradients_are_those_of_the_distances(rng):
    clearance = Clearance(BOXED, SCENE)
    checked = 0
    for position in _poses(rng, 100):
        distance = clearance.measure_all(position)
        gradients, which = clearance.gradients(distance < 0.1)
        for gradient, index in zip(gradients, which):
            velocity = rng.uniform(-1, 1, 7)
            ahead, behind = (
                clearance.measure_all(position + sign * 1e-5 * velocity)[index] for sign in (1, -1)
            )
            if abs(ahead + behind - 2 * distance[index]) < 1e-7:  # not at an edge
                assert (ahead - behind) / 2e-5 == pytest.approx(gradient @ velocity, abs=0.01)
                checked += 1
    assert checked > 500


def test_boxes_are_measured_from_the_tool():
    clearance = Clearance(BOXED, SCENE)
    distance = clearance.measure_all(NEUTRAL)
    x, y, z = clearance.data.site("right_hand").xpos
    walls = [x + 0.5, y + 0.5, z - 0.0, 0.8 - x, 0.5 - y, 1.0 - z]
    np.testing.assert_allclose(
        distance[clearance.kinds == "workspace"], np.minimum(walls, HORIZON_M)
    )
    assert distance[clearance.kinds == "keep_out"][0] == pytest.approx(0.3 - y)


def test_a_motion_into_the_table_is_found_and_one_above_it_is_not(clearance):
    clearance.measure_all(NEUTRAL)
    down = np.linalg.pinv(Arm(ROBOT).jacobian(NEUTRAL)[:3]) @ np.array([0.25, 0.0, -0.5])
    required = np.full(clearance.count, ROBOT.clearance_m)
    assert clearance.conflict(NEUTRAL, down, 0.05, required) == ""
    assert clearance.conflict(NEUTRAL, down, 1.5, required) == "collision"
    assert clearance.conflict(NEUTRAL, -down, 0.1, required) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_motion_that_is_no_number_is_not_called_clear(clearance, value):
    required, lost = np.full(clearance.count, ROBOT.clearance_m), np.zeros(7)
    lost[3] = value
    with np.errstate(invalid="ignore"):
        assert clearance.conflict(NEUTRAL, lost, 0.1, required) != ""
        assert (
            clearance.conflict(NEUTRAL, lost, 0.1, required, clearance.measure_all(NEUTRAL)) != ""
        )
        assert clearance.conflict(NEUTRAL + lost, np.zeros(7), 0.1, required) != ""


def test_between_two_measurements_nothing_is_missed(clearance, rng):
    """Motions called clear are looked at a hundred times as often."""
    required = np.full(clearance.count, ROBOT.clearance_m)
    clear = 0
    for position in _poses(rng, 300):
        velocity = rng.uniform(-1.5, 1.5, 7)
        if clearance.conflict(position, velocity, 0.2, required) == "":
            clear += 1
            nearest = min(
                clearance.measure_all(position + velocity * t).min()
                for t in np.linspace(0, 0.2, 60)
            )
            assert nearest >= 0.5 * ROBOT.clearance_m - 1e-3
    assert clear > 50


def test_a_few_distances_are_measured_as_all_are(rng):
    clearance = Clearance(BOXED, SCENE)
    for position in _poses(rng, 50):
        everything = np.minimum(clearance.measure_all(position), HORIZON_M)
        few = rng.permutation(clearance.count)[:SCALAR_LIMIT].tolist()
        assert clearance._measure_each(few) == everything[few].tolist()
        assert clearance._measure_each([0, clearance.count - 1]) == [everything[0], everything[-1]]


def test_measure_near_finds_what_a_motion_could_bring_near(
    rng,
):
    clearance, exact, measured, guessed = Clearance(BOXED, SCENE), Clearance(BOXED, SCENE), 0, 0
    for position in _poses(rng, 30):
        for _ in range(20):
            velocity = rng.uniform(-1.0, 1.0, 7)
            distance, true = (
                clearance.measure_near(position, velocity, 0.05),
                exact.measure_all(position),
            )
            known = true < HORIZON_M  # beyond, both are bounds
            assert (distance <= true + 1e-6)[known].all()
            near = true - 0.05 * clearance.closing(velocity) < clearance.margin
            np.testing.assert_allclose(distance[near], true[near], atol=1e-6)
            measured, guessed = measured + near.sum(), guessed + (distance < true - 1e-3).sum()
            position = position + 0.02 * velocity
    assert min(measured, guessed) > 1000


def test_a_pose_that_is_no_number_has_no_distances(clearance):
    velocity = np.full(7, 0.1)
    before = clearance.measure_near(NEUTRAL, velocity, 0.05)
    assert (clearance.measure_near(np.full(7, np.nan), velocity, 0.05) == -np.inf).all()
    assert (clearance.measure_near(np.full(7, np.inf), velocity, 0.05) == -np.inf).all()
    np.testing.assert_array_equal(clearance.measure_near(NEUTRAL, velocity, 0.05), before)


def test_a_distance_on_the_way_that_is_no_number_is_not_called_clear(rng):
    class Lost(Clearance):
        asked = 0

        def _measure_each(self, watched):
            self.asked += 1
            return [*super()._measure_each(watched)[:-1], np.nan]

    clearance, lost = Lost(BOXED, SCENE), 0
    for position in _poses(rng, 200):
        velocity, required = (
            rng.uniform(-1.5, 1.5, 7),
            np.minimum(ROBOT.clearance_m, clearance.measure_all(position) - 1e-9),
        )
        clearance.asked = 0
        if clearance.conflict(position, velocity, 0.1, required) == "":
            assert clearance.asked == 0
        lost += clearance.asked
    assert lost > 20


@pytest.mark.parametrize("few", [0, 1000])
def test_a_motion_is_judged_alike_however_few_constraints_are_looked_at(monkeypatch, rng, few):
    """As with numpy's calls for all of them: one by one for none, and for as many as there are."""
    clearance = Clearance(BOXED, SCENE)
    motions = [
        (
            position,
            rng.uniform(-1.5, 1.5, 7),
            np.minimum(ROBOT.clearance_m, clearance.measure_all(position) - 1e-9),
        )
        for position in _poses(rng, 200)
    ]
    answers = [
        clearance.conflict(position, velocity, 0.1, required)
        for position, velocity, required in motions
    ]
    monkeypatch.setattr(clearance_module, "SCALAR_LIMIT", few)
    assert answers == [
        clearance.conflict(position, velocity, 0.1, required)
        for position, velocity, required in motions
    ]
    assert 20 < answers.count("") < 180


def test_an_unknown_point_is_named_with_its_file():
    with pytest.raises(ConfigError, match=r"elbow.*|sawyer_reach"):
        Clearance(dataclasses.replace(ROBOT, guarded_points=("elbow",)), SCENE)
