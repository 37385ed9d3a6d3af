"""Processes of checks: command lines, and an end that is certain."""

import signal
import subprocess
import sys

from sql_ros.checks.processes import await_end, end_process, node_command, start_process
from sql_ros.common.child_process import python_words


def test_parameters_and_remappings_stand_behind_ros_args():
    words = node_command("actor", {"seed": 3, "real_arm": False}, {"commands": "other"})
    first = [*python_words(), "-m", "sql_ros.nodes.actor_node"]
    assert words[: len(first)] == first
    assert words[len(first) :] == [
        "--ros-args",
        "-p",
        "seed:=3",
        "-p",
        "real_arm:=false",
        "-r",
        "commands:=other",
    ]


def test_a_process_reads_nothing_and_writes_to_its_log(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = start_process([sys.executable, "-c", "input()"], log)
    await_end(process, 60.0)  # its stdin is empty
    assert process.returncode == 1
    assert "EOFError" in (tmp_path / "log").read_text()


def test_a_process_that_ignores_the_signal_is_killed(tmp_path):
    process = start_process(["sleep", "60"], subprocess.DEVNULL, prepare=_ignore_sigint)
    end_process(process, 0.1)
    assert process.returncode == -9


def _ignore_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
