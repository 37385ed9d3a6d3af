"""An actor that did not end in order leaves a note to the next one."""

import pytest

from sql_ros.robot.safety.unfinished import Unfinished


@pytest.fixture
def note(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return lambda states="/joint_states", commands="/commands", joints=("a", "b"): Unfinished(
        states, joints, commands
    )


def test_an_actor_that_ended_in_order_leaves_nothing(note):
    assert note().read() == ""
    assert note().begin()
    note().end("")
    assert note().read() == ""


def test_an_actor_that_was_killed_is_named_with_its_topic(note):
    note().begin()
    assert note().read().startswith("the last actor of /commands, of 20")
    assert note().read().endswith("did not end in order")
    assert note("/left/joint_states").read() == ""
    assert note(joints=("left_a", "left_b")).read() == ""


def test_the_note_is_of_the_arm_in_every_command_mode(note):
    """Killed in velocity mode, the next actor commands positions."""
    note(commands="/forward_velocity_controller/commands").begin()
    assert (
        "forward_velocity_controller"
        in note(commands="/joint_trajectory_controller/joint_trajectory").read()
    )


def test_a_stop_outlives_its_actor(note):
    note().begin()
    note().end("while the arm was held: ~/stop was called")
    assert (
        note().read()
        == "the last actor of /commands ended while the arm was held: ~/stop was called"
    )


def test_a_domain_of_its_own_is_another_arm(note, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "3")
    note().begin()
    monkeypatch.setenv("ROS_DOMAIN_ID", "4")
    assert note().read() == ""


def test_without_a_folder_it_cannot_be_noted(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    assert not Unfinished("/joint_states", ("a",), "/commands").begin()
    assert Unfinished("/joint_states", ("a",), "/commands").read() == ""
