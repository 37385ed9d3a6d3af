"""Signals to a node's process: how soon it must end.

==================  ==================================================================================
signal              meaning
==================  ==================================================================================
SIGINT              end in order: hold the arm, hand over, evaluate, write the report
SIGTERM, SIGHUP     hold the arm at once, leave out what takes long, end within `HURRIED_S`
a second SIGINT     the same as SIGTERM
==================  ==================================================================================

`kill`, `docker stop` and a closed terminal send the signals of the second row, and so does `sql_ros.core.parent` when the
command that started the process has ended.
"""

from __future__ import annotations

import signal
import time

HURRIED_S = 5.0  # from the signal to the end of the process; the kernel ends one that takes longer
AGAIN_S = 0.5  # a second SIGINT within this time is a copy of the first: terminal and `ros2 launch` both send it


class Ending:
    """What the signals of this process asked for. Plain attributes: a handler must not take a lock.

    Attributes:
        is_asked: The process is to end.
        is_hurried: It is to end within `HURRIED_S`.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.is_hurried = False
        self._asked_at = 0.0  # steady time [s]

    def listen(self) -> None:
        """Take the signals; to be called in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        now = time.monotonic()
        is_again = self.is_asked and now - self._asked_at > AGAIN_S
        if (number != signal.SIGINT or is_again) and not self.is_hurried:
            self.is_hurried = True
            signal.setitimer(signal.ITIMER_REAL, HURRIED_S)
        if not self.is_asked:
            self._asked_at = now
        self.is_asked = True


ENDING = Ending()  # of this process
