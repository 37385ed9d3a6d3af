"""The actor's side of its command watchdog: starts the process, beats, hears whether it is ready."""

from __future__ import annotations

import math
import os
import subprocess
import sys

from rclpy.node import Node

from sql_ros.nodes.command_watchdog import READY
from sql_ros.robot.vigil import BEAT, PROVE, REST, TIMEOUT_S

SUFFIX = "_command_watchdog"  # of the node's name, behind the actor's
BEAT_S = 0.02  # at least, between two beats
MOST_PERIODS = 2.5  # of control between two beats of a loop that works
ASK_S = 0.05  # between two requests for a proof
HUNG_S = 0.3  # without an answer to what was said
ALLOWED = frozenset(os.sched_getaffinity(0))  # cores, before the actor claimed one of them


class WatchdogLink:
    """One command watchdog of an actor.

    Args:
        node: The actor.
        topic: Resolved name of the command topic.
        count: Values of a command.
        period_s: Of control [s].
        cpu: Core of the control loop; -1: none of its own.
        is_paced: Control steps come in steady time; otherwise silence means nothing, and only the end
            of the actor does.

    Attributes:
        timeout_s: Silence of the actor after which zeros are sent [s].
        is_ready: It answers, and the controller hears it.
        is_dead: Its process has ended.
        is_hung: It does not answer.
    """

    def __init__(self, node: Node, topic: str, count: int, period_s: float, cpu: int = -1, *, is_paced: bool = True) -> None:
        self.timeout_s = max(TIMEOUT_S, MOST_PERIODS * period_s) if is_paced else math.inf
        self._name, self._namespace = f"{node.get_name()}{SUFFIX}", node.get_namespace()
        self._arguments = [topic, str(count), f"{self.timeout_s:.4f}"]
        self._beat_at = self._looked_at = self._asked_at = 0.0
        self._cpu = cpu
        self._rests = True
        self._start()

    def _start(self) -> None:
        """Start the process. It has a session of its own, so that no signal to the actor ends it."""
        hears, self._says = os.pipe()
        self._hears, tells = os.pipe()
        os.set_blocking(self._says, False)
        os.set_blocking(self._hears, False)
        remapped = ["-r", f"__node:={self._name}", "-r", f"__ns:={self._namespace}"]
        words = [sys.executable, "-m", "sql_ros.nodes.command_watchdog", *self._arguments]
        words += [str(hears), str(tells), "--ros-args", "--disable-external-lib-logs"]  # a log file can block
        words += [*remapped, *_enclave()]
        self._process = subprocess.Popen(words, pass_fds=(hears, tells), start_new_session=True)
        os.close(hears)
        os.close(tells)
        _free(self._process.pid, self._cpu)
        self.is_ready = self.is_dead = self.is_hung = False
        self._unanswered_since: float | None = None

    @property
    def complaint(self) -> str:
        """Return why it is not ready."""
        if self.is_dead:
            return "the command watchdog has ended"
        if self.is_hung:
            return f"the command watchdog (process {self._process.pid}) does not answer for {HUNG_S} s"
        return "the controller does not hear the command watchdog yet"

    def look(self, now: float) -> None:
        """Take what the watchdog says, at most as often as a beat. Costs one system call."""
        if self.is_dead or now - self._looked_at < BEAT_S:
            return
        self._looked_at = now
        try:
            words = os.read(self._hears, 4096)
        except BlockingIOError:
            since = self._unanswered_since
            if since is not None and now - since > HUNG_S:
                self.is_ready, self.is_hung = False, True
            return
        self.is_ready, self.is_dead, self.is_hung = words.endswith(READY), not words, False
        self._unanswered_since = None

    def prove(self) -> None:
        """Ask it to prove that the controller hears it: with one zero command, while the arm is held."""
        now = self._looked_at
        if not (self.is_ready or self.is_dead or self.is_hung) and now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._say(PROVE)

    def has_stopped_the_arm(self, now: float) -> bool:
        """Return whether zeros may have been sent since the last beat."""
        return not self._rests and now - self._beat_at > self.timeout_s

    def beat(self, now: float) -> None:
        """Say that a command has left, at most every `BEAT_S`."""
        if self._rests or now - self._beat_at >= BEAT_S:
            self._beat_at, self._rests = now, False
            self._say(BEAT)
            if self._unanswered_since is None:
                self._unanswered_since = now

    def rest(self) -> None:
        """Say that no zeros are wanted: the arm is at rest, or its controller is not the right one."""
        if not self._rests:
            self._rests = True
            self._say(REST)
            self._unanswered_since = None

    def restart(self) -> None:
        """Start the process again, where it has ended by itself."""
        self.close()
        self._rests = True
        self._start()

    def close(self) -> None:
        """Let it end: at once, if it was said to rest."""
        os.close(self._says)
        os.close(self._hears)
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # it may have zeros to send still, and ends by itself
            return

    def _say(self, word: bytes) -> None:
        try:
            os.write(self._says, word)
        except BlockingIOError:  # full of beats: it is stopped, and will find them
            return
        except BrokenPipeError:
            self.is_dead = True


def _free(pid: int, cpu: int) -> None:
    """Let a child leave the core and the real-time priority of the thread that started it.

    It keeps away from the core of the control loop, which may hang there. On another core it needs no
    priority, and without one it never delays the control loop.
    """
    others = ALLOWED - {cpu} or set(range(os.cpu_count() or 1)) - {cpu} or ALLOWED
    try:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(pid, others)
    except OSError:  # it has ended already, or a cpuset forbids the other cores
        return


def _enclave() -> list[str]:
    """Return the actor's own enclave of DDS Security as arguments, if it was told one."""
    if "--enclave" not in sys.argv:
        return []
    at = sys.argv.index("--enclave")
    return sys.argv[at : at + 2]
