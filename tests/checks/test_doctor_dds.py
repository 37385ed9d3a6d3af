"""The child processes of `sql-ros doctor`: one that hangs is ended, and says where it was."""

import pytest

from sql_ros.checks import doctor_dds
from sql_ros.checks.doctor_dds import UNMET, check_discovery, last_line, list_publishers
from sql_ros.checks.processes import own_domain

HANGING = "import time\ndef wait():\n    time.sleep(600)\nwait()"
DEAF = "import faulthandler, signal\nfaulthandler.disable()\n"
DEAF += "signal.signal(signal.SIGABRT, signal.SIG_IGN)\nprint('on', flush=True)\n"


def test_a_process_that_hangs_is_ended_and_its_line_named(monkeypatch):
    monkeypatch.setattr(doctor_dds, "TIMEOUT_S", 1.0)
    process = doctor_dds._start(HANGING)
    code, output = doctor_dds._finish(process)
    assert code == 1
    assert output == 'it did not end within 1 s: File "<string>", line 3 in wait'
    assert process.poll() is not None


def test_a_process_that_ignores_its_abort_is_killed(monkeypatch):
    monkeypatch.setattr(doctor_dds, "ABORT_S", 0.1)
    process = doctor_dds._start(DEAF + HANGING)
    assert process.stdout.readline() == "on\n"
    assert doctor_dds._abort(process) == "no stack"
    assert process.returncode == -9


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", (True, "")),
        (f"import sys; sys.exit({UNMET})", (False, "")),
        ("print('first'); raise OSError('no folder')", (False, "OSError: no folder")),
    ],
    ids=["met", "not met", "could not run"],
)
def test_processes_meet_or_not_or_cannot_run(monkeypatch, code, expected):
    monkeypatch.setattr(doctor_dds, "TALK", code)
    assert check_discovery() == expected


def test_a_listener_that_cannot_run_is_no_empty_network(monkeypatch):
    monkeypatch.setattr(doctor_dds, "LISTEN", "import sys; sys.exit('no network')")
    assert list_publishers() == ({}, [], "no network")
    found = {"states": {"/joint_states": ["driver"]}, "nodes": ["driver", "rviz"]}
    monkeypatch.setattr(doctor_dds, "LISTEN", f"import json; print(json.dumps({found}))")
    assert list_publishers() == (found["states"], found["nodes"], "")


def test_the_last_line_is_the_last_with_text():
    assert last_line("first\n last \n\n") == "last"
    assert last_line("\n") == "no output"


@pytest.mark.stack
def test_a_shutdown_that_hangs_does_not_hide_that_two_processes_met(monkeypatch):
    for name, value in own_domain().items():
        monkeypatch.setenv(name, value)
    talk = doctor_dds.TALK.replace("rclpy.shutdown()", "time.sleep(600)")
    assert talk != doctor_dds.TALK
    monkeypatch.setattr(doctor_dds, "TALK", talk.replace("Timer(CLEAN_END_S", "Timer(0.2"))
    assert check_discovery() == (True, "")


@pytest.mark.stack
def test_a_listener_is_not_listed_as_a_publisher(monkeypatch):
    for name, value in own_domain().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor_dds, "LISTEN", doctor_dds.LISTEN.replace("+ 3.0", "+ 0.5"))
    states, nodes, error = list_publishers()
    assert (states, error) == ({}, "")
    assert "sql_ros_doctor" in nodes
