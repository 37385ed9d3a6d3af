"""`sql-ros up`: starts the processes of a stack without `ros2 launch`, and ends them together."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from sql_ros.stack.child import TALKING, Child, start
from sql_ros.stack.description import Stack
from sql_ros.stack.restarts import Restarts
from sql_ros.stack.signals import Hurry, Signals, say

LOOK_S = 0.05
FIRST_S = 2.5  # for the process that moves the arm to brake it (2 s with torques) and end, before the others are told to; in a hurry
HURRIED_S = 7.5  # from then on, for all
LAST_WORDS = 8  # lines of a log


def run_stack(stack: Stack, command: str) -> int:
    """Run until a process ends for good, or a signal arrives; then end all. The death of this process ends them, too.

    The monitor, or the trials, keep the terminal; what each process says goes to `<run_dir>/log/<node>.log`.

    Args:
        stack: What to run; its folder is claimed (`claim_run_dir`).
        command: That repeats the run, for its report.

    Returns:
        The exit code: that of the first process that failed, otherwise 0.
    """
    stack = _reporting(stack, command)
    signals = Signals()
    signals.listen()
    children = [start(process, stack, Restarts(process, stack.marker(process))) for process in stack.processes]
    first = _await_end(children, stack, signals)
    code = _stop(children, signals)
    if first is not None and first.handle.returncode:
        _explain(first)
    return code


def _reporting(stack: Stack, command: str) -> Stack:
    """Return the stack with the command that its report quotes."""
    processes = [replace(p, parameters={**p.parameters, "command": command}) if p.executable == "monitor" else p for p in stack.processes]
    return replace(stack, processes=tuple(processes))


def _await_end(children: list[Child], stack: Stack, signals: Signals) -> Child | None:
    """Return the first that ended and is not started again; one that is takes its place in the list."""
    while not signals.sleep(LOOK_S, Hurry.IN_ORDER):
        for place, child in enumerate(children):
            if child.is_running:
                continue
            if not child.restarts.allow(child.handle.returncode):
                return child
            say(f"{child.restarts.describe(child.handle.returncode)} and is started again (its log: {child.log})")
            children[place] = start(child.process, stack, child.restarts)
    return None


def _stop(children: list[Child], signals: Signals) -> int:
    """End all, last started first; return the exit code of the first that failed.

    A process that is told to end while it is still starting ends as it can: that is no failure.
    """
    failed = _failure(children)
    for child in reversed(children):
        if signals.hurry >= Hurry.SOON:
            break
        child.send(signal.SIGINT)
        _wait([child], child.process.seconds_to_stop, lambda: signals.hurry >= Hurry.SOON)
        if signals.hurry < Hurry.SOON:
            _kill([child], f"did not end within {child.process.seconds_to_stop:g} s and was killed")
    if signals.hurry >= Hurry.SOON:
        _stop_soon(children, signals)
    if signals.hurry == Hurry.AT_ONCE:
        return 128 + signal.SIGINT
    failed = failed or _failure([child for child in children if child.restarts.was_active])
    return failed if failed >= 0 else 128 - failed


def _stop_soon(children: list[Child], signals: Signals) -> None:
    """End what is left: first the process that moves the arm, so that it is held, then the others together."""
    began = time.monotonic()
    *others, mover = children
    mover.send(signal.SIGTERM)
    _wait([mover], FIRST_S)
    for child in others:
        child.send(signal.SIGTERM)
    _wait(others, began + HURRIED_S - time.monotonic(), lambda: signals.hurry == Hurry.AT_ONCE)
    at_once = signals.hurry == Hurry.AT_ONCE
    _kill(children, "was killed" if at_once else f"did not end within {HURRIED_S:g} s and was killed")


def _failure(children: list[Child]) -> int:
    """Return the exit code of the first that ended with another than 0, or 0."""
    return next((child.handle.returncode for child in children if child.handle.returncode), 0)


def _wait(children: list[Child], seconds: float, gives_up: Callable[[], bool] = lambda: False) -> None:
    """Wait until all have ended, at most so long, or until there is no time for it."""
    deadline = time.monotonic() + seconds
    while any(child.is_running for child in children) and time.monotonic() < deadline and not gives_up():
        time.sleep(LOOK_S)


def _kill(children: list[Child], why: str) -> None:
    """Kill those that are still there."""
    for child in children:
        if child.is_running:
            child.handle.kill()
            child.handle.wait()
            say(f"{child.process.executable} {why}")


def _explain(child: Child) -> None:
    """Say why a process ended: the end of its log, and where the whole log is."""
    say(child.restarts.describe(child.handle.returncode))
    for line in child.last_words(LAST_WORDS) if child.process.executable not in TALKING else ():
        say(f"  {line}")
    say(f"(the whole log: {child.log})")
