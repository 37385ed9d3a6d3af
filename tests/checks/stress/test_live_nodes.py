"""The hostile node of `sql-ros fuzz` beside played nodes, and how their ends are counted.

The attack on real nodes is in tests/nodes/test_hostile.py.
"""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool, Trigger

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.processes import own_domain, start_process
from sql_ros.checks.stress import live_nodes
from sql_ros.checks.stress.live_nodes import SWITCHES, TOPICS, TRIGGERS, _HostileNode

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("own_domain")]
NAMES = ("learner", "actor")


class _PlayedNodes:
    """What the attacked nodes offer: topics whose messages are counted, and services."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.called: Counter[str] = Counter()
        self._listener = ListenerNode("played")
        node = self._listener.node
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        sender = _HostileNode()
        kinds = {topic: type(message) for topic, message in sender._sound.items()}
        sender.close()
        deep = QoSProfile(depth=1000)
        for topic in TOPICS:
            # bytes, because many of them are no message
            node.create_subscription(
                kinds[topic], topic, lambda _, name=topic: self.heard.update([name]), deep, raw=True
            )
        node.create_service(GetState, "learner/get_state", lambda _, response: response)
        node.create_service(SetParameters, "learner/set_parameters", self._count("set"))
        node.create_service(SetBool, "sim_bridge/set_pause", self._count("pause"))
        for name in TRIGGERS:
            node.create_service(Trigger, name, self._count("trigger"))
        self._listener.spin_in_thread()

    def _count(self, name: str):
        def respond(_, response):
            self.called[name] += 1
            return response

        return respond

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def played(monkeypatch):
    for name, value in own_domain().items():
        monkeypatch.setenv(name, value)
    nodes = _PlayedNodes()
    yield nodes
    nodes.close()


@pytest.fixture
def sender(played):
    node = _HostileNode()
    yield node
    node.close()


@pytest.fixture
def children(tmp_path):
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = {name: start_process(words, subprocess.DEVNULL) for name in NAMES}
    for name in NAMES:
        (tmp_path / f"{name}.log").write_text("first\nlast\n")
    yield started
    for child in started.values():
        child.kill()
        child.wait()


def _fault(name: str, key: str, value: int) -> DiagnosticArray:
    entries = [KeyValue(key=key, value=str(value)), KeyValue(key="steps", value="none")]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=entries)])


def test_hostile_cases_reach_every_topic_and_many_services(played, sender, children):
    publishers = [*sender._publishers.values()]
    topics = [each for each in publishers if each.topic_name.lstrip("/") not in SWITCHES]
    assert sender._listener.spin_until(
        lambda: all(each.get_subscription_count() for each in topics), 30.0
    )
    early_mib = live_nodes._send_cases(sender, children, 300, np.random.default_rng(0))
    assert set(early_mib) == set(NAMES)
    assert min(early_mib.values()) > 1.0
    assert sender._listener.spin_until(lambda: set(played.heard) == set(TOPICS), 30.0)
    assert sum(played.heard.values()) > 150
    children["actor"].kill()
    children["actor"].wait()
    sent = Counter(played.heard)
    assert live_nodes._send_cases(sender, children, 300, np.random.default_rng(0)) == {}
    assert sum((played.heard - sent).values()) <= 1  # it stops when a node has ended


def test_services_are_called_with_random_values(played, sender):
    rng = np.random.default_rng(0)
    for _ in range(100):
        sender.call_service(rng)
    names = {"set", "pause", "trigger"}
    for client in sender._clients.values():
        client.wait_for_service(0.05)
    for _ in range(100):
        sender.call_service(rng)
    assert sender._listener.spin_until(lambda: set(played.called) == names, 30.0)


def test_nodes_that_ended_or_do_not_answer_are_counted_apart(
    played, sender, children, tmp_path, monkeypatch
):
    monkeypatch.setattr(live_nodes, "ANSWER_S", 0.3)
    assert sender.answers("learner", 30.0)
    assert sender._listener.spin_until(lambda: played.diagnostics.get_subscription_count(), 30.0)
    for value in (3, 5):
        played.diagnostics.publish(_fault("learner: replay", "fault/replay_dropped", value))
    played.diagnostics.publish(_fault("actor: progress", "fault/progress_dropped", 2))
    assert sender._listener.spin_until(lambda: sender.faults() == 7, 30.0)  # the newest of each
    counts = live_nodes._counts(sender, children, 20, {}, tmp_path)
    assert (counts.refused, counts.taken) == (7, 13)
    assert (counts.crashed, counts.hung) == (0, 1)  # nobody answers for the actor
    assert counts.growth_mib > 1.0  # from 0
    children["actor"].kill()
    children["actor"].wait()
    counts = live_nodes._counts(sender, children, 20, {}, tmp_path)
    assert (counts.crashed, counts.hung) == (1, 0)
    assert counts.first == "actor ended with exit code -9: first\nlast"
