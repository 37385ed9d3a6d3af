"""The actor's side of its command watchdog: starts the process, sends beats, reads whether it
is ready.
"""

from __future__ import annotations

import os
import subprocess
import sys

from rclpy.node import Node

from sql_ros.common.child_process import python_words
from sql_ros.common.output import OUTPUT
from sql_ros.nodes.command_watchdog import LETTERS, READY, encode_gid
from sql_ros.robot.safety.command_timeout import BEAT, PROVE, REST, TIMEOUT_S, SilenceLimit

SUFFIX = "_command_watchdog"  # of the node name, after the actor's name
BEAT_S = 0.02  # shortest time between two beats
MOST_PERIODS = 2.5  # longest time between two beats of a working loop, in control periods
DOUBTFUL_PERIODS = 2.0  # after which zeros may have been sent: the watchdog may see other gaps
ASK_S = 0.05  # between two requests for a proof
HUNG_S = 0.3  # without an answer to a beat
ALLOWED = frozenset(os.sched_getaffinity(0))  # cores, before the actor has one of its own


class WatchdogLink:
    """One command watchdog of an actor.

    Args:
        node: The actor.
        topic: Command topic, resolved.
        count: Number of values in a command.
        period_s: Control period [s].
        cpu: Core of the control loop; -1: none of its own.
        clock_age_s: 0: control steps come in steady time. Otherwise a foreign clock paces them, and
            this is the longest time for which it may stand [s], to which `MOST_PERIODS` of the last
            steps are added.

    Attributes:
        timeout_s: Shortest silence of the actor after which zeros are sent [s].
        is_ready: Whether the watchdog answers, and the controller receives it.
        is_dead: Whether its process has ended.
        is_hung: Whether it does not answer.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        count: int,
        period_s: float,
        cpu: int = -1,
        *,
        clock_age_s: float = 0.0,
    ) -> None:
        self.timeout_s = max(TIMEOUT_S, clock_age_s or MOST_PERIODS * period_s)
        self._silence_limit = SilenceLimit(self.timeout_s, DOUBTFUL_PERIODS if clock_age_s else 0.0)
        self._name = f"{node.get_name()}{SUFFIX}"
        self._namespace = node.get_namespace()
        # of all watchdogs so far, as letters: the graph keeps a dead one for a while
        self._gids: set[bytes] = set()
        self._arguments = [
            topic,
            str(count),
            f"{self.timeout_s:.4f}",
            str(MOST_PERIODS if clock_age_s else 0.0),
        ]
        self._beat_at = self._read_at = self._asked_at = 0.0
        self._cpu = cpu
        self._is_resting = True
        self._start()

    def _start(self) -> None:
        """Start the process, in a session of its own, so that no signal to the actor ends it."""
        child_reads, self._write_fd = os.pipe()
        self._read_fd, child_writes = os.pipe()
        os.set_blocking(self._write_fd, False)
        os.set_blocking(self._read_fd, False)
        remapped = ["-r", f"__node:={self._name}", "-r", f"__ns:={self._namespace}"]
        words = [*python_words(), "-m", "sql_ros.nodes.command_watchdog", *self._arguments]
        # a log file could block the process
        words += [str(child_reads), str(child_writes), "--ros-args", "--disable-external-lib-logs"]
        words += [*remapped, *_enclave()]
        stdout, stderr = OUTPUT.terminals  # pipes of the actor would end with it
        self._process = subprocess.Popen(
            words,
            pass_fds=(child_reads, child_writes),
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        os.close(child_reads)
        os.close(child_writes)
        _leave_core(self._process.pid, self._cpu)
        self.is_ready = self.is_dead = self.is_hung = self._is_known = False
        self._unanswered_since: float | None = None

    @property
    def complaint(self) -> str:
        """Return why the watchdog is not ready."""
        if self.is_dead:
            return "the command watchdog has ended"
        if self.is_hung:
            return (
                f"the command watchdog (process {self._process.pid}) does not answer for {HUNG_S} s"
            )
        return "the controller does not hear the command watchdog yet"

    def look(self, now: float) -> None:
        """Read the answers of the watchdog, at most once per `BEAT_S`, with one system call.

        Args:
            now: Steady time [s].
        """
        if self.is_dead or now - self._read_at < BEAT_S:
            return
        self._read_at = now
        try:
            words = os.read(self._read_fd, 4096)
        except BlockingIOError:
            since = self._unanswered_since
            if since is not None and now - since > HUNG_S:
                self.is_ready = False
                self.is_hung = True
            return
        self.is_dead = not words
        self.is_hung = False
        answers = words.lstrip(LETTERS)
        if len(answers) < len(words):
            self._gids.add(words[: len(words) - len(answers)])
            self._is_known = True
        self.is_ready = self._is_known and answers.endswith(READY)
        self._unanswered_since = None

    def owns(self, gid: bytes, name: str) -> bool:
        """Return whether a publisher is the watchdog's.

        Args:
            gid: GID of the publisher.
            name: Full name of its node, which counts until the watchdog has told its GID. The arm
                is held then.
        """
        if encode_gid(gid) in self._gids:
            return True
        return not self._is_known and name == f"{self._namespace.rstrip('/')}/{self._name}"

    def prove(self) -> None:
        """Ask the watchdog to prove that the controller receives it, with one zero command.
        The arm is held.
        """
        now = self._read_at
        if not (self.is_ready or self.is_dead or self.is_hung) and now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._write(PROVE)

    def has_stopped_the_arm(self, now: float) -> bool:
        """Return whether zeros may have been sent since the last beat.

        Args:
            now: Steady time [s].
        """
        return not self._is_resting and now - self._beat_at > self._silence_limit.timeout_s

    def beat(self, now: float) -> None:
        """Tell the watchdog that a command was sent, at most every `BEAT_S`.

        Args:
            now: Steady time [s].
        """
        if self._is_resting or now - self._beat_at >= BEAT_S:
            if not self._is_resting:
                self._silence_limit.take(now - self._beat_at)
            self._beat_at = now
            self._is_resting = False
            self._write(BEAT)
            if self._unanswered_since is None:
                self._unanswered_since = now

    def rest(self) -> None:
        """Tell the watchdog to send no zeros: the arm is at rest, or its controller is not
        the right one.
        """
        if not self._is_resting:
            self._is_resting = True
            self._write(REST)
            self._unanswered_since = None

    def restart(self) -> None:
        """Start the process again after it has ended by itself."""
        self.close()
        self._is_resting = True
        self._start()

    def close(self) -> None:
        """Close the pipes, so that the process ends: at once, if it rests."""
        os.close(self._write_fd)
        os.close(self._read_fd)
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # it still sends zeros, and ends by itself
            return

    def _write(self, word: bytes) -> None:
        """Write a word to the watchdog; drop it while the pipe is full, as when the process
        is suspended.
        """
        try:
            os.write(self._write_fd, word)
        except BlockingIOError:  # full of beats, because the process is suspended
            return
        except BrokenPipeError:
            self.is_dead = True


def _leave_core(pid: int, cpu: int) -> None:
    """Move a child off the core and the real-time priority of the thread that started it.

    The control loop may hang on its core. On another core the child needs no priority, and without
    priority it never delays the control loop.

    Args:
        pid: Process id of the child.
        cpu: Core of the control loop; -1: none of its own.
    """
    others = ALLOWED - {cpu} or set(range(os.cpu_count() or 1)) - {cpu} or ALLOWED
    try:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(pid, others)
    except OSError:  # it has ended already, or a cpuset forbids the other cores
        return


def _enclave() -> list[str]:
    """Return the arguments of the actor's enclave of DDS Security; empty if it has none."""
    if "--enclave" not in sys.argv:
        return []
    at = sys.argv.index("--enclave")
    return sys.argv[at : at + 2]
