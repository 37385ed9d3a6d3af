"""Signals that end a training at its next step, so that the training can be saved."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

# a second SIGINT within this time [s] counts as a copy of the first: a terminal and a wrapper both
# send one
AGAIN_S = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked the process to end.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """Return the exit code of a shell for a process that this signal ended."""
        return 128 + self.number


class SignalWatch:
    """Records the first signal, for `check`; a later Ctrl-C raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self._number = 0
        self._noted_at = 0.0  # steady time [s]

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come; call it between two steps."""
        if self._number:
            raise Interrupted(self._number)

    def on_signal(self, number: int, _: object) -> None:
        """Handle a signal: record the first one; at Ctrl-C tell the user that the run is saved.

        Later signals are ignored, but for a Ctrl-C that comes more than `AGAIN_S` after the first
        signal.

        Args:
            number: Number of the signal.

        Raises:
            KeyboardInterrupt: The signal is such a later Ctrl-C.
        """
        if self._number:
            if number == signal.SIGINT and time.monotonic() - self._noted_at > AGAIN_S:
                raise KeyboardInterrupt
            return
        self._number = number
        self._noted_at = time.monotonic()
        if number == signal.SIGINT:
            with contextlib.suppress(OSError):  # the terminal is closed
                os.write(
                    2,
                    b"\nCtrl-C: the run is saved after this step."
                    b" Ctrl-C again ends it at once, without saving.\n",
                )


@contextlib.contextmanager
def watched_signals() -> Iterator[SignalWatch]:
    """Handle SIGINT, SIGTERM, SIGQUIT and SIGHUP by a new watch in a `with` block.

    The handlers are restored afterwards. SIGHUP stays ignored if `nohup` ignores it. In another
    thread than the main one no handler is installed, because Python allows handlers there alone.

    Yields:
        The watch.
    """
    watch = SignalWatch()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, watch.on_signal)
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
