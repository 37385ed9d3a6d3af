"""The recorder finds what is unsafe, and the verdict says it."""

import numpy as np
import pytest

from sql_ros.checks.drivers.recorder import MotionRecorder
from sql_ros.checks.drivers.verdict import violations
from sql_ros.robot.robot_file import load_robot

PERIOD_S = 0.05
REST = np.zeros(6)


@pytest.fixture(scope="module")
def robot():
    return load_robot("ur5e")


@pytest.fixture
def recorder(robot):
    """A recorder of an arm whose tool is at its first three joint angles [m]."""

    def make(interface: str) -> MotionRecorder:
        return MotionRecorder(robot, interface, PERIOD_S, lambda joints: 0.1 * joints[:3])

    return make


def _ramp(robot, share: float) -> np.ndarray:
    return share * PERIOD_S * np.array(robot.acceleration_limit)


def test_commands_within_the_acceleration_limit_are_no_violation(robot, recorder):
    record = recorder("velocity")
    for count in range(5):
        record.take_command(count * PERIOD_S, count * _ramp(robot, 0.9), REST, REST)
    assert record.record.step == pytest.approx(0.9)
    assert violations(record.record, robot) == []


@pytest.mark.parametrize("interface", ["velocity", "position"])
def test_a_first_command_that_jumps_is_found(robot, recorder, interface):
    record = recorder(interface)
    velocity = _ramp(robot, 2.0)
    command = velocity if interface == "velocity" else velocity * PERIOD_S
    record.take_command(0.0, command, REST, REST)
    assert record.record.first_step == pytest.approx(2.0)
    assert "first command's step 2, expected at most 1.1" in violations(record.record, robot)[0]


def test_a_step_between_commands_is_found(robot, recorder):
    record = recorder("velocity")
    record.take_command(0.0, REST, REST, REST)
    record.take_command(0.0, _ramp(robot, 3.0), REST, REST)
    assert record.record.step == pytest.approx(3.0)
    assert "step between commands 3" in violations(record.record, robot)[0]


def test_a_step_of_a_wrongly_wired_arm_counts_if_it_jerks(robot, recorder):
    record = recorder("velocity").record
    record.step = 1.2
    record.acceleration = 0.7
    assert "step between commands 1.2" in violations(record, robot)[0]
    assert violations(record, robot, wired_wrong=True) == []
    record.acceleration = 1.15
    assert "step between commands 1.15" in violations(record, robot, wired_wrong=True)[0]


def test_a_step_towards_what_is_measured_is_none(robot, recorder):
    record = recorder("velocity")
    record.take_command(0.0, REST, REST, REST)
    record.take_command(0.0, _ramp(robot, 3.0), REST, _ramp(robot, 2.5))
    assert record.record.step == pytest.approx(0.5)


def test_what_a_controller_kept_during_a_stop_counts_at_its_release(robot, recorder):
    record = recorder("position")
    record.is_stopped = True
    record.take_command(0.0, REST + 0.5, REST, REST)
    assert record.record.first_step == 0.0
    record.is_stopped = False
    record.take_release(REST + 0.5, REST, REST)
    assert violations(record.record, robot)


def test_speed_acceleration_and_limits_of_the_arm_are_measured(robot, recorder):
    record = recorder("velocity")
    velocity, position = np.zeros(6), np.array(robot.position_upper) - 0.1
    for count in range(200):
        velocity = velocity + 0.01
        position = position + velocity * 0.002
        record.take_state(0.002 * count, position, velocity)
    found = record.record
    assert found.speed == pytest.approx(2.0 / robot.velocity_limit[0])
    assert found.acceleration == pytest.approx(0.01 / 0.002 / robot.acceleration_limit[0], rel=0.05)
    assert found.beyond_limits_rad == pytest.approx(position[0] - robot.position_upper[0])
    assert found.tool_speed_m_s == pytest.approx(0.1 * 1.875 * 3**0.5, rel=0.05)
    assert "beyond position limits" in violations(found, robot)[0]


def test_a_motion_that_a_busy_machine_made_is_not_judged(robot, recorder):
    record = recorder("velocity")
    record.take_state(0.0, REST, REST)
    record.take_state(1.0, REST + 1.0, REST + 3.0)
    record.take_state(1.002, REST + 1.0, REST + 3.0)
    assert record.record.late_steps == 1
    assert record.record.speed == 0.0
    assert record.record.path_rad == pytest.approx(1.0)
    record.take_state(1.6, REST + 1.0, REST)
    record.take_state(1.602, REST + 1.0, REST)
    assert record.record.late_steps == 2


def test_zeros_of_the_watchdog_are_no_step_and_a_motion_begins_after_them(robot, recorder):
    record = recorder("velocity")
    for count in range(5):
        record.take_command(count * PERIOD_S, count * _ramp(robot, 1.0), REST, REST)
    record.take_stop()
    assert violations(record.record, robot) == []
    record.take_command(0.0, _ramp(robot, 2.0), REST, REST)
    assert record.record.stops == 1
    assert record.record.first_step == pytest.approx(2.0)


def test_refused_commands_are_a_violation(robot, recorder):
    record = recorder("effort")
    record.take_refusal("2 values, expected 6")
    assert violations(record.record, robot) == [
        "commands that the controller refused 1, expected at most 0"
    ]


def test_an_arm_that_is_pushed_is_not_judged(robot, recorder):
    record = recorder("velocity")
    record.is_pushed = True
    record.take_command(0.0, _ramp(robot, 3.0), REST, REST)
    record.take_state(0.0, REST, REST + 9.0)
    assert violations(record.record, robot) == []


def test_a_command_that_comes_late_may_change_more(robot, recorder):
    record = recorder("velocity")
    record.take_command(0.0, REST, REST, REST)
    record.take_command(2.0 * PERIOD_S, _ramp(robot, 1.5), REST, REST)
    assert record.record.step == pytest.approx(0.75)
    record.take_command(2.1 * PERIOD_S, _ramp(robot, 3.0), REST, REST)
    assert record.record.step == pytest.approx(1.5)


def test_a_released_arm_that_takes_up_its_last_command_is_judged_once(robot, recorder):
    record = recorder("position")
    lead = PERIOD_S * _ramp(robot, 0.9)
    record.take_release(REST + lead, REST, REST)
    assert record.record.first_step == pytest.approx(0.9)
    record.take_command(0.0, REST + lead, REST + 0.9 * lead, _ramp(robot, 3.0))
    assert record.record.first_step == pytest.approx(0.9)
