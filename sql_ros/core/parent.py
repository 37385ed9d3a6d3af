"""A process that its parent does not leave behind: a control loop without the command that started it is nobody's any more."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # once: between fork and exec is no time to load a library


def end_with_parent() -> None:
    """In the child: SIGTERM when the thread that started it ends, however that comes about; it outlives exec (Linux).

    SIGINT would be ignored where a script runs the parent in its background, until the child takes signals itself.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
