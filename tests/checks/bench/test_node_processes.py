"""The reports that a measurement keeps, and why one ends early."""

import subprocess
import sys
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import UInt64MultiArray

from sql_ros.checks.bench import node_processes
from sql_ros.checks.bench.lockstep import measure_lockstep
from sql_ros.checks.bench.node_processes import _ActorReports, _collect, _explain_end
from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.processes import own_domain, start_process
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.messages import progress_from_msg
from sql_ros.nodes.qos import RELIABLE


@pytest.fixture
def children():
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = {"actor": start_process(words, subprocess.DEVNULL)}
    yield started
    for child in started.values():
        child.kill()
        child.wait()


def _message(steps: int, name: str = "actor: control") -> DiagnosticArray:
    values = {"control_steps": str(steps), "realtime/SCHED_FIFO": "granted"} if steps >= 0 else {}
    entries = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=entries)])


def test_reports_are_kept_once_the_loop_has_settled(children, monkeypatch):
    monkeypatch.setattr(node_processes, "SETTLE_S", 0.02)
    watched = []
    reports = _ActorReports(children, 0.51, watched.append)
    reports.on_diagnostics(_message(-1))  # before the actor is active
    reports.on_diagnostics(_message(0))
    assert reports.settled_at is None
    reports.on_diagnostics(_message(1))
    assert reports.settled_at is not None
    time.sleep(0.03)
    reports.on_diagnostics(_message(99, name="learner: training"))
    assert not reports.has_enough
    reports.on_diagnostics(_message(2))
    reports.on_diagnostics(_message(7))
    assert not reports.has_enough
    time.sleep(0.02)
    reports.on_diagnostics(_message(9))
    assert reports.has_enough
    kept, used_s = reports.result()
    assert [report["control_steps"] for report in kept] == [2.0, 7.0, 9.0]
    assert kept[0]["realtime/SCHED_FIFO"] == "granted"
    assert kept[0]["received_s"] <= kept[1]["received_s"]
    assert set(used_s) == {"actor", "stolen"}
    assert watched == [{"actor": children["actor"].pid}] * 5


@pytest.mark.parametrize(
    ("steps", "text"), [(0, "no control steps"), (1, "1 times, expected once per second")]
)
def test_too_few_reports_are_an_error_that_names_the_doctor(children, monkeypatch, steps, text):
    monkeypatch.setattr(node_processes, "SETTLE_S", 0.0)
    reports = _ActorReports(children, 1.0, lambda pids: None)
    reports.on_diagnostics(_message(steps))
    with pytest.raises(ConfigError, match=f"reported {text}: does `sql-ros doctor`"):
        reports.result()


def test_a_node_that_ended_is_named_with_its_last_line(children, tmp_path):
    (tmp_path / "actor").write_text("first\nConfigError: a period of 0 s\n\n")
    _explain_end(children, tmp_path)  # all run
    children["actor"].kill()
    children["actor"].wait()
    reports = _ActorReports(children, 1.0, lambda pids: None)
    reports.on_diagnostics(_message(5))  # has no CPU time any more
    with pytest.raises(ConfigError, match="a node ended"):
        reports.result()
    with pytest.raises(ConfigError, match="actor ended: ConfigError: a period of 0 s"):
        _explain_end(children, tmp_path)
    (tmp_path / "actor").write_text("")
    with pytest.raises(ConfigError, match="actor ended: exit code -9"):
        _explain_end(children, tmp_path)


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_reports_are_collected_beside_a_played_learner(children, monkeypatch):
    """An actor is played that makes control steps once a learner has accepted the run."""
    for name, value in {"SETTLE_S": 0.05, "REPORT_S": 0.05}.items():
        monkeypatch.setattr(node_processes, name, value)
    for name, value in own_domain().items():
        monkeypatch.setenv(name, value)
    accepted = []
    steps = [0]
    actor = ListenerNode("played_actor")
    publisher = actor.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    actor.node.create_subscription(UInt64MultiArray, "learner/progress", accepted.append, RELIABLE)

    def report() -> None:
        steps[0] += 5 if accepted else 0
        publisher.publish(_message(steps[0]))

    actor.node.create_timer(0.02, report)
    actor.spin_in_thread()
    try:
        reports, _ = _collect(children, 0.3, lambda pids: None)
    finally:
        actor.close()
    assert progress_from_msg(accepted[0]).transitions == 0
    span_s = reports[-1]["received_s"] - reports[0]["received_s"]
    assert span_s > 0.25
    assert reports[0]["control_steps"] > 0
    made = [report["control_steps"] for report in reports]
    assert made == sorted(made)


def test_lockstep_counts_steps_between_the_first_and_the_last_report(monkeypatch):
    def run(task, nodes, seconds):
        assert nodes["actor"].parameters["learner_patience_s"] == 0.0
        assert "learner" not in nodes
        counts = ((10.0, 100.0), (11.0, 300.0), (12.0, 700.0))
        return [{"received_s": at, "control_steps": steps} for at, steps in counts], {}

    monkeypatch.setattr("sql_ros.checks.bench.lockstep.run_nodes", run)
    assert measure_lockstep("sawyer_reach", 2.0, 0) == {"lockstep_steps_per_s": 300.0}
