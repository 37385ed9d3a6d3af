"""Handle signals to `sql-ros up`, which end the stack or hold its arm."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import IntEnum


class EndRequest(IntEnum):
    """How fast the stack must end, in rising order of urgency."""

    NONE = 0
    ORDERLY = 1  # Ctrl-C: hold the arm, then evaluate and write the report
    FAST = 2  # SIGTERM, SIGHUP, SIGQUIT: hold the arm, skip evaluation and report
    IMMEDIATE = 3  # Ctrl-C again: hold the arm, kill the rest


class Signals:
    """Records the signals that this process has received.

    Attributes:
        end_request: Most urgent request so far to end the stack.
        is_to_hold: Whether Ctrl-Z was pressed. The supervisor clears it when it has passed Ctrl-Z
            on.
    """

    def __init__(self) -> None:
        self.end_request = EndRequest.NONE
        self.is_to_hold = False

    def listen(self) -> None:
        """Install the signal handlers. Call it in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGTSTP, self._on_stop)

    def sleep(self, seconds: float, until: EndRequest) -> bool:
        """Sleep for a time, unless the stack must already end.

        Args:
            seconds: Time to sleep [s].
            until: Least urgency of a request for which there is no sleep.

        Returns:
            Whether there is now a request of at least that urgency.
        """
        if self.end_request < until:
            time.sleep(seconds)
        return self.end_request >= until

    def _on_signal(self, number: int, _: object) -> None:
        """Raise the urgency of `end_request`: to ORDERLY at a first SIGINT, to FAST at another
        signal, to IMMEDIATE at a SIGINT after either. The first SIGINT also writes a line to
        stderr.
        """
        if number != signal.SIGINT:
            self.end_request = max(self.end_request, EndRequest.FAST)
        elif self.end_request == EndRequest.NONE:
            self.end_request = EndRequest.ORDERLY
            write_stderr(
                "Ctrl-C: the arm is held, then the run is concluded. Ctrl-C again ends at once,"
                " without a report."
            )
        else:
            self.end_request = EndRequest.IMMEDIATE

    def _on_stop(self, *_: object) -> None:
        """Set `is_to_hold` at Ctrl-Z, instead of suspending this process.

        A suspended process would let the arm move on, and would not react to Ctrl-C.
        """
        self.is_to_hold = True
        write_stderr("Ctrl-Z: the arm is held, and no process is stopped. Ctrl-C ends the stack.")


def write_stderr(text: str) -> None:
    """Write a line to stderr; ignore errors, such as that of a closed terminal. May be called in a
    signal handler.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
