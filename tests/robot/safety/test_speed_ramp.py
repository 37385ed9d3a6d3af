"""After it stood an arm is slow at first."""

import pytest

from sql_ros.robot.safety.speed_ramp import HELD_S, LEAST_SHARE, RAMP_S, SpeedRamp

PERIOD = 0.05


def _shares(ramp, seconds):
    return [ramp.advance(PERIOD) for _ in range(round(seconds / PERIOD))]


@pytest.fixture
def real():
    ramp = SpeedRamp()
    ramp.is_real = True
    ramp.forget()
    return ramp


def test_speed_rises_from_a_tenth_to_all_within_the_motion(real):
    shares = _shares(real, RAMP_S + 1.0)
    assert shares[0] == LEAST_SHARE
    assert shares == sorted(shares)
    assert max(shares[: round(0.5 / PERIOD)]) < 0.33
    assert shares[round(RAMP_S / PERIOD)] == shares[-1] == 1.0


def test_a_hold_begins_the_ramp_of_a_real_arm(real):
    _shares(real, 3.0)
    for now in (0.0, 0.1, 1.1 * HELD_S + 0.1):
        real.update(True, now)
    real.update(False, 1.0)
    assert _shares(real, PERIOD) == [LEAST_SHARE]


def test_a_hiccup_does_not(real):
    _shares(real, 3.0)
    for now in (0.0, 0.05, 1.0, 1.05):
        real.update(True, now)
        real.update(False, now + 0.9 * HELD_S)
    assert _shares(real, PERIOD) == [1.0]


def test_time_that_the_arm_stands_is_no_motion(real):
    _shares(real, 0.5)
    before = real.advance(PERIOD)
    real.update(False, 100.0)
    assert real.advance(PERIOD) < before + 0.1


def test_a_simulated_arm_is_slow_after_a_start_only():
    ramp = SpeedRamp()
    ramp.forget()
    assert ramp.advance(PERIOD) == 1.0
    ramp.update(True, 0.0)
    ramp.update(True, 9.0)
    assert ramp.advance(PERIOD) == 1.0
    ramp.begin()
    assert ramp.advance(PERIOD) == LEAST_SHARE
