"""The filter before the arm: nothing passes that could break a limit."""

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
    safety = SafetyFilter(ROBOT, "torque", 0.001)  # at 20 Hz the speed it would lead to is the tighter bound
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


@pytest.mark.parametrize("rate_hz", [20.0, 100.0])
@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_a_policy_that_pushes_against_the_limits_does_not_break_them_in_simulation(mode, rate_hz, rng):
    """Closed loop with MuJoCo, contacts off so that nothing but the filter stops the arm; speed may overshoot, position not."""
    sim = Simulation("sim/robots/sawyer.xml", ROBOT)
    sim.model.geom_contype[:] = 0
    safety, steps = SafetyFilter(ROBOT, mode, 1 / rate_hz), sim.physics_steps(rate_hz)
    over, fast = [], []
    for direction in rng.choice([-1.0, 1.0], (6, N)):
        sim.reset(np.array(ROBOT.neutral_position))
        for _ in range(round(5 * rate_hz)):
            m = sim.measure()
            sim.command(mode, safety.admit(direction * 1e3, ARM.state(0, m.position, m.velocity, m.effort)))
            sim.advance(steps)
            m = sim.measure()
            over.append(np.maximum(m.position - ROBOT.position_upper, ROBOT.position_lower - m.position).max())
            fast.append((np.abs(m.velocity) / ROBOT.velocity_limit).max())
    print(f"{mode} at {rate_hz:g} Hz: nearest to a limit {-max(over):.3f} rad, fastest {max(fast):.2f} x the limit")
    if mode == "torque":  # joints pull each other along: approximate, as the filter says
        assert max(over) < 0.1
    else:
        assert max(over) < 0.0
        assert max(fast) < 1.2


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_a_joint_beyond_its_limit_is_led_back_no_faster_than_it_may_move(mode):
    position = np.array(ROBOT.position_upper) + 0.4
    safety = SafetyFilter(ROBOT, mode, PERIOD)
    if mode == "position":
        np.testing.assert_array_equal(safety.hold(_state(position)), position)
        away = np.abs(safety.admit(np.zeros(N), _state(position)) - position)
        assert (away <= np.array(ROBOT.velocity_limit) * PERIOD + 1e-12).all()
    else:
        assert (safety.admit(np.full(N, 10.0), _state(position)) <= 0).all()


def test_a_torque_hold_on_a_stale_state_is_no_torque():
    """Braking by the velocity that once was would be a constant torque."""
    moving = _state(velocity=np.full(N, 0.4))
    safety = SafetyFilter(ROBOT, "torque", PERIOD)
    assert (safety.hold(moving) < 0).all()
    np.testing.assert_array_equal(safety.hold(moving, fresh=False), np.zeros(N))


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
