"""Velocities that belong to the positions are never a contradiction.

Those that do not always are.
"""

import numpy as np
import pytest

from sql_ros.robot.arm import FASTEST, JUMP_RAD, RobotState
from sql_ros.robot.safety.motion_check import LAG_S, NOISE_RAD, WINDOW_S, MotionCheck

FASTEST_RAD_S = 3.0
ACCELERATION = 10.0


def _state(time_s: float, position: float, velocity: float) -> RobotState:
    return RobotState(
        round(time_s * 1e9),
        np.array([position]),
        np.array([velocity]),
        np.zeros(1),
        np.zeros(3),
        np.eye(3),
    )


def _check() -> MotionCheck:
    return MotionCheck([FASTEST_RAD_S], [ACCELERATION])


def _bang_bang(time_s: np.ndarray, period_s: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Return position [rad] and velocity [rad/s] of a motion that accelerates as hard as the arm
    may, to and fro.
    """
    grid = np.arange(0.0, time_s[-1] + 1e-3, 1e-4)
    acceleration = ACCELERATION * np.sign(np.sin(2.0 * np.pi * grid / period_s))
    velocity = np.cumsum(acceleration) * 1e-4
    position = np.cumsum(velocity) * 1e-4
    return np.interp(time_s, grid, position), np.interp(time_s, grid, velocity)


def _first_complaint(
    check: MotionCheck, times: np.ndarray, position: np.ndarray, velocity: np.ndarray
) -> float | None:
    """Return the time of the first contradiction; None without one."""
    for time_s, where, speed in zip(times, position, velocity):
        state = _state(time_s, where, speed)
        if check.jump(state) or check.take(state):
            return float(time_s)
    return None


@pytest.mark.parametrize("rate_hz", [20.0, 125.0, 500.0, 1000.0])
@pytest.mark.parametrize("lag_s", [0.0, 0.03])
def test_late_noisy_velocities_of_the_hardest_motion_are_believed(rng, rate_hz, lag_s):
    times = 1.0 + np.arange(0.0, 5.0, 1.0 / rate_hz) * (1.0 + 1e-3)
    position, _ = _bang_bang(times)
    _, velocity = _bang_bang(times - lag_s)
    noise = 2e-3 * rng.standard_normal(len(times))
    filtered = velocity + 0.05 * rng.standard_normal(len(times))
    assert _first_complaint(_check(), times, position + noise, filtered) is None


def test_lost_states_are_no_contradiction(rng):
    times = 1.0 + np.arange(0.0, 5.0, 0.01)
    times = times[rng.random(len(times)) > 0.5]
    position, velocity = _bang_bang(times)
    assert _first_complaint(_check(), times, position, velocity) is None


@pytest.mark.parametrize("rate_hz", [125.0, 1000.0])
def test_an_abrupt_stop_with_late_velocities_is_no_contradiction(rate_hz):
    """As a protective stop: 3 rad/s, then the brakes.

    The filter of the velocities is 30 ms late.
    """
    times = np.arange(0.0, 1.0, 1.0 / rate_hz)
    position = np.minimum(times, 0.5) * FASTEST_RAD_S
    velocity = np.where(times < 0.5 + LAG_S, FASTEST_RAD_S, 0.0)
    assert _first_complaint(_check(), times, position, velocity) is None


@pytest.mark.parametrize("rate_hz", [125.0, 500.0, 1000.0])
@pytest.mark.parametrize(
    ("wrong", "speed"),
    [(0.0, 0.4), (-1.0, 0.4), (0.5, 1.2), (2.0, 1.2)],
    ids=["zero", "sign", "half", "double"],
)
def test_wrong_velocities_are_found_within_a_window_of_motion(rate_hz, wrong, speed):
    times = np.arange(0.0, 1.0, 1.0 / rate_hz)
    found = _first_complaint(_check(), times, speed * times, np.full(len(times), wrong * speed))
    assert found is not None
    assert found < WINDOW_S + 0.03


def test_zeros_of_an_arm_that_accelerates_are_found_before_it_is_fast():
    times = np.arange(0.0, 1.0, 0.002)
    found = _first_complaint(_check(), times, 0.5 * ACCELERATION * times**2, np.zeros(len(times)))
    assert ACCELERATION * found < FASTEST_RAD_S / 2.0


@pytest.mark.parametrize("rate_hz", [125.0, 500.0, 1000.0])
def test_the_speed_believed_from_positions_does_not_grow_with_the_rate(rate_hz):
    """Reported velocities that fit, so that only the positions tell."""
    fastest = JUMP_RAD / WINDOW_S + FASTEST * FASTEST_RAD_S
    for share, is_found in ((0.9, False), (1.15, True)):
        times = np.arange(0.0, 0.5, 1.0 / rate_hz)
        speed = share * fastest
        found = _first_complaint(_check(), times, speed * times, np.full(len(times), speed))
        assert (found is not None) == is_found


def test_noise_alone_is_below_the_tolerance():
    times = np.arange(0.0, 1.0, 0.002)
    flicker = 0.4 * NOISE_RAD * np.where(np.arange(len(times)) % 2, 1.0, -1.0)
    assert _first_complaint(_check(), times, flicker, np.zeros(len(times))) is None
