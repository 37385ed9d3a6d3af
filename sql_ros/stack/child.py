"""Start one process of a stack for `sql-ros up`, and write its log."""

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

ON_TERMINAL = ("page", "monitor", "trials")  # executables whose output also goes to the terminal
BLOCK = 65536  # largest number of bytes that are copied at a time


@dataclass
class Child:
    """A process that was started.

    Attributes:
        process: Description of the process.
        handle: The process, as returned by `subprocess`.
        log: Log file with what the process writes to stdout and stderr. Output that goes straight
            to the terminal is not in it.
        restarts: Decides whether the process is started again after its end.
        copy_threads: Threads that copy its output to the log and the terminal.
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
        """Send the signal `number`; do nothing if the process has ended."""
        if self.is_running:
            self.handle.send_signal(number)

    def log_tail(self, lines: int) -> list[str]:
        """Return the last lines of the log; empty if there is no log file.

        The call waits up to 1 s for each copy thread to write the rest.

        Args:
            lines: Largest number of lines to return.
        """
        for thread in self.copy_threads:
            thread.join(1.0)
        return (
            self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.is_file() else []
        )


def start_child(process: NodeProcess, stack: Stack, restarts: Restarts) -> Child:
    """Start a process of a stack, with stdout and stderr in its log file, and on the terminal too
    for the processes of `ON_TERMINAL`.

    The process is in a POSIX session of its own, so that Ctrl-C in the terminal reaches only
    `sql-ros up`, which ends the processes in order. It gets SIGTERM when this process ends.

    Args:
        process: Description of the process; gives its parameters and cores.
        stack: Stack of the process; gives namespace, log folder and log level.
        restarts: Rule for its restarts, whose `begin` is called.

    Returns:
        The started process.
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
    """Return the stdout of a child process, for `subprocess.Popen`.

    Args:
        output: The open log file.
        is_on_terminal: Whether the process may write to the terminal.

    Returns:
        The log file for a process that may not; otherwise the terminal itself, or a pipe if stdout
        of this process is not a terminal.
    """
    if not is_on_terminal:
        return output
    return OUTPUT.terminals[0] if sys.stdout.isatty() else subprocess.PIPE


def _environment(process: NodeProcess, stack: Stack) -> dict[str, str]:
    """Return the environment variables of a process.

    To those of this process are added the ROS log folder and unbuffered output, unless they are
    set, and the marker file that the process makes when it becomes active.
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
        stream: Stream of bytes, which is read until its end and then closed.
        terminal: File descriptor of this process: 1 or 2.
        log: Log file, to which the bytes are appended.

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
