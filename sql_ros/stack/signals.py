"""Signals to `sql-ros up`: how the stack must end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import IntEnum


class Hurry(IntEnum):
    """How soon the stack must end, in the order of urgency."""

    NOT_ASKED = 0
    IN_ORDER = 1  # Ctrl-C: hold the arm, then evaluate and write the report
    SOON = 2  # SIGTERM, SIGHUP: hold the arm, leave out what takes long
    AT_ONCE = 3  # Ctrl-C again: hold the arm, kill the rest


class Signals:
    """What was asked of this process.

    Attributes:
        hurry: The most urgent so far.
    """

    def __init__(self) -> None:
        self.hurry = Hurry.NOT_ASKED

    def listen(self) -> None:
        """Take the signals; to be called in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGTSTP, self._on_stop)

    def sleep(self, seconds: float, until: Hurry) -> bool:
        """Sleep; return at once where at least that much hurry is asked for, and say whether it is."""
        if self.hurry < until:
            time.sleep(seconds)
        return self.hurry >= until

    def _on_signal(self, number: int, _: object) -> None:
        if number != signal.SIGINT:
            self.hurry = max(self.hurry, Hurry.SOON)
        elif self.hurry == Hurry.NOT_ASKED:
            self.hurry = Hurry.IN_ORDER
            say("Ctrl-C: the arm is held, then the run is concluded. Ctrl-C again ends at once, without a report.")
        else:
            self.hurry = Hurry.AT_ONCE

    def _on_stop(self, *_: object) -> None:
        """Ctrl-Z would stop this process alone: the arm would go on, and Ctrl-C would no longer be heard."""
        say("Ctrl-Z does not stop the arm. Ctrl-C ends the stack; the service actor/stop holds the arm.")


def say(text: str) -> None:
    """Write to stderr, also in a signal handler; nothing can be said where the terminal is closed."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
