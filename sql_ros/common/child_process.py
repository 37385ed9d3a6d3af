"""Child processes that end with their parent: no control loop outlives the command that
started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

PARENT = "SQL_ROS_PARENT"  # environment: process id of the command that a node must not outlive
ACTIVE = "SQL_ROS_ACTIVE"  # environment: a file that the node makes when it becomes active

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # once: between fork and exec is no time to load a library


def python_words() -> list[str]:
    """Return the first words of a command line that runs this interpreter.

    `python -m` and `python -c` put the working folder first on the path, where a file such as
    `queue.py` would be imported instead of the module that is meant. From Python 3.11 on `-P` keeps
    it off the path, unless this process has the working folder on its own path: there the package
    itself may lie.
    """
    working_folder = ""
    with contextlib.suppress(FileNotFoundError):  # the folder was removed
        working_folder = os.getcwd()
    if sys.version_info < (3, 11) or {"", working_folder} & set(sys.path):
        return [sys.executable]
    return [sys.executable, "-P"]


def ending_with_this_process() -> Callable[[], None]:
    """Return a function that a child process calls at its start, to get SIGTERM when its parent
    ends.

    Pass it as `preexec_fn`, or as the `initializer` of a pool; its effect outlives exec (Linux).
    The
    signal comes when the thread that started the child ends, for any reason. It is SIGTERM, because
    SIGINT is ignored by children of a script's background job until they install a handler. A child
    whose parent has ended before the call ends at once.
    """
    return partial(_end_with, os.getpid())


def _end_with(parent: int) -> None:
    """Ask the kernel for SIGTERM at the end of the parent; end at once if the parent has ended."""
    # the parent's handler is still there, and would swallow it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # no signal will come
        os._exit(128 + signal.SIGTERM)


def end_with_named_parent() -> None:
    """Send this process SIGTERM when the process that the environment names (`PARENT`) has ended.

    Does nothing where none is named. `ros2 launch` starts its nodes itself, so that
    `ending_with_this_process` cannot be used. A thread watches the named process; a debugger or a
    terminal may stand between the two.
    """
    parent = os.environ.pop(PARENT, "")
    if parent:
        threading.Thread(target=_await_end, args=(int(parent),), name="parent", daemon=True).start()


def _await_end(parent: int) -> None:
    """Wait for the end of a process, then send SIGTERM to this one."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        descriptor = os.pidfd_open(parent)
        select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def report_active() -> None:
    """Make the file that tells the command which started this process that it became active.

    A process that never became active is not started again. Errors of a full disk are ignored.
    """
    if path := os.environ.get(ACTIVE):
        with contextlib.suppress(OSError):  # a full disk: the process is then not started again
            Path(path).touch()
