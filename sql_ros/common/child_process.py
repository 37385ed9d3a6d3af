"""Child processes that end with their parent, so that no node outlives the command of its start."""

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

# environment variables for a node
PARENT = "SQL_ROS_PARENT"  # process id of the command that the node must not outlive
ACTIVE = "SQL_ROS_ACTIVE"  # path of a file that the node makes when it becomes active

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # loaded here, because a library must not be loaded between fork and exec


def python_words() -> list[str]:
    """Return the first words of a command that runs this interpreter: path, and `-P` if possible.

    `python -m` and `python -c` put the working folder first on `sys.path`, where a file such as
    `queue.py` would be imported instead of the standard module. From Python 3.11 on, `-P` prevents
    that. `-P` is left out if this process has the working folder on its own `sys.path`, because the
    package itself may be there.
    """
    working_folder = ""
    with contextlib.suppress(FileNotFoundError):  # the folder was removed
        working_folder = os.getcwd()
    if sys.version_info < (3, 11) or {"", working_folder} & set(sys.path):
        return [sys.executable]
    return [sys.executable, "-P"]


def ending_with_this_process() -> Callable[[], None]:
    """Return a function that makes the calling child process get SIGTERM when this process ends.

    Pass the function as `preexec_fn`, or as the `initializer` of a pool: the child calls it at its
    start. The effect of the call outlives exec (Linux). The signal also comes when only the thread
    that started the child ends. The signal is SIGTERM, because children of a script's background
    job ignore SIGINT until they install a handler. If this process has ended before the call, the
    child ends at once.
    """
    return partial(_end_with, os.getpid())


def _end_with(parent: int) -> None:
    """Ask the kernel to send SIGTERM to this process when its parent ends.

    If the parent has ended already, this process ends at once.

    Args:
        parent: Process id of the parent.
    """
    # before exec the parent's handler is still installed, and would swallow the signal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent has ended, so no signal will come
        os._exit(128 + signal.SIGTERM)


def end_with_named_parent() -> None:
    """Send this process SIGTERM when the process named by the variable `PARENT` has ended.

    A thread waits for the end of that process. Without the variable nothing is done; the variable
    is removed from the environment. The function is for nodes that `ros2 launch` starts, for which
    `ending_with_this_process` cannot be used. The named process need not be the direct parent.
    """
    parent = os.environ.pop(PARENT, "")
    if parent:
        threading.Thread(target=_await_end, args=(int(parent),), name="parent", daemon=True).start()


def _await_end(parent: int) -> None:
    """Wait for the end of another process, then send SIGTERM to this one."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        descriptor = os.pidfd_open(parent)
        select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def report_active() -> None:
    """Make the file named by the variable `ACTIVE`, which says that this process became active.

    The command that started this process starts it again after a crash only if the file exists.
    Without the variable nothing is done. Errors of a full disk are ignored.
    """
    if path := os.environ.get(ACTIVE):
        with contextlib.suppress(OSError):  # a full disk: the process is then not started again
            Path(path).touch()
