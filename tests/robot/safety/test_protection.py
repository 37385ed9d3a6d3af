"""What a task, a robot file and parameters may not take away, and what is said of the limits."""

import dataclasses

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.safety.protection import (
    check_shapes,
    check_waits,
    effective_limits,
    missing_shapes,
)
from sql_ros.robot.tasks import load_task, reach, stack

STACK = load_task("sawyer_stack")
SAWYER = load_robot("sawyer")


def test_a_task_raises_no_speed():
    config = dataclasses.replace(STACK.config, tip_speed_limit_m_s=50.0)
    with pytest.raises(
        ConfigError,
        match=r"'tip_speed_limit_m_s' is 50, expected at most 1.5, that of the robot file 'sawyer'",
    ):
        stack.Task("stack", config, SAWYER)


@pytest.mark.parametrize(
    "pair", [("right_l3", "table"), ("right_hand", "right_l1"), ("held/brick", "right_l4")]
)
def test_a_task_exempts_nothing_of_the_arm_itself(pair):
    config = dataclasses.replace(STACK.config, may_touch=(*STACK.config.may_touch, pair))
    with pytest.raises(ConfigError, match="is of the arm itself"):
        stack.Task("stack", config, SAWYER)


def test_a_task_exempts_of_the_arm_what_the_robot_file_names():
    config = dataclasses.replace(STACK.config, may_touch=(("right_hand", "table"),))
    robot = dataclasses.replace(SAWYER, tasks_may_exempt=(("table", "right_hand"),))
    assert ("right_hand", "table") in stack.Task("stack", config, robot).robot.may_touch


def test_the_tool_of_a_task_moves_neither_guarded_points_nor_payload():
    """The task looks at the brick, 0.14 m beyond the hand that the robot file protects."""
    robot = dataclasses.replace(SAWYER, payload_kg=0.1, payload_center_m=(0.0, 0.0, 0.2))
    task = stack.Task("stack", STACK.config, robot)
    assert task.robot.guarded_points == ("right_hand", "held/brick")
    pose = np.array(robot.neutral_position)
    scene = STACK.config.scene
    own = Dynamics(dataclasses.replace(robot, scene=scene), scene, 0.05)
    seen = Dynamics(task.robot, scene, 0.05)
    np.testing.assert_allclose(seen.sag(pose), own.sag(pose), rtol=1e-9)


def test_a_task_moves_no_declared_payload():
    robot = dataclasses.replace(SAWYER, payload_kg=0.1)
    config = dataclasses.replace(STACK.config, payload_kg=0.2, payload_center_m=(0.0, 0.0, 0.1))
    with pytest.raises(ConfigError, match="a task cannot move it"):
        stack.Task("stack", config, robot)


def test_the_tool_of_a_task_moves_with_that_of_the_robot():
    config = dataclasses.replace(STACK.config, tool="right_l4")
    with pytest.raises(ConfigError, match="right_l4"):
        stack.Task("stack", config, SAWYER)


def test_pairs_that_a_larger_clearance_would_drop_are_refused_by_name():
    robot = dataclasses.replace(load_robot("ur5e"), clearance_m=0.05)
    with pytest.raises(
        ConfigError, match="base_link_inertia and upper_arm_link; wrist_1_link and wrist_3_link"
    ) as raised:
        Clearance(robot, "sim/scenes/ur5e_reach.xml")
    assert "always_near" in str(raised.value)
    pairs = (("upper_arm_link", "base_link_inertia"), ("wrist_1_link", "wrist_3_link"))
    named = Clearance(dataclasses.replace(robot, always_near=pairs), "sim/scenes/ur5e_reach.xml")
    whole = Clearance(load_robot("ur5e"), "sim/scenes/ur5e_reach.xml")
    assert len(named.pairs) == len(whole.pairs) - 2


@pytest.mark.parametrize("name", ["max_state_age_s", "max_lateness_s"])
def test_a_real_arm_does_not_go_on_for_much_longer_than_it_takes_to_stop(name):
    check_waits(STACK, {name: 0.7})
    with pytest.raises(
        ConfigError,
        match=f"'{name}' is 1 s, expected at most 0.757 s on a real arm: 'sawyer' stops",
    ):
        check_waits(STACK, {name: 1.0})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latency_s", 2.0),
        ("tip_speed_limit_m_s", 50.0),
        ("clearance_m", 0.4),
        ("acceleration_limit", (1e4,) * 7),
    ],
)
def test_a_robot_file_out_of_all_reason_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"'{key}' must be at most"):
        dataclasses.replace(SAWYER, **{key: value})


def test_the_effective_limits_name_what_is_exempted_and_how_fast_links_may_be():
    clearance = Clearance(STACK.robot, STACK.config.scene)
    text = effective_limits(STACK, clearance, 0.025, {"max_state_age_s": 0.1})
    assert "tool and links: 0.425 m/s (0.85 of 0.5)" in text
    assert "held/brick and goal (task), held/gripper and goal (task)" in text
    assert f"{len(clearance.pairs)} pairs" in text
    assert "right_j6: -4.662 to 4.662 rad, 3.86 rad/s, 10.2 rad/s^2" in text
    assert "late by 0.025 s" in text
    slow = load_task("sawyer_reach", people_in_reach=True)
    text = effective_limits(slow, Clearance(slow.robot, slow.config.scene), 0.0, {})
    assert "0.212 m/s (0.85 of 0.25, people in reach)" in text
    assert "not between: none exempted" in text
    assert isinstance(slow, reach.Task)


@pytest.mark.parametrize("name", ["sawyer_reach", "sawyer_stack", "ur5e_reach"])
def test_every_link_of_the_shipped_arms_has_shapes(name):
    task = load_task(name)
    check_shapes(Clearance(task.robot, task.config.scene), task.config.scene)


def test_a_link_whose_geoms_collide_with_nothing_is_refused_by_name(bare_task, tmp_path):
    bits = {"contype": "0", "conaffinity": "0"}
    task = load_task(str(bare_task(tmp_path, ("forearm_link", "wrist_3_link"), **bits)))
    with pytest.raises(ConfigError, match="the arm moves forearm_link, wrist_3_link, but no geom"):
        check_shapes(Clearance(task.robot, task.config.scene), task.config.scene)


def test_a_link_whose_bits_match_no_other_geom_is_guarded_all_the_same(bare_task, tmp_path):
    bits = {"contype": "2", "conaffinity": "4"}
    task = load_task(str(bare_task(tmp_path, ("forearm_link", "wrist_3_link"), **bits)))
    clearance = Clearance(task.robot, task.config.scene)
    check_shapes(clearance, task.config.scene)
    shipped = load_task("ur5e_reach")
    assert len(clearance.pairs) >= len(Clearance(shipped.robot, shipped.config.scene).pairs)


def test_a_frame_without_geoms_needs_no_shape(bare_task, tmp_path):
    """The flange of many arms is a body with a site and nothing else."""
    path = bare_task(tmp_path, ())
    arm = tmp_path / "ur5e.xml"
    text = arm.read_text()
    assert text.count('<site name="tool0" />') == 1
    arm.write_text(
        text.replace('<site name="tool0" />', '<site name="tool0" /><body name="frame" />')
    )
    task = load_task(str(path))
    clearance = Clearance(task.robot, task.config.scene)
    assert clearance.model.body("frame").id > 0
    assert missing_shapes(clearance, task.config.scene) == ""


def test_an_arm_without_a_pair_to_keep_apart_is_refused():
    every = Clearance(load_robot("ur5e"), "sim/scenes/ur5e_reach.xml")
    bodies = [every.model.body(every.model.geom_bodyid[geom]).name for geom in every.pairs.ravel()]
    pairs = tuple(sorted({tuple(sorted(pair)) for pair in zip(bodies[::2], bodies[1::2])}))
    robot = dataclasses.replace(load_robot("ur5e"), may_touch=pairs)
    text = missing_shapes(Clearance(robot, "sim/scenes/ur5e_reach.xml"), "ur5e_reach.xml")
    assert text.startswith("MJCF ur5e_reach.xml: no two shapes are kept apart")
