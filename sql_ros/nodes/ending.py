"""Handle the signals to a node's process, which say how soon it must end.

==============================  ===================================================================
signal                          meaning
==============================  ===================================================================
SIGINT                          end in order: hold the arm, hand over transitions, evaluate, report
every other signal that ends    hold the arm at once, omit what takes long, end within
a process by default            `HURRIED_S`: SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGALRM, SIGUSR1
                                and others
a second SIGINT                 the same
SIGTSTP                         hold the arm until a reset; the process goes on
SIGTTIN, SIGTTOU                ignored: a terminal's settings do not stop a control loop
`FAULTS`                        end the process at once, by default: a crash raises them
SIGKILL, SIGSTOP                cannot be caught
==============================  ===================================================================

`kill`, `docker stop` and a closed terminal send signals of the second row. So does
`sql_ros.common.child_process` when the command that started the process has ended. A process that
SIGTSTP (Ctrl-Z) stopped could not be held, reset or ended, and would continue by itself later. So
Ctrl-Z holds the arm and stops nothing. After a fault, SIGKILL and SIGSTOP the command watchdog
stops the arm.
"""

from __future__ import annotations

import signal
import time

HURRIED_S = 5.0  # from the signal to the end of the process; the kernel ends one that takes longer
# a second SIGINT within this time is a copy of the first: terminal and `ros2 launch` both send it
AGAIN_S = 0.5
NOT_SUSPENDED = (
    "Ctrl-Z (SIGTSTP) does not stop a node. Ctrl-C ends it; the service actor/stop holds the arm."
)

FAULTS = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
HARMLESS = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
UNCATCHABLE = frozenset({signal.SIGKILL, signal.SIGSTOP})
ENDS = signal.valid_signals() - FAULTS - STOPS - HARMLESS - IGNORED_BY_PYTHON - UNCATCHABLE
ALWAYS_TAKEN = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


class Ending:
    """Records what signals ask of this process; the main thread polls the attributes.

    There is no lock, because a signal handler must not wait for one.

    Attributes:
        is_asked: Whether a signal asks the process to end.
        is_hurried: Whether the process must end within `HURRIED_S` of that signal.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.is_hurried = False
        self._asked_at = 0.0  # steady time of the first signal that asks for the end [s]
        self._is_to_hold = False

    def listen(self) -> None:
        """Install the signal handlers; call it in the main thread.

        The signals of `ALWAYS_TAKEN` are handled even if they are ignored, because a shell script
        that starts a process in its background has SIGINT and SIGQUIT ignored. Other signals that
        are ignored, or have a handler, are left alone.
        """
        for number in ENDS:
            if number in ALWAYS_TAKEN or signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._on_signal)
        signal.signal(signal.SIGTSTP, self._on_suspend)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def take_hold(self) -> bool:
        """Return whether SIGTSTP (Ctrl-Z) has come since the last call."""
        is_to_hold = self._is_to_hold
        self._is_to_hold = False
        return is_to_hold

    def _on_signal(self, number: int, _: object) -> None:
        """Record that the process is to end; hurry after any signal but a first SIGINT and its
        copies within `AGAIN_S`.

        In a hurry a timer (SIGALRM) is set, by which the kernel ends the process after `HURRIED_S`
        even if a thread hangs.

        Args:
            number: The signal.
        """
        now = time.monotonic()
        is_again = self.is_asked and now - self._asked_at > AGAIN_S
        if (number != signal.SIGINT or is_again) and not self.is_hurried:
            self.is_hurried = True
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, HURRIED_S)
        if not self.is_asked:
            self._asked_at = now
        self.is_asked = True

    def _on_suspend(self, *_: object) -> None:
        """Record that SIGTSTP has come, for `take_hold`."""
        self._is_to_hold = True


ENDING = Ending()  # the only instance in this process
