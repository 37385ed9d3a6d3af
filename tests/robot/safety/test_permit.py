"""After an interruption the arm moves when a person says so."""

import pytest

from sql_ros.robot.safety.permit import FIRST_S, MOMENT_S, PROMPT_S, Permit

OLD = {"state_too_old": "the last state is old"}


@pytest.fixture
def real():
    permit = Permit()
    permit.is_real = True
    return permit


def test_the_first_motion_needs_no_start(real):
    assert real.check(OLD, 0.0) == OLD
    assert real.check(OLD, 20.0) == OLD
    assert not real.check({}, 21.0)


def test_a_moment_is_forgiven(real):
    real.check({}, 0.0)
    real.check(OLD, 1.0)
    real.check(OLD, 1.0 + 0.9 * MOMENT_S)
    assert not real.check({}, 1.0 + MOMENT_S)


def test_an_outage_of_a_real_arm_needs_a_start(real):
    real.check({}, 0.0)
    real.check(OLD, 1.0)
    real.check(OLD, 1.1 + MOMENT_S)
    assert "state_too_old" in real.check({}, 2.5)["start_needed"]
    assert real.check({}, 60.0)
    assert real.start({}) == (
        True,
        f"started, after: the arm was held by state_too_old for longer than {MOMENT_S:g} s",
    )
    assert not real.check({}, 61.0)


def test_two_moments_in_a_row_are_not_one_outage(real):
    real.check({}, 0.0)
    for now in (1.0, 1.2, 2.0, 2.2, 3.0, 3.2):
        real.check(OLD, now)
        assert not real.check({}, now + 0.1)


def test_a_simulated_arm_goes_on_after_an_outage():
    permit = Permit()
    permit.check({}, 0.0)
    permit.check(OLD, 1.0)
    permit.check(OLD, 9.0)
    assert not permit.check({}, 9.1)


@pytest.mark.parametrize("is_real", [True, False])
@pytest.mark.parametrize("kind", ["stop", "emergency_stop"])
def test_the_reset_of_a_stop_moves_nothing(is_real, kind):
    permit = Permit()
    permit.is_real = is_real
    permit.check({kind: "pressed"}, 0.0)
    assert kind in permit.check({}, 0.1)["start_needed"]
    assert permit.start({})[0]
    assert not permit.check({}, 0.2)


def test_a_contradiction_needs_a_start_however_short(real):
    real.check({}, 0.0)
    real.check({"not_following": "stands still"}, 1.0)
    assert "start_needed" in real.check({}, 1.1)


def test_no_start_while_anything_holds(real):
    real.check({}, 0.0)
    real.check(OLD, 1.0)
    real.check(OLD, 3.0)
    assert real.start({}) == (False, "still held: state_too_old: the last state is old")
    assert real.obstacle
    assert real.check({}, 3.1)


def test_a_new_activation_needs_the_start_that_the_last_one_needed(real):
    real.withdraw("the actor was started again after a crash")
    real.forget()
    assert real.check({}, 0.0) == {
        "start_needed": "the actor was started again after a crash; ~/start moves the arm"
    }


def test_a_stop_that_the_last_step_did_not_know_refuses_the_start(real):
    real.check({"stop": "called"}, 0.0)
    real.check({}, 0.1)
    assert not real.start({"stop": "called again"})[0]


def test_a_start_right_after_the_reset_need_not_wait_for_a_step(real):
    real.check({"stop": "called"}, 0.0)
    assert real.start({})[0]


def test_a_fault_that_is_tried_again_and_again_needs_a_start(real):
    fault = {"policy_non_finite": "the policy's output is not finite"}
    real.check({}, 0.0)
    for now in (1.0, 1.5):
        assert not real.check({}, now, fault)
    assert not real.check({}, 1.6)
    for now in (2.0, 2.5, 3.0):
        assert not real.check({}, now, fault)
    assert "policy_non_finite" in real.check({}, 3.1, fault)["start_needed"]
    assert real.start({})[0]
    assert not real.check({}, 3.2, fault)
    assert not real.check({}, 3.3)


@pytest.mark.parametrize("kind", ["enable_silent", "stop_lock", "robot", "stop_missing"])
def test_what_people_say_needs_a_start_after_motion_however_short(real, kind):
    real.check({}, 0.0)
    real.check({kind: "released"}, 1.0)
    assert "start_needed" in real.check({}, 1.05)


@pytest.mark.parametrize("kind", ["enable_silent", "robot"])
def test_a_switch_that_is_closed_late_is_not_the_first_start(real, kind):
    real.check({kind: "never heard"}, 0.0)
    real.check({kind: "never heard"}, 0.1 + PROMPT_S)
    assert "start_needed" in real.check({}, 6.0)


def test_a_first_motion_that_comes_late_needs_a_start(real):
    real.check({"unheard": "nobody listens"}, 0.0)
    real.check({"unheard": "nobody listens"}, FIRST_S + 0.1)
    assert "start_needed" in real.check({}, FIRST_S + 0.2)
