"""A driver's URDF is compared with the robot file: tool positions, limits, names."""

from dataclasses import replace

import pytest

from sql_ros.checks.drivers.urdf import ur_description
from sql_ros.common.errors import MessageError
from sql_ros.robot.driver.description import difference
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.tasks import described_robot, load_task

LINK = (
    '<link name="{}"><inertial><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01"'
    ' ixy="0" ixz="0" iyz="0"/></inertial></link>'
)
JOINT = (
    '<joint name="{}" type="{}"><parent link="{}"/><child link="{}"/><origin xyz="0 0 0.3"/>'
    '<axis xyz="{}"/><limit lower="-1" upper="1" effort="60" velocity="1"/></joint>'
)
SLIDING = (
    '<robot name="sliding">'
    + "".join(LINK.format(name) for name in ("base", "carriage", "upper", "tool"))
    + JOINT.format("rail", "prismatic", "base", "carriage", "1 0 0")
    + JOINT.format("shoulder", "revolute", "carriage", "upper", "0 1 0")
    + JOINT.format("wrist", "revolute", "upper", "hand", "0 1 0")
    + LINK.format("hand")
    + JOINT.format("flange", "fixed", "hand", "tool", "1 0 0")
    + "</robot>"
)


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
    assert "no moving joint shoulder_pan_joint" in difference(ur5e, ur_description("ur5e", "left_"))


def test_a_reversed_axis_is_another_arm(ur5e):
    text = ur_description("ur5e").replace('xyz="0 0 1"', 'xyz="0 0 -1"', 1)
    assert "mm away" in difference(ur5e, text)


def test_a_reversed_last_joint_is_another_arm_although_the_tool_is_in_place(ur5e):
    parts = ur_description("ur5e").split('<joint name="wrist_3_joint"')
    text = parts[0] + '<joint name="wrist_3_joint"' + parts[1].replace("0 0 1", "0 0 -1", 1)
    assert "tool0 is turned by" in difference(ur5e, text)
    assert "is the axis of a joint reversed" in difference(ur5e, text)


def test_a_slide_and_a_fixed_joint_are_where_the_robot_file_has_them(tmp_path):
    """A carriage that carries the arm, and a wrist that the arm does not control."""
    (tmp_path / "arm.urdf").write_text(SLIDING)
    (tmp_path / "arm.yaml").write_text(
        "name: sliding\nmodel: arm.urdf\nbase_frame: base\ntool: tool\ntool_frame: tool\n"
        "joints: [rail, shoulder]\nfixed_joints: {wrist: 0.5}\n"
    )
    robot = load_robot(str(tmp_path / "arm.yaml"))
    assert difference(robot, SLIDING) == ""
    assert "mm away" in difference(robot, SLIDING.replace('xyz="1 0 0"', 'xyz="-1 0 0"'))


def test_wider_limits_in_the_robot_file_are_a_difference(ur5e):
    narrow = ur_description("ur5e").replace('upper="3.14159', 'upper="2.5')
    assert difference(ur5e, narrow).startswith("elbow_joint may go from")
    slow = ur_description("ur5e").replace('velocity="3.14159', 'velocity="2.0')
    assert "may move at 3.14159 rad/s by the robot file, in robot_description at 2.0" in difference(
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
