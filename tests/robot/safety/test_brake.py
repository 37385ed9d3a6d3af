"""Behind a position command the arm brakes by itself or stands: the filter says how, and starts
from there.
"""

from __future__ import annotations

import numpy as np
import pytest

from sql_ros.checks.drivers.plant import KinematicArm
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task

PERIOD_S = 0.05
TASK = load_task("ur5e_reach")
ROBOT = TASK.robot
ACCELERATION = ROBOT.limit_fraction * np.array(ROBOT.acceleration_limit)


@pytest.fixture(scope="module")
def arm():
    return Arm(ROBOT)


@pytest.fixture
def safety():
    return SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)


def _state(arm: Arm, position: np.ndarray, velocity: np.ndarray, stamp_ns: int = 0) -> RobotState:
    return arm.state(stamp_ns, position, velocity, np.zeros_like(position))


def _moving(safety: SafetyFilter, arm: Arm) -> tuple[np.ndarray, np.ndarray, RobotState]:
    """Speed an arm up; return its last command, the velocity of that (N,), and the arm's state
    there.
    """
    position, velocity = np.array(ROBOT.neutral_position), np.zeros(6)
    for step in range(4):
        state = _state(arm, position, velocity, step)
        before, position = (
            position,
            safety.admit(position + 0.1 * np.array([1.0, 0, 0, 0, 0, -1.0]), state),
        )
        velocity = (position - before) / PERIOD_S
    return position, velocity, _state(arm, position, velocity, 9)


def test_the_brake_is_the_velocity_last_sent_and_the_time_it_takes_to_stop(safety, arm):
    _, velocity, _ = _moving(safety, arm)
    np.testing.assert_allclose(safety.brake.velocity, velocity, atol=1e-12)
    assert safety.brake.time_s == pytest.approx((np.abs(velocity) / ACCELERATION).max())
    safety.forget()
    assert not safety.brake.velocity.any()
    assert safety.brake.time_s == 0.0


def test_a_punctual_command_is_the_same_to_the_bit(arm):
    commands = []
    for tells in (True, False):
        safety = SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)
        position, _, state = _moving(safety, arm)
        if tells:
            safety.follow_brake(PERIOD_S)
        commands.append(safety.admit(position + 0.01, state).tolist())
    assert commands[0] == commands[1]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 3.0])
def test_a_late_hold_continues_on_the_brake(safety, arm, share):
    position, velocity, state = _moving(safety, arm)
    time_s = safety.brake.time_s
    assert time_s > PERIOD_S
    late = share * time_s
    safety.follow_brake(PERIOD_S + late)
    braked = min(late, time_s)
    there = position + velocity * (braked - braked**2 / (2.0 * time_s))
    left = velocity * (1.0 - braked / time_s)
    np.testing.assert_allclose(safety.brake.velocity, left, atol=1e-12)
    held = safety.hold(state)
    ahead = max(0.0, 1.0 - PERIOD_S / max(time_s - braked, 1e-9))
    np.testing.assert_allclose(held, there + PERIOD_S * ahead * left, atol=1e-9)


def test_an_early_command_starts_before_the_last_one(safety, arm):
    position, velocity, state = _moving(safety, arm)
    safety.follow_brake(0.75 * PERIOD_S)
    start = position - 0.25 * PERIOD_S * velocity
    command = safety.admit(start + PERIOD_S * velocity, state)
    np.testing.assert_allclose(command, start + PERIOD_S * velocity, atol=1e-12)
    assert not safety.interventions["velocity"]


def test_without_a_newer_state_a_late_command_starts_on_the_brake_too(safety, arm):
    position, velocity, state = _moving(safety, arm)
    position = safety.admit(position + PERIOD_S * velocity, state)
    late = 0.4 * PERIOD_S
    safety.follow_brake(PERIOD_S + late)
    there = position + velocity * (late - late**2 / (2.0 * safety.brake.time_s + 2.0 * late))
    left = safety.brake.velocity
    np.testing.assert_allclose(
        safety.admit(there + PERIOD_S * left, state), there + PERIOD_S * left, atol=1e-9
    )


def test_before_the_first_command_nothing_has_elapsed(safety, arm):
    safety.follow_brake(9.0)
    at = np.array(ROBOT.neutral_position)
    np.testing.assert_array_equal(safety.admit(at, _state(arm, at, np.zeros(6))), at)


# --- a controller that ends a position command at once ---


@pytest.mark.parametrize("is_held", [False, True], ids=["acts", "holds"])
@pytest.mark.parametrize("late_s", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("rate_hz", [20.0, 100.0])
def test_after_a_late_command_an_arm_that_stands_begins_from_rest(arm, rate_hz, late_s, is_held):
    """It began at 2 to 16 times the acceleration limit: with nearly the speed that it had before it
    stood.
    """
    period = 1.0 / rate_hz
    safety = SafetyFilter(ROBOT, "position", period, TASK.config.scene)
    wish = np.array([1.0, 0, 0, 0, 0, -1.0])
    plant = KinematicArm(np.array(ROBOT.neutral_position))
    command, speeds = plant.position, [np.zeros(6)]
    for step in range(40):
        is_late = step == 30
        for _ in range(round(1e3 * (period + late_s * is_late))):
            plant.advance(1e-3, "position", command)
        state = _state(arm, plant.position, plant.velocity, step)
        safety.follow_rest(period + late_s * is_late)
        before = command
        command = safety.hold(state) if is_late and is_held else safety.admit(command + wish, state)
        speeds.append((command - before) / period)
        last = np.zeros(6) if is_late else speeds[-2]
        assert (np.abs(speeds[-1] - last) <= ACCELERATION * period + 1e-9).all()
    assert np.abs(speeds[30]).max() > 0.5
    assert np.abs(speeds[-1]).max() > 2.0 * np.abs(speeds[31]).max()


def test_a_little_lateness_costs_no_speed(arm):
    """At 500 Hz some milliseconds: the arm still reaches its speed limit."""
    safety = SafetyFilter(ROBOT, "position", 0.002, TASK.config.scene)
    command = np.array(ROBOT.neutral_position)
    for step in range(400):
        safety.follow_rest(0.002 + 0.004 * (step % 2))
        before = command
        command = safety.admit(
            command + np.array([0, 0, 0, 0, 0, 1.0]), _state(arm, command, safety.asked, step)
        )
    assert (command - before)[5] / 0.002 > 0.97 * ROBOT.limit_fraction * ROBOT.velocity_limit[5]


def test_punctual_and_early_commands_know_no_rest(arm):
    commands = []
    for elapsed in (None, PERIOD_S, 0.5 * PERIOD_S):
        safety = SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)
        position, _, state = _moving(safety, arm)
        if elapsed is not None:
            safety.follow_rest(elapsed)
        commands.append(safety.admit(position + 0.01, state).tolist())
    assert commands[0] == commands[1] == commands[2]


def test_without_a_newer_state_a_late_command_starts_from_the_last_one(safety, arm):
    position, velocity, state = _moving(safety, arm)
    position = safety.admit(position + PERIOD_S * velocity, state)
    safety.follow_rest(2.0 * PERIOD_S)
    np.testing.assert_allclose(safety.hold(state), position, atol=1e-12)


@pytest.mark.parametrize("controller", ["follow_brake", "follow_rest"])
def test_a_start_that_is_asked_for_again_depends_on_the_last_time_alone(arm, controller):
    commands = []
    for times in ((0.5, 1.2, 1.4, 1.6), (1.6,)):
        safety = SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)
        _, _, state = _moving(safety, arm)
        for time in times:
            getattr(safety, controller)(time * PERIOD_S)
        commands.append(safety.hold(state).tolist())
    assert commands[0] == commands[1]


@pytest.mark.parametrize("is_newer", [True, False], ids=["newer state", "same state"])
def test_a_command_that_was_dropped_has_led_the_arm_nowhere(arm, is_newer):
    commands = []
    for drops in (True, False):
        safety = SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)
        position, velocity, state = _moving(safety, arm)
        if drops:
            safety.admit(position + 0.1, state)
            safety.was_dropped()
        safety.follow_brake(1.5 * PERIOD_S)
        newest = _state(arm, position, velocity, 10) if is_newer or not drops else state
        commands.append(safety.hold(newest))
    np.testing.assert_allclose(commands[0], commands[1], atol=1e-12)


def test_a_first_command_that_was_dropped_is_forgotten(safety, arm):
    at = np.array(ROBOT.neutral_position)
    safety.admit(at + 0.1, _state(arm, at, np.zeros(6)))
    safety.was_dropped()
    assert safety.is_at_rest
    np.testing.assert_array_equal(safety.hold(_state(arm, at, np.zeros(6), 1)), at)


@pytest.mark.parametrize("seed", range(2))
def test_hostile_commands_at_any_time_keep_every_brake_within_the_limits(arm, seed):
    """An arm that follows its trajectories exactly; commands leave when they will."""
    safety = SafetyFilter(ROBOT, "position", PERIOD_S, TASK.config.scene)
    clearance = Clearance(ROBOT, TASK.config.scene)
    rng = np.random.default_rng(seed)
    lower = np.array(ROBOT.position_lower) + ROBOT.position_margin_rad - 1e-6
    upper = np.array(ROBOT.position_upper) - ROBOT.position_margin_rad + 1e-6
    position, velocity = np.array(ROBOT.neutral_position), np.zeros(6)
    for step in range(400):
        if step % 25 == 0:
            wish = rng.uniform(-1.0, 1.0, 6)
        command = safety.admit(position + wish, _state(arm, position, velocity, step))
        asked, time_s = safety.brake
        # it starts where the arm is
        np.testing.assert_allclose(command - position, PERIOD_S * asked, atol=1e-9)
        assert (np.abs(asked - velocity) <= ACCELERATION * PERIOD_S + 1e-9).all()
        rest = command + 0.5 * time_s * asked
        assert (rest >= lower).all()
        assert (rest <= upper).all()
        elapsed = PERIOD_S * rng.choice([0.8, 1.0, 1.0, 1.3, 2.0, 8.0])
        safety.follow_brake(elapsed)
        late = elapsed - PERIOD_S
        braked = min(max(late, 0.0), time_s)
        share = braked / time_s if time_s else 0.0
        position = command + asked * (min(late, 0.0) + braked * (1.0 - 0.5 * share))
        velocity = (1.0 - share) * asked
        assert (clearance.measure_all(position) >= clearance.margin - 1e-4).all()
    assert safety.interventions["acceleration"] > 50
