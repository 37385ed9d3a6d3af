"""Functions for the launch file: write a log file per node, and end the nodes on SIGTERM."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# time for the process that moves the arm to brake it (2 s with torques) and to end, before the
# others get their signal
ACTOR_END_S = 2.5
END_S = 7.5  # longest time from SIGTERM to the end of all processes


def append_to_log(text: bytes, path: Path) -> None:
    """Append output of a node to its log file; ignore errors, such as that of a full disk."""
    with contextlib.suppress(OSError), path.open("ab") as file:
        file.write(text)


def end_on_sigterm(pids: Callable[[], Sequence[int]]) -> None:
    """Install a SIGTERM handler that ends the nodes, the last started before the others.

    `ros2 launch` itself leaves its nodes behind on SIGTERM (ros2/launch issue 666). The nodes then
    end by themselves (`end_with_named_parent`). But in a container whose first process is
    `ros2 launch`, the kernel would kill all of them at once, and no command would hold the arm.

    Args:
        pids: Returns the process ids of the nodes, in the order in which they were started.
    """
    signal.signal(signal.SIGTERM, lambda *_: _end(pids()))


def _end(pids: Sequence[int]) -> None:
    """Send SIGTERM to processes and wait for their end: first to the last one, which moves the arm,
    then to the others. Return after `END_S` at most.

    Args:
        pids: Process ids in the order of their start; empty: nothing is done.
    """
    if not pids:
        return
    deadline = time.monotonic() + END_S
    *others, actor = map(_open, pids)
    _terminate([actor])
    _await_ends([actor], time.monotonic() + ACTOR_END_S)
    _terminate(others)
    _await_ends([*others, actor], deadline)


def _open(pid: int) -> int:
    """Return a file descriptor of a process that becomes readable at its end; -1 if there is no
    such process.
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _terminate(descriptors: Sequence[int]) -> None:
    """Send SIGTERM to the processes of these descriptors; -1 is skipped."""
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)


def _await_ends(descriptors: Sequence[int], deadline: float) -> None:
    """Wait until all processes have ended.

    Args:
        descriptors: Process file descriptors; -1 is skipped.
        deadline: Steady time at which to give up [s].
    """
    left = {descriptor for descriptor in descriptors if descriptor >= 0}
    while left and (seconds := deadline - time.monotonic()) > 0.0:
        left -= set(select.select(list(left), [], [], seconds)[0])
