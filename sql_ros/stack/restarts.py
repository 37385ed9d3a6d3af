"""Which process of a stack is started again after it ended: the same rule for `sql-ros up` and `ros2 launch`."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from sql_ros.core.errors import CONFIG_EXIT_CODE
from sql_ros.stack.processes import NodeProcess

MOST_RESTARTS, WITHIN_S = 5, 60.0  # of one process; one that crashes more often will go on doing so
OUT_OF_MEMORY = "The kernel kills what needs more memory than there is: see dmesg, and trainer.replay_capacity in the params file."


class Restarts:
    """The ends of one process.

    A process is started again if it crashed after it had become active. One that never became active would fail again.

    Args:
        process: What it is.
        marker: File that it makes when it becomes active, see `core.parent.report_active`.
    """

    def __init__(self, process: NodeProcess, marker: Path) -> None:
        self._process = process
        self._marker = marker
        self._times: list[float] = []  # steady times [s]

    def begin(self) -> None:
        """Forget that it was active; to be called before each start."""
        self._marker.unlink(missing_ok=True)

    @property
    def was_active(self) -> bool:
        """Return whether it became active since its last start."""
        return self._marker.exists()

    def allow(self, code: int) -> bool:
        """Count an end; return whether the process is started again after this exit code."""
        now = time.monotonic()
        self._times = [at for at in self._times if now - at < WITHIN_S]
        if not self._process.respawns or code in (0, CONFIG_EXIT_CODE) or not self.was_active:
            return False
        self._times.append(now)
        return len(self._times) <= MOST_RESTARTS

    def describe(self, code: int) -> str:
        """Return how the process ended, in words."""
        signalled = f" ({signal.Signals(-code).name})" if code < 0 else ""
        active = "" if self.was_active else " before it was active"
        text = f"{self._process.executable} ended with exit code {code}{signalled}{active}"
        return f"{text}. {OUT_OF_MEMORY}" if active and code == -signal.SIGKILL else text
