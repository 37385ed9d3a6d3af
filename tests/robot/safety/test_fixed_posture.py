"""Fingers are compared with the posture at which their shapes are guarded."""

import dataclasses
import math

import pytest

from sql_ros.common.data_files import share_folder
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.fixed_posture import LONGEST_SILENCE_S, FixedPosture

HAND = '<site name="right_hand"/>'
FINGERS = (
    '<body><joint name="grip" type="slide" range="0 0.05"/><geom size="0.01" mass="0.1"/></body>'
    '<body><joint name="thumb"/><geom size="0.01" mass="0.1"/></body>'
)


@pytest.fixture
def posture(tmp_path):
    """A Sawyer with a finger and a thumb; the finger is guarded at 0.03 m, the thumb at 0."""
    text = (share_folder() / "sim/robots/sawyer.xml").read_text()
    assert text.count(HAND) == 1
    (tmp_path / "arm.xml").write_text(text.replace(HAND, HAND + FINGERS))
    robot = dataclasses.replace(
        load_robot("sawyer"),
        model=str(tmp_path / "arm.xml"),
        joint_prefix="left_",
        fixed_joints={"grip": 0.03},
    )
    return FixedPosture(robot)


@pytest.mark.parametrize("position", [0.0, 0.036, math.nan])
def test_a_finger_elsewhere_is_a_hold_until_it_is_back(posture, position):
    posture.take(["wheel", "left_grip"], [9.0, 0.03], 1.0)
    assert not posture.reasons(1.0)
    posture.take(["left_grip"], [position], 1.0)
    assert "left_grip is at" in posture.reasons(1.0)["posture"]
    posture.take(["left_thumb"], [0.0], 1.0)  # of another publisher
    assert posture.reasons(1.0)
    posture.take(["left_grip"], [0.031], 1.0)
    assert not posture.reasons(1.0)


def test_each_joint_has_its_own_tolerance_and_unit(posture):
    posture.take(["left_thumb", "left_grip"], [0.04, 0.03], 1.0)
    assert not posture.reasons(1.0)
    posture.take(["left_thumb", "left_grip"], [0.06, 0.04], 1.0)
    assert posture.reasons(1.0)["posture"] == (
        "left_thumb is at 0.060 rad, its shapes are guarded at 0; left_grip is at 0.040 m, its"
        " shapes are guarded at 0.03"
    )


def test_an_arm_without_such_joints_compares_nothing():
    posture = FixedPosture(load_robot("sawyer"))
    posture.take(["grip"], [1.0], 1.0)
    assert not posture.reasons(1.0)


def test_a_finger_that_is_no_longer_reported_is_a_hold_until_it_is(posture):
    posture.take(["left_grip", "left_thumb"], [0.03, 0.0], 1.0)
    posture.take(["left_thumb"], [0.0], 2.0)
    assert not posture.reasons(1.0 + LONGEST_SILENCE_S)
    (why,) = posture.reasons(1.1 + LONGEST_SILENCE_S).values()
    assert why.startswith("no position of left_grip for 2.1 s")
    posture.take(["left_grip"], [0.03], 3.2)
    assert not posture.reasons(3.3)
    posture.forget()
    assert not posture.reasons(99.0)
