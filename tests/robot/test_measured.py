"""What was measured holds for one arm: robot file, MJCF, command topic, joint names and command
mode.
"""

import dataclasses
import shutil

import pytest
import yaml

from sql_ros.common.data_files import find_file, share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.measured import (
    Latency,
    MeasuredArm,
    Measurement,
    check_is_measured,
    known_latency,
    load_measurement,
    measured_arm,
    resolved_topic,
    store_measurement,
)
from sql_ros.robot.robot_file import load_robot

OF_ANOTHER = "arm_sha256: x\ncommand_mode: velocity\nlatency_s: 0.1\nmeasured_at: x\nmethod: x"
AT = "2026-11-30T00:00:00+00:00"


@pytest.fixture
def robot_file(tmp_path, monkeypatch):
    """A copy of a shipped robot file, and a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return shutil.copy(find_file("ur5e", "config/robots"), tmp_path / "ur5e.yaml")


def _arm(
    robot_file, mode="velocity", topic="/commands", joints=("a", "b"), domain=0
) -> MeasuredArm:
    return measured_arm(robot_file, mode, topic, joints, domain)


def _measurement(arm: MeasuredArm, **altered) -> Measurement:
    return dataclasses.replace(Measurement(arm.sha256, arm.mode, 0.013, AT, "by a test"), **altered)


def test_a_shipped_robot_has_no_latency_until_it_is_measured(robot_file):
    robot = load_robot(str(robot_file))
    assert robot.latency_s is None
    assert robot.reckoned_latency_s == 0.0
    arm = _arm(robot_file)
    assert known_latency(robot, arm) == Latency(None, "")
    path = store_measurement(arm, _measurement(arm))
    assert known_latency(robot, _arm(robot_file)) == Latency(0.013, str(path))
    assert load_measurement(arm) == _measurement(arm)
    assert known_latency(robot, _arm(robot_file, "torque")).seconds is None


def test_the_robot_file_comes_before_a_measurement(robot_file):
    robot_file.write_text(robot_file.read_text() + "\nlatency_s: 0.0\n")
    arm = _arm(robot_file)
    store_measurement(arm, _measurement(arm))
    assert known_latency(load_robot(str(robot_file)), arm) == Latency(0.0, str(robot_file))


def test_a_changed_robot_file_has_to_be_measured_anew(robot_file):
    before = _arm(robot_file)
    store_measurement(before, _measurement(before))
    robot_file.write_text(robot_file.read_text() + "\n# another arm\n")
    assert load_measurement(_arm(robot_file)) is None
    with pytest.raises(ConfigError, match="of another arm or command mode"):
        store_measurement(_arm(robot_file), _measurement(before))


@pytest.mark.parametrize(("old", "new"), [('velocity="2"', 'velocity="1"'), ("60", "50")])
def test_a_changed_limit_of_the_description_has_to_be_measured_anew(tmp_path, old, new):
    robot_file = tmp_path / "toy.yaml"
    robot_file.write_text("name: toy\nmodel: toy.urdf\ntool: b\njoints: [j]\n")
    urdf = """<robot name="toy"><link name="a"/><link name="b"><inertial><mass value="1"/>
      <inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>
      <joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/>
      <limit lower="-1" upper="1" effort="60" velocity="2"/></joint></robot>"""
    (tmp_path / "toy.urdf").write_text(urdf)
    before = _arm(robot_file)
    (tmp_path / "toy.urdf").write_text(urdf.replace(old, new))
    assert _arm(robot_file).sha256 != before.sha256


@pytest.mark.parametrize(
    "other",
    [
        {"topic": "/right/commands"},
        {"joints": ("right_a", "right_b")},
        {"mode": "position"},
        {"domain": 7},
    ],
)
def test_a_second_arm_of_the_same_robot_file_has_to_be_measured_itself(robot_file, other):
    """Two arms in one cell, told apart by namespace or joint_prefix, or a double elsewhere."""
    first = _arm(robot_file)
    store_measurement(first, _measurement(first))
    assert load_measurement(_arm(robot_file, **other)) is None


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ('pos="-0.425 0 0"', 'pos="-0.424 0 0"', False),
        ('mass="3.761"', 'mass="3.9"', False),
        ('armature="', 'armature="1', False),
        ("</mujoco>", "<!-- a comment --></mujoco>", True),
    ],
)
def test_a_changed_mjcf_has_to_be_measured_anew(robot_file, tmp_path, old, new, counts):
    model = tmp_path / "arm.xml"
    text = (share_folder() / "sim/robots/ur5e.xml").read_text()
    assert old in text
    model.write_text(text)
    robot = yaml.safe_load(robot_file.read_text())
    robot_file.write_text(yaml.safe_dump({**robot, "model": str(model)}))
    arm = _arm(robot_file)
    store_measurement(arm, _measurement(arm))
    model.write_text(text.replace(old, new, 1))
    assert (load_measurement(_arm(robot_file)) is not None) is counts


@pytest.mark.parametrize(
    ("name", "namespace", "topic"),
    [
        ("commands", "", "/commands"),
        ("a/b", "left", "/left/a/b"),
        ("/a/b", "/left", "/a/b"),
        ("a", "/", "/a"),
    ],
)
def test_a_topic_is_resolved_as_by_a_node(name, namespace, topic):
    assert resolved_topic(name, namespace) == topic


@pytest.mark.parametrize(
    ("content", "words"),
    [("latency_s: 0.0", "is missing"), ("[", "is not YAML"), (OF_ANOTHER, "of another arm")],
)
def test_a_broken_record_is_refused(robot_file, content, words):
    arm = _arm(robot_file)
    path = store_measurement(arm, _measurement(arm))
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_measurement(arm)


def test_a_record_that_cannot_be_written_is_refused(robot_file, tmp_path):
    (tmp_path / "state").write_text("a file")
    arm = _arm(robot_file)
    with pytest.raises(ConfigError, match="cannot write"):
        store_measurement(arm, _measurement(arm))


def test_without_a_home_nothing_is_measured_and_nothing_can_be_kept(robot_file, monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    arm = _arm(robot_file)
    assert load_measurement(arm) is None
    with pytest.raises(ConfigError, match="neither XDG_STATE_HOME nor HOME is set"):
        store_measurement(arm, _measurement(arm))


@pytest.mark.parametrize("identify", ["first", "always", "never"])
def test_only_what_nobody_measures_is_refused(robot_file, identify):
    robot = load_robot(str(robot_file))
    for latency in (Latency(0.0, "here"), Latency(0.1, "here")):
        check_is_measured(latency, robot, robot_file, "torque", identify)
    if identify != "never":
        check_is_measured(Latency(None, ""), robot, robot_file, "torque", identify)
        return
    words = (
        "latency of robot 'ur5e' in torque mode is not known: expected 'latency_s: ...' in"
        f" {robot_file}"
    )
    with pytest.raises(ConfigError, match=words):
        check_is_measured(Latency(None, ""), robot, robot_file, "torque", identify)
