"""Counting periods; how long they take is measured by `sql-ros bench period`, not tested."""

import numpy as np

from sql_ros.robot import pacing
from sql_ros.robot.pacing import Pacer, PeriodMeter


class Clock:
    """Time that passes only when told to, in the place of the module's."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 9))
        self.now += seconds


def test_a_period_longer_than_two_is_a_missed_deadline(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    meter = PeriodMeter(0.01, capacity=4)
    for step in (0.0, 0.01, 0.01, 0.0201, 0.01):
        clock.now += step
        meter.tick()
    assert (meter.count, meter.missed) == (4, 1)
    np.testing.assert_allclose(meter.quantiles(), [0.01, 0.0198, 0.0201], atol=1e-4)


def test_a_pause_on_purpose_does_not_count(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    meter = PeriodMeter(0.01)
    meter.tick()
    meter.forget()
    clock.now += 5.0
    meter.tick()
    assert (meter.count, meter.missed, meter.quantiles()) == (0, 0, (0.0, 0.0, 0.0))


def test_deadlines_are_absolute_and_a_lost_one_is_not_caught_up_with_a_burst(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    pacer = Pacer(0.1)
    pacer.wait()
    clock.now += 0.03  # work
    pacer.wait()
    clock.now += 0.45  # far too long
    pacer.wait()
    pacer.wait()
    assert clock.slept == [0.1, 0.07, 0.1]
