"""Real-time facilities of Linux for a control loop: priority, a core of its own, locked memory.

Each is requested from the kernel. A refusal is reported, and the process continues without it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from sql_ros.common.config import Config, option

# time that a thread waits for Python's global lock before it asks for it; Python's default of 5 ms
# is five periods at 1000 Hz
SWITCH_INTERVAL_S = 5e-5
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # mlockall(2)


@dataclass(frozen=True)
class RealtimeConfig(Config):
    """Parameters of a process with a control loop: facilities that it requests from the kernel."""

    realtime_priority: int = option(
        0,
        "SCHED_FIFO priority of all threads, and no memory is paged out (mlockall); 0: neither."
        " Needs root, or the limits rtprio and memlock",
        minimum=0,
        maximum=98,
    )
    cpu: int = option(-1, "core that all threads are pinned to; -1: none", minimum=-1)


def request_realtime(config: RealtimeConfig) -> dict[str, str]:
    """Request the facilities of a config for every thread of this process, also those of DDS.

    Threads that start later inherit them. With a `realtime_priority` memory is locked, too. In any
    case Python's switch interval becomes `SWITCH_INTERVAL_S`.

    Args:
        config: Facilities to request.

    Returns:
        Outcome by "SCHED_FIFO", "cpu" and "lock_memory", for those that were requested: "granted",
        or the reason of the refusal.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    outcome: dict[str, str] = {}
    if config.realtime_priority:
        lock = ctypes.CDLL(None, use_errno=True).mlockall
        # later memory is locked when it is first used: to lock it at once takes 60 ms where DDS
        # starts a thread, whose heap and stack are large
        refused = lock(MCL_CURRENT) or lock(MCL_FUTURE | MCL_ONFAULT)
        outcome["lock_memory"] = os.strerror(ctypes.get_errno()) if refused else "granted"
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    if config.cpu >= 0:
        outcome["cpu"] = _for_all(
            threads, lambda thread: os.sched_setaffinity(thread, {config.cpu})
        )
    if config.realtime_priority:
        parameters = os.sched_param(config.realtime_priority)
        outcome["SCHED_FIFO"] = _for_all(
            threads, lambda thread: os.sched_setscheduler(thread, os.SCHED_FIFO, parameters)
        )
    return outcome


def lower_priority(thread: int = 0) -> None:
    """Lower the SCHED_FIFO priority of a thread by 1, at most to the lowest one.

    So the thread runs after the threads that answer the arm, which keep the priority that all have
    at first. Nothing changes for a thread without SCHED_FIFO priority.

    Args:
        thread: Thread id of the kernel; 0: the calling thread.

    Raises:
        OSError: The kernel refused.
    """
    if os.sched_getscheduler(thread) == os.SCHED_FIFO:
        priority = max(
            os.sched_getparam(thread).sched_priority - 1, os.sched_get_priority_min(os.SCHED_FIFO)
        )
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))


def raise_priority() -> None:
    """Raise the SCHED_FIFO priority of the calling thread by 1, at most to the highest one.

    A thread starts with the priority of the control loop. So afterwards it runs even if the control
    loop hangs on their core. Nothing changes without SCHED_FIFO priority.

    Raises:
        OSError: The kernel refused.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        priority = min(
            os.sched_getparam(0).sched_priority + 1, os.sched_get_priority_max(os.SCHED_FIFO)
        )
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def freeze_objects() -> None:
    """Collect garbage once, and exclude all objects that remain from later collections
    (`gc.freeze`).

    Call this before a control loop starts.
    """
    gc.collect()
    gc.freeze()


def _for_all(threads: list[int], change: Callable[[int], None]) -> str:
    """Apply a change to each of several threads.

    Args:
        threads: Thread ids of the kernel. Threads that have ended are left out.
        change: Applies the change to a thread id.

    Returns:
        "granted", or the reason of the first refusal. Threads after it are not changed.
    """
    for thread in threads:
        try:
            change(thread)
        except ProcessLookupError:  # the thread has ended meanwhile
            continue
        except OSError as error:
            return error.strerror or str(error)
    return "granted"
