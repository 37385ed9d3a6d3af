"""What Linux offers a control loop: a real-time priority, a core of its own, memory that stays. Asked for, not presumed."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from sql_ros.core.config import Config, option

SWITCH_INTERVAL_S = 5e-5  # so long a thread waits for Python's lock before it insists; Python's own 5 ms are five periods at 1000 Hz
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # mlockall(2)


@dataclass(frozen=True)
class RealtimeConfig(Config):
    """Parameters of a process with a control loop."""

    realtime_priority: int = option(0, "SCHED_FIFO priority of all threads; 0: none. Needs root or an rtprio limit", minimum=0, maximum=98)
    cpu: int = option(-1, "core that all threads are pinned to; -1: none", minimum=-1)
    lock_memory: bool = option(False, "keep all memory from being paged out (mlockall)")


def claim(config: RealtimeConfig) -> dict[str, str]:
    """Takes what is asked for, for every thread of this process, those of DDS included; threads to come inherit it.

    Returns:
        What came of it: "SCHED_FIFO", "cpu" and "lock_memory" to "granted" or the reason of the refusal; only what was asked for.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    outcome: dict[str, str] = {}
    if config.lock_memory:
        lock = ctypes.CDLL(None, use_errno=True).mlockall
        # what comes later stays once it is used: to fill it at once takes 60 ms where DDS starts a thread, whose heap and stack are large
        refused = lock(MCL_CURRENT) or lock(MCL_FUTURE | MCL_ONFAULT)
        outcome["lock_memory"] = os.strerror(ctypes.get_errno()) if refused else "granted"
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    if config.cpu >= 0:
        outcome["cpu"] = _for_all(threads, lambda thread: os.sched_setaffinity(thread, {config.cpu}))
    if config.realtime_priority:
        parameters = os.sched_param(config.realtime_priority)
        outcome["SCHED_FIFO"] = _for_all(threads, lambda thread: os.sched_setscheduler(thread, os.SCHED_FIFO, parameters))
    return outcome


def step_back() -> None:
    """Lowers the calling thread below those that answer the arm: it keeps what was claimed, but one step of priority."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        priority = max(os.sched_getparam(0).sched_priority - 1, os.sched_get_priority_min(os.SCHED_FIFO))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def settle() -> None:
    """Before a loop starts: what is there by now will stay, so the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def _for_all(threads: list[int], change: Callable[[int], None]) -> str:
    for thread in threads:
        try:
            change(thread)
        except ProcessLookupError:  # it has ended meanwhile
            continue
        except OSError as error:
            return error.strerror or str(error)
    return "granted"
