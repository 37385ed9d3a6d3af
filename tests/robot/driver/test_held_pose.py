"""A held arm that somebody moved is not driven back.

One that sags beside its command is not let down.
"""

import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.driver.following import LEAD_RAD, SETTLED_S
from sql_ros.robot.driver.held_pose import RESTS_RAD_S, HeldPose
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.filter import SafetyFilter

ROBOT = load_robot("ur5e")
PERIOD = 0.02
SERVO_S = 0.05  # of the position servo
SAG_RAD = np.array([0.0, 0.01, 0.008, 0.0, 0.0, 0.0])  # below its command, by its load


def _hold(seconds, *, pushes=(), sag=0.0):
    """Hold an arm behind a servo.

    Return the command and the position of every step, and how often it was moved.

    Args:
        seconds: How long.
        pushes: Times from, until [s] at which the servo is off, and how far somebody moves the
            first joint meanwhile [rad].
        sag: Where the servo rests below its command (6,) [rad].
    """
    safety, held, arm = SafetyFilter(ROBOT, "position", PERIOD), HeldPose(0.0), Arm(ROBOT)
    position, velocity = np.array(ROBOT.neutral_position), np.zeros(6)
    commands, positions, moved = [], [], 0
    for step in range(round(seconds / PERIOD)):
        now = step * PERIOD
        state = arm.state(1 + step, position, velocity, np.zeros(6))
        if held.was_moved(state, now, is_told_to_rest=safety.is_at_rest):
            moved += 1
            safety.forget()
        commands.append(safety.hold(state))
        pushed = [far / (until - begin) for begin, until, far in pushes if begin <= now < until]
        is_free = any(begin <= now < until + 0.5 for begin, until, _ in pushes)
        velocity = (commands[-1] - sag - position) * (1.0 - np.exp(-PERIOD / SERVO_S)) / PERIOD
        if is_free:
            velocity = np.zeros(6)
            velocity[0] = sum(pushed)
        position = position + PERIOD * velocity
        positions.append(position)
    return np.array(commands), np.array(positions), moved


@pytest.mark.parametrize("far", [0.02, 0.05, -0.1])
def test_an_arm_that_was_moved_while_held_is_not_driven_back(far):
    _, positions, moved = _hold(4.0, pushes=[(1.0, 2.0, far)])
    assert moved == 1
    np.testing.assert_allclose(
        positions[-1, 0], ROBOT.neutral_position[0] + far, atol=LEAD_RAD + RESTS_RAD_S * SETTLED_S
    )


def test_a_servo_that_sags_is_let_down_once_for_each_time_the_arm_was_moved():
    commands, positions, moved = _hold(30.0, sag=SAG_RAD)
    assert moved == 0
    np.testing.assert_array_equal(commands[-1], commands[0])
    commands, positions, moved = _hold(30.0, pushes=[(1.0, 2.0, 0.05)], sag=SAG_RAD)
    assert moved == 1
    np.testing.assert_allclose(
        positions[-1, 1:], ROBOT.neutral_position[1:] - 2.0 * SAG_RAD[1:], atol=1e-6
    )


def test_two_publishers_in_turn_are_no_motion():
    held, arm = HeldPose(0.0), Arm(ROBOT)
    here = np.array(ROBOT.neutral_position)
    for step in range(200):
        position = here + 0.3 * (step % 2 if 50 <= step < 150 else 0)
        state = arm.state(1 + step, position, np.zeros(6), np.zeros(6))
        assert not held.was_moved(state, step * PERIOD, is_told_to_rest=True)


def test_an_arm_that_was_moved_while_two_publishers_spoke_was_moved():
    held, arm = HeldPose(0.0), Arm(ROBOT)
    here = np.array(ROBOT.neutral_position)
    found = []
    for step in range(200):
        is_contested = 50 <= step < 150
        state = arm.state(1 + step, here + 0.1 * (step >= 100), np.zeros(6), np.zeros(6))
        if is_contested:
            held.interrupt()
        elif held.was_moved(state, step * PERIOD, is_told_to_rest=True):
            found.append(step * PERIOD)
    assert len(found) == 1
    assert 3.0 + SETTLED_S <= found[0] <= 3.0 + SETTLED_S + 0.1
