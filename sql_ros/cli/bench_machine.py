"""What the computer alone would miss: a thread that does nothing but wake up, and what the host of a virtual machine takes.

No control loop is better on time than this. On a virtual machine whose host is busy, neither a priority nor a core of one's own helps.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from sql_ros.robot.pacing import Pacer, PeriodMeter

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def wake_up(rate_hz: float, seconds: float, priority: int, cpu: int) -> dict[str, float]:
    """Wakes up at this rate for so long, on the core and with the priority that the actor would have, where they are granted.

    Args:
        rate_hz: how often.
        seconds: for how long.
        priority: SCHED_FIFO priority to ask for; 0: none.
        cpu: core to keep to; -1: any.

    Returns:
        `jitter_<quantile>_us`, by how much periods were off, and `missed_fraction`, counted as the actor counts its own.
    """
    meter = PeriodMeter(1.0 / rate_hz)

    def loop() -> None:
        with contextlib.suppress(OSError):  # refused: the actor is, too
            if cpu >= 0:
                os.sched_setaffinity(0, {cpu})  # of this thread
            if priority > 0:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        pacer, now = Pacer(meter.period_s), time.perf_counter()
        end = now + seconds
        while now < end:
            deadline = pacer.deadline
            pacer.wait()
            now = time.perf_counter()
            meter.tick(now - deadline, now)

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    jitter = dict(zip(QUANTILES, meter.jitter.quantiles(*QUANTILES.values())))
    return {
        **{f"jitter_{name}_us": 1e6 * value for name, value in jitter.items()},
        "missed_fraction": meter.missed / max(meter.count, 1),
    }


def stolen_s() -> float:
    """Time that the host of a virtual machine gave to others while a core had work, all cores together, since it was started [s]."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()  # "cpu", user, nice, system, idle, iowait, irq, softirq, steal
    return int(first[8]) / os.sysconf("SC_CLK_TCK")
