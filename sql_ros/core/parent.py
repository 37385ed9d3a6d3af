"""A process that its parent does not leave behind: a control loop without the command that started it is nobody's any more."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

PARENT = "SQL_ROS_PARENT"  # environment: process id of the command that a node must not outlive
ACTIVE = "SQL_ROS_ACTIVE"  # environment: a file that the node makes when it becomes active

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # once: between fork and exec is no time to load a library


def ending_with_this_process() -> Callable[[], None]:
    """What a child of this process calls first, e.g. as `preexec_fn` or as a pool's `initializer`; it outlives exec (Linux).

    The child gets SIGTERM when the thread that started it ends, however that comes about: SIGINT would be ignored where a script runs the
    parent in its background, until the child takes signals itself. One whose parent has ended before it asks ends at once.
    """
    return partial(_end_with, os.getpid())


def _end_with(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # no signal will come
        os._exit(128 + signal.SIGTERM)


def end_with_named_parent() -> None:
    """Send this process SIGTERM when the process named in the environment has ended; do nothing where none is named.

    `ros2 launch` starts its nodes itself and cannot prepare them as `ending_with_this_process` does. A thread watches
    the process, so that a debugger or a terminal may stand between the two.
    """
    parent = os.environ.pop(PARENT, "")
    if parent:
        threading.Thread(target=_await_end, args=(int(parent),), name="parent", daemon=True).start()


def _await_end(parent: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        descriptor = os.pidfd_open(parent)
        select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def report_active() -> None:
    """Tell the command that started this process that it became active; a process that never did is not started again."""
    if path := os.environ.get(ACTIVE):
        with contextlib.suppress(OSError):  # a full disk: the process is then not started again
            Path(path).touch()
