"""Every condition is broken on purpose, and ends as it says it does."""

import numpy as np
import pytest

from sql_ros.robot.arm import RobotState
from sql_ros.robot.safety.state_watchdog import TRUST_AFTER, Holds, StateWatch

MAX_AGE = 0.1
ACCELERATION = [5.0, 5.0]


def _state(time_s: float, position: float = 0.0, velocity: float = 0.0) -> RobotState:
    return RobotState(
        round(time_s * 1e9),
        np.full(2, position),
        np.full(2, velocity),
        np.zeros(2),
        np.zeros(3),
        np.eye(3),
    )


@pytest.fixture
def watch() -> StateWatch:
    """Has had a state every 10 ms up to 1 s; stamps are on the same clock as arrivals."""
    watch = StateWatch(MAX_AGE, [1.0, 2.0], ACCELERATION)
    for tick in range(101):
        watch.accept(_state(tick / 100), tick / 100)
    return watch


def test_fresh_states_are_no_reason_to_hold(watch):
    assert not watch.reasons(1.099)
    assert watch.state.stamp_ns == 10**9


def test_before_the_first_state_there_is_nothing_to_hold():
    assert not StateWatch(MAX_AGE, [1.0], [5.0]).reasons(100.0)


def test_stamps_that_stand_from_the_start_are_never_trusted():
    watch = StateWatch(MAX_AGE, [1.0, 2.0], ACCELERATION)
    for tick in range(20):
        watch.accept(_state(5.0), tick / 100)
        assert watch.state is None
    assert set(watch.reasons(0.2)) == {"stamps_frozen"}
    watch.accept(_state(5.01), 0.2)
    assert watch.state is not None


def test_a_state_grows_too_old_and_a_good_one_ends_it(watch):
    assert set(watch.reasons(1.101)) == {"state_too_old"}
    assert "0.101 s old, at most 0.1 s" in watch.reasons(1.101)["state_too_old"]
    watch.accept(_state(1.2), 1.2)
    assert not watch.reasons(1.2)


def test_a_bad_state_is_a_reason_at_once_and_until_a_good_one(watch):
    watch.reject("joint_states lacks j1")
    assert watch.reasons(1.0) == {"state_bad": "joint_states lacks j1"}
    assert not StateWatch(MAX_AGE, [1.0], [5.0]).state
    watch.accept(_state(1.01), 1.01)
    assert not watch.reasons(1.01)


def test_stamps_that_stand_still_are_told_from_silence_and_the_next_later_one_ends_it(watch):
    for tick in range(1, 12):
        watch.accept(_state(1.0), 1.0 + tick / 100)
    assert set(watch.reasons(1.11)) == {"stamps_frozen"}
    watch.accept(_state(1.12), 1.12)
    assert not watch.reasons(1.12)


def test_a_speed_that_no_arm_has_is_a_reason_until_the_states_are_plausible_again(watch):
    fast = _state(1.01)
    fast.velocity[0] = -1.6  # of 1.0 rad/s
    watch.accept(fast, 1.01)
    assert set(watch.reasons(1.01)) == {"state_too_fast"}
    assert "1.600 rad/s" in watch.reasons(1.01)["state_too_fast"]
    assert watch.state.stamp_ns == 10**9
    for tick in range(2, 2 + TRUST_AFTER):
        assert watch.reasons(1.0 + tick / 100)
        watch.accept(_state(1.0 + tick / 100), 1.0 + tick / 100)
    assert not watch.reasons(1.0 + tick / 100)


def test_a_jump_is_one_also_where_it_comes_with_a_stamp_that_was_there_before(watch):
    watch.accept(_state(1.0, 1.0), 1.005)
    assert watch.state.position[0] == 0.0
    watch.accept(_state(1.01, 1.0), 1.01)
    assert set(watch.reasons(1.01)) == {"state_jumped"}


def test_a_joint_far_beyond_its_limits_is_a_bad_state_until_it_is_not():
    watch = StateWatch(MAX_AGE, [1.0, 2.0], ACCELERATION, [-3.0, -1.0], [3.0, 1.0])
    watch.accept(_state(1.0, 57.3), 1.0)
    assert watch.reasons(1.0) == {
        "state_bad": "joint 1 (from 0) is at 57.300 rad, its limits are -1 to 1: radians?"
    }
    assert watch.state is None
    watch.accept(_state(1.01, 1.3), 1.01)  # beyond a limit, as arms are
    assert not watch.reasons(1.01)
    for tick in range(2, 20):
        watch.accept(_state(1.0 + tick / 100, 57.3), 1.0 + tick / 100)
    # as of any bad state; its stamps advance
    assert set(watch.reasons(1.19)) == {"state_bad", "state_too_old"}


def test_one_repeated_stamp_is_no_reason(watch):
    watch.accept(_state(1.0), 1.01)
    assert not watch.reasons(1.01)


def test_a_stamp_that_steps_back_is_a_reason_until_stamps_have_advanced(watch):
    watch.accept(_state(0.5), 1.01)
    for tick in range(1, TRUST_AFTER):
        watch.accept(_state(0.5 + tick / 100), 1.01 + tick / 100)
        assert "went back by 0.500 s" in watch.reasons(1.01 + tick / 100)["stamps_frozen"]
    assert watch.state.stamp_ns == 10**9  # none of these was trusted
    watch.accept(_state(0.6), 1.05)
    assert not watch.reasons(1.05)
    assert watch.state.stamp_ns == 600_000_000


def test_a_state_that_another_overtook_is_news_no_more(watch):
    watch.accept(_state(1.02, 0.01), 1.02)
    watch.accept(_state(1.01, 0.005), 1.021)
    assert not watch.reasons(1.021)
    assert watch.state.position[0] == 0.01
    watch.accept(_state(1.03, 0.015), 1.03)
    assert not watch.reasons(1.03)
    assert watch.state.position[0] == 0.015


def test_a_clock_that_steps_back_a_little_again_and_again_is_frozen(watch):
    for tick in range(1, 12):
        watch.accept(_state(1.0 - tick / 1000), 1.0 + tick / 100)
    assert set(watch.reasons(1.11)) == {"stamps_frozen"}


def test_two_clocks_in_turn_are_never_trusted(watch):
    for tick in range(1, 50):
        watch.accept(_state(1.0 + tick / 100 - (tick % 2) * 5), 1.0 + tick / 100)
        assert "stamps_frozen" in watch.reasons(1.0 + tick / 100)


def test_a_jump_is_a_reason_until_three_states_agree_with_each_other(watch):
    watch.accept(_state(1.01, 0.3), 1.01)
    assert watch.reasons(1.01) == {"state_jumped": "a joint jumped by 0.300 rad, no arm can"}
    assert watch.state.position.tolist() == [0.0, 0.0]  # what is held is where the arm was
    for tick in range(2, 1 + TRUST_AFTER):
        watch.accept(_state(1.0 + tick / 100, 0.3), 1.0 + tick / 100)
        assert "state_jumped" in watch.reasons(1.0 + tick / 100)
    watch.accept(_state(1.04, 0.3), 1.04)
    assert list(watch.reasons(1.04)) == ["pose_changed"]  # a new zero, or another arm
    watch.accept(_state(1.05, 0.3), 1.05)
    assert not watch.reasons(1.05)
    assert watch.state.position.tolist() == [0.3, 0.3]


def test_an_error_between_two_control_steps_is_reported_at_the_next_one(watch):
    """At 500 Hz states are plausible again after 8 ms, a control step comes after 50 ms."""
    watch.accept(_state(1.002, 0.3), 1.002)
    for tick in range(2, 25):
        watch.accept(_state(1.0 + tick / 500, 0.0), 1.0 + tick / 500)
    assert list(watch.reasons(1.05)) == ["state_jumped"]
    watch.accept(_state(1.052, 0.0), 1.052)
    assert not watch.reasons(1.052)


def test_a_pose_that_changed_between_two_control_steps_is_reported(watch):
    for tick in range(1, 25):
        watch.accept(_state(1.0 + tick / 500, 0.3), 1.0 + tick / 500)
    assert list(watch.reasons(1.05)) == ["state_jumped"]
    watch.accept(_state(1.052, 0.3), 1.052)
    assert list(watch.reasons(1.052)) == ["pose_changed"]


def test_a_state_that_flickers_is_not_trusted_again(watch):
    for tick in range(1, 20):
        watch.accept(_state(1.0 + tick / 100, 0.3 * (tick % 2)), 1.0 + tick / 100)
        assert "state_jumped" in watch.reasons(1.0 + tick / 100)


def test_full_speed_is_no_jump_and_a_long_gap_gives_no_licence(watch):
    for tick in range(1, 50):
        watch.accept(_state(1.0 + tick / 20, tick / 20, 1.0), 1.0 + tick / 20)
        assert not watch.reasons(1.0 + tick / 20)
    watch.accept(
        _state(1000.0, 3.45), 3.5
    )  # a stamp far ahead must not make any position plausible
    assert "state_jumped" in watch.reasons(3.5)


def test_small_jumps_message_by_message_are_no_faster_than_an_arm(watch):
    """At 500 Hz a jump of 0.05 rad in each message was believed: 25 rad/s of a joint with
    1 rad/s.
    """
    believed = []
    for tick in range(1, 200):
        now = 1.0 + tick / 500
        watch.accept(_state(now, 0.05 * tick, 1.0), now)
        believed.append(watch.state.position[0])
        if tick > 10:
            assert "state_jumped" in watch.reasons(now)
    assert max(believed) < 0.3


def test_velocities_that_contradict_positions_are_a_reason_until_they_agree(watch):
    for tick in range(1, 50):
        watch.accept(_state(1.0 + tick / 100, tick / 100), 1.0 + tick / 100)
        if "velocity_wrong" in watch.reasons(1.0 + tick / 100):
            break
    assert tick <= 12
    assert "joint 0 (from 0) moved by 0." in watch.reasons(1.0 + tick / 100)["velocity_wrong"]
    trusted = watch.state.position[0]
    rest = tick / 100
    for after in range(1, 20):
        now = 1.0 + rest + after / 100
        watch.accept(_state(now, rest), now)
        watch.reasons(now)
    assert not watch.reasons(now)
    assert watch.state.position[0] == rest > trusted


def test_a_reason_is_said_when_it_begins_and_when_it_ends_and_counted_once():
    holds = Holds()
    assert holds.note({"a": "why"}, 1.0) == ["holding, a: why"]
    assert holds.note({"a": "still"}, 1.1) == []
    assert holds.note({"a": "still", "b": "too"}, 1.2) == ["holding, b: too"]
    assert holds.note({}, 1.5) == ["a is over after 0.500 s", "b is over after 0.300 s"]
    assert holds.note({}, 1.6) == []
    holds.note({"a": "again"}, 2.0)
    assert holds.counts == {"a": 2, "b": 1}


def test_the_gravest_reason_is_named_first():
    holds = Holds()
    assert holds.gravest() is None
    holds.note({"state_bad": "x", "stop": "y"}, 0.0)
    assert holds.gravest() == ("stop", "y")
    holds.note({"state_bad": "x"}, 0.1)
    assert holds.gravest() == ("state_bad", "x")
