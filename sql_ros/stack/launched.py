"""What the launch file adds to `ros2 launch`: logs per node, and an end of all nodes before the end of launch itself."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FIRST_S = 2.5  # for the process that moves the arm to brake it (2 s with torques) and end, before the others are told to
ALL_S = 7.5  # from the signal on, for all


def keep(text: bytes, path: Path) -> None:
    """Append what a node said to its log; the node goes on where the disk takes no more."""
    with contextlib.suppress(OSError), path.open("ab") as file:
        file.write(text)


def end_on_sigterm(pids: Callable[[], Sequence[int]]) -> None:
    """Let SIGTERM to this process end the nodes first, the last started before the others.

    `ros2 launch` leaves its nodes behind on SIGTERM (ros2/launch issue 666). They end by themselves then
    (`core.parent.end_with_named_parent`), but not in a container whose first process is `ros2 launch`: there the kernel
    kills all of them with it, and no command would hold the arm.

    Args:
        pids: Process ids of the nodes, in the order in which they were started.
    """
    signal.signal(signal.SIGTERM, lambda *_: _end(pids()))


def _end(pids: Sequence[int]) -> None:
    if not pids:
        return
    deadline = time.monotonic() + ALL_S
    *others, mover = map(_open, pids)
    _tell([mover])
    _await([mover], time.monotonic() + FIRST_S)
    _tell(others)
    _await([*others, mover], deadline)


def _open(pid: int) -> int:
    """Return a file descriptor of a process, readable when it has ended; -1 if there is no such process."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _tell(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)


def _await(descriptors: Sequence[int], deadline: float) -> None:
    """Wait until all processes have ended, or until the deadline (steady time) [s]."""
    left = {descriptor for descriptor in descriptors if descriptor >= 0}
    while left and (seconds := deadline - time.monotonic()) > 0.0:
        left -= set(select.select(list(left), [], [], seconds)[0])
