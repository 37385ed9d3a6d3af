"""A few of the signals of `python -m sql_ros.checks.stress.signals`.

The long form is that command.
"""

import signal

import pytest

from sql_ros.checks.stress.signals import (
    END,
    FIRST_DOMAIN,
    MOMENTS,
    START,
    WORK,
    SignalCase,
    SignalResult,
    SignalResults,
    send_signals,
)

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.xdist_group("own_domain")]


def test_no_signal_at_a_random_moment_is_lost(tmp_path):
    results = SignalResults(
        list(
            send_signals(12, 0, FIRST_DOMAIN, tmp_path, {"ROS_LOG_DIR": str(tmp_path / "ros_log")})
        )
    )
    assert len(results.all) == 12
    assert {outcome.case.moment for outcome in results.all} == set(MOMENTS)
    assert not results.lost
    assert all(outcome.code == 0 for outcome in results.all if outcome.case.moment == WORK)


def test_a_signal_whose_process_runs_on_is_lost():
    taken = SignalResult(SignalCase(START, signal.SIGINT, 0.5), 0.2, -2, "")
    lost = SignalResult(SignalCase(END, signal.SIGTERM, 0.5), float("inf"), -6, "")
    figures = SignalResults([taken, lost]).figures()
    assert figures["signals"] == 2
    assert figures["lost"] == 1
    assert figures["ended_max_s"] == 0.2
