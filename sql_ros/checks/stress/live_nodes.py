"""Hostile messages, bytes and service requests for running nodes: learner, actor and simulated arm,
over DDS.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import serialize_message
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.processes import end_process, memory_mib, node_command, start_process
from sql_ros.checks.stress.fuzz import FuzzCounts
from sql_ros.checks.stress.mutations import TEXTS, altered_bytes, altered_message, sound_messages
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.qos import REPLAY
from sql_ros.robot.tasks import load_task

LIVE = "nodes"
TASK = "sawyer_reach"
NODES = ("learner", "sim_bridge", "actor")
TOPICS = {
    "replay": "transition",
    "policy": "policy",
    "learner/progress": "progress",
    "actor/episodes": "episode",
    "sim_bridge/commands": "command",
    "sim_bridge/disturb": "disturbance",
    "joint_states": "state",
    "target": "target",
}
SWITCHES = ("actor/emergency_stop", "actor/stop_lock", "actor/enable")
TRIGGERS = ("actor/stop", "actor/reset", "actor/start", "sim_bridge/reset_world")
SMALL_LEARNER = {
    "trainer.warmup_transitions": 100_000,
    "algorithm.hidden_sizes": [16, 16],
    "trainer.replay_capacity": 20_000,
}
BURST = 20  # messages between two pauses; DDS would drop some of a faster stream
PAUSE_S = 0.01
REQUEST_SHARE = 0.05  # share of the cases that call a service
RAW_SHARE = 0.3  # share of the messages that are sent as altered bytes
START_S = 60.0  # longest start of a node
ANSWER_S = 10.0  # longest wait for a node's answer after the attack
RETRY_S = 2.0  # time after which a request is repeated
REPORT_S = 3.0  # time in which the last diagnostics arrive
END_S = 30.0  # longest end of a node


def attack_nodes(cases: int, seed: int, folder: Path) -> FuzzCounts:
    """Start the nodes, send hostile messages and requests to them, and end them.

    Uses the DDS domain that the environment of this process names.

    Args:
        cases: Number of messages and requests.
        seed: Seed of their choice.
        folder: Existing folder for the logs of the nodes.

    Returns:
        Counts with other meanings than for a target in this process. `refused`: faults that the
        nodes reported. `taken`: the other cases. `crashed`: nodes that ended. `hung`: nodes that
        did not answer afterwards. `growth_mib`: the largest growth of a node's memory. `first`: the
        first node that ended, in words.

    Raises:
        ConfigError: A node did not answer within `START_S` after its start.
    """
    with contextlib.ExitStack() as exits:
        nodes = {name: _start(name, folder, exits) for name in NODES}
        sender = _HostileNode()
        exits.callback(sender.close)
        for name in NODES:
            if not sender.answers(name, START_S):
                raise ConfigError(f"{name} did not start: {_log_end(folder, name)}")
        early_mib = _send_cases(sender, nodes, cases, np.random.default_rng([seed, 1000]))
        sender.spin_for(REPORT_S)
        return _counts(sender, nodes, cases, early_mib, folder)


def _send_cases(
    sender: _HostileNode,
    nodes: Mapping[str, subprocess.Popen[bytes]],
    cases: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Send the cases one after another; stop early if a node ends.

    Args:
        sender: Node that sends.
        nodes: Processes of the nodes by name.
        cases: Number of messages and requests.
        rng: Draws them.

    Returns:
        Memory of each node after a third of the cases [MiB]; empty if a node ended before.
    """
    early_mib: dict[str, float] = {}
    for number in range(cases):
        if number == cases // 3:
            early_mib = {name: memory_mib(child.pid) for name, child in nodes.items()}
        if rng.random() < REQUEST_SHARE:
            sender.call_service(rng)
        else:
            sender.publish_altered(rng)
        if number % BURST == 0:
            sender.spin_for(PAUSE_S)
        if any(child.poll() is not None for child in nodes.values()):
            break
    return early_mib


def _counts(
    sender: _HostileNode,
    nodes: Mapping[str, subprocess.Popen[bytes]],
    cases: int,
    early_mib: Mapping[str, float],
    folder: Path,
) -> FuzzCounts:
    """Return the counts of an attack that has been made, with the meanings that `attack_nodes`
    says.

    Asks each running node for its state. A node that does not answer within `ANSWER_S` hangs.

    Args:
        sender: Node that sent the cases and received the diagnostics.
        nodes: Processes of the nodes by name.
        cases: Number of cases.
        early_mib: Memory of each node during the attack [MiB]; a missing node counts from 0.
        folder: Folder with the logs of the nodes.
    """
    counts = FuzzCounts()
    for name, child in nodes.items():
        if child.poll() is not None:
            counts.crashed += 1
            end = f"{name} ended with exit code {child.returncode}: {_log_end(folder, name)}"
            counts.first = counts.first or end
            continue
        counts.hung += int(not sender.answers(name, ANSWER_S))
        growth_mib = memory_mib(child.pid) - early_mib.get(name, 0.0)
        counts.growth_mib = max(counts.growth_mib, growth_mib)
    counts.refused = sender.faults()
    counts.taken = max(cases - counts.refused, 0)
    return counts


class _HostileNode:
    """Node that publishes messages and calls services as no well-behaved node would.

    It also counts the faults in the diagnostics of the attacked nodes.
    """

    def __init__(self) -> None:
        self._listener = ListenerNode("hostile")
        node = self._listener.node
        sound = sound_messages(load_task(TASK))
        self._sound = {topic: sound[kind] for topic, kind in TOPICS.items()}
        types = {topic: type(message) for topic, message in self._sound.items()}
        types |= dict.fromkeys(SWITCHES, Bool)
        self._publishers = {
            topic: node.create_publisher(kind, topic, REPLAY) for topic, kind in types.items()
        }
        self._fault_counts: dict[str, int] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._clients: dict[str, Any] = {}

    def close(self) -> None:
        """Destroy the node."""
        self._listener.close()

    def spin_for(self, seconds: float) -> None:
        """Receive diagnostics and answers for a time.

        Args:
            seconds: Length of the time [s].
        """
        self._listener.spin_for(seconds)

    def publish_altered(self, rng: np.random.Generator) -> None:
        """Publish one message on a random topic: an altered message or, with probability
        `RAW_SHARE`, its altered bytes.

        A switch gets a random Boolean instead of an altered message. Bytes that DDS refuses to send
        are drawn anew.

        Args:
            rng: Draws topic and alteration.
        """
        topics = [*TOPICS, *SWITCHES]
        topic = topics[rng.integers(len(topics))]
        if topic in SWITCHES:
            message: Any = Bool(data=bool(rng.integers(2)))
        else:
            message = altered_message(rng, self._sound[topic])
        if rng.random() >= RAW_SHARE:
            self._publishers[topic].publish(message)
            return
        while True:
            try:
                self._publishers[topic].publish(altered_bytes(rng, serialize_message(message)))
                return
            except rclpy_implementation.RCLError:  # DDS refuses to send some byte strings
                continue

    def call_service(self, rng: np.random.Generator) -> None:
        """Call a random service with random values, without waiting for the answer: set or get
        parameters of a node, one of `TRIGGERS`, or pause or step the simulation.

        Args:
            rng: Draws node, service and values.
        """
        name = NODES[rng.integers(len(NODES))]
        text = TEXTS[rng.integers(len(TEXTS))]
        value = ParameterValue(
            type=int(rng.integers(0, 256)),
            integer_value=int(rng.integers(-(2**63), 2**63)),
            string_value=text,
        )
        named = Parameter(name=text, value=value)
        seed = Parameter(name="seed", value=value)
        requests: tuple[Callable[[], tuple[Any, str, Any]], ...] = (
            lambda: (
                SetParameters,
                f"{name}/set_parameters",
                SetParameters.Request(parameters=[named]),
            ),
            lambda: (
                SetParameters,
                f"{name}/set_parameters",
                SetParameters.Request(parameters=[seed] * 20),
            ),
            lambda: (
                GetParameters,
                f"{name}/get_parameters",
                GetParameters.Request(names=[text] * int(rng.integers(50))),
            ),
            lambda: (Trigger, TRIGGERS[rng.integers(len(TRIGGERS))], Trigger.Request()),
            lambda: (SetBool, "sim_bridge/set_pause", SetBool.Request(data=bool(rng.integers(2)))),
            lambda: (Trigger, "sim_bridge/step_simulation", Trigger.Request()),
        )
        kind, service, request = requests[rng.integers(len(requests))]()
        self._client_of(kind, service).call_async(request)

    def answers(self, node: str, timeout_s: float) -> bool:
        """Return whether a node answers a request for its lifecycle state.

        Args:
            node: Name of the node.
            timeout_s: Longest wait; the request is repeated every `RETRY_S` [s].
        """
        client = self._client_of(GetState, f"{node}/get_state")
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0.0:
            future = client.call_async(GetState.Request())
            if self._listener.spin_until(future.done, min(RETRY_S, left_s)):
                return True
        return False

    def faults(self) -> int:
        """Return the sum of the fault counts that the nodes have reported last."""
        return sum(self._fault_counts.values())

    def _client_of(self, kind: Any, service: str) -> Any:
        """Return the client of a service, created at its first use.

        Args:
            kind: Type of the service.
            service: Name of the service.
        """
        if service not in self._clients:
            self._clients[service] = self._listener.node.create_client(kind, service)
        return self._clients[service]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the newest value of each entry whose key begins with "fault/", by status and key."""
        for status in message.status:
            for entry in status.values:
                if entry.key.startswith("fault/"):
                    self._fault_counts[f"{status.name} {entry.key}"] = int(entry.value)


def _start(name: str, folder: Path, exits: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    """Start a node whose output goes to a file.

    Args:
        name: One of `NODES`.
        folder: Folder for the file.
        exits: Exit stack that ends the process and closes the file.
    """
    parameters: dict[str, object] = {"task": TASK}
    if name == "learner":
        parameters |= SMALL_LEARNER
    remappings = {"commands": "sim_bridge/commands"} if name == "actor" else {}
    output = exits.enter_context((folder / f"{name}.log").open("wb"))
    words = node_command(name, parameters, remappings)
    child = start_process(words, output, environment=os.environ)
    exits.callback(end_process, child, END_S)
    return child


def _log_end(folder: Path, name: str) -> str:
    """Return the last 15 lines of a node's output.

    Args:
        folder: Folder with the output of the nodes.
        name: One of `NODES`.
    """
    lines = (folder / f"{name}.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-15:])
