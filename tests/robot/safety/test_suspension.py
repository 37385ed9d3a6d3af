"""A suspend of the computer is found by its clocks; a busy computer is none."""

import time

from sql_ros.robot.safety.suspension import Suspension


class Computer:
    """Two clocks; every reading takes a while."""

    def __init__(self) -> None:
        self.now, self.suspended, self.reading_s = 100.0, 7.0, 0.0

    def steady(self) -> float:
        self.now += self.reading_s
        return self.now

    def boot(self) -> float:
        return self.steady() + self.suspended


def test_a_suspend_is_told_once():
    computer = Computer()
    suspension = Suspension(computer.steady, computer.boot)
    assert suspension.suspended_s() == 0.0
    computer.suspended += 30.0
    assert round(suspension.suspended_s(), 6) == 30.0
    assert suspension.suspended_s() == 0.0
    computer.suspended += 0.5
    suspension.forget()
    assert suspension.suspended_s() == 0.0


def test_slow_readings_of_the_clocks_are_no_suspend():
    computer = Computer()
    suspension = Suspension(computer.steady, computer.boot)
    for reading_s in (0.0, 0.4, 0.0, 2.0, 0.0):
        computer.reading_s = reading_s
        assert suspension.suspended_s() == 0.0


def test_the_clocks_of_this_computer_can_be_compared():
    suspension = Suspension()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        assert suspension.suspended_s() == 0.0
