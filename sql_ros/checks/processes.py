"""Start, observe and end the processes that a check works on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from sql_ros.common.child_process import ending_with_this_process, python_words

FIRST_DOMAIN = 51  # first DDS domain of checks; tests use lower ones
DOMAINS = 50  # number of DDS domains of checks
MIB = 2**20  # bytes


def own_domain() -> dict[str, str]:
    """Return environment variables that keep the DDS traffic of this process apart from other
    stacks.

    The variables are only returned, not set. The domain is derived from the process id, so that two
    checks rarely share one. Discovery is limited to this host.

    Returns:
        ROS_DOMAIN_ID, from `FIRST_DOMAIN` on, and ROS_AUTOMATIC_DISCOVERY_RANGE.
    """
    return {
        "ROS_DOMAIN_ID": str(FIRST_DOMAIN + os.getpid() % DOMAINS),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def node_command(
    executable: str,
    parameters: Mapping[str, object] | None = None,
    remappings: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command line that runs a node of this package with this interpreter.

    Args:
        executable: Name of the node's module without its suffix `_node`, e.g. "actor".
        parameters: ROS parameters by name; each value is written by `str`, and `true` or `false`
            for a Boolean, and must then be valid YAML. None: none.
        remappings: New names of topics and services by their names in the node; None: none.

    Returns:
        The words of the command line.
    """
    words = [*python_words(), "-m", f"sql_ros.nodes.{executable}_node"]
    return [*words, *ros_arguments(parameters or {}, remappings or {})]


def ros_arguments(
    parameters: Mapping[str, object], remappings: Mapping[str, str] | None = None
) -> list[str]:
    """Return ROS parameters and remappings as words of a command line, beginning with `--ros-args`.

    Args:
        parameters: ROS parameters by name; values as in `node_command`.
        remappings: New names of topics and services by their names in the node; None: none.
    """
    words = ["--ros-args"]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        words += ["-p", f"{name}:={text}"]
    for name, new_name in (remappings or {}).items():
        words += ["-r", f"{name}:={new_name}"]
    return words


def start_process(
    words: list[str],
    output: IO[bytes] | int,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    prepare: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child process that gets SIGTERM when this process ends. Its stdin is empty.

    Args:
        words: The command line.
        output: Where stdout and stderr go: an open file, a descriptor, or `subprocess.DEVNULL`.
        environment: All environment variables of the child; None: those of this process.
        folder: Working folder of the child; None: that of this process.
        prepare: Called in the child before the command replaces it; None: nothing is called.

    Returns:
        The running process.
    """
    end_with_parent = ending_with_this_process()

    def begin() -> None:
        """Prepare the child and tie its life to this process. Called in the child."""
        if prepare is not None:
            prepare()
        end_with_parent()

    return subprocess.Popen(
        words,
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        preexec_fn=begin,
    )


def end_process(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Send SIGINT to a process and wait for its end; kill it if it takes too long.

    A process that has ended already gets no signal.

    Args:
        process: The child process.
        timeout_s: Time from the signal to the kill [s].
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    await_end(process, timeout_s)


def await_end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait for the end of a process; kill it if it takes too long.

    Args:
        process: The child process.
        timeout_s: Time until the kill [s].
    """
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used in all its threads since its start
    [s].

    Args:
        pid: Process id of a running process.

    Raises:
        OSError: The process does not exist.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process [MiB].

    Args:
        pid: Process id of a running process; "self": this process.

    Raises:
        OSError: The process does not exist.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
