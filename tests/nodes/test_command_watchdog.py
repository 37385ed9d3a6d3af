"""The command watchdog process against a controller that the probe plays. Over DDS."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.qos import RELIABLE, SENSOR
from sql_ros.nodes.watchdog_link import WatchdogLink
from sql_ros.robot.safety.command_timeout import BEAT, PROVE

pytestmark = pytest.mark.stack
TOPIC = "/controller/commands"
BEAT_S = 0.02
GRACE_S = 0.2


class Watchdog:
    """The process alone: the test is its actor."""

    def __init__(self, probe, environment, **options) -> None:
        self.probe = probe
        hears, self.says = os.pipe()
        self.hears, tells = os.pipe()
        os.set_blocking(self.hears, False)
        module = "sql_ros.nodes.command_watchdog"
        words = [sys.executable, "-m", module, TOPIC, "7", "0.12", "0", str(hears), str(tells)]
        self.process = subprocess.Popen(words, env=environment, pass_fds=(hears, tells), **options)
        os.close(hears)
        os.close(tells)
        self.answers = b""

    def says_ready(self) -> bool:
        """Return whether its newest answer is READY."""
        with contextlib.suppress(BlockingIOError):
            self.answers += os.read(self.hears, 4096)
        return self.answers.endswith(b"1")

    def prove(self) -> bool:
        """Ask for the proof; return whether it is given."""
        os.write(self.says, PROVE)
        return self.says_ready()

    def beat_for(self, seconds: float) -> None:
        """Beat as an actor that works."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            os.write(self.says, BEAT)
            self.probe.spin_for(BEAT_S)

    def close(self) -> None:
        for pipe in (self.says, self.hears):
            with contextlib.suppress(OSError):
                os.close(pipe)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(probe, processes):
    started = []

    def begin(**options) -> Watchdog:
        started.append(Watchdog(probe, processes.environment, **options))
        return started[-1]

    yield begin
    for watchdog in started:
        watchdog.close()


@pytest.fixture
def another(probe):
    """Make a node of this name beside the probe's."""
    import rclpy

    nodes = []

    def make(name: str):
        nodes.append(rclpy.create_node(name, context=probe.context))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def link(probe, domain, monkeypatch):
    """The actor's side, with a watchdog of its own."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    started = WatchdogLink(probe.node, TOPIC, 7, 0.05)
    yield started
    started._process.kill()
    if not started._is_closed:
        started.close()


def _full_pipe() -> tuple[int, int]:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writes, bytes(size))
    os.set_blocking(writes, True)
    return reads, writes


@pytest.mark.long
def test_zeros_come_although_nobody_reads_its_stderr(probe, start):
    """A terminal after Ctrl-S, or a pipe that nobody reads: in a stall, then after the death."""
    zeros = probe.listen(Float64MultiArray, TOPIC, RELIABLE)
    reads, writes = _full_pipe()
    watchdog = start(stdout=writes, stderr=writes)
    probe.wait(watchdog.prove)
    watchdog.beat_for(0.3)
    before = len(zeros)
    probe.wait(lambda: len(zeros) > before + 5, timeout=20, what="zeros in a stall")
    watchdog.beat_for(0.3)
    before = len(zeros)
    os.close(watchdog.says)
    probe.wait(lambda: len(zeros) > before + 20, timeout=20, what="zeros after the actor's death")
    assert os.get_blocking(writes)  # it is the actor's stderr, too
    assert watchdog.process.wait(40) == 0
    os.close(reads)
    os.close(writes)


@pytest.mark.long
def test_its_words_reach_the_terminal(probe, start):
    watchdog = start(stderr=subprocess.PIPE)
    probe.wait(lambda: watchdog.prove() or watchdog.answers)
    watchdog.beat_for(0.1)
    os.close(watchdog.says)
    _, said = watchdog.process.communicate(timeout=80)
    assert f"the actor is dead: zeros to {TOPIC}".encode() in said


def test_each_controller_that_comes_hears_a_zero_before_ready(probe, start):
    """The one that says READY may see the new controller before or after the watchdog does."""
    watchdog = start()
    for _ in range(4):
        zeros = []
        controller = probe.node.create_subscription(
            Float64MultiArray, TOPIC, zeros.append, RELIABLE
        )
        watchdog.answers = b""
        probe.wait(watchdog.prove, timeout=80, what="READY")
        probe.wait(lambda: zeros, timeout=2, what="the proving zero")  # noqa: B023  (used at once)
        probe.node.destroy_subscription(controller)
        probe.wait(lambda: not watchdog.says_ready(), timeout=20, what="UNREADY")


@pytest.mark.long
def test_a_controller_that_comes_after_the_request_hears_a_zero(probe, start):
    watchdog = start()
    probe.wait(lambda: watchdog.prove() or watchdog.answers)
    assert not watchdog.says_ready()
    zeros = probe.listen(Float64MultiArray, TOPIC, RELIABLE)
    probe.wait(watchdog.prove, timeout=80, what="READY")
    probe.wait(lambda: zeros, timeout=2, what="the proving zero")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "qos"),
    [
        ("rosbag2_recorder", SENSOR),
        ("rosbag2_recorder", RELIABLE),
        ("_ros2cli_7", RELIABLE),
        ("any", SENSOR),
    ],
)
def test_an_onlooker_proves_nothing(probe, start, another, name, qos):
    another(name).create_subscription(Float64MultiArray, TOPIC, print, qos)
    watchdog = start()
    probe.wait(lambda: watchdog.prove() or watchdog.answers)
    answered, end = len(watchdog.answers), time.monotonic() + 3.0
    probe.wait(lambda: watchdog.prove() or time.monotonic() > end)
    assert len(watchdog.answers) > answered
    assert b"1" not in watchdog.answers
    zeros = probe.listen(Float64MultiArray, TOPIC, RELIABLE)
    probe.wait(watchdog.prove, timeout=80, what="READY")
    probe.wait(lambda: zeros, timeout=2, what="the proving zero")


@pytest.mark.long
def test_a_watchdog_that_hangs_is_not_ready_until_it_answers(probe, link):
    zeros = probe.listen(Float64MultiArray, TOPIC, RELIABLE)

    def is_ready() -> bool:
        now = time.monotonic()
        link.update(now)
        link.prove()
        link.beat(now)
        return link.is_ready

    probe.wait(is_ready)
    os.kill(link._process.pid, signal.SIGSTOP)
    began = time.monotonic()
    probe.wait(lambda: not is_ready(), timeout=20, what="not ready")
    assert time.monotonic() - began < 1.0
    assert f"(process {link._process.pid}) does not answer" in link.complaint
    count = len(zeros)
    os.kill(link._process.pid, signal.SIGCONT)
    probe.wait(is_ready, timeout=20, what="ready again")
    assert len(zeros) == count  # it was proved before


def test_a_beat_during_a_restart_reaches_no_closed_pipe(link):
    """Nor a file that was opened meanwhile, which has the number of the closed pipe."""
    errors: list[OSError] = []
    counts = [0]
    is_over = threading.Event()

    def control() -> None:
        try:
            while not is_over.is_set():
                counts[0] += 1
                link.beat(float(counts[0]))
                link.look(float(counts[0]))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=control)
    thread.start()
    link._process.kill()
    link.close()
    others = [os.pipe() for _ in range(4)]
    count = counts[0]
    while thread.is_alive() and counts[0] < count + 1000:
        time.sleep(1e-3)
    is_over.set()
    thread.join()
    for reads, writes in others:
        os.close(writes)
        assert os.read(reads, 1) == b""
        os.close(reads)
    assert not errors


@pytest.mark.long
def test_a_watchdog_leaves_the_core_and_priority_of_control(probe, domain, monkeypatch):
    """An actor that claimed real time starts it again."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    links = []

    def claimed() -> None:
        os.sched_setaffinity(0, {cores[-1]})
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        links.append(WatchdogLink(probe.node, TOPIC, 7, 0.05, cores[-1]))

    thread = threading.Thread(target=claimed)
    thread.start()
    thread.join()
    (link,) = links
    try:
        pid = link._process.pid
        assert os.sched_getaffinity(pid) == set(cores[:-1])
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    finally:
        link._process.kill()
        link.close()
