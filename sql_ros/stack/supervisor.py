"""`sql-ros up`: starts the processes of a stack without `ros2 launch`, and ends them together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from sql_ros.core.errors import CONFIG_EXIT_CODE
from sql_ros.core.parent import ending_with_this_process
from sql_ros.stack.description import Stack, claim_run_dir, ros_arguments
from sql_ros.stack.processes import NodeProcess

TALKING = ("monitor", "trials")  # keep the terminal
MOST_RESTARTS, WITHIN_S = 5, 60.0  # of one process; one that crashes more often will go on doing so


@dataclass
class _Child:
    process: NodeProcess
    handle: subprocess.Popen[bytes]
    log: Path | None
    restarted: list[float] = field(default_factory=list)  # steady times


def run_stack(stack: Stack, command: str) -> int:
    """Runs until a process ends for good, or SIGINT, SIGTERM or SIGHUP arrives; then stops all by SIGINT. Its own death ends them, too.

    The monitor, or the trials, keep the terminal; what the others print goes to `<run_dir>/log/<node>.log`.

    Args:
        stack: what to run.
        command: that repeats the run, for its report.

    Returns:
        The exit code: that of the first process that failed, otherwise 0.

    Raises:
        ConfigError: its run_dir cannot be written to, or is in use; nothing was started.
    """
    with claim_run_dir(stack):
        return _run(stack, command)


def _run(stack: Stack, command: str) -> int:
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda signum, _: asked.append(signum))
    signal.signal(signal.SIGTSTP, _refuse_to_sleep)
    children = [_start(process, stack, command) for process in stack.processes]
    first = _await_end(children, asked, lambda process: _start(process, stack, command))
    code = _stop(children)
    if first is not None and first.handle.returncode:
        _explain(first)
    return code


def _refuse_to_sleep(*_: object) -> None:
    """Ctrl-Z would stop this process alone: the arm would go on, and Ctrl-C would no longer be heard."""
    print("Ctrl-Z does not stop the arm. Ctrl-C ends the stack; the service actor/stop holds the arm.", file=sys.stderr, flush=True)


def _start(process: NodeProcess, stack: Stack, command: str) -> _Child:
    if process.executable == "monitor":
        process = replace(process, parameters={**process.parameters, "command": command})
    words = [sys.executable, "-m", f"sql_ros.nodes.{process.executable}_node", *ros_arguments(process, stack)]
    log, output = None, None
    if process.executable not in TALKING:
        log = stack.run_dir / "log" / f"{process.executable}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    # a session of its own: Ctrl-C in the terminal reaches this process alone, which then ends the others in order
    handle = subprocess.Popen(
        words,
        stdout=output,
        stderr=_errors(output),
        env=_environment(stack),
        start_new_session=True,
        preexec_fn=ending_with_this_process(),
    )
    if process.cpus:
        os.sched_setaffinity(handle.pid, process.cpus)  # before it has threads, which inherit it
    if output is not None:
        output.close()
    return _Child(process, handle, log)


def _errors(output: IO[bytes] | None) -> int | None:
    return subprocess.STDOUT if output is not None else None


def _environment(stack: Stack) -> dict[str, str]:
    environment = dict(os.environ)
    environment.setdefault("ROS_LOG_DIR", str(stack.run_dir / "log"))
    environment.setdefault("PYTHONUNBUFFERED", "1")
    return environment


def _await_end(children: list[_Child], asked: list[int], start: Callable[[NodeProcess], _Child]) -> _Child | None:
    """The first that ended and is not to be started again; what crashed and is, is put in its place in the list."""
    while not asked:
        for place, child in enumerate(children):
            code = child.handle.poll()
            if code is None:
                continue
            now = time.monotonic()
            lately = [at for at in child.restarted if now - at < WITHIN_S]
            if not child.process.respawns or code in (0, CONFIG_EXIT_CODE) or len(lately) >= MOST_RESTARTS:
                return child
            print(f"{child.process.executable} ended with exit code {code} and is started again", file=sys.stderr, flush=True)
            children[place] = replace(start(child.process), restarted=[*lately, now])
        time.sleep(0.1)
    return None


def _stop(children: list[_Child]) -> int:
    """SIGINT one after the other, last started first, and SIGKILL to one that does not end in its time."""
    failed = next((child.handle.returncode for child in children if child.handle.returncode), 0)
    for child in reversed(children):
        if child.handle.poll() is None:
            child.handle.send_signal(signal.SIGINT)
        try:
            code = child.handle.wait(child.process.seconds_to_stop)
        except subprocess.TimeoutExpired:
            child.handle.kill()
            child.handle.wait()
            print(f"{child.process.executable} did not end within {child.process.seconds_to_stop} s and was killed", file=sys.stderr)
            code = 1
        failed = failed or code
    return failed if failed >= 0 else 128 - failed


def _explain(child: _Child) -> None:
    print(f"{child.process.executable} ended with exit code {child.handle.returncode}", file=sys.stderr)
    if child.log is not None and child.log.is_file():
        lines = child.log.read_text(errors="replace").splitlines()[-8:]
        print("\n".join([*lines, f"(the whole log: {child.log})"]), file=sys.stderr)
