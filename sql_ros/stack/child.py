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

from sql_ros.common.child_process import ACTIVE, ending_with_this_process, python_words
from sql_ros.common.output import OUTPUT
from sql_ros.stack.description import Stack, ros_arguments
from sql_ros.stack.processes import NodeProcess
from sql_ros.stack.restarts import Restarts

ON_TERMINAL = ("monitor", "trials")  # they write to the terminal
BLOCK = 65536  # bytes that are copied at a time


@dataclass
class Child:
    """A started process.

    Attributes:
        process: Its description.
        handle: Its handle of the operating system.
        log: File with everything that it writes to stdout and stderr.
        restarts: Decides whether it is started again.
        copy_threads: Threads that copy its terminal output to the log.
    """

    process: NodeProcess
    handle: subprocess.Popen[bytes]
    log: Path
    restarts: Restarts
    copy_threads: list[threading.Thread] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self.handle.poll() is None

    def send(self, number: int) -> None:
        """Send a signal; do nothing if the process has ended."""
        if self.is_running:
            self.handle.send_signal(number)

    def log_tail(self, lines: int) -> list[str]:
        """Return the last lines of the log, after the copy threads have written them.

        Args:
            lines: Most lines to return.
        """
        for thread in self.copy_threads:
            thread.join(1.0)
        return (
            self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.is_file() else []
        )


def start_child(process: NodeProcess, stack: Stack, restarts: Restarts) -> Child:
    """Start a process of a stack, with stdout and stderr in its log file.

    The process has a session of its own: Ctrl-C in the terminal reaches only `sql-ros up`, which
    ends
    the others in order. It gets SIGTERM when this process ends.

    Args:
        process: What to start.
        stack: Gives namespace, log folder and log level.
        restarts: Told of the start.
    """
    restarts.begin()
    log = stack.log(process)
    is_on_terminal = process.executable in ON_TERMINAL
    output = log.open("ab")
    handle = subprocess.Popen(
        [
            *python_words(),
            "-m",
            f"sql_ros.nodes.{process.executable}_node",
            *ros_arguments(process, stack),
        ],
        stdout=_stdout(output, is_on_terminal),
        stderr=subprocess.PIPE if is_on_terminal else subprocess.STDOUT,
        env=_environment(process, stack),
        start_new_session=True,
        preexec_fn=ending_with_this_process(),
    )
    if process.cpus:
        os.sched_setaffinity(handle.pid, process.cpus)  # at once: its threads inherit the cores
    child = Child(process, handle, log, restarts)
    for stream, terminal in ((handle.stdout, 1), (handle.stderr, 2)):
        if stream is not None:
            child.copy_threads.append(_copy(stream, terminal, log))
    output.close()
    return child


def _stdout(output: IO[bytes], is_on_terminal: bool) -> IO[bytes] | int:
    """Return the target of a child's stdout.

    Args:
        output: The log file.
        is_on_terminal: The process may write to the terminal.

    Returns:
        The log; for a process on the terminal the terminal itself, or a pipe if there is no
        terminal.
    """
    if not is_on_terminal:
        return output
    return OUTPUT.terminals[0] if sys.stdout.isatty() else subprocess.PIPE


def _environment(process: NodeProcess, stack: Stack) -> dict[str, str]:
    """Return the environment variables of a process: log folder, unbuffered output, and the file
    that it makes when it becomes active.
    """
    environment = dict(os.environ)
    environment.setdefault("ROS_LOG_DIR", str(stack.run_dir / "log"))
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment[ACTIVE] = str(stack.marker(process))
    return environment


def _copy(stream: IO[bytes], terminal: int, log: Path) -> threading.Thread:
    """Start a thread that copies a stream to a file descriptor of this process and to a log.

    Errors of a closed terminal or a full disk are ignored, so that the process goes on.

    Args:
        stream: Read until its end, then closed.
        terminal: File descriptor.
        log: Appended to.

    Returns:
        The started thread.
    """

    def copy() -> None:
        """Copy blocks until the stream ends."""
        with log.open("ab", buffering=0) as file, stream:
            while block := os.read(stream.fileno(), BLOCK):
                for target in (file.fileno(), terminal):
                    with contextlib.suppress(OSError):
                        os.write(target, block)

    thread = threading.Thread(target=copy, name=f"copy {log.name}", daemon=True)
    thread.start()
    return thread
