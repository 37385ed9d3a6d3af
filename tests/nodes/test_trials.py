"""Trials through the real stack: the node, the bridge that plays the arm, an operator who is a
script.
"""

import csv
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, String, UInt8MultiArray
from std_srvs.srv import Trigger

from sql_ros.nodes.messages import disturbance_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.nodes.trials_node import TrialsNode
from sql_ros.robot.safety.request_age import staleness
from sql_ros.trials.disturbance import Disturbance

pytestmark = pytest.mark.stack
POLICY = Path(__file__).parents[2] / "config" / "policies" / "sawyer_stack.onnx"
TOPICS = {"commands": "sim_bridge/commands", "disturb": "sim_bridge/disturb"}


@pytest.fixture
def protocol(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "protocol.yaml"
        path.write_text(text)
        return str(path)

    return write


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _start(processes, tmp_path, protocol: str, **parameters):
    """Bridge and trials in lockstep."""
    processes.node("sim_bridge", task="sawyer_stack", realtime_factor=0.0)
    table = tmp_path / "rows" / "trials.csv"
    options = {
        "task": "sawyer_stack",
        "realtime_factor": 0.0,
        "policy": POLICY,
        "protocol": protocol,
        "csv": table,
        **parameters,
    }
    return processes.node("trials", TOPICS, **options), table


@pytest.mark.long
def test_a_session_through_the_bridge_does_what_it_says_and_ends(
    processes, probe, tmp_path, protocol
):
    diagnostics = probe.listen(DiagnosticArray, "/diagnostics", 50)
    text = (
        "repeats: 1\npush_n: [20]\npayload_kg: [0.1]\nlost_share: [0.1]\nmoved_m:"
        " [0.005]\ndelay_steps: [0]\n"
    )
    trials, table = _start(processes, tmp_path, protocol(text))
    probe.wait(lambda: trials.poll() is not None, timeout=480.0, what="the end of the session")
    assert trials.returncode == 0, trials.log.read_text()
    rows = _rows(table)
    assert [row["kind"] for row in rows] == [
        "undisturbed",
        "push",
        "payload",
        "delay",
        "lost_states",
        "moved_target",
    ]
    assert sum(row["success"] == "True" for row in rows) >= 4
    assert all(len(row["policy_sha256"]) == 64 for row in rows)
    values = [
        {e.key: e.value for e in s.values}
        for m in diagnostics
        for s in m.status
        if s.name == "sim_bridge: simulation"
    ]
    # five, and each over: the last perhaps after the end
    assert max(int(value.get("disturbances", 0)) for value in values) in (9, 10)


@pytest.mark.long
def test_an_operator_is_asked_to_push_and_the_push_is_recognised(
    processes, probe, tmp_path, protocol
):
    prompts = probe.listen(String, "trials/prompt", LATCHED)
    states = probe.listen(JointState, "joint_states", RELIABLE)
    hand = probe.node.create_publisher(Float64MultiArray, "sim_bridge/disturb", RELIABLE)
    trials, table = _start(
        processes,
        tmp_path,
        protocol("repeats: 1\nundisturbed: []\npush_n: [30]\nat_s: [4.0, 4.0]\n"),
        by_hand=True,
    )

    def until_asked(word: str) -> None:
        probe.wait(lambda: prompts and word in prompts[-1].data, timeout=480.0, what=word)

    until_asked("lay a hand on right_")
    states.clear()
    probe.wait(lambda: len(states) > 40, what="two seconds of the arm")
    assert np.ptp([state.position for state in states], axis=0).max() < 0.02
    assert "at most 0.25 m/s" in probe.call(Trigger, "trials/confirm", Trigger.Request()).message
    until_asked("push right_")
    assert not probe.call(Trigger, "trials/confirm", Trigger.Request()).success
    probe.wait(hand.get_subscription_count)
    hand.publish(
        disturbance_to_msg(Disturbance("push", 40.0, "right_l5", (0.0, 40.0, 0.0), 0.3, 0.1))
    )
    probe.wait(
        lambda: trials.poll() is not None or prompts[-1].data.startswith("step out"),
        timeout=480.0,
        what="the push seen",
    )
    probe.wait(lambda: trials.poll() is not None, timeout=480.0, what="the end of the session")
    (row,) = _rows(table)
    assert (row["kind"], row["size"]) == ("push", "30.0")


@pytest.mark.long
def test_an_aborted_session_keeps_what_was_measured_and_leaves_the_arm_held(
    processes, probe, tmp_path, protocol
):
    commands = probe.listen(Float64MultiArray, "sim_bridge/commands", RELIABLE)
    trials, table = _start(processes, tmp_path, protocol("repeats: 50\n"))
    probe.wait(lambda: table.exists() and len(_rows(table)) >= 2, timeout=480.0)
    assert "number" in probe.call(Trigger, "trials/skip", Trigger.Request()).message
    assert probe.call(Trigger, "trials/repeat", Trigger.Request()).success
    answer = probe.call(Trigger, "trials/abort", Trigger.Request())
    assert answer.message == "the session is over"
    probe.wait(lambda: trials.poll() is not None, what="the end of the session")
    assert trials.returncode == 0, trials.log.read_text()
    assert 2 <= len(_rows(table)) < 50
    assert not any(commands[-1].data)


@pytest.mark.long
def test_a_session_that_is_aborted_while_the_arm_is_stopped_ends(
    processes, probe, tmp_path, protocol
):
    trials, _ = _start(processes, tmp_path, protocol("repeats: 50\n"))
    probe.until_active("trials")
    # it may have commanded nothing yet: no success
    probe.call(Trigger, "actor/stop", Trigger.Request())
    assert probe.call(Trigger, "trials/abort", Trigger.Request()).message == "the session is over"
    probe.wait(lambda: trials.poll() is not None, timeout=80, what="the end of the session")
    assert trials.returncode == 0, trials.log.read_text()


@pytest.mark.long
def test_what_cannot_be_done_to_the_arm_is_counted(processes, probe):
    diagnostics = probe.listen(DiagnosticArray, "/diagnostics", 50)
    hand = probe.node.create_publisher(Float64MultiArray, "sim_bridge/disturb", RELIABLE)
    processes.node("sim_bridge", task="sawyer_stack", realtime_factor=0.0)
    probe.until_active("sim_bridge")
    probe.wait(hand.get_subscription_count)
    good = disturbance_to_msg(Disturbance("push", 10.0, "nobody", (1.0, 0.0, 0.0), 0.1))
    hand.publish(good)
    good.layout.dim[1] = MultiArrayDimension(label="earthquake", size=1, stride=1)
    hand.publish(good)
    hand.publish(Float64MultiArray(data=[1.0]))
    key = "fault/disturbance_dropped"
    probe.wait(
        lambda: [
            e
            for m in diagnostics
            for s in m.status
            for e in s.values
            if e.key == key and e.value == "3"
        ],
        what=key,
    )


@pytest.mark.long
def test_trials_without_a_policy_say_what_is_missing(processes):
    trials = processes.node("trials", TOPICS, task="sawyer_stack")
    assert trials.wait(240) == 2
    trials.until_said("policy")


def test_trials_that_cannot_be_done_to_the_arm_end_before_it_moves(processes, tmp_path, protocol):
    trials, table = _start(
        processes, tmp_path, protocol("push_n: [20]\npush_bodies: [right_l5, forearm_link]\n")
    )
    assert trials.wait(240) == 2
    trials.until_said("protocol.yaml: 'push_bodies' names 'forearm_link', but")
    assert not table.exists()


@pytest.mark.long
def test_a_trial_whose_push_nobody_takes_leaves_no_line(processes, probe, tmp_path, protocol):
    """As on a real arm without by_hand: states come, but there is no simulation behind them that
    could be pushed.
    """
    processes.node("sim_bridge", task="sawyer_stack", realtime_factor=0.0)
    table = tmp_path / "trials.csv"
    options = {
        "task": "sawyer_stack",
        "realtime_factor": 0.0,
        "policy": POLICY,
        "csv": table,
        "protocol": protocol("repeats: 1\npush_n: [20]\n"),
    }
    trials = processes.node("trials", {"commands": TOPICS["commands"]}, **options)
    probe.wait(lambda: trials.poll() is not None, timeout=480.0, what="the end of the session")
    assert trials.returncode == 0, trials.log.read_text()
    assert [row["kind"] for row in _rows(table)] == ["undisturbed"]
    trials.until_said("1 trials left out: no simulation takes /disturb")


@pytest.mark.long
def test_the_command_line_writes_a_report(processes, tmp_path, protocol):
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "trials",
        "--policy",
        str(POLICY),
        "--out",
        str(tmp_path / "out"),
    ]
    words += [
        "--protocol",
        protocol("repeats: 2\npush_n: [20]\n"),
        "--json",
        str(tmp_path / "figures.json"),
    ]
    command = processes.start(words, cwd=tmp_path)
    assert command.wait(480) == 0, command.log.read_text()
    assert {"report.md", "trials.csv", "success.png", "recovery.png", "figures.json"} <= set(
        os.listdir(tmp_path / "out")
    )
    assert "success_push" in (tmp_path / "figures.json").read_text()
    again = processes.start(words, cwd=tmp_path)
    assert again.wait(240) == 2
    again.until_said("--out")


def test_a_stop_holds_the_arm_and_the_trial_begins_anew(processes, probe, tmp_path, protocol):
    states = probe.listen(JointState, "joint_states", RELIABLE)
    trials, table = _start(processes, tmp_path, protocol("repeats: 3\n"))
    probe.wait(
        lambda: states and np.abs(states[-1].velocity).max() > 0.2, timeout=480.0, what="motion"
    )
    assert probe.call(Trigger, "actor/stop", Trigger.Request()).success
    probe.wait(lambda: np.abs(states[-1].velocity).max() < 0.01, what="rest")
    before = len(_rows(table)) if table.exists() else 0
    states.clear()
    probe.wait(lambda: len(states) > 200, what="200 control steps")  # of 750 that three trials take
    assert np.ptp([state.position for state in states], axis=0).max() < 0.02
    assert (len(_rows(table)) if table.exists() else 0) == before
    assert probe.call(Trigger, "actor/reset", Trigger.Request()).success
    states.clear()
    probe.wait(lambda: len(states) > 20, what="20 control steps")
    assert np.ptp([state.position for state in states], axis=0).max() < 0.02
    assert probe.call(Trigger, "actor/start", Trigger.Request()).success
    probe.wait(lambda: trials.poll() is not None, timeout=480.0, what="the end of the session")
    assert [row["repeat"] for row in _rows(table)] == ["0", "1", "2"]


@pytest.mark.long
def test_an_arm_thrown_about_in_real_time_did_not_recover_and_the_line_is_kept(
    processes, probe, tmp_path, protocol
):
    text = "repeats: 1\nundisturbed: []\npush_n: [600]\nat_s: [1.0, 1.0]\n"
    processes.node("sim_bridge", task="sawyer_stack", realtime_factor=1.0)
    table = tmp_path / "trials.csv"
    options = {
        "task": "sawyer_stack",
        "realtime_factor": 1.0,
        "policy": POLICY,
        "protocol": protocol(text),
        "csv": table,
    }
    trials = processes.node("trials", TOPICS, **options)
    probe.wait(lambda: trials.poll() is not None, timeout=480.0, what="the end of the session")
    (row,) = _rows(table)
    assert (row["kind"], row["success"]) == ("push", "False")


@pytest.mark.long
def test_trials_are_of_one_policy_whatever_a_learner_publishes(
    processes, probe, tmp_path, protocol
):
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    states = probe.listen(JointState, "joint_states", RELIABLE)
    _start(processes, tmp_path, protocol("repeats: 50\n"))
    probe.wait(lambda: len(states) > 20)
    assert not policies.get_subscription_count()


class _Confirmed:
    """What a `TrialsNode` needs to take a confirmation that was sent some time ago [s]."""

    def __init__(self, age_s: float) -> None:
        self._guard = SimpleNamespace(
            staleness=lambda source_ns: staleness(source_ns, time.time_ns())
        )
        self._lock = threading.Lock()
        self.serving = SimpleNamespace(source_ns=time.time_ns() - int(1e9 * age_s))
        self.runner = SimpleNamespace(confirm=lambda now: (True, "the arm moves"))


@pytest.mark.long
def test_a_confirmation_that_arrives_late_does_not_move_the_arm():
    assert TrialsNode._begin_confirm(_Confirmed(0.1))().success
    answer = TrialsNode._begin_confirm(_Confirmed(14.0))()
    assert not answer.success
    assert "asked 14.0 s ago" in answer.message


@pytest.mark.long
def test_a_confirmation_waits_for_a_control_step_and_holds_up_no_stop():
    """It is answered by the thread that answers stops; that asks again later."""
    node = _Confirmed(0.1)
    answer = TrialsNode._begin_confirm(node)
    with node._lock:
        assert answer() is None
    assert answer().success
