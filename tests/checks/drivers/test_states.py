"""The messages of the double, habit by habit."""

import math

import numpy as np
import pytest

from sql_ros.checks.drivers.states import GRIPPER, StateHabits, joint_state

JOINTS = ("lift", "pan", "elbow")
VALUES = (np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]), np.array([5.0, 6.0, 7.0]))


def _message(**habits):
    return joint_state(1_500_000_001, JOINTS, VALUES, StateHabits(**habits), np.zeros(3))


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("given", ["lift", "pan", "elbow"]),
        ("sorted", ["elbow", "lift", "pan"]),
        ("reversed", ["elbow", "pan", "lift"]),
    ],
)
def test_values_keep_their_joint_in_every_order(order, names):
    message = _message(order=order)
    assert message.name == names
    position = dict(zip(JOINTS, VALUES[0]))
    effort = dict(zip(JOINTS, VALUES[2]))
    assert list(message.position) == [position[name] for name in names]
    assert list(message.effort) == [effort[name] for name in names]


def test_what_is_not_measured_is_nan_or_empty():
    message = _message(effort="nan", velocity="empty")
    assert all(map(math.isnan, message.effort))
    assert len(message.velocity) == 0
    assert len(message.position) == 3


def test_a_gripper_among_the_joints_has_no_measured_velocity():
    message = _message(gripper="inside")
    at = message.name.index(GRIPPER)
    assert len(message.name) == len(message.position) == len(message.velocity) == 4
    assert math.isnan(message.velocity[at])
    assert [name for name in message.name if name != GRIPPER] == list(JOINTS)


def test_a_prefix_stands_before_every_name_and_a_duplicate_comes_first():
    message = _message(prefix="left_", duplicate=True)
    assert message.name == ["left_lift", "left_lift", "left_pan", "left_elbow"]
    assert list(message.position[:2]) == [0.0, 1.0]


def test_stamps_are_the_time_of_measurement_or_zero():
    stamp = _message().header.stamp
    assert (stamp.sec, stamp.nanosec) == (1, 500_000_001)
    stamp = _message(stamps="zero").header.stamp
    assert (stamp.sec, stamp.nanosec) == (0, 0)
