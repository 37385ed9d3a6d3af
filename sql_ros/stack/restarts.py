"""The rule by which a crashed process of a stack is started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from sql_ros.common.errors import CONFIG_EXIT_CODE
from sql_ros.stack.processes import NodeProcess

# largest number of restarts of one process within a time; one that crashes more often stays ended
MOST_RESTARTS = 5
WITHIN_S = 60.0
OUT_OF_MEMORY = (
    "The kernel kills a process that needs more memory than there is: see dmesg, and"
    " trainer.replay_capacity in the params file."
)


class Restarts:
    """Decides whether one process is started again after its end.

    A process is started again if its description says so (`respawns`) and it crashed after it had
    become active. A process that never became active would fail again.

    Args:
        process: Description of the process.
        marker: Path of the file that the process makes when it becomes active, see
            `child_process.report_active`.
    """

    def __init__(self, process: NodeProcess, marker: Path) -> None:
        self._process = process
        self._marker = marker
        self._times: list[float] = []  # steady times [s]

    def begin(self) -> None:
        """Remove the marker of the last start; call it before each start."""
        self._marker.unlink(missing_ok=True)

    @property
    def was_active(self) -> bool:
        """Return whether the process has become active since its last start."""
        return self._marker.exists()

    def allow(self, code: int) -> bool:
        """Return whether the process is to be started again after it has ended; count the restart.

        It is not if it ended in order or refused its configuration (`CONFIG_EXIT_CODE`), and not
        more often than `MOST_RESTARTS` times within `WITHIN_S`.

        Args:
            code: Exit code of the process; negative: minus the number of the signal that ended it.
        """
        now = time.monotonic()
        self._times = [at for at in self._times if now - at < WITHIN_S]
        if not self._process.respawns or code in (0, CONFIG_EXIT_CODE) or not self.was_active:
            return False
        self._times.append(now)
        return len(self._times) <= MOST_RESTARTS

    def describe(self, code: int) -> str:
        """Return text for the user that says how the process ended, with a hint at the memory if it
        was killed before it was active.

        Args:
            code: Exit code of the process; negative: minus the number of the signal that ended it.
        """
        signalled = f" ({signal.Signals(-code).name})" if code < 0 else ""
        active = "" if self.was_active else " before it was active"
        text = f"{self._process.executable} ended with exit code {code}{signalled}{active}"
        return f"{text}. {OUT_OF_MEMORY}" if active and code == -signal.SIGKILL else text
