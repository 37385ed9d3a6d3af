"""The supervisor of `sql-ros up`: starts the processes of a stack without `ros2 launch`, and ends
them together.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from sql_ros.common.output import OUTPUT
from sql_ros.stack.child import ON_TERMINAL, Child, start_child
from sql_ros.stack.description import Stack
from sql_ros.stack.refusal import is_refusal, remove_run_dir
from sql_ros.stack.restarts import Restarts
from sql_ros.stack.signals import EndRequest, Signals, write_stderr

POLL_S = 0.05
# on a fast end: time for the process that moves the arm to brake it (2 s with torques) and to end,
# before the others get their signal
ACTOR_END_S = 2.5
FAST_END_S = 7.5  # longest fast end of all processes
LOG_TAIL_LINES = 8


def run_stack(stack: Stack, command: str) -> int:
    """Run a stack until a process ends for good or a signal arrives, then end all processes.

    The processes also end if this process dies. Monitor and trials write to the terminal; the
    output of
    every process goes to `<run_dir>/log/<node>.log`.

    Args:
        stack: What to run; its folder is claimed (`claim_run_dir`).
        command: Command that repeats the run, for its report.

    Returns:
        The exit code: that of the first process that failed, otherwise 0.
    """
    stack = _reporting(stack, command)
    OUTPUT.redirect()  # a stopped terminal must not delay a signal to the arm
    signals = Signals()
    signals.listen()
    children = [
        start_child(process, stack, Restarts(process, stack.marker(process)))
        for process in stack.processes
    ]
    first = _await_end(children, stack, signals)
    code = _stop(children, signals)
    if first is not None and first.handle.returncode:
        _explain(first)
        refused = is_refusal(first.handle.returncode, first.restarts)
        if refused and remove_run_dir(stack):
            write_stderr(f"(nothing was begun: {stack.run_dir} is removed again)")
        else:
            write_stderr(f"(the whole log: {first.log})")
    return code


def _reporting(stack: Stack, command: str) -> Stack:
    """Return the stack with the command that its report quotes."""
    processes = [
        (
            replace(p, parameters={**p.parameters, "command": command})
            if p.executable == "monitor"
            else p
        )
        for p in stack.processes
    ]
    return replace(stack, processes=tuple(processes))


def _await_end(children: list[Child], stack: Stack, signals: Signals) -> Child | None:
    """Wait until a process has ended that is not started again, or until the stack must end.

    Args:
        children: Processes of the stack; one that is started again is replaced in place.
        stack: Of these processes.
        signals: Received by this process.

    Returns:
        The process that ended; None where a signal asks for the end.
    """
    while not signals.sleep(POLL_S, EndRequest.ORDERLY):
        if signals.is_to_hold and children and children[-1].restarts.was_active:
            signals.is_to_hold = False
            _hold(children[-1], stack)
        for place, child in enumerate(children):
            if child.is_running:
                continue
            if not child.restarts.allow(child.handle.returncode):
                return child
            write_stderr(
                f"{child.restarts.describe(child.handle.returncode)} and is started again (its log:"
                f" {child.log})"
            )
            children[place] = start_child(child.process, stack, child.restarts)
    return None


def _hold(actor: Child, stack: Stack) -> None:
    """Pass Ctrl-Z on to the process that moves the arm, and print how to let it go on."""
    actor.send(signal.SIGTSTP)
    namespace = stack.namespace.strip("/")
    node = f"/{namespace}/actor" if namespace else "/actor"  # also of trials
    reset = f"ros2 service call {node}/reset std_srvs/srv/Trigger"
    start = f"ros2 service call {node}/start std_srvs/srv/Trigger"
    write_stderr(f"To let the arm go on: '{reset}', then '{start}'.")


def _stop(children: list[Child], signals: Signals) -> int:
    """End all processes, the last started first.

    A process that is told to end while it is still starting may fail without consequence.

    Returns:
        The exit code of the first process that failed, otherwise 0.
    """
    failed = _failure(children)
    for child in reversed(children):
        if signals.end_request >= EndRequest.FAST:
            break
        child.send(signal.SIGINT)
        longest_s = child.process.seconds_to_stop
        _wait([child], longest_s, lambda: signals.end_request >= EndRequest.FAST)
        if signals.end_request < EndRequest.FAST:
            _kill([child], f"did not end within {longest_s:g} s and was killed")
    if signals.end_request >= EndRequest.FAST:
        _stop_fast(children, signals)
    if signals.end_request == EndRequest.IMMEDIATE:
        return 128 + signal.SIGINT
    failed = failed or _failure([child for child in children if child.restarts.was_active])
    return failed if failed >= 0 else 128 - failed


def _stop_fast(children: list[Child], signals: Signals) -> None:
    """End the processes that are left: first the one that moves the arm, so that it is held, then
    the others together.
    """
    began = time.monotonic()
    *others, actor = children
    actor.send(signal.SIGTERM)
    _wait([actor], ACTOR_END_S)
    for child in others:
        child.send(signal.SIGTERM)
    _wait(
        others,
        began + FAST_END_S - time.monotonic(),
        lambda: signals.end_request == EndRequest.IMMEDIATE,
    )
    at_once = signals.end_request == EndRequest.IMMEDIATE
    _kill(
        children, "was killed" if at_once else f"did not end within {FAST_END_S:g} s and was killed"
    )


def _failure(children: list[Child]) -> int:
    """Return the exit code of the first process that ended with another code than 0; 0 if
    none did.
    """
    return next((child.handle.returncode for child in children if child.handle.returncode), 0)


def _wait(
    children: list[Child], seconds: float, gives_up: Callable[[], bool] = lambda: False
) -> None:
    """Wait until all processes have ended.

    Args:
        children: The processes.
        seconds: Longest wait [s].
        gives_up: Tested repeatedly; True ends the wait.
    """
    deadline = time.monotonic() + seconds
    while (
        any(child.is_running for child in children)
        and time.monotonic() < deadline
        and not gives_up()
    ):
        time.sleep(POLL_S)


def _kill(children: list[Child], reason: str) -> None:
    """Kill the processes that are still running, and print the reason for each."""
    for child in children:
        if child.is_running:
            child.handle.kill()
            child.handle.wait()
            write_stderr(f"{child.process.executable} {reason}")


def _explain(child: Child) -> None:
    """Print how a process ended, with the end of its log if it has no terminal."""
    write_stderr(child.restarts.describe(child.handle.returncode))
    if child.process.executable in ON_TERMINAL:
        return
    for line in child.log_tail(LOG_TAIL_LINES):
        write_stderr(f"  {line}")
