"""Real processes over real DDS, each test in a domain of its own.

Waits are for topics and conditions, never for time.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
import yaml
from lifecycle_msgs.srv import GetState
from preloaded import ForkedProcess, Preloader
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.checks.played_latency import store_played_latency
from sql_ros.common.data_files import find_file
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.messages import TRANSITION_FIELDS, Progress, progress_to_msg
from sql_ros.nodes.qos import RELIABLE, REPLAY
from sql_ros.robot.controllers import MODES
from sql_ros.robot.measured import (
    MeasuredArm,
    description_digest,
    measured_arm,
    record_path,
    resolved_topic,
)
from sql_ros.robot.robot_file import load_robot

ROBOTS = ("sawyer", "ur5e")
# of each of two workers, from 1 on; sql-ros bench, chaos and fuzz take those from 51 on
DOMAINS = 25
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

    def wait(self, condition, timeout: float = 240.0, what: str = ""):
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

        A server that is ready may not have matched the way back to a new client yet, and its first
        answer is then lost; clients are kept, so this concerns the first call of a service only.
        """
        client = self._client(kind, name)
        self.wait(client.service_is_ready, what=name)
        for _ in range(10):
            future, deadline = client.call_async(request), time.monotonic() + 5.0
            self.wait(
                lambda: future.done() or time.monotonic() > deadline,  # noqa: B023  (used at once)
                what=name,
            )
            if future.done():
                return future.result()
        raise AssertionError(f"no answer from {name}")

    def until_active(self, name: str) -> None:
        """Waits for the end of a node's activation: what it hears between its configuration and
        that it lets be.
        """
        self.wait(
            lambda: (
                self.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label
                == "active"
            ),
            what=name,
        )

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def _topic(robot_file: Path, mode: str) -> str:
    """Return the topic of a robot file's controller; that of nothing where it has none."""
    controllers = load_robot(str(robot_file)).controllers
    return controllers[mode].command_topic if mode in controllers else "commands"


def _arm(robot_file: Path, mode: str, topic: str, prefix: str, domain: int) -> MeasuredArm:
    """Return an arm as an actor with these parameters commands it."""
    robot = load_robot(str(robot_file))
    prefix = prefix or robot.joint_prefix
    joints = [prefix + joint for joint in robot.joints]
    description = _description_of(robot_file, robot_file.read_bytes())
    return measured_arm(robot_file, mode, topic, joints, domain, description)


@functools.lru_cache
def _description_of(robot_file: Path, _: bytes) -> bytes:
    """Return the hash of a description, by the content of the robot file.

    A test that writes an MJCF gives it a name of its own.
    """
    return description_digest(robot_file)


class _Output:
    """What a process writes to its output, a file.

    A node passes its output on in threads of its own: a line can reach the file after the answer
    that it belongs to.
    """

    log: Path

    def until_said(self, text: str, count: int = 1, timeout: float = 240.0) -> None:
        """Wait until the output has a text so often; a process that ended says no more."""
        deadline = time.monotonic() + timeout
        while True:
            has_ended = self.poll() is not None
            said = self.log.read_text(errors="replace")
            if said.count(text) >= count:
                break
            can_come = not has_ended and time.monotonic() < deadline
            assert can_come, f"expected {count} x {text!r} in: {said}"
            time.sleep(0.02)


class Process(_Output, subprocess.Popen):
    """A child that was started from the command line."""


class PreloadedProcess(_Output, ForkedProcess):
    """A node whose third-party imports were done before it was started."""


# environment: each test has its own
OWN = {"PYTEST_CURRENT_TEST", "ROS_DOMAIN_ID", "ROS_LOG_DIR", "XDG_STATE_HOME"}
_ROBOT = tuple(f"sql_ros.nodes.{name}_node" for name in ("actor", "sim_bridge", "trials"))
PRELOADS = "SQL_ROS_TESTS_PRELOAD"  # environment: "1" forks the nodes of tests
PRELOADED = {name: _ROBOT for name in _ROBOT} | {
    "sql_ros.nodes.learner_node": ("sql_ros.nodes.learner_node",)
}


@functools.lru_cache
def _preloader(modules: tuple[str, ...]) -> Preloader:
    """Return the interpreter that has imported what these modules import; started when asked."""
    preloader = Preloader(*modules)
    atexit.register(preloader.close)
    return preloader


class Processes:
    """Children of a test, in its domain; what is still running at its end gets SIGINT.

    Attributes:
        preloads: Whether nodes are forked from an interpreter that has done their imports. Without
            that, and where a test alters the environment, they are started from the command line.
    """

    def __init__(self, domain: int, folder: Path) -> None:
        state = str(folder / "state")  # another test left no arm behind
        log = str(folder / "ros_log")
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": log,
            "XDG_STATE_HOME": state,
        }
        self._folder = folder
        self._domain = domain
        self._running: list[Process | PreloadedProcess] = []
        self.preloads = os.environ.get(PRELOADS) == "1"
        # without identification a real arm needs a known latency
        self.measured = folder / "state/sql_ros/measured"
        for robot in ROBOTS:
            for mode in MODES:
                robot_file = find_file(robot, "config/robots")
                self.keep_latency(robot_file, mode)
                self._store(_arm(robot_file, mode, resolved_topic("commands", ""), "", domain), 0.0)

    def keep_latency(
        self, robot_file: Path, mode: str, seconds: float = 0.0, state_delay_s: float | None = None
    ) -> None:
        """Write the record of a latency, for the topic of the robot file's controller, and of
        the part of it that is the states'.
        """
        self._store(
            _arm(robot_file, mode, resolved_topic(_topic(robot_file, mode), ""), "", self._domain),
            seconds,
            state_delay_s,
        )

    def _store(self, arm: MeasuredArm, seconds: float, state_delay_s: float | None = None) -> None:
        store_played_latency(arm, self.measured, latency_s=seconds, state_delay_s=state_delay_s)

    def forget_latencies(self) -> None:
        """Remove every record."""
        shutil.rmtree(self.measured)

    def node(
        self, executable: str, remappings: dict[str, str] | None = None, **parameters
    ) -> Process | PreloadedProcess:
        """Starts a node; `__` in a parameter name stands for a dot.

        The arm behind a command topic that is not remapped is played by the test. No arm is
        identified unless asked for.
        """
        if executable in ("actor", "trials") and "commands" not in (remappings or {}):
            parameters.setdefault("real_arm", False)
        if executable in ("actor", "trials"):
            parameters.setdefault("identify", "never")
            self._keep_latency_of(remappings or {}, parameters)
        module = f"sql_ros.nodes.{executable}_node"
        words = ["--ros-args"]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words += ["-p", f"{name.replace('__', '.')}:={text}"]
        for origin, target in (remappings or {}).items():
            words += ["-r", f"{origin}:={target}"]
        if self.preloads and module in PRELOADED:
            preloader = _preloader(PRELOADED[module])
            if preloader.fits(self.environment, apart_from=OWN):
                return self._fork(preloader, module, words)
        return self.start([sys.executable, "-m", module, *words])

    def _fork(self, preloader: Preloader, module: str, words: list[str]) -> PreloadedProcess:
        """Start a node that has its imports done."""
        log = self._folder / f"process{len(self._running)}.log"
        with log.open("wb") as file:
            pid = preloader.start(module, words, self.environment, file.fileno())
        process = PreloadedProcess(pid)
        process.log = log
        self._running.append(process)
        return process

    def _keep_latency_of(self, remappings: dict[str, str], parameters: dict) -> None:
        """Write the record for a topic, a prefix or a file that the test chose, unless there are
        none at all.
        """
        task_file = Path(str(parameters.get("task", "")))
        if not self.measured.is_dir() and not task_file.is_file():
            return
        try:
            task = yaml.safe_load(
                find_file(str(parameters.get("task", "sawyer_reach")), "config/tasks").read_text()
            )
            robot_file = find_file(task["robot"], "config/robots")
            topic = remappings.get("commands", "commands")
            topic = resolved_topic(topic, remappings.get("__ns", ""))
            prefix = str(parameters.get("joint_prefix", ""))
            arm = _arm(robot_file, task["command_mode"], topic, prefix, self._domain)
        except ConfigError:  # the node is to say that
            return
        if not record_path(arm, self.measured).exists():
            self._store(arm, 0.0)

    def start(self, words: list[str], **options) -> Process:
        """Starts any command; its output goes to a file whose content `output` returns."""
        log = self._folder / f"process{len(self._running)}.log"
        with log.open("wb") as file:
            options = {"stdout": file, "stderr": subprocess.STDOUT, **options}
            process = Process(words, env=self.environment, **options)
        process.log = log
        self._running.append(process)
        return process

    def stop(
        self,
        process: Process | PreloadedProcess,
        number: int = signal.SIGINT,
        timeout: float = 240.0,
    ) -> int:
        """Sends a signal and waits for the end.

        What a process said that did not end well is shown with the failing test.
        """
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
                process.wait(120)
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
