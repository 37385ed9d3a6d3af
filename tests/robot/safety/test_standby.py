"""Who commands an arm whose control loop is late. Times are given in: nothing here waits."""

import numpy as np
import pytest

from sql_ros.robot.safety.standby import REPEATED_S, Standby

PERIOD, PATIENCE = 0.002, 0.022
ACCELERATION = np.array([10.0, 5.0])
FAST = np.array([1.0, -0.4])


@pytest.fixture
def standby():
    return Standby(ACCELERATION, PERIOD, PATIENCE)


def _run(standby, begin: float, seconds: float) -> list[tuple[float, np.ndarray]]:
    """Play the standby thread: what it sends, and when."""
    sent, now = [], begin
    while now < begin + seconds:
        velocity = standby.advance(now)
        if velocity is not None:
            sent.append((now, velocity))
        now += max(standby.wait_s(now), 1e-5)
    return sent


def test_a_loop_in_time_is_left_alone(standby):
    for step in range(100):
        now = PERIOD * step
        assert standby.may_send(now)
        standby.sent(FAST, now)
        assert _run(standby, now, PERIOD) == []
    assert standby.count == 0


def test_a_loop_that_stalls_is_braked_along_its_line_to_rest(standby):
    standby.sent(FAST, 1.0)
    sent = _run(standby, 1.0, 1.0)
    times = np.array([1.0, *(now for now, _ in sent)])
    velocities = np.array([FAST, *(velocity for _, velocity in sent)])
    assert times[1] == pytest.approx(1.0 + PATIENCE)
    np.testing.assert_allclose(velocities[:, 0] * FAST[1], velocities[:, 1] * FAST[0], atol=1e-12)
    assert (
        np.abs(np.diff(velocities, axis=0)) <= ACCELERATION * np.diff(times)[:, None] + 1e-9
    ).all()
    assert (np.diff(times) >= PERIOD - 1e-9).all()
    moving = times[np.abs(velocities).max(1) > 0]
    assert moving[-1] == pytest.approx(1.0 + 0.1, abs=2 * PERIOD)  # |v| / a
    assert times[-1] - moving[-1] == pytest.approx(REPEATED_S, abs=2 * PERIOD)
    assert standby.count == 1


def test_it_wakes_in_time_for_a_command_that_comes_while_it_sleeps(standby):
    asleep_until = 1.0 + standby.wait_s(1.0)
    standby.sent(FAST, 1.001)
    assert asleep_until <= 1.001 + PATIENCE


def test_a_command_computed_meanwhile_is_refused_until_the_loop_takes_the_arm_back(standby):
    standby.sent(FAST, 1.0)
    (first, velocity), *_ = _run(standby, 1.0 + PATIENCE, PERIOD)
    assert not standby.may_send(1.03)
    taken = standby.take_back(1.03)
    assert taken.left == first
    np.testing.assert_array_equal(taken.velocity, velocity)
    assert "loop_late" in standby.reasons
    assert standby.may_send(1.03)
    standby.sent(np.zeros(2), 1.03)
    assert not standby.reasons
    assert _run(standby, 1.03, 1.0) == []


def test_a_command_that_was_held_up_on_its_way_is_followed_by_the_standbys_own(standby):
    """The loop was interrupted between `may_send` and the middleware, for longer than the arm is
    braked and zeros are repeated.
    """
    assert standby.may_send(1.0)
    standby.sent(FAST, 1.0)
    assert standby.may_send(1.002)
    _run(standby, 1.002, 2.0)
    assert standby.advance(3.002) is None  # nothing is sent any more
    standby.sent(FAST, 3.003)
    sent = _run(standby, 3.003, 2.0)
    assert sent[0][0] == pytest.approx(3.003, abs=PERIOD)
    assert not any(velocity.any() for _, velocity in sent)
    assert sent[-1][0] - sent[0][0] == pytest.approx(REPEATED_S, abs=2 * PERIOD)
    assert standby.take_back(6.0) is not None
    assert "loop_late" in standby.reasons


def test_a_loop_that_stalls_again_after_it_took_the_arm_back_is_braked_on(standby):
    standby.sent(FAST, 1.0)
    _run(standby, 1.0, PATIENCE + 3 * PERIOD)
    taken = standby.take_back(1.1)
    assert taken.velocity.any()
    assert standby.take_back(1.1) is None
    sent = _run(standby, 1.1, 0.5)
    assert sent[0][0] == pytest.approx(1.1 + PATIENCE)
    assert not sent[-1][1].any()
    assert standby.count == 2


def test_a_result_that_is_too_late_is_refused_before_the_thread_has_run(standby):
    """The whole process was stopped: the loop may go on first.

    The thread then brakes at once, the next step is a hold.
    """
    standby.sent(FAST, 1.0)
    late = 1.0 + PATIENCE + 0.3
    assert standby.take_back(1.0 + PERIOD) is None
    assert not standby.may_send(late)
    assert np.abs(standby.advance(late)).max() < np.abs(FAST).max()
    assert standby.take_back(late).left == late
    assert "loop_late" in standby.reasons


def test_a_late_first_motion_is_refused_once(standby):
    """At rest a step has its time from its own beginning, whenever the last command left."""
    standby.sent(np.zeros(2), 1.0)
    assert standby.take_back(9.0) is None
    assert standby.may_send(9.0 + PERIOD)
    assert standby.take_back(20.0) is None
    assert not standby.may_send(20.0 + PATIENCE)
    assert not standby.take_back(20.1).velocity.any()
    assert standby.may_send(20.1)


def test_a_braking_command_is_never_too_late(standby):
    standby.sent(FAST, 1.0)
    assert standby.may_send(3.0, brakes=True)
    standby.sent(np.zeros(2), 3.0)
    assert standby.count == 0


def test_a_refused_result_does_not_delay_the_braking(standby):
    standby.sent(FAST, 1.0)
    sent = _run(standby, 1.0, PATIENCE + PERIOD)
    assert not standby.may_send(sent[-1][0] + 0.1 * PERIOD)
    assert standby.wait_s(sent[-1][0]) == pytest.approx(PERIOD)


def test_an_arm_at_rest_needs_nobody(standby):
    standby.sent(np.zeros(2), 1.0)
    assert _run(standby, 1.0, 2.0) == []


def test_torques_end_at_once():
    standby = Standby(np.full(2, np.inf), PERIOD, PATIENCE)
    standby.sent(FAST, 1.0)
    sent = _run(standby, 1.0, 0.1)
    assert sent[0][0] == pytest.approx(1.0 + PATIENCE)
    assert not np.any([velocity for _, velocity in sent])


def test_a_new_activation_does_not_brake_what_the_last_one_sent(standby):
    standby.sent(FAST, 1.0)
    _run(standby, 1.0, 2 * PATIENCE)
    standby.forget()
    assert _run(standby, 1.1, 1.0) == []
    assert not standby.reasons
    assert standby.may_send(2.0)


def test_an_arm_that_the_watchdog_has_stopped_meanwhile_gets_zeros(standby):
    """After a suspension of the process: the velocity of before would move an arm at rest."""
    standby.sent(20.0 * FAST, 1.0)
    first = standby.advance(2.0)
    assert first is not None
    assert not first.any()
