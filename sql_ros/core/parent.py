"""A process that its parent does not leave behind: a control loop without the command that started it is nobody's any more."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from functools import partial

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
