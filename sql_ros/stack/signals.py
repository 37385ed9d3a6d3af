"""Signals to `sql-ros up`, by which the stack is ended or its arm is held."""

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
    """Signals that this process has received.

    Attributes:
        end_request: The most urgent request so far.
        is_to_hold: Ctrl-Z was pressed, and the arm is not held yet.
    """

    def __init__(self) -> None:
        self.end_request = EndRequest.NONE
        self.is_to_hold = False

    def listen(self) -> None:
        """Install the signal handlers; call it in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGTSTP, self._on_stop)

    def sleep(self, seconds: float, until: EndRequest) -> bool:
        """Sleep for a time [s], but not at all if the stack must end.

        Args:
            seconds: How long [s].
            until: Urgency from which on it returns at once.

        Returns:
            Whether the stack must end at least that fast.
        """
        if self.end_request < until:
            time.sleep(seconds)
        return self.end_request >= until

    def _on_signal(self, number: int, _: object) -> None:
        """Raise the urgency: SIGINT asks for an orderly, then for an immediate end, other signals
        for a fast end.
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
        """Ask for a hold of the arm instead of stopping this process.

        A stopped process would let the arm move on, and would not receive Ctrl-C.
        """
        self.is_to_hold = True
        write_stderr("Ctrl-Z: the arm is held, and no process is stopped. Ctrl-C ends the stack.")


def write_stderr(text: str) -> None:
    """Write a line to stderr; usable in a signal handler. An error of a closed terminal is
    ignored.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
