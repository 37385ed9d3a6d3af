"""Joint states as drivers send them, and every way in which one can be wrong."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from sql_ros.common.errors import MessageError
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.state_reader import ForeignStateError, StateReader
from sql_ros.robot.config import UNLIMITED
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.turns import Turns, continuous_turns

JOINTS = ("j0", "j1")
NAN = float("nan")


def _state(
    names=("j0", "j1"),
    position=(1.0, 2.0),
    velocity=(3.0, 4.0),
    effort=(5.0, 6.0),
    stamp_ns=1_000_000_000,
) -> JointState:
    message = JointState(
        name=list(names), position=list(position), velocity=list(velocity), effort=list(effort)
    )
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def test_a_state_is_mapped_by_name_and_foreign_joints_are_ignored():
    reader = StateReader(JOINTS)
    names = ("head_pan", "j1", "torso", "j0", "torso")
    message = _state(names, (9, 2, 9, 1, 9), (9, 4, NAN, 3, 9), (9, 6, 9, 5, 9), 3_000_000_007)
    stamp, *values = reader.read(message)
    assert stamp == 3_000_000_007
    assert [value.tolist() for value in values] == [[1, 2], [3, 4], [5, 6]]
    assert reader.read(_state())[1].tolist() == [1, 2]  # another order on the same topic


def test_a_state_survives_the_way_there_and_back():
    values = [np.array([0.1, -0.2]), np.array([1.0, 2.0]), np.array([-3.0, 4.0])]
    stamp, *back = StateReader(JOINTS).read(state_to_msg(12_345_678_901, JOINTS, *values))
    assert stamp == 12_345_678_901
    for sent, received in zip(values, back):
        np.testing.assert_array_equal(sent, received)


@pytest.mark.parametrize("effort", [(), (NAN, NAN), (NAN, 6.0)])
def test_effort_that_is_missing_or_nan_is_not_measured(effort):
    read = StateReader(JOINTS).read(_state(effort=effort))[3]
    assert np.isnan(read).tolist() == [True, len(effort) == 0 or np.isnan(effort[1])]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (_state(names=("j0", "wrist")), "lacks j1; it has j0, wrist"),
        (_state((), (), (), ()), "lacks j0, j1; it has no names"),
        (_state(("j0", "j1", "j1"), (1, 2, 3), (1, 2, 3), ()), "names j1 twice"),
        (_state(position=(1.0,)), "has 1 values of position, expected one per name: 2"),
        (_state(velocity=(1.0,)), "has 1 values of velocity, expected one per name: 2"),
        (_state(effort=(1.0,)), "has 1 values of effort, expected one per name: 2"),
        (_state(velocity=()), "no velocity of j0, j1"),
        (
            _state(velocity=(0.0, NAN)),
            "velocity of j1: if the driver measures none, set velocity_from_position: true",
        ),
        (_state(velocity=(0.0, np.inf)), "velocity that is not finite"),
        (_state(position=(1.0, NAN)), "position that is not finite"),
        (_state(effort=(np.inf, 0.0)), "infinite effort"),
    ],
)
def test_a_wrong_state_is_refused(message, text):
    with pytest.raises(MessageError) as error:
        StateReader(JOINTS).read(message)
    assert text in str(error.value)


def test_a_state_of_other_joints_is_foreign_each_time():
    reader = StateReader(JOINTS)
    for _ in range(2):
        with pytest.raises(ForeignStateError):
            reader.read(_state(("finger",), (0.0,), (0.0,), (0.0,)))
    assert reader.read(_state())[1].tolist() == [1, 2]


def test_a_state_without_stamp_gets_its_time_of_arrival():
    reader = StateReader(JOINTS, arrival_ns=itertools.count(7).__next__)
    assert [reader.read(_state(stamp_ns=0))[0] for _ in range(2)] == [7, 8]
    assert reader.is_unstamped
    assert reader.read(_state())[0] == 1_000_000_000
    assert not reader.is_unstamped
    assert StateReader(JOINTS).read(_state(stamp_ns=0))[0] == 0  # lockstep begins so


def test_velocities_are_differentiated_where_the_robot_file_says_so():
    """What the message has for them is not read."""
    reader = StateReader(JOINTS, velocity_from_position=True)
    with pytest.raises(MessageError, match="no velocity from positions yet"):
        reader.read(_state(velocity=()))
    later = _state(position=(1.02, 1.98), velocity=(NAN, 9.0), stamp_ns=1_020_000_000)
    assert reader.read(later)[2] == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize("speed", [3.0, -3.0])
def test_a_continuous_joint_goes_on_where_its_driver_begins_a_turn_again(speed):
    """From -pi to pi, as Kinova's driver reports it. The other joint has limits."""
    turns = Turns(np.array([True, False]), np.array([1.0, 0.0]))
    reader = StateReader(JOINTS, turns=turns)
    moved = 1.0 + speed * 0.01 * np.arange(1000)
    wrapped = (moved + np.pi) % (2.0 * np.pi) - np.pi
    assert np.abs(np.diff(wrapped)).max() > 6.0
    read = [reader.read(_state(position=(each, 5.0)))[1] for each in wrapped]
    np.testing.assert_allclose(np.array(read), np.column_stack((moved, 0.0 * moved + 5.0)))
    reader.forget()
    assert reader.read(_state(position=(wrapped[-1], 5.0)))[1][0] == pytest.approx(
        wrapped[-1] + 2.0 * np.pi * np.round((1.0 - wrapped[-1]) / (2.0 * np.pi))
    )


def test_a_continuous_joint_begins_on_the_turn_nearest_to_neutral():
    reader = StateReader(JOINTS, turns=Turns(np.array([True, True]), np.array([3.0, -0.5])))
    read = reader.read(_state(position=(-3.0, 4.0 * np.pi)))[1]
    np.testing.assert_allclose(read, [2.0 * np.pi - 3.0, 0.0], atol=1e-12)


def test_only_joints_that_turn_without_limits_are_continuous():
    robot = load_robot("ur5e")
    hinges = np.ones(6, bool)
    assert continuous_turns(robot, hinges) is None
    endless = {
        "position_lower": (-UNLIMITED, *robot.position_lower[1:]),
        "position_upper": (UNLIMITED, *robot.position_upper[1:]),
    }
    robot = replace(robot, **endless)
    assert continuous_turns(robot, hinges) is not None
    assert continuous_turns(robot, ~hinges) is None
