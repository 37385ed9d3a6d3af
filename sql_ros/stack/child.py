"""One process of a stack under `sql-ros up`: its start, its log, its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sql_ros.core.parent import ACTIVE, ending_with_this_process
from sql_ros.stack.description import Stack, ros_arguments
from sql_ros.stack.processes import NodeProcess
from sql_ros.stack.restarts import Restarts

TALKING = ("monitor", "trials")  # keep the terminal
BLOCK = 65536  # bytes


@dataclass
class Child:
    """A started process.

    Attributes:
        process: What it is.
        handle: Of the operating system.
        log: File with everything that it said.
        restarts: Whether it is started again.
        copying: Threads that copy to the log what it says on the terminal.
    """

    process: NodeProcess
    handle: subprocess.Popen[bytes]
    log: Path
    restarts: Restarts
    copying: list[threading.Thread] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return self.handle.poll() is None

    def send(self, number: int) -> None:
        """Send a signal, if it is still there."""
        if self.is_running:
            self.handle.send_signal(number)

    def last_words(self, lines: int) -> list[str]:
        """Return the end of its log."""
        for thread in self.copying:
            thread.join(1.0)
        return self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.is_file() else []


def start(process: NodeProcess, stack: Stack, restarts: Restarts) -> Child:
    """Start a process of a stack; what it says goes to its log."""
    restarts.begin()
    log = stack.log(process)
    talks = process.executable in TALKING
    output = log.open("ab")
    # a session of its own: Ctrl-C in the terminal reaches this process alone, which then ends the others in order
    handle = subprocess.Popen(
        [sys.executable, "-m", f"sql_ros.nodes.{process.executable}_node", *ros_arguments(process, stack)],
        stdout=_stdout(output, talks),
        stderr=subprocess.PIPE if talks else subprocess.STDOUT,
        env=_environment(process, stack),
        start_new_session=True,
        preexec_fn=ending_with_this_process(),
    )
    if process.cpus:
        os.sched_setaffinity(handle.pid, process.cpus)  # before it has threads, which inherit it
    child = Child(process, handle, log, restarts)
    for stream, terminal in ((handle.stdout, 1), (handle.stderr, 2)):
        if stream is not None:
            child.copying.append(_copy(stream, terminal, log))
    output.close()
    return child


def _stdout(output: IO[bytes], talks: bool) -> IO[bytes] | int | None:
    """Return where stdout goes: the log; of a process that talks the terminal itself, if there is one."""
    if not talks:
        return output
    return None if sys.stdout.isatty() else subprocess.PIPE


def _environment(process: NodeProcess, stack: Stack) -> dict[str, str]:
    environment = dict(os.environ)
    environment.setdefault("ROS_LOG_DIR", str(stack.run_dir / "log"))
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment[ACTIVE] = str(stack.marker(process))
    return environment


def _copy(stream: IO[bytes], terminal: int, log: Path) -> threading.Thread:
    """Start copying a stream to a file descriptor of this process and to a log.

    A closed terminal or a full disk takes nothing, and the process goes on.
    """

    def copy() -> None:
        with log.open("ab", buffering=0) as file, stream:
            while block := os.read(stream.fileno(), BLOCK):
                for target in (file.fileno(), terminal):
                    with contextlib.suppress(OSError):
                        os.write(target, block)

    thread = threading.Thread(target=copy, name=f"copy {log.name}", daemon=True)
    thread.start()
    return thread
