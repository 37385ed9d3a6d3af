"""Timing of the computer alone: a thread that does nothing but wake up, and the time that the host
of a virtual machine takes.

No control loop can be more punctual than this thread. On a virtual machine with a busy host neither
a priority nor a reserved core helps.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from sql_ros.robot.control.step_schedule import Pacer, PeriodMeter

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def wake_up(rate_hz: float, seconds: float, priority: int, cpu: int) -> dict[str, float]:
    """Let a thread sleep until each deadline of a fixed rate and measure how late it wakes up.

    The thread gets the core and the priority of an actor if Linux grants them. A refusal is
    ignored.

    Args:
        rate_hz: Wake-ups per second [Hz].
        seconds: Length of the measurement [s]. The call returns after it.
        priority: SCHED_FIFO priority to request; 0: none.
        cpu: Core to use; -1: any.

    Returns:
        `jitter_<quantile>_us` for each name in `QUANTILES`: deviation of the periods [us].
        `missed_fraction`: missed deadlines over periods, by the actor's definition of a missed
        deadline (`PeriodMeter`).
    """
    meter = PeriodMeter(1.0 / rate_hz)

    def loop() -> None:
        """Take core and priority, then wake up until the end and record each period."""
        with contextlib.suppress(OSError):  # a refusal is ignored, as by the actor
            if cpu >= 0:
                os.sched_setaffinity(0, {cpu})  # of this thread
            if priority > 0:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        pacer = Pacer(meter.period_s)
        now = time.perf_counter()
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
    """Return the time that a virtual machine's cores had work but were not run by the host [s].

    The time is summed over all cores since the start of the machine. It stays 0 on a physical
    machine.
    """
    # the fields are "cpu", user, nice, system, idle, iowait, irq, softirq, steal
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(first[8]) / os.sysconf("SC_CLK_TCK")
