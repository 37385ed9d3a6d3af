"""Control time from /clock: any pace, pauses, steps back.

The watch over it is on the steady clock.
"""

import pytest

from sql_ros.robot.control.clock import SETTLED_S, ControlClock
from sql_ros.robot.safety.state_watchdog import NO_REASONS

MS = 1_000_000


@pytest.fixture
def clock() -> ControlClock:
    """At steady time 10 s, /clock has just said 5 s."""
    clock = ControlClock(True, 0.5, 10.0)
    clock.take(5000 * MS, 10.0)
    return clock


def test_control_time_is_steady_time_unless_a_clock_is_followed():
    clock = ControlClock()
    clock.take(7 * MS, 3.0)
    assert clock.at(12.5) == 12.5
    assert clock.reasons(100.0) is NO_REASONS


def test_control_time_advances_with_the_clock_at_any_pace(clock):
    began = clock.at(10.0)
    clock.take(5010 * MS, 10.2)
    assert clock.at(10.3) == pytest.approx(began + 0.01)
    clock.take(6010 * MS, 10.31)
    assert clock.at(10.4) == pytest.approx(began + 1.01)
    assert clock.reasons(10.4) is NO_REASONS


@pytest.mark.parametrize("repeats", [False, True])
def test_a_standing_clock_is_a_reason_to_hold_until_a_later_one(clock, repeats):
    """Control time then runs on with the steady clock: holds go on being sent."""
    began = clock.at(10.0)
    if repeats:
        clock.take(5000 * MS, 10.4)
    assert clock.reasons(10.49) is NO_REASONS
    assert set(clock.reasons(10.6)) == {"clock_stopped"}
    assert clock.at(12.5) == pytest.approx(began + 2.0)
    clock.take(5010 * MS, 12.5)
    assert clock.reasons(12.5) is NO_REASONS
    assert clock.at(12.6) == pytest.approx(began + 2.01)


def test_before_the_first_clock_there_is_a_reason_to_hold():
    clock = ControlClock(True, 0.5, 10.0)
    assert "nothing has come on /clock" in clock.reasons(10.1)["clock_stopped"]
    assert clock.at(11.0) - clock.at(10.5) == pytest.approx(0.5)


def test_a_step_back_is_a_hold_until_later_clocks_and_time_goes_on(clock):
    began = clock.at(10.0)
    clock.take(0, 10.1)
    assert "went back by 5.000 s" in clock.reasons(10.1)["clock_jumped"]
    assert clock.at(10.1) == pytest.approx(began)
    clock.take(490 * MS, 10.2)
    assert set(clock.reasons(10.2)) == {"clock_jumped"}
    clock.take(500 * MS, 10.3)
    assert clock.reasons(10.3) is NO_REASONS
    assert clock.at(10.3) == pytest.approx(began + SETTLED_S)


def test_a_clock_overtaken_on_its_way_is_passed_over(clock):
    began = clock.at(10.0)
    clock.take(4990 * MS, 10.1)
    assert clock.reasons(10.1) is NO_REASONS
    clock.take(5010 * MS, 10.2)
    assert clock.at(10.2) == pytest.approx(began + 0.01)
