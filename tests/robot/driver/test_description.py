"""A driver's URDF is compared with the robot file: tool positions, limits, names."""

from dataclasses import replace

import pytest

from sql_ros.checks.drivers.urdf import ur_description
from sql_ros.common.errors import MessageError
from sql_ros.robot.driver.description import difference
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.tasks import described_robot, load_task


@pytest.fixture(scope="module")
def ur5e():
    return load_robot("ur5e")


def test_the_makers_description_is_that_of_the_robot_file(ur5e):
    assert difference(ur5e, ur_description("ur5e")) == ""


def test_a_ur5_is_no_ur5e(ur5e):
    """Their joints have the same names."""
    text = difference(ur5e, ur_description("ur5"))
    assert "tool0 is " in text
    assert "mm away from where 'ur5e' has it" in text


def test_a_prefix_belongs_to_every_name(ur5e):
    left = replace(ur5e, joint_prefix="left_")
    assert difference(left, ur_description("ur5e", "left_")) == ""
    assert "left_shoulder_pan_joint" in difference(left, ur_description("ur5e"))
    assert "no turning joint shoulder_pan_joint" in difference(
        ur5e, ur_description("ur5e", "left_")
    )


def test_a_reversed_axis_is_another_arm(ur5e):
    text = ur_description("ur5e").replace('xyz="0 0 1"', 'xyz="0 0 -1"', 1)
    assert "mm away" in difference(ur5e, text)


def test_wider_limits_in_the_robot_file_are_a_difference(ur5e):
    narrow = ur_description("ur5e").replace('upper="3.14159', 'upper="2.5')
    assert difference(ur5e, narrow).startswith("elbow_joint may go from")
    slow = ur_description("ur5e").replace('velocity="3.14159', 'velocity="2.0')
    assert "may turn at 3.14159 rad/s by the robot file, in robot_description at 2.0" in difference(
        ur5e, slow
    )
    assert difference(replace(ur5e, velocity_limit=(1.0,) * 6), slow) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no URDF"),
        ("<robot><joint name='a' type='fixed'/></robot>", "no URDF"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><robot/>", "without entities"),
        (ur_description("ur5e").replace('rpy="0 0 0"', 'rpy="0 0"'), "expected three numbers"),
        (
            ur_description("ur5e").replace('"base_link"', '"world"'),
            "no way from link base_link to tool0",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(ur5e, text, words):
    with pytest.raises(MessageError, match=words):
        difference(ur5e, text)


def test_what_the_hand_holds_is_in_no_description():
    task = load_task("sawyer_stack", "right_")
    assert task.robot.tool == "held/brick"
    robot = described_robot(task)
    assert (robot.tool, robot.joint_prefix) == ("right_hand", "right_")
