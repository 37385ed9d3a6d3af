"""Who may stop the arm, and what it takes to let it go again."""

import threading

from sql_ros.robot.latch import StopLatch


def test_nothing_required_and_nothing_said_is_no_reason():
    assert not StopLatch(0.0, 0.0).reasons(100.0)


def test_a_stop_stays_until_it_is_reset():
    latch = StopLatch(0.0, 0.0)
    latch.stop("somebody called")
    assert "stop" in latch.reasons(1e6)
    assert latch.reset(1e6) == (True, "released: somebody called")
    assert not latch.reasons(1e6)
    assert latch.reset(1e6) == (True, "was not stopped")


def test_the_emergency_stop_latches_and_cannot_be_reset_while_pressed():
    latch = StopLatch(0.0, 0.0)
    latch.emergency_stop(True)
    assert set(latch.reasons(0.0)) == {"emergency_stop", "stop"}
    assert latch.reset(0.0) == (False, "still stopped: the emergency stop is pressed")
    latch.emergency_stop(False)
    assert set(latch.reasons(0.0)) == {"stop"}
    assert latch.reset(0.0)[0]
    assert not latch.reasons(0.0)


def test_an_emergency_stop_pressed_while_a_stop_is_reset_is_not_reset_with_it(monkeypatch):
    latch = StopLatch(0.0, 0.0)
    latch.stop("somebody called")
    press, reasons = threading.Thread(target=latch.emergency_stop, args=(True,)), latch.reasons

    def meanwhile(now):
        found = reasons(now)
        press.start()
        press.join(0.2)
        return found

    monkeypatch.setattr(latch, "reasons", meanwhile)
    latch.reset(0.0)
    monkeypatch.undo()
    press.join()
    latch.emergency_stop(False)
    assert set(latch.reasons(0.0)) == {"stop"}


def test_a_lock_latches_nothing_and_opens_with_the_next_false():
    latch = StopLatch(0.0, 0.0)
    latch.lock(True, 0.0)
    assert set(latch.reasons(1e6)) == {"stop_lock"}  # not required, so its silence changes nothing
    latch.lock(False, 1e6)
    assert not latch.reasons(2e6)


def test_a_stop_cannot_be_reset_while_the_lock_is_closed():
    latch = StopLatch(0.0, 0.0)
    latch.stop("somebody called")
    latch.lock(True, 0.0)
    assert latch.reset(0.1) == (False, "still stopped: the stop lock is closed")
    latch.lock(False, 0.2)
    assert latch.reset(0.3)[0]


def test_a_required_lock_is_closed_before_it_is_heard_and_once_it_falls_silent():
    latch = StopLatch(0.5, 0.0)
    assert "never heard" in latch.reasons(0.0)["stop_lock"]
    latch.lock(False, 1.0)
    assert not latch.reasons(1.5)
    assert "no word from the stop lock for 0.501 s" in latch.reasons(1.501)["stop_lock"]
    latch.lock(False, 2.0)
    assert not latch.reasons(2.0)


def test_a_deadmans_switch_must_be_refreshed_with_true():
    latch = StopLatch(0.0, 0.2)
    assert "enable_silent" in latch.reasons(0.0)
    latch.enable(True, 1.0)
    assert not latch.reasons(1.2)
    assert "enable_silent" in latch.reasons(1.201)
    latch.enable(True, 2.0)
    latch.enable(False, 2.1)
    assert "enable_silent" in latch.reasons(2.1)


def test_what_the_robot_says_is_a_reason_while_it_says_it():
    latch = StopLatch(0.0, 0.0)
    latch.robot("the robot is not enabled", 0.0)
    assert latch.reasons(0.0) == {"robot": "the robot is not enabled"}
    latch.stop("somebody called")
    assert not latch.reset(0.0)[0]
    latch.robot("", 0.0)
    assert latch.reset(0.0)[0]


def test_a_robot_that_is_to_speak_and_does_not_is_a_reason():
    latch = StopLatch(0.0, 0.0)
    latch.expect_robot(1.0)
    assert "never heard" in latch.reasons(0.0)["robot"]
    latch.robot("", 1.0)
    assert not latch.reasons(2.0)
    assert "no word from the robot" in latch.reasons(2.1)["robot"]
