"""The actor's side of its command watchdog: start the process, send heartbeats, read its answers.

`command_watchdog.py` describes the process and the words of the pipes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial

from rclpy.node import Node

from sql_ros.common.child_process import python_words
from sql_ros.common.output import OUTPUT
from sql_ros.nodes.command_watchdog import LETTERS, READY, encode_gid
from sql_ros.robot.safety.command_timeout import BEAT, PROVE, REST, TIMEOUT_S, SilenceLimit

SUFFIX = "_command_watchdog"  # of the node name, after the actor's name
BEAT_S = 0.02  # shortest time between two beats
MOST_PERIODS = 2.5  # longest time between two beats of a working loop, in control periods
# the same for the actor's guess whether zeros were sent: the watchdog measures other gaps
DOUBTFUL_PERIODS = 2.0
ASK_S = 0.05  # shortest time between two requests for a proof
HUNG_S = 0.3  # longest time until a beat is answered
ALLOWED = frozenset(os.sched_getaffinity(0))  # cores of this process before it takes its own


class WatchdogLink:
    """The command watchdog process of an actor; the constructor starts it.

    A link has one process. If that has ended, the owner replaces the link by its `successor` with
    one assignment and closes it. A thread that still uses the closed link then writes and reads
    nothing.

    Args:
        node: The actor node.
        topic: Resolved command topic.
        count: Number of values in a command.
        period_s: Control period [s].
        cpu: Core reserved for the control loop; -1: none is.
        clock_age_s: 0: the steady clock paces the control steps. Otherwise `/clock` does, and this
            is the longest time for which it may stand still [s]; the watchdog adds `MOST_PERIODS`
            of the measured time between steps.
        predecessors: Encoded GIDs of the watchdogs that this one replaces: the graph lists a dead
            one for a while.

    Attributes:
        timeout_s: Silence of the actor after which zeros are sent, at least [s].
        is_ready: Whether the watchdog answers, and the controller has acknowledged its zero.
        is_dead: Whether its process has ended.
        is_hung: Whether it has not answered a beat for `HUNG_S`.
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
        predecessors: frozenset[bytes] = frozenset(),
    ) -> None:
        self.timeout_s = max(TIMEOUT_S, clock_age_s or MOST_PERIODS * period_s)
        self._silence_limit = SilenceLimit(self.timeout_s, DOUBTFUL_PERIODS if clock_age_s else 0.0)
        self._name = f"{node.get_name()}{SUFFIX}"
        self._namespace = node.get_namespace()
        self._gids = predecessors
        self._arguments = [
            topic,
            str(count),
            f"{self.timeout_s:.4f}",
            str(MOST_PERIODS if clock_age_s else 0.0),
        ]
        self._successor = partial(
            WatchdogLink, node, topic, count, period_s, cpu, clock_age_s=clock_age_s
        )
        self._beat_at = self._read_at = self._asked_at = 0.0
        self._is_resting = True
        self.is_ready = self.is_dead = self.is_hung = self._is_known = False
        self._unanswered_since: float | None = None
        self._using_pipes = threading.Lock()  # held while a pipe is written or read
        self._is_closed = False
        self._start(cpu)

    def _start(self, cpu: int) -> None:
        """Start the process with two pipes, off the core of the control loop.

        The process has a POSIX session of its own, so that a signal to the actor's terminal does
        not end it.

        Args:
            cpu: Core reserved for the control loop; -1: none is.
        """
        child_reads, self._write_fd = os.pipe()
        self._read_fd, child_writes = os.pipe()
        os.set_blocking(self._write_fd, False)
        os.set_blocking(self._read_fd, False)
        remapped = ["-r", f"__node:={self._name}", "-r", f"__ns:={self._namespace}"]
        words = [*python_words(), "-m", "sql_ros.nodes.command_watchdog", *self._arguments]
        # a log file could block the process
        words += [str(child_reads), str(child_writes), "--ros-args", "--disable-external-lib-logs"]
        words += [*remapped, *_enclave()]
        stdout, stderr = OUTPUT.terminals  # the pipes of the actor's output end with the actor
        self._process = subprocess.Popen(
            words,
            pass_fds=(child_reads, child_writes),
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        os.close(child_reads)
        os.close(child_writes)
        _leave_core(self._process.pid, cpu)

    @property
    def complaint(self) -> str:
        """Return in words why the watchdog is not ready."""
        if self.is_dead:
            return "the command watchdog has ended"
        if self.is_hung:
            return (
                f"the command watchdog (process {self._process.pid}) does not answer for {HUNG_S} s"
            )
        return "the controller does not hear the command watchdog yet"

    def update(self, now: float) -> None:
        """Read the answers of the watchdog, and update `is_ready`, `is_dead` and `is_hung`.

        The call never blocks, and reads at most once per `BEAT_S`.

        Args:
            now: Steady time [s].
        """
        if self.is_dead or now - self._read_at < BEAT_S:
            return
        self._read_at = now
        words = self._read()
        if words is None:
            since = self._unanswered_since
            if since is not None and now - since > HUNG_S:
                self.is_ready = False
                self.is_hung = True
            return
        self.is_dead = not words
        self.is_hung = False
        answers = words.lstrip(LETTERS)
        if len(answers) < len(words):
            self._gids |= {words[: len(words) - len(answers)]}
            self._is_known = True
        self.is_ready = self._is_known and answers.endswith(READY)
        self._unanswered_since = None

    def owns(self, gid: bytes, name: str) -> bool:
        """Return whether a publisher belongs to this watchdog, or to one that it has replaced.

        Args:
            gid: GID of the publisher.
            name: Full name of its node. The name decides only until the watchdog has told its GID;
                the arm is held until then.
        """
        if encode_gid(gid) in self._gids:
            return True
        return not self._is_known and name == f"{self._namespace.rstrip('/')}/{self._name}"

    def prove(self) -> None:
        """Ask the watchdog to send a zero command and wait for its acknowledgement by the
        controller, unless it is ready, dead or hung. It is asked once per `ASK_S` at most. Call it
        only while the arm is held.
        """
        now = self._read_at
        if not (self.is_ready or self.is_dead or self.is_hung) and now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._write(PROVE)

    def has_stopped_the_arm(self, now: float) -> bool:
        """Return whether the watchdog may have sent zeros since the last beat, which is too long
        ago. False while it was told that the arm rests.

        Args:
            now: Steady time [s].
        """
        return not self._is_resting and now - self._beat_at > self._silence_limit.timeout_s

    def beat(self, now: float) -> None:
        """Send a heartbeat because a command was sent, unless one was sent within `BEAT_S`.

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
        """Tell the watchdog that no heartbeats follow and that it must send no zeros, until the
        next beat: the arm is at rest, or its controller is not the right one.
        """
        if not self._is_resting:
            self._is_resting = True
            self._write(REST)
            self._unanswered_since = None

    def successor(self) -> WatchdogLink:
        """Return a link with a new process, after that of this link has ended by itself."""
        return self._successor(predecessors=self._gids)

    def close(self) -> None:
        """Close the pipes, and wait up to 2 s for the end of the process.

        Any thread may call it: the pipes are closed when no other thread uses them any more. The
        process ends at once if it was told that the arm rests, otherwise after `ORPHAN_S` of zeros.
        """
        with self._using_pipes:
            self._is_closed = True
        os.close(self._write_fd)
        os.close(self._read_fd)
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # the process ends by itself
            return

    def _write(self, word: bytes) -> None:
        """Write a word to the watchdog. Drop it if the pipe is full, as when the process is
        suspended, and after `close`; set `is_dead` if the process has closed the pipe.
        """
        with self._using_pipes:
            if self._is_closed:
                return
            try:
                os.write(self._write_fd, word)
            except BlockingIOError:
                return
            except BrokenPipeError:
                self.is_dead = True

    def _read(self) -> bytes | None:
        """Read the answers of the watchdog.

        Returns:
            The answers; empty if the process has ended. None: there are none, or this link is
            closed.
        """
        with self._using_pipes:
            if self._is_closed:
                return None
            try:
                return os.read(self._read_fd, 4096)
            except BlockingIOError:
                return None


def _leave_core(pid: int, cpu: int) -> None:
    """Move a child process to other cores than the control loop's, without real-time priority.

    A control loop that hangs may occupy its core. On another core the child needs no priority, and
    without priority it does not delay the control loop.

    An error is ignored: the child has ended already, or a cpuset forbids the other cores, and the
    child keeps its cores.

    Args:
        pid: Process id of the child.
        cpu: Core reserved for the control loop; -1: none is.
    """
    others = ALLOWED - {cpu} or set(range(os.cpu_count() or 1)) - {cpu} or ALLOWED
    try:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(pid, others)
    except OSError:  # it has ended already, or a cpuset forbids the other cores
        return


def _enclave() -> list[str]:
    """Return the command line arguments that name the actor's DDS Security enclave; empty if there
    are none.
    """
    if "--enclave" not in sys.argv:
        return []
    at = sys.argv.index("--enclave")
    return sys.argv[at : at + 2]
