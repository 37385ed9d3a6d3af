"""Hostile messages, bytes and requests for nodes that run: learner, actor and simulated arm, over DDS, in a domain of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import serialize_message
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from sql_ros.cli.bench import memory_mib
from sql_ros.cli.fuzz import Outcome
from sql_ros.cli.fuzz_cases import TEXTS, altered_bytes, altered_message, sound_messages
from sql_ros.core.errors import ConfigError
from sql_ros.core.parent import ending_with_this_process
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
BURST, PAUSE_S = 20, 0.01  # so that they are heard, not dropped by DDS for being too many
REQUEST_SHARE, RAW_SHARE = 0.05, 0.3  # of the cases: services; of the messages: bytes that are none
ANSWER_S = 10.0


def attack_nodes(cases: int, seed: int, folder: Path) -> Outcome:
    """Sends so many cases. Taken: nodes still answer for; refused: those that they counted as wrong; crashed: nodes that ended.

    Raises:
        ConfigError: the nodes did not start.
    """
    outcome, rng = Outcome(), np.random.default_rng([seed, 1000])
    with contextlib.ExitStack() as stack:
        nodes = {name: _start(name, folder, stack) for name in NODES}
        crowd = _Crowd(stack)
        for name in NODES:
            if not crowd.answers(name, 60.0):
                raise ConfigError(f"{name} did not start: {_said(folder, name)}")
        before: dict[str, float] = {}
        for number in range(cases):
            if number == cases // 3:
                before = {name: memory_mib(child.pid) for name, child in nodes.items()}
            if rng.random() < REQUEST_SHARE:
                crowd.request(rng)
            else:
                crowd.say(rng)
            if number % BURST == 0:
                crowd.spin(PAUSE_S)
            if any(child.poll() is not None for child in nodes.values()):
                break
        crowd.spin(3.0)  # the last diagnostics
        for name, child in nodes.items():
            if child.poll() is not None:
                outcome.crashed += 1
                outcome.first = outcome.first or f"{name} ended with exit code {child.returncode}: {_said(folder, name)}"
            else:
                outcome.hung += int(not crowd.answers(name, ANSWER_S))
                outcome.growth_mib = max(outcome.growth_mib, memory_mib(child.pid) - before.get(name, 0.0))
        outcome.refused = crowd.faults()
        outcome.taken = max(cases - outcome.refused, 0)
    return outcome


class _Crowd:
    """Everybody who is hostile, in one node."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        context = rclpy.Context()
        rclpy.init(context=context)
        self._node = rclpy.create_node("crowd", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        for undo in (context.try_shutdown, self._node.destroy_node, self._executor.shutdown):
            stack.callback(undo)
        self._sound = {topic: sound_messages(load_task(TASK))[kind] for topic, kind in TOPICS.items()}
        self._publishers = {topic: self._node.create_publisher(type(message), topic, REPLAY) for topic, message in self._sound.items()}
        self._publishers |= {topic: self._node.create_publisher(Bool, topic, REPLAY) for topic in SWITCHES}
        self._counted: dict[str, int] = {}
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._clients: dict[str, Any] = {}

    def say(self, rng: np.random.Generator) -> None:
        """Publishes something on some topic."""
        topic = [*TOPICS, *SWITCHES][rng.integers(len(TOPICS) + len(SWITCHES))]
        message = Bool(data=bool(rng.integers(2))) if topic in SWITCHES else altered_message(rng, self._sound[topic])
        if rng.random() >= RAW_SHARE:
            self._publishers[topic].publish(message)
            return
        while True:
            try:
                self._publishers[topic].publish(altered_bytes(rng, serialize_message(message)))
                return
            except rclpy_implementation.RCLError:  # some bytes DDS does not even send
                continue

    def request(self, rng: np.random.Generator) -> None:
        """Asks some service for something."""
        name, text = NODES[rng.integers(len(NODES))], TEXTS[rng.integers(len(TEXTS))]
        value = ParameterValue(type=int(rng.integers(0, 256)), integer_value=int(rng.integers(-(2**63), 2**63)), string_value=text)
        requests: tuple[Callable[[], tuple[Any, str, Any]], ...] = (
            lambda: (SetParameters, f"{name}/set_parameters", SetParameters.Request(parameters=[Parameter(name=text, value=value)])),
            lambda: (SetParameters, f"{name}/set_parameters", SetParameters.Request(parameters=[Parameter(name="seed", value=value)] * 20)),
            lambda: (GetParameters, f"{name}/get_parameters", GetParameters.Request(names=[text] * int(rng.integers(50)))),
            lambda: (Trigger, ("actor/stop", "actor/reset", "sim_bridge/reset_world")[rng.integers(3)], Trigger.Request()),
            lambda: (SetBool, "sim_bridge/set_pause", SetBool.Request(data=bool(rng.integers(2)))),
            lambda: (Trigger, "sim_bridge/step_simulation", Trigger.Request()),
        )
        kind, service, request = requests[rng.integers(len(requests))]()
        self._client(kind, service).call_async(request)

    def answers(self, node: str, seconds: float) -> bool:
        """A node says how it is, in time."""
        client, deadline = self._client(GetState, f"{node}/get_state"), time.monotonic() + seconds
        while time.monotonic() < deadline:
            future = client.call_async(GetState.Request())
            once = min(time.monotonic() + 2.0, deadline)
            while time.monotonic() < once and not future.done():
                self._executor.spin_once(timeout_sec=0.05)
            if future.done():
                return True
        return False

    def spin(self, seconds: float) -> None:
        """Listens for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.01)

    def faults(self) -> int:
        """As counted by the nodes themselves."""
        return sum(self._counted.values())

    def _client(self, kind: Any, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, service)
        return self._clients[service]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for entry in status.values:
                if entry.key.startswith("fault/"):
                    self._counted[f"{status.name} {entry.key}"] = int(entry.value)


def _start(name: str, folder: Path, stack: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    small = {"trainer.warmup_transitions": "100000", "algorithm.hidden_sizes": "[16, 16]", "trainer.replay_capacity": "20000"}
    words = [word for key, value in small.items() for word in ("-p", f"{key}:={value}")] if name == "learner" else []
    words += ["-r", "commands:=sim_bridge/commands"] if name == "actor" else []
    command = [sys.executable, "-m", f"sql_ros.nodes.{name}_node", "--ros-args", "-p", f"task:={TASK}", *words]
    output = stack.enter_context((folder / f"{name}.log").open("wb"))
    child = subprocess.Popen(command, env=dict(os.environ), stdout=output, stderr=subprocess.STDOUT, preexec_fn=ending_with_this_process())
    stack.callback(_end, child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def _said(folder: Path, name: str) -> str:
    return "\n".join((folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
