"""Distances of the arm from itself, the scene and its boxes, against MuJoCo's own pairwise distances."""

import dataclasses

import mujoco
import numpy as np
import pytest

from sql_ros.core.errors import ConfigError
from sql_ros.robot.clearance import HORIZON_M, Clearance
from sql_ros.robot.config import load_robot

ROBOT = load_robot("sawyer")
SCENE = "sim/scenes/sawyer_reach.xml"
NEUTRAL = np.array(ROBOT.neutral_position)
BOXED = dataclasses.replace(ROBOT, workspace=(-0.5, -0.5, 0.0, 0.8, 0.5, 1.0), keep_out=((0.3, 0.3, 0.0, 0.6, 0.6, 0.4),))


@pytest.fixture(scope="module")
def clearance() -> Clearance:
    return Clearance(ROBOT, SCENE)


def _poses(rng, count):
    return rng.uniform(ROBOT.position_lower, ROBOT.position_upper, (count, 7))


def test_distances_are_those_of_mujoco_pair_by_pair(clearance, rng):
    model, data = mujoco.MjModel.from_xml_path(SCENE), None
    data = mujoco.MjData(model)
    compared = 0
    for position in _poses(rng, 60):
        distance = clearance.look(position)
        data.qpos[[model.joint(name).qposadr[0] for name in ROBOT.joints]] = position
        mujoco.mj_kinematics(model, data)
        for index, (one, two) in enumerate(clearance.pairs):
            exact = min(mujoco.mj_geomDistance(model, data, int(one), int(two), 1.0, None), HORIZON_M)
            if exact > 0:  # inside each other, how deep is a matter of definition
                assert distance[index] == pytest.approx(exact, abs=0.004)
                compared += exact < HORIZON_M
    assert compared > 500


def test_only_pairs_that_the_arm_can_bring_nearer_are_watched(clearance):
    names = {tuple(sorted(clearance.model.geom(g).name for g in pair)) for pair in clearance.pairs}
    assert ("right_hand_collision", "table_top") in names
    assert ("floor", "table_top") not in names
    assert ("right_l1_collision", "right_l1_collision_2") not in names
    assert ("head_collision", "right_arm_base_link_collision") not in names  # a sphere that turns about its own middle
    assert set(clearance.kinds) == {"self_collision", "collision"}


def test_nothing_comes_nearer_faster_than_the_bound_says(clearance, rng):
    step = 1e-4
    for position in _poses(rng, 200):
        velocity = rng.uniform(-1, 1, 7)
        before, after = clearance.look(position), clearance.look(position + step * velocity)
        seen = (before < HORIZON_M) & (before > 0) & (after > 0)
        assert ((before - after)[seen] / step <= clearance.closing(velocity)[seen] + 0.02).all()


def test_gradients_are_those_of_the_distances(rng):
    clearance = Clearance(BOXED, SCENE)
    checked = 0
    for position in _poses(rng, 100):
        distance = clearance.look(position)
        gradients, which = clearance.rows(distance < 0.1)
        for gradient, index in zip(gradients, which):
            if not 0.01 < distance[index] < 0.1 or (which == index).sum() > 1:
                continue
            velocity = rng.uniform(-1, 1, 7)
            ahead, behind = (clearance.look(position + sign * 1e-5 * velocity)[index] for sign in (1, -1))
            if abs(ahead + behind - 2 * distance[index]) < 1e-7:  # not at an edge
                assert (ahead - behind) / 2e-5 == pytest.approx(gradient @ velocity, abs=0.03)
                checked += 1
    assert checked > 50


def test_boxes_are_measured_from_the_tool():
    clearance = Clearance(BOXED, SCENE)
    distance = clearance.look(NEUTRAL)
    x, y, z = clearance.data.site("right_hand").xpos
    walls = [x + 0.5, y + 0.5, z - 0.0, 0.8 - x, 0.5 - y, 1.0 - z]
    np.testing.assert_allclose(distance[clearance.kinds == "workspace"], np.minimum(walls, HORIZON_M))
    assert distance[clearance.kinds == "keep_out"][0] == pytest.approx(0.3 - y)


def test_a_motion_into_the_table_is_found_and_one_above_it_is_not(clearance):
    clearance.look(NEUTRAL)
    down = np.linalg.pinv(clearance.tip_jacobian()) @ np.array([0.25, 0.0, -0.5])
    required = np.full(clearance.count, ROBOT.clearance_m)
    assert clearance.conflict(NEUTRAL, down, 0.05, required) == ""
    assert clearance.conflict(NEUTRAL, down, 1.5, required) == "collision"
    assert clearance.conflict(NEUTRAL, -down, 0.1, required) == ""


def test_between_two_looks_nothing_is_missed(clearance, rng):
    """Motions called clear are looked at a hundred times as often."""
    required = np.full(clearance.count, ROBOT.clearance_m)
    clear = 0
    for position in _poses(rng, 300):
        velocity = rng.uniform(-1.5, 1.5, 7)
        if clearance.conflict(position, velocity, 0.2, required) == "":
            clear += 1
            nearest = min(clearance.look(position + velocity * t).min() for t in np.linspace(0, 0.2, 60))
            assert nearest >= 0.5 * ROBOT.clearance_m - 1e-3
    assert clear > 50


def test_an_unknown_point_is_named_with_its_file():
    with pytest.raises(ConfigError, match=r"elbow.*|sawyer_reach"):
        Clearance(dataclasses.replace(ROBOT, guarded_points=("elbow",)), SCENE)
