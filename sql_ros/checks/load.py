"""Load on the machine during a check."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from sql_ros.common.child_process import ending_with_this_process


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run processes that never sleep, until the context ends.

    Args:
        count: Number of processes; each keeps one core busy.
    """
    words = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(words, preexec_fn=ending_with_this_process()) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()
