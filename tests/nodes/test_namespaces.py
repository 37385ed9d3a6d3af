"""Two arms in two namespaces of one domain: each stack sees itself alone."""

import sys

import pytest
from diagnostic_msgs.msg import DiagnosticArray

pytestmark = [pytest.mark.stack, pytest.mark.long]


def _up(processes, folder, **arguments):
    given = {"task": "sawyer_reach", "run_dir": folder, "realtime_factor": "1", **arguments}
    words = [sys.executable, "-m", "sql_ros.cli.main", "up", "sawyer_stack"]
    return processes.start([*words, *(f"{name}:={value}" for name, value in given.items())])


def test_two_namespaces_are_told_apart_by_status_and_monitor(processes, probe, tmp_path):
    """The left arm makes a dry run, the right one explores."""
    processes.environment["PYTHONUNBUFFERED"] = "1"
    reports = probe.listen(DiagnosticArray, "/diagnostics", 100)
    left = _up(processes, tmp_path / "left", namespace="left", dry_run="true")
    right = _up(processes, tmp_path / "right", namespace="right")

    def names() -> set[str]:
        return {status.name for report in reports for status in report.status}

    components = {
        "actor: control",
        "learner: training",
        "sim_bridge: simulation",
        "monitor: evaluation",
    }
    wanted = {f"{side}/{component}" for side in ("left", "right") for component in components}
    probe.wait(lambda: names() >= wanted, what="statuses of both stacks")
    probe.wait(lambda: "actor dry run" in left.log.read_text(), what="left monitor")
    probe.wait(lambda: "actor exploring" in right.log.read_text(), what="right monitor")
    assert names() == wanted
    clocks = [
        name
        for name, kinds in probe.node.get_topic_names_and_types()
        if "rosgraph_msgs/msg/Clock" in kinds
    ]
    assert sorted(set(clocks)) == ["/left/clock", "/right/clock"]
    assert "actor exploring" not in left.log.read_text()
    assert "actor dry run" not in right.log.read_text()
    assert processes.stop(left) == 0
    assert processes.stop(right) == 0
