"""The actor under test as a process, and hindrances that may delay a stop.

==================  ================================================================================
hindrance           what is done
==================  ================================================================================
none                nothing
blocked_terminal    nothing reads its stdout and stderr, and the pipe is full
stalled_policy      one control step takes `STALL_S` longer
busy_core           two processes per core that never sleep
full_disk           no file of the actor may grow (RLIMIT_FSIZE)
stopped_watchdog    its command watchdog gets SIGSTOP
stopped_monitor     the monitor, which subscribes to every topic of the actor, gets SIGSTOP
hung_learner        training: the learner gets SIGSTOP
==================  ================================================================================
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from sql_ros.checks.load import busy_processes
from sql_ros.checks.played_latency import RECORDS, store_played_latency
from sql_ros.checks.processes import await_end, node_command, ros_arguments, start_process
from sql_ros.checks.stops.velocity_arm import TOPIC
from sql_ros.common.child_process import python_words
from sql_ros.common.data_files import find_file
from sql_ros.robot.measured import measured_arm, resolved_topic
from sql_ros.robot.tasks import load_task

PLAY = "play"
TRAINING = "training"
TRIALS = "trials"
MODES = (PLAY, TRAINING, TRIALS)
EVERYWHERE = (
    "none",
    "blocked_terminal",
    "stalled_policy",
    "busy_core",
    "full_disk",
    "stopped_watchdog",
    "stopped_monitor",
)
HINDRANCES = {PLAY: EVERYWHERE, TRAINING: (*EVERYWHERE, "hung_learner"), TRIALS: EVERYWHERE}
TASK = "sawyer_reach"  # its commands are velocities
STALL_S = 0.4  # by which the hindrance "stalled_policy" delays one control step
BLOCK = 65536  # bytes that are read at once
END_S = 20.0  # longest end of a process
SMALL_LEARNER = {
    "trainer.warmup_transitions": 100_000,
    "trainer.replay_capacity": 200_000,
    "algorithm.hidden_sizes": [32, 32],
    "threads": 1,
}
STALLING = """
import os, sys, time
from sql_ros.nodes.{module} import {node} as Node
from sql_ros.nodes.process import run_node

class Stalling(Node):
    def configure(self):
        super().configure()
        observe = self.actor.task.observe
        def slow(*given):
            if os.path.exists({flag!r}):
                os.unlink({flag!r})
                time.sleep({seconds})
            return observe(*given)
        self.actor.task.observe = slow

sys.exit(run_node(Stalling))
"""


class ActorProcess:
    """The actor of one mode that commands a real arm, with a monitor and, in training, its learner.

    Starts all processes in one DDS domain. The record of a measured latency is written first, so
    that the actor need not identify the arm.

    Args:
        mode: One of `MODES`.
        folder: Folder for the files of the processes; has `policy.onnx`.
        domain: ROS_DOMAIN_ID.
        seed: Seed of the actor.

    Attributes:
        process: The actor.
        monitor: The monitor.
        learner: The learner; None in another mode than training.
        log: File with the output of the actor.
    """

    def __init__(self, mode: str, folder: Path, domain: int, seed: int) -> None:
        self._flag = folder / "stall"
        self._flag.unlink(missing_ok=True)
        self.log = folder / f"{mode}.log"
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(folder / "ros_log"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        _pretend_identified(folder / "state" / RECORDS, domain)
        self._reads, self._writes = os.pipe()
        self._is_read = threading.Event()
        self._is_read.set()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()
        run_dir = {"run_dir": str(folder / "report")}
        self.monitor = self._start(node_command("monitor", run_dir), subprocess.DEVNULL)
        self.learner = None
        if mode == TRAINING:
            words = node_command("learner", {"task": TASK, **SMALL_LEARNER})
            self.learner = self._start(words, subprocess.DEVNULL)
        module, node = (
            ("trials_node", "TrialsNode") if mode == TRIALS else ("actor_node", "ActorNode")
        )
        script = STALLING.format(module=module, node=node, flag=str(self._flag), seconds=STALL_S)
        parameters = {**self._settings(mode, folder), "identify": "never", "seed": seed}
        arguments = ros_arguments(parameters, {"commands": TOPIC})
        self.process = self._start([*python_words(), "-c", script, *arguments], self._writes)

    @staticmethod
    def _settings(mode: str, folder: Path) -> dict[str, object]:
        """Return the actor's parameters in a mode. In the mode of trials, also write their
        protocol.yaml.

        Args:
            mode: One of `MODES`.
            folder: Folder for the files; has `policy.onnx`.

        Returns:
            ROS parameters by name.
        """
        policy = str(folder / "policy.onnx")
        if mode == TRAINING:
            return {"task": TASK, "mode": "train"}
        if mode == PLAY:
            return {"task": TASK, "mode": "play", "policy": policy}
        protocol = folder / "protocol.yaml"
        protocol.write_text("repeats: 100000\n")
        return {
            "task": TASK,
            "policy": policy,
            "protocol": str(protocol),
            "csv": str(folder / "trials.csv"),
        }

    def _start(self, words: list[str], output: int) -> subprocess.Popen[bytes]:
        """Start a process in the DDS domain of the actor.

        Args:
            words: The command line.
            output: Descriptor that stdout and stderr go to, or `subprocess.DEVNULL`.
        """
        return start_process(words, output, environment=self._environment)

    @contextlib.contextmanager
    def hindered(self, hindrance: str) -> Iterator[None]:
        """Hinder the actor inside the context, and undo the hindrance at its end.

        Args:
            hindrance: Name in the table of this module.
        """
        contexts: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
            "none": contextlib.nullcontext,
            "blocked_terminal": self._blocked_terminal,
            "stalled_policy": self._stalled_policy,
            "busy_core": _busy_cores,
            "full_disk": self._full_disk,
            "stopped_watchdog": lambda: _stopped(self._children()),
            "stopped_monitor": lambda: _stopped([self.monitor.pid]),
            "hung_learner": lambda: _stopped(
                [self.learner.pid] if self.learner is not None else []
            ),
        }
        with contexts[hindrance]():
            yield

    @contextlib.contextmanager
    def _blocked_terminal(self) -> Iterator[None]:
        """Stop reading the actor's output and fill its pipe; read again at the end of the
        context.
        """
        self._is_read.clear()
        # this open file does not block; that of the actor blocks as before
        end = os.open(f"/proc/self/fd/{self._writes}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(end, b"\n")
            yield
        finally:
            os.close(end)
            self._is_read.set()

    @contextlib.contextmanager
    def _stalled_policy(self) -> Iterator[None]:
        """Let the next control step inside the context, and no other, take `STALL_S` longer."""
        self._flag.touch()
        try:
            yield
        finally:
            self._flag.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """Let every write of the actor that would extend a file fail, inside the context."""
        before = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # the actor has ended
                resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, before)

    def _children(self) -> list[int]:
        """Return the process ids of the processes that the actor started in any of its threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def _read(self) -> None:
        """Copy the actor's output to its log until the pipe is closed, except while the terminal is
        blocked.

        Newlines with which the pipe was filled are left out at the beginning of a block.
        """
        with self.log.open("wb") as file:
            while self._is_read.wait():
                block = os.read(self._reads, BLOCK)
                if not block:
                    return
                file.write(block.lstrip(b"\n"))
                file.flush()

    def close(self) -> None:
        """Send SIGINT to all processes and wait for their ends; close the pipe of the actor's
        output.

        A process that does not end within `END_S` is killed.
        """
        processes = [
            each for each in (self.process, self.learner, self.monitor) if each is not None
        ]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes:
            await_end(process, END_S)
        os.close(self._writes)
        self._reader.join(5.0)
        os.close(self._reads)


def _pretend_identified(folder: Path, domain: int) -> None:
    """Write the record of a measured latency of 0 s, so that the actor need not identify the arm.

    Args:
        folder: Folder of the records.
        domain: ROS_DOMAIN_ID of the actor.
    """
    task = load_task(TASK)
    robot_file = find_file(task.config.robot, "config/robots")
    topic = resolved_topic(TOPIC, "")
    arm = measured_arm(robot_file, task.spec.command_mode, topic, task.robot.wire_joints, domain)
    store_played_latency(arm, folder)


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    """Send SIGSTOP to processes at the beginning of the context and SIGCONT at its end.

    Args:
        pids: Process ids; may be empty.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _busy_cores() -> contextlib.AbstractContextManager[None]:
    """Return a context with two processes per core that never sleep."""
    return busy_processes(2 * len(os.sched_getaffinity(0)))
