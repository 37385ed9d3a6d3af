"""Counting periods; how long they take is measured by `sql-ros bench actor`, not tested."""

import itertools
import math

import numpy as np
import pytest

from sql_ros.robot.control import step_schedule as pacing
from sql_ros.robot.control.step_schedule import (
    Overload,
    Pacer,
    PeriodMeter,
    Samples,
    Schedule,
    declared_lateness_s,
)


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


def test_a_late_command_is_missed_and_so_is_every_deadline_given_up(
    monkeypatch,
):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    meter = PeriodMeter(0.01)
    for step, lateness in (
        (0.0, 0.0),
        (0.01, 0.002),
        (0.01, 0.0099),
        (0.0201, 0.0101),
        (0.03, 0.035),
    ):
        clock.now += step
        meter.tick(lateness)
    assert (meter.count, meter.missed) == (4, 1 + 3)
    np.testing.assert_allclose(meter.periods.quantiles(0.0, 1.0), [0.01, 0.03])
    np.testing.assert_allclose(meter.jitter.quantiles(0.0, 1.0), [0.0, 0.02], atol=1e-12)


def test_quantiles_are_of_the_last_values_kept():
    samples = Samples(3)
    assert samples.quantiles(0.5, 1.0) == [0.0, 0.0]
    for value in (100.0, 1.0, 2.0, 3.0):
        samples.add(value)
    assert samples.quantiles(0.0, 0.5, 1.0) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("offset", [0.0, 0.0021, 0.005, 0.0099])
def test_steps_are_due_with_the_state_nearest_to_the_deadline_and_come_to_follow_it(
    monkeypatch, offset
):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    schedule, steps = Schedule(0.05), []
    for k in range(4000):  # states every 10 ms by a clock that runs 0.1 % slow
        clock.now = 100.0 + offset + 0.01001 * k
        if schedule.is_due(clock.now, 0.01):
            steps.append((k, clock.now - schedule.due))
            schedule.stepped(clock.now, by_state=True)
    assert {after - before for (before, _), (after, _) in itertools.pairwise(steps[5:])} == {5}
    assert abs(steps[-1][1]) < 0.002


def test_a_loop_that_began_just_before_the_states_comes_to_wait_for_them(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    schedule, by_state = Schedule(0.05), []
    for k in range(200):
        arrival = 100.07 + 0.05 * k
        while schedule.due + 0.002 < arrival:
            clock.now = schedule.due + 0.002
            by_state.append(False)
            schedule.stepped(clock.now, by_state=False)
        clock.now = arrival
        if schedule.is_due(arrival, 0.05):
            by_state.append(True)
            schedule.stepped(arrival, by_state=True)
    assert not all(by_state[:10])
    assert all(by_state[-100:])


def test_without_a_state_a_step_is_overdue_and_long_gaps_give_deadlines_up(
    monkeypatch,
):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    schedule = Schedule(0.1)
    assert schedule.left_s(100.05) == pytest.approx(0.052)
    assert schedule.left_s(100.1021) == 0.0
    clock.now = 100.102
    schedule.stepped(clock.now, by_state=False)
    assert schedule.due == pytest.approx(100.202)
    clock.now = 101.0
    schedule.stepped(clock.now, by_state=False)
    assert schedule.due == pytest.approx(101.1)


def test_no_step_is_caught_up_after_a_late_one():
    """A trajectory controller that gets two commands 10 ms apart moves at twice the speed."""
    schedule = Schedule(0.05, now=0.0)
    schedule.stepped(0.09, by_state=False)
    assert schedule.due == pytest.approx(0.14)
    assert not schedule.is_due(0.115, 0.05)
    assert schedule.is_due(0.1301, 0.05)
    schedule.stepped(0.14 + 0.013, by_state=True)
    assert schedule.due == pytest.approx(0.203)


@pytest.mark.parametrize("rate", [20.0, 125.0, 500.0])
@pytest.mark.parametrize("every", [1.0, 0.1], ids=["a state per step", "ten states per step"])
def test_two_steps_are_never_nearer_than_three_quarters(rate, every):
    """States come up to a period late, and the loop wakes as late."""
    rng, period = np.random.default_rng(0), 1.0 / rate
    schedule, steps, woken = Schedule(period, now=0.0), [], 0.0
    arrivals = np.sort(
        (np.arange(1.0, 4000.0, every) + rng.exponential(0.2, int(3999 / every))) * period
    )
    for arrived in arrivals:
        while (overdue := schedule.due + min(0.25 * period, 2e-3)) < arrived:
            woken = max(overdue + rng.exponential(0.1) * period, woken)
            steps.append(woken)
            schedule.stepped(woken, by_state=False)
        now = max(arrived, woken)
        if schedule.is_due(now, every * period):
            steps.append(now)
            schedule.stepped(now, by_state=True)
    between = np.diff(steps) / period
    assert between.min() >= 0.75 - 1e-9
    assert between.mean() < 1.2


@pytest.mark.parametrize("rate", [20.0, 500.0])
def test_punctual_steps_keep_the_rate_of_the_states(rate):
    """Jitter of a tenth of a period is punctual."""
    rng, period, steps = np.random.default_rng(0), 1.0 / rate, []
    schedule = Schedule(period, now=0.0)
    for arrived in (np.arange(1, 2001) + rng.uniform(-0.1, 0.1, 2000)) * period:
        while (overdue := schedule.due + min(0.25 * period, 2e-3)) < arrived:
            steps.append(overdue)
            schedule.stepped(overdue, by_state=False)
        if schedule.is_due(arrived, period):
            steps.append(arrived)
            schedule.stepped(arrived, by_state=True)
    assert np.mean(np.diff(steps)) == pytest.approx(period, rel=5e-3)


def test_a_clock_that_comes_in_steps_keeps_its_rate():
    """/clock every 20 ms, control every 50 ms: steps wait for the clock, and are not late."""
    schedule, steps = Schedule(0.05, now=0.0, is_coarse=True), []
    for now in 0.02 * np.arange(1, 2001):
        if schedule.left_s(now) == 0.0:
            steps.append(now)
            schedule.stepped(now, by_state=False)
    assert np.mean(np.diff(steps)) == pytest.approx(0.05, rel=0.03)


def test_a_pause_on_purpose_does_not_count(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    meter = PeriodMeter(0.01)
    meter.tick()
    meter.forget()
    clock.now += 5.0
    meter.tick()
    assert (meter.count, meter.missed) == (0, 0)


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


def test_the_declared_lateness_is_half_a_period_or_20_ms_and_no_more_than_the_limit():
    assert declared_lateness_s(0.1, 1.0) == 0.05
    assert declared_lateness_s(0.002, 1.0) == 0.02
    assert declared_lateness_s(0.1, 0.01) == 0.01


def _overloaded_after(
    lateness: float, period: float = 0.002, seconds: float = 10.0, every: int = 1
) -> float:
    """Return when a loop is found to be overloaded [s]; every so many steps are so late [s]."""
    overload, now = Overload(period), 0.0
    for step in range(round(seconds / period)):
        is_late = step % every == 0
        now += period + (lateness if is_late else 0.0)
        if overload.is_noticed(now, lateness if is_late else 0.0):
            return now
        if now > seconds:
            break
    return math.inf


def test_a_loop_that_is_late_all_the_time_is_overloaded_within_a_second():
    assert 0.5 < _overloaded_after(0.008) < 1.0


@pytest.mark.parametrize(("lateness", "every"), [(0.0019, 1), (0.01, 50), (0.3, 1000)])
def test_a_loop_that_is_late_now_and_then_is_not_overloaded(lateness, every):
    assert _overloaded_after(lateness, every=every) == math.inf


def test_an_early_step_moves_the_next_one_a_period_away():
    schedule = Schedule(0.05, 100.0)
    schedule.interrupt(100.02)
    assert schedule.due == pytest.approx(100.07)
    assert not schedule.is_due(100.05, 0.01)
    assert schedule.is_due(100.069, 0.01)
