"""Real processes over real DDS, each test in a domain of its own; waits are for topics and conditions, never for time."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.nodes.messages import TRANSITION_FIELDS, Progress, progress_to_msg
from sql_ros.nodes.qos import RELIABLE, REPLAY

DOMAINS = 25  # of each of two workers, from 1 on; sql-ros bench, chaos and fuzz take those from 51 on
_first = 1 + DOMAINS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2)
_domains = itertools.cycle(range(_first, _first + DOMAINS))

FAST_LEARNER = {
    "trainer.warmup_transitions": 100,
    "trainer.replay_capacity": 20000,
    "trainer.updates_per_transition": 0.5,
    "algorithm.hidden_sizes": "[32, 32]",
    "algorithm.batch_size": 32,
    "threads": 1,
}


class PlayedLearner:
    """A learner that accepted the run and acknowledges what it hears, but never trains."""

    def __init__(self, node, session: str, *, acknowledges: bool) -> None:
        self._node, self._session = node, session
        self._acknowledged: dict[int, int] = {}
        self._publisher = node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
        if acknowledges:
            node.create_subscription(Float64MultiArray, "replay", self._on_replay, REPLAY)
        self._timer = node.create_timer(0.1, self.report)

    def report(self) -> None:
        """Publish progress once."""
        transitions = sum(self._acknowledged.values())
        progress = Progress(transitions, 0, 0, self._acknowledged, self._session)
        self._publisher.publish(progress_to_msg(progress))

    def stop(self) -> None:
        """Fall silent, as a learner that died."""
        self._node.destroy_timer(self._timer)

    def _on_replay(self, message) -> None:
        entry = dict(zip(TRANSITION_FIELDS, message.data))
        run, sequence = int(entry["run"]), int(entry["sequence"])
        self._acknowledged[run] = max(sequence, self._acknowledged.get(run, 0))


class Probe:
    """A node of the test's own, in the test's domain."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("probe", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._clients: dict = {}

    def listen(self, kind, topic: str, qos) -> list:
        """All messages of a topic from now on."""
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def play_learner(self, session: str = "", *, acknowledges: bool = True) -> PlayedLearner:
        """Play the learner that an actor in training waits for."""
        return PlayedLearner(self.node, session, acknowledges=acknowledges)

    def wait(self, condition, timeout: float = 60.0, what: str = ""):
        """Spins until a condition holds and returns its value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def spin_for(self, seconds: float) -> None:
        """Listens for a while, to show that something does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def _client(self, kind, name: str):
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        return self._clients[name]

    def call(self, kind, name: str, request):
        """Calls a service, again where no answer comes.

        A server that is ready may not have matched the way back to a new client yet, and its first answer is then lost; clients are
        kept, so this concerns the first call of a service only.
        """
        client = self._client(kind, name)
        self.wait(client.service_is_ready, what=name)
        for _ in range(10):
            future, deadline = client.call_async(request), time.monotonic() + 5.0
            self.wait(lambda: future.done() or time.monotonic() > deadline, what=name)  # noqa: B023  (used at once)
            if future.done():
                return future.result()
        raise AssertionError(f"no answer from {name}")

    def until_active(self, name: str) -> None:
        """Waits for the end of a node's activation: what it hears between its configuration and that it lets be."""
        self.wait(lambda: self.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label == "active", what=name)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


class Processes:
    """Children of a test, in its domain; what is still running at its end gets SIGINT."""

    def __init__(self, domain: int, folder: Path) -> None:
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder / "ros_log")}
        self._folder = folder
        self._running: list[subprocess.Popen] = []

    def node(self, executable: str, remappings: dict[str, str] | None = None, **parameters) -> subprocess.Popen:
        """Starts a node; `__` in a parameter name stands for a dot.

        The arm behind a command topic that is not remapped is played by the test.
        """
        if executable in ("actor", "trials") and "commands" not in (remappings or {}):
            parameters.setdefault("real_arm", False)
        words = [sys.executable, "-m", f"sql_ros.nodes.{executable}_node", "--ros-args"]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words += ["-p", f"{name.replace('__', '.')}:={text}"]
        for origin, target in (remappings or {}).items():
            words += ["-r", f"{origin}:={target}"]
        return self.start(words)

    def start(self, words: list[str], **options) -> subprocess.Popen:
        """Starts any command; its output goes to a file whose content `output` returns."""
        log = self._folder / f"process{len(self._running)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(words, env=self.environment, stdout=file, stderr=subprocess.STDOUT, **options)
        process.log = log
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen, number: int = signal.SIGINT, timeout: float = 60.0) -> int:
        """Sends a signal and waits for the end; what a process said that did not end well is shown with the failing test."""
        process.send_signal(number)
        code = process.wait(timeout)
        if code:
            print(process.log.read_text(errors="replace"))
        return code

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGINT)
        for process in self._running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture
def domain() -> int:
    return next(_domains)


@pytest.fixture
def processes(domain, tmp_path):
    running = Processes(domain, tmp_path)
    yield running
    running.close()


@pytest.fixture
def probe(domain):
    probe = Probe(domain)
    yield probe
    probe.close()


@pytest.fixture
def fast_learner() -> dict[str, object]:
    """Parameters of a learner that is small and quick."""
    return {name.replace(".", "__"): value for name, value in FAST_LEARNER.items()}
