"""The filter before the arm: nothing passes that could break a limit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql_ros.robot.arm import Arm
from sql_ros.robot.config import load_robot
from sql_ros.robot.safety import SafetyFilter
from sql_ros.sim.simulation import Simulation

ROBOT = load_robot("sawyer")
ARM = Arm(ROBOT)
N = len(ROBOT.joints)
PERIOD = 0.05


def _state(position=None, velocity=None):
    zero = np.zeros(N)
    return ARM.state(0, np.array(ROBOT.neutral_position) if position is None else position, zero if velocity is None else velocity, zero)


def test_an_admissible_command_passes_unchanged():
    safety = SafetyFilter(ROBOT, "velocity", PERIOD)
    command = np.full(N, 0.3)
    np.testing.assert_array_equal(safety.admit(command, _state()), command)
    assert not safety.interventions


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("mode", "expected"), [("velocity", 0.0), ("torque", 0.0), ("position", None)])
def test_a_command_that_is_not_finite_becomes_a_hold(mode, expected, value):
    safety = SafetyFilter(ROBOT, mode, PERIOD)
    command = np.zeros(N)
    command[3] = value
    held = safety.admit(command, _state())
    np.testing.assert_array_equal(held, ROBOT.neutral_position if expected is None else np.full(N, expected))
    assert safety.interventions["non_finite"] == 1


def test_velocity_is_clipped_to_the_limit_and_counted():
    safety = SafetyFilter(ROBOT, "velocity", PERIOD)
    np.testing.assert_array_equal(safety.admit(np.full(N, 100.0), _state(np.zeros(N))), ROBOT.velocity_limit)
    assert safety.interventions["velocity"] == 1


def test_effort_is_clipped_to_the_limit():
    safety = SafetyFilter(ROBOT, "torque", PERIOD)
    np.testing.assert_array_equal(safety.admit(np.full(N, -1e4), _state(np.zeros(N))), -np.array(ROBOT.effort_limit))


def test_a_joint_at_its_margin_may_only_move_back():
    position = np.array(ROBOT.position_upper) - ROBOT.position_margin_rad
    safety = SafetyFilter(ROBOT, "velocity", PERIOD)
    np.testing.assert_array_equal(safety.admit(np.full(N, 1.0), _state(position)), np.zeros(N))
    np.testing.assert_array_equal(safety.admit(np.full(N, -0.1), _state(position)), np.full(N, -0.1))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=N, max_size=N), st.sampled_from(["velocity", "position"]), st.integers(0, 2**31))
def test_what_passes_never_exceeds_the_limits(values, mode, seed):
    rng = np.random.default_rng(seed)
    state = _state(rng.uniform(ROBOT.position_lower, ROBOT.position_upper))
    admitted = SafetyFilter(ROBOT, mode, PERIOD).admit(np.array(values), state)
    if mode == "velocity":
        assert (np.abs(admitted) <= ROBOT.velocity_limit).all()
    else:
        assert (admitted >= ROBOT.position_lower).all()
        assert (admitted <= ROBOT.position_upper).all()


@pytest.mark.parametrize("mode", ["velocity", "position"])
def test_a_policy_that_pushes_against_the_limits_never_breaks_them_in_simulation(mode, rng):
    """Closed loop with MuJoCo at 100 Hz, contacts off so that nothing but the filter stops the arm."""
    robot = dataclasses.replace(ROBOT, position_margin_rad=0.1)
    sim = Simulation("sim/robots/sawyer.xml", robot)
    sim.model.geom_contype[:] = 0
    safety = SafetyFilter(robot, mode, 0.01)
    for direction in rng.choice([-1.0, 1.0], (6, N)):
        sim.reset(np.array(robot.neutral_position))
        for _ in range(500):
            m = sim.measure()
            state = ARM.state(0, m.position, m.velocity, m.effort)
            wished = direction * 1e3 if mode == "position" else direction * 100.0
            sim.command(mode, safety.admit(wished, state))
            sim.advance(5)
            assert (sim.measure().position > robot.position_lower).all()
            assert (sim.measure().position < robot.position_upper).all()


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_holding_brings_a_moving_arm_to_rest(mode):
    """At 20 Hz, the slowest control rate in use, with the command held in between."""
    sim = Simulation("sim/robots/sawyer.xml", ROBOT)
    safety = SafetyFilter(ROBOT, mode, PERIOD)
    for _ in range(6):
        sim.command("velocity", np.full(N, 0.4))
        sim.advance(25)
    for _ in range(40):
        m = sim.measure()
        sim.command(mode, safety.hold(ARM.state(0, m.position, m.velocity, m.effort)))
        sim.advance(25)
    assert np.abs(sim.measure().velocity).max() < 0.05
