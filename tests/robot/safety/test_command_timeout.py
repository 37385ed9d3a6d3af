"""When a command watchdog sends zeros, in a time of the test's own."""

import pytest

from sql_ros.robot.safety.command_timeout import (
    BEAT,
    GAPS,
    ORPHAN_S,
    REST,
    TIMEOUT_S,
    HeartbeatMonitor,
    MonitorPhase,
    SilenceLimit,
)


def _monitor(*heard: tuple[bytes, float]) -> HeartbeatMonitor:
    monitor = HeartbeatMonitor(TIMEOUT_S)
    for words, at in heard:
        monitor.pass_time(at)
        monitor.heard(words, at)
    return monitor


def _silent_after(monitor: HeartbeatMonitor, beat: float) -> float:
    """Return how long after a beat zeros begin [s]; the vigil is asked every millisecond."""
    for millisecond in range(60_000):
        monitor.pass_time(beat + 1e-3 * millisecond)
        if monitor.sends_zeros:
            return 1e-3 * millisecond
    return float("inf")


@pytest.mark.parametrize(("gap_s", "expected_s"), [(0.05, 0.625), (0.4, 1.5), (2.0, 5.5)])
def test_silence_is_timed_by_the_pace_of_a_foreign_clock(gap_s, expected_s):
    monitor = HeartbeatMonitor(0.5, 2.5)
    for number in range(5):
        monitor.pass_time(number * gap_s)
        monitor.heard(BEAT, number * gap_s)
    assert _silent_after(monitor, 4 * gap_s) == pytest.approx(expected_s, abs=2e-3)


def test_one_stall_or_one_late_look_changes_no_timeout():
    limit = SilenceLimit(0.5, 2.0)
    for gap_s in (0.3, 0.3, 60.0, 0.3, 0.001, 0.3):
        limit.take(gap_s)
        assert limit.timeout_s in (0.5, pytest.approx(1.1))
    for _ in range(GAPS):
        limit.take(0.05)
    assert limit.timeout_s == pytest.approx(0.6)


def test_rest_is_no_gap_between_beats():
    monitor = HeartbeatMonitor(0.5, 2.5)
    for number in range(4):
        monitor.heard(BEAT, 10.0 * number)
        monitor.heard(REST, 10.0 * number + 0.05)
    monitor.heard(BEAT, 40.0)
    assert _silent_after(monitor, 40.0) < 0.7


@pytest.mark.parametrize(
    ("heard", "until", "phase", "sends"),
    [
        ([], 9.0, MonitorPhase.RESTING, False),
        ([(b"", 1.0)], 1.0, MonitorPhase.ENDED, False),
        ([(BEAT, 1.0)], 1.1, MonitorPhase.WATCHING, False),
        ([(BEAT, 1.0)], 1.13, MonitorPhase.SILENT, True),
        ([(BEAT, 1.0), (BEAT, 1.1)], 1.2, MonitorPhase.WATCHING, False),
        ([(BEAT, 1.0), (BEAT, 2.0)], 2.1, MonitorPhase.WATCHING, False),
        ([(BEAT, 1.0), (b"", 1.05)], 1.06, MonitorPhase.ORPHANED, True),
        ([(BEAT, 1.0), (b"", 1.5)], 2.4, MonitorPhase.ORPHANED, True),
        ([(BEAT, 1.0), (b"", 1.5)], 1.51 + ORPHAN_S, MonitorPhase.ENDED, False),
        ([(BEAT, 1.0), (REST, 1.1)], 9.0, MonitorPhase.RESTING, False),
        ([(BEAT + BEAT + REST, 1.0)], 9.0, MonitorPhase.RESTING, False),
        ([(REST + BEAT, 1.0)], 1.2, MonitorPhase.SILENT, True),
        ([(BEAT, 1.0), (REST, 1.5), (b"", 2.0)], 2.0, MonitorPhase.ENDED, False),
    ],
)
def test_zeros_follow_silence_and_death_but_not_rest(heard, until, phase, sends):
    monitor = _monitor(*heard)
    monitor.pass_time(until)
    assert (monitor.phase, monitor.sends_zeros) == (phase, sends)
