"""Which process is started again."""

import signal

import pytest

from sql_ros.common.child_process import ACTIVE, report_active
from sql_ros.common.errors import CONFIG_EXIT_CODE
from sql_ros.stack.processes import NodeProcess
from sql_ros.stack.restarts import MOST_RESTARTS, Restarts


@pytest.fixture
def marker(tmp_path, monkeypatch):
    path = tmp_path / ".learner.active"
    monkeypatch.setenv(ACTIVE, str(path))
    return path


def test_a_crash_after_activation_is_a_reason_to_start_again(marker):
    restarts = Restarts(NodeProcess("learner", {}, respawns=True), marker)
    report_active()
    assert restarts.allow(1)
    assert restarts.allow(-signal.SIGKILL)


@pytest.mark.parametrize("code", [1, -signal.SIGKILL, -signal.SIGSEGV])
def test_a_crash_before_activation_is_not(marker, code):
    restarts = Restarts(NodeProcess("learner", {}, respawns=True), marker)
    assert not restarts.allow(code)
    report_active()
    assert restarts.allow(code)
    restarts.begin()  # its next process
    assert not restarts.allow(code)


@pytest.mark.parametrize("code", [0, CONFIG_EXIT_CODE])
def test_an_end_in_order_or_a_refusal_is_not(marker, code):
    restarts = Restarts(NodeProcess("learner", {}, respawns=True), marker)
    report_active()
    assert not restarts.allow(code)


def test_a_process_that_is_not_to_come_back_does_not(marker):
    report_active()
    assert not Restarts(NodeProcess("actor", {}), marker).allow(1)


def test_a_process_that_crashes_again_and_again_is_given_up(marker):
    restarts = Restarts(NodeProcess("learner", {}, respawns=True), marker)
    report_active()
    assert [restarts.allow(1) for _ in range(MOST_RESTARTS + 1)] == [True] * MOST_RESTARTS + [False]


def test_an_end_by_a_signal_before_activation_says_what_to_do(marker):
    restarts = Restarts(NodeProcess("learner", {}, respawns=True), marker)
    said = restarts.describe(-signal.SIGKILL)
    assert said.startswith(
        "learner ended with exit code -9 (SIGKILL) before it was active. The kernel kills"
    )
    assert "trainer.replay_capacity" in said
    report_active()
    assert restarts.describe(-signal.SIGKILL) == "learner ended with exit code -9 (SIGKILL)"
