"""The monitor over real DDS: what comes and cannot be written must not end it, and with it the
stack.
"""

import json
import signal
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Float64MultiArray, UInt8MultiArray, UInt64MultiArray

from sql_ros.nodes.messages import Progress, episode_to_msg, policy_to_msg, progress_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY
from sql_ros.robot.control.step import EpisodeSummary

pytestmark = pytest.mark.stack


@pytest.fixture
def send_episodes(probe):
    """`send_episodes(3)` publishes so many, as an actor does, to a monitor that is there."""
    publisher = probe.node.create_publisher(Float64MultiArray, "actor/episodes", REPLAY)

    def send(count: int) -> None:
        probe.wait(publisher.get_subscription_count)
        for index in range(count):
            publisher.publish(episode_to_msg(EpisodeSummary(index, 100, 120, -50.0, True, 0.1, 1)))

    return send


@pytest.fixture
def statuses(probe):
    """`statuses()`: the statuses of the monitor on /diagnostics."""
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    return lambda: [s for r in reports for s in r.status if s.name == "monitor: evaluation"]


@pytest.fixture
def faults(statuses):
    """`faults()`: how often what is counted on /diagnostics of the monitor, as last heard."""

    def heard() -> dict[str, int]:
        return {
            e.key: int(e.value)
            for s in statuses()[-1:]
            for e in s.values
            if e.key.startswith(("fault/", "output_"))
        }

    return heard


def _report(node: str, **values: str) -> DiagnosticArray:
    entries = [KeyValue(key=key.replace("__", "/"), value=value) for key, value in values.items()]
    status = DiagnosticStatus(
        name=f"{node}: status",
        hardware_id=f"/{node}",
        message="holding, state_bad: 91 rad",
        values=entries,
    )
    return DiagnosticArray(status=[status])


@pytest.mark.long
def test_diagnostics_of_an_inactive_actor_and_of_others_do_not_end_the_run(
    processes, probe, send_episodes, tmp_path
):
    monitor = processes.node("monitor", run_dir=tmp_path)
    diagnostics = probe.node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def said() -> bool:
        diagnostics.publish(_report("actor", fault__state_dropped="3"))
        diagnostics.publish(_report("gripper", fault__heat="2"))
        diagnostics.publish(_report("right/actor", fault__state_dropped="7"))
        diagnostics.publish(
            _report("sim_bridge", fault__grip="many", fault__slip="nan", fault__target_dropped="2")
        )
        diagnostics.publish(_report("learner", q_loss="large", temperature="0.5"))
        text = monitor.log.read_text()
        return (
            "actor holding, state_bad: 91 rad" in text
            and "faults actor state_dropped 3, sim_bridge target_dropped 2\n" in text
        ) or monitor.poll() is not None

    probe.wait(said)
    send_episodes(1)
    probe.wait(lambda: (tmp_path / "metrics.jsonl").read_text())
    assert processes.stop(monitor) == 0
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (line["temperature"], "q_loss" in line) == (0.5, False)
    assert (
        "- faults counted by the nodes: actor state_dropped: 3, sim_bridge target_dropped: 2\n"
        in (tmp_path / "report.md").read_text()
    )


@pytest.mark.long
def test_a_policy_that_cannot_be_evaluated_ends_neither_the_run_nor_its_report(
    processes, probe, send_episodes, faults, overflowing, tmp_path
):
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    policies.publish(policy_to_msg(overflowing))
    monitor = processes.node("monitor", run_dir=tmp_path, evaluation_period=1)
    send_episodes(1)
    probe.wait(lambda: faults().get("fault/policy_not_evaluated") == 1)
    assert processes.stop(monitor) == 0
    assert "The policy was not evaluated." in (tmp_path / "report.md").read_text()


@pytest.mark.long
def test_what_is_no_episode_is_dropped_and_counted(
    processes, probe, send_episodes, faults, tmp_path
):
    publisher = probe.node.create_publisher(Float64MultiArray, "actor/episodes", REPLAY)
    for _ in range(2):  # their sum is no double
        publisher.publish(episode_to_msg(EpisodeSummary(0, 100, int(1e308), 1e308, True, 1e308, 1)))
    monitor = processes.node("monitor", run_dir=tmp_path)
    send_episodes(1)
    probe.wait(lambda: faults().get("fault/episode_dropped") == 2)
    probe.wait(lambda: (tmp_path / "metrics.jsonl").read_text())
    assert processes.stop(monitor) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["training_episodes"] == 1


@pytest.mark.long
def test_a_stdout_that_takes_nothing_ends_neither_the_run_nor_its_report(
    processes, probe, send_episodes, faults, tmp_path
):
    processes.environment["PYTHONUNBUFFERED"] = "1"  # as `sql-ros up` starts it
    words = [
        sys.executable,
        "-m",
        "sql_ros.nodes.monitor_node",
        "--ros-args",
        "-p",
        f"run_dir:={tmp_path}",
    ]
    monitor = processes.start(["sh", "-c", 'exec "$0" "$@" > /dev/full', *words])
    send_episodes(1)
    probe.wait(lambda: faults().get("output_dropped_bytes") or monitor.poll() is not None)
    assert processes.stop(monitor) == 0
    assert (tmp_path / "report.md").is_file()


@pytest.mark.long
def test_metrics_that_cannot_be_written_are_counted_said_once_and_do_not_end_the_run(
    processes, probe, send_episodes, faults, tmp_path
):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    monitor = processes.node("monitor", run_dir=tmp_path)
    send_episodes(3)
    probe.wait(lambda: faults().get("fault/metrics_lost") == 3)
    assert processes.stop(monitor) == 0
    assert monitor.log.read_text().count("metrics_lost (1 so far): [Errno 28]") == 1
    assert "metrics_lost (2" not in monitor.log.read_text()
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["training_episodes"] == 3


def test_a_report_that_cannot_be_written_is_one_line_and_counted(
    processes, probe, send_episodes, statuses, faults, tmp_path
):
    (tmp_path / "figures.json").mkdir()
    monitor = processes.node("monitor", run_dir=tmp_path)
    send_episodes(1)
    probe.wait(lambda: (tmp_path / "metrics.jsonl").read_text())
    probe.wait(statuses, what="a status of the monitor")
    monitor.send_signal(signal.SIGINT)
    probe.wait(lambda: faults().get("fault/report_failed") == 1)
    assert monitor.wait(240) == 2
    monitor.until_said(f"SqlRosError: the report in {tmp_path} is incomplete: [Errno 21]")
    assert "Traceback" not in monitor.log.read_text()


@pytest.mark.long
def test_a_run_whose_metrics_end_in_a_torn_line_can_be_resumed(
    processes, probe, send_episodes, tmp_path
):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"kind": "episode", "wall_s": 9.0, "robot_minutes": 7.5}\n{"kind": "epi')
    monitor = processes.node("monitor", run_dir=tmp_path)
    send_episodes(1)
    probe.wait(lambda: metrics.read_text().endswith("}\n"))
    assert processes.stop(monitor) == 0
    # 120 steps at 20 Hz later
    assert json.loads(metrics.read_text().splitlines()[-1])["robot_minutes"] == 7.6


@pytest.mark.long
def test_after_play_on_a_real_arm_nothing_is_simulated(
    processes, probe, send_episodes, untrained, tmp_path
):
    """The end is quick, and the report has no simulated figures."""
    (tmp_path / "policy.onnx").write_bytes(untrained())
    given = {"mode": "play", "real_arm": True, "policy": tmp_path / "policy.onnx"}
    monitor = processes.node("monitor", run_dir=tmp_path / "run", evaluation_episodes=1000, **given)
    send_episodes(1)
    probe.wait(lambda: (tmp_path / "run" / "metrics.jsonl").read_text())
    assert processes.stop(monitor) == 0
    assert "for the report" not in monitor.log.read_text()
    figures = json.loads((tmp_path / "run" / "figures.json").read_text())["figures"]
    assert figures["real_episodes"] == 1
    assert not [name for name in figures if name.startswith("simulated_")]


@pytest.mark.long
def test_robot_time_counts_on_for_the_next_session_while_the_report_is_made(
    processes, probe, send_episodes, untrained, tmp_path
):
    progress = probe.node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    policies.publish(policy_to_msg(untrained()))
    monitor = processes.node(
        "monitor",
        run_dir=tmp_path,
        most_transitions=100,
        evaluation_period=1000,
        evaluation_episodes=1000,
    )
    send_episodes(1)
    probe.wait(lambda: (tmp_path / "metrics.jsonl").read_text())
    progress.publish(progress_to_msg(Progress(100, 0, 1, {})))
    probe.wait(lambda: "for the report ..." in monitor.log.read_text())
    send_episodes(2)  # the arm goes on until the monitor has ended
    assert monitor.wait(240) == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["robot_minutes"] for line in lines if line["kind"] == "episode"] == [0.1, 0.2, 0.3]
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert (figures["training_episodes"], figures["robot_minutes"]) == (1, 0.1)
