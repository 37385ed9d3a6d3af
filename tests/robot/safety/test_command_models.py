"""Memory and prediction of the commands of each mode, without limits of place."""

import dataclasses

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.position_commands import PositionCommands
from sql_ros.robot.safety.torque_commands import TorqueCommands
from sql_ros.robot.safety.velocity_commands import LONGEST_LATENCY_S, VelocityCommands

ROBOT = load_robot("sawyer")
ARM = Arm(ROBOT)
N = len(ROBOT.joints)
PERIOD = 0.05
ZEROS = np.zeros(N)
NEUTRAL = np.array(ROBOT.neutral_position)


def _models(lateness_s=0.0, latency_s=0.0):
    models = (
        PositionCommands(ROBOT, PERIOD, lateness_s),
        VelocityCommands(ROBOT, PERIOD, lateness_s),
        TorqueCommands(ROBOT, PERIOD, lateness_s, ROBOT.model),
    )
    for model in models:
        model.reckon_with_latency(latency_s)
    return models


def _state(stamp_ns=0, position=NEUTRAL, velocity=ZEROS):
    return ARM.state(stamp_ns, position, velocity, ZEROS)


def test_without_a_command_a_period_starts_as_measured():
    for model in _models():
        start = model.start(_state(velocity=np.full(N, 0.1)))
        np.testing.assert_array_equal(start.position, NEUTRAL)
        np.testing.assert_allclose(start.velocity, 0.1)
        assert model.is_at_rest


def test_a_command_is_the_one_that_stands_for_its_velocities():
    """Of torques two steps of the midpoint rule come within some per cent."""
    velocity = np.full(N, 0.05)
    for model in _models():
        start = model.start(_state())
        command = model.command_for(velocity, start)
        np.testing.assert_allclose(model.velocity_of(command, start), velocity, atol=2e-3)


def test_a_lateness_prolongs_no_position_command():
    position, velocity, torque = _models(lateness_s=0.02)
    assert position.longest_s == PERIOD
    assert velocity.longest_s == torque.longest_s == PERIOD + 0.02


def test_a_delay_of_states_prolongs_no_reaction_to_positions():
    models = _models(latency_s=0.03)
    for model in models:
        model.expect_delay(0.01)
        model.expect_delay(0.01)
    assert [model.reaction_s for model in models] == pytest.approx([0.0, 0.02, 0.05])


def test_too_long_a_latency_is_refused_for_velocities_alone():
    position, velocity, torque = _models()
    with pytest.raises(ConfigError, match="for velocity commands"):
        velocity.reckon_with_latency(LONGEST_LATENCY_S + 0.01)
    for model in (position, torque):
        model.reckon_with_latency(LONGEST_LATENCY_S + 0.01)


def test_zeros_are_a_command_at_rest():
    for model in _models():
        start = model.start(_state())
        model.sent(np.full(N, 0.1), model.command_for(np.full(N, 0.1), start), start)
        assert not model.is_at_rest
        np.testing.assert_array_equal(model.send_zeros(NEUTRAL), ZEROS)
        assert model.is_at_rest


def test_a_latency_gives_other_places_where_a_period_may_start():
    _, model, _ = _models(latency_s=0.1)
    state = _state()
    for _ in range(3):
        start = model.start(state)
        model.sent(np.full(N, 0.1), np.full(N, 0.1), start)
        state = dataclasses.replace(state, stamp_ns=state.stamp_ns + 50_000_000)
    start = model.start(state)
    np.testing.assert_allclose(start.position, NEUTRAL + 0.1 * 0.1)
    np.testing.assert_array_equal(start.alternatives[0], NEUTRAL)
    assert (start.lowest <= NEUTRAL).all()
    assert (start.highest >= start.position).all()
    moved = start.shifted(np.full(N, 1.0))
    np.testing.assert_allclose(moved.alternatives[1] - start.alternatives[1], 1.0)
    np.testing.assert_allclose(moved.highest - start.highest, 1.0)
