"""Who may stop the arm, and what it takes to let it go again."""

import threading

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import EMERGENCY_STOP, ENABLE, STOP_LOCK
from sql_ros.robot.safety.stop_latch import StopLatch


class Latch(StopLatch):
    """A latch with one switch of each kind."""

    def __init__(self, lock_timeout_s: float, enable_timeout_s: float) -> None:
        super().__init__()
        self._button = self.switch(EMERGENCY_STOP, "/actor/emergency_stop")
        self._lock = self.switch(STOP_LOCK, "/actor/stop_lock", lock_timeout_s)
        self._enable = self.switch(ENABLE, "/actor/enable", enable_timeout_s)

    def emergency_stop(self, pressed: bool) -> None:
        self.take(self._button, pressed, 0.0)

    def lock(self, locked: bool, now: float) -> None:
        self.take(self._lock, locked, now)

    def enable(self, enabled: bool, now: float) -> None:
        self.take(self._enable, enabled, now)


def test_nothing_required_and_nothing_said_is_no_reason():
    assert not Latch(0.0, 0.0).reasons(100.0)


def test_a_stop_stays_until_it_is_reset():
    latch = Latch(0.0, 0.0)
    latch.stop("somebody called")
    assert "stop" in latch.reasons(1e6)
    assert latch.reset(1e6) == (True, "released: somebody called; ~/start moves the arm")
    assert not latch.reasons(1e6)
    assert latch.reset(1e6) == (True, "was not stopped")


def test_the_emergency_stop_latches_and_cannot_be_reset_while_pressed():
    latch = Latch(0.0, 0.0)
    latch.emergency_stop(True)
    assert set(latch.reasons(0.0)) == {"emergency_stop", "stop"}
    assert latch.reset(0.0) == (
        False,
        "still stopped: the emergency stop is pressed (/actor/emergency_stop)",
    )
    latch.emergency_stop(False)
    assert set(latch.reasons(0.0)) == {"stop"}
    assert latch.reset(0.0)[0]
    assert not latch.reasons(0.0)


def test_an_emergency_stop_pressed_while_a_stop_is_reset_is_not_reset_with_it(monkeypatch):
    latch = Latch(0.0, 0.0)
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


def test_of_several_publishers_no_false_ends_the_stop_of_another():
    for kind in (EMERGENCY_STOP, STOP_LOCK):
        latch = StopLatch()
        switch = latch.switch(kind, "/stop")
        latch.take(switch, True, 0.0)
        switch.several = "/stop has 2 publishers"
        latch.take(switch, False, 0.0)
        assert {kind, "stop_shared"} <= set(latch.reasons(0.0))
        switch.several = ""
        assert kind in latch.reasons(0.0)  # whose publisher may have left
        assert not latch.reset(0.0)[0]
        latch.take(switch, False, 0.0)
        assert latch.reset(0.0)[0]
        assert not latch.reasons(0.0)


def test_a_topic_with_several_publishers_stops_whatever_was_said():
    latch = Latch(0.0, 0.2)
    latch.enable(True, 0.0)
    assert not latch.reasons(0.0)
    latch._enable.several = "/actor/enable has 2 publishers"
    assert set(latch.reasons(0.0)) == {"stop_shared"}
    assert latch.reset(0.0) == (False, "still stopped: /actor/enable has 2 publishers")


def test_a_lock_latches_nothing_and_opens_with_the_next_false():
    latch = Latch(0.0, 0.0)
    latch.lock(True, 0.0)
    assert set(latch.reasons(1e6)) == {"stop_lock"}  # not required, so its silence changes nothing
    latch.lock(False, 1e6)
    assert not latch.reasons(2e6)


def test_a_stop_cannot_be_reset_while_the_lock_is_closed():
    latch = Latch(0.0, 0.0)
    latch.stop("somebody called")
    latch.lock(True, 0.0)
    assert latch.reset(0.1) == (False, "still stopped: the stop lock is closed (/actor/stop_lock)")
    latch.lock(False, 0.2)
    assert latch.reset(0.3)[0]


def test_a_required_lock_is_closed_before_it_is_heard_and_once_it_falls_silent():
    latch = Latch(0.5, 0.0)
    assert "never heard" in latch.reasons(0.0)["stop_lock"]
    latch.lock(False, 1.0)
    assert not latch.reasons(1.5)
    assert "no word from /actor/stop_lock for 0.501 s" in latch.reasons(1.501)["stop_lock"]
    latch.lock(False, 2.0)
    assert not latch.reasons(2.0)


def test_a_deadmans_switch_must_be_refreshed_with_true():
    latch = Latch(0.0, 0.2)
    assert "enable_silent" in latch.reasons(0.0)
    latch.enable(True, 1.0)
    assert not latch.reasons(1.2)
    assert "enable_silent" in latch.reasons(1.201)
    latch.enable(True, 2.0)
    latch.enable(False, 2.1)
    assert "enable_silent" in latch.reasons(2.1)


def test_what_the_robot_says_is_a_reason_while_it_says_it():
    latch = Latch(0.0, 0.0)
    latch.take_robot_report("the robot is not enabled", 0.0)
    assert latch.reasons(0.0) == {"robot": "the robot is not enabled"}
    latch.stop("somebody called")
    assert not latch.reset(0.0)[0]
    latch.take_robot_report("", 0.0)
    assert latch.reset(0.0)[0]


def test_a_robot_that_is_to_speak_and_does_not_is_a_reason():
    latch = Latch(0.0, 0.0)
    latch.expect_robot(1.0)
    assert "never heard" in latch.reasons(0.0)["robot"]
    latch.take_robot_report("", 1.0)
    assert not latch.reasons(2.0)
    assert "no word from the robot" in latch.reasons(2.1)["robot"]


def test_of_two_buttons_each_stops_the_arm_and_is_named():
    latch = StopLatch()
    first = latch.switch(EMERGENCY_STOP, "/hall/stop", 0.5)
    second = latch.switch(EMERGENCY_STOP, "/cell/stop", 0.5)
    latch.take(first, True, 0.0)
    latch.take(second, False, 0.1)
    assert latch.reasons(0.2)["emergency_stop"] == "the emergency stop is pressed (/hall/stop)"
    assert not latch.reset(0.2)[0]
    latch.take(first, False, 0.3)
    assert latch.reset(0.3)[0]
    assert not latch.reasons(0.5)


def test_a_required_emergency_stop_must_be_heard_and_go_on_to_be():
    latch = StopLatch()
    button = latch.switch(EMERGENCY_STOP, "/cell/stop", 0.5)
    assert latch.reasons(0.0) == {"stop_missing": "/cell/stop was never heard"}
    latch.take(button, False, 1.0)
    assert not latch.reasons(1.5)
    assert "no word from /cell/stop for 0.600 s" in latch.reasons(1.6)["stop_missing"]
    latch.stop("called")
    assert not latch.reset(1.6)[0]


@pytest.mark.parametrize("kind", [EMERGENCY_STOP, STOP_LOCK, ENABLE])
def test_who_publishes_a_required_switch_wrongly_holds_the_arm(kind):
    latch = StopLatch()
    switch, other = latch.switch(kind, "/required", 0.5), latch.switch(kind, "/other")
    latch.take(switch, kind == ENABLE, 1.0)
    switch.complaint = other.complaint = "nobody publishes"
    assert latch.reasons(1.1) == {"stop_missing": "nobody publishes"}
    switch.complaint = ""
    assert not latch.reasons(1.1)


def test_what_was_read_late_is_as_old_as_it_is():
    latch = StopLatch()
    switch = latch.switch(ENABLE, "/enable", 0.2)
    latch.take(switch, True, 10.0, late_s=1.5)
    assert "read 1.500 s later than usual" in latch.reasons(10.0)["enable_silent"]
    latch.take(switch, True, 10.1, late_s=0.05)
    assert not latch.reasons(10.2)


def test_a_switch_is_required_by_the_shorter_deadline():
    latch = StopLatch()
    for deadline in (0.5, 0.2, 0.4):
        switch = latch.switch(STOP_LOCK, "/lock", deadline)
    latch.take(switch, False, 0.0)
    assert not latch.reasons(0.2)
    assert latch.reasons(0.21)


def test_a_topic_is_one_kind_of_stop():
    """An emergency stop on the deadman's topic was taken for permission."""
    latch = StopLatch()
    latch.switch(ENABLE, "/actor/enable")
    with pytest.raises(
        ConfigError, match="/actor/enable is enable already and cannot be emergency_stop, too"
    ):
        latch.switch(EMERGENCY_STOP, "/actor/enable")
