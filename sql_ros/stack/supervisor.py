"""The supervisor of `sql-ros up`: start the processes of a stack without `ros2 launch`, restart
crashed ones, and end them together.
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

POLL_S = 0.05  # time between two checks of the processes
# on a fast end: time for the process that moves the arm to brake it (2 s with torques) and to end,
# before the others get their signal
ACTOR_END_S = 2.5
FAST_END_S = 7.5  # longest time of a fast end of all processes
LOG_TAIL_LINES = 8  # lines of a failed process's log that are printed


def run_stack(stack: Stack, command: str) -> int:
    """Run a stack until a process ends for good or a signal arrives, then end all processes.

    The processes also end if this process dies. Monitor and trials write to the terminal. The
    output of every process goes to `<run_dir>/log/<node>.log`. If a node refused to start, the run
    folder that was made for it is removed.

    Args:
        stack: Stack to run, as returned by `lock_run_dir`.
        command: Command that repeats the run, for its report.

    Returns:
        The exit code: that of the first process that failed, 128 plus the signal's number if a
        signal ended that process or Ctrl-C was pressed twice, otherwise 0.
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
    """Return a stack whose monitor has the parameter `command`, which the report quotes.

    Args:
        stack: The stack.
        command: Command that repeats the run.
    """
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
    """Wait until a process has ended that is not to be started again, or a signal asks for the end.

    Meanwhile, start crashed processes again, with a line on stderr, and pass Ctrl-Z on to the
    process that moves the arm, once it is active. A process that is not vital is removed from the
    list when it has ended for good.

    Args:
        children: Processes of the stack; one that is started again is replaced in place.
        stack: The stack.
        signals: Signals that this process has received.

    Returns:
        The process that ended; None if a signal asks for the end.
    """
    while not signals.sleep(POLL_S, EndRequest.ORDERLY):
        if signals.is_to_hold and children and children[-1].restarts.was_active:
            signals.is_to_hold = False
            _hold(children[-1], stack)
        for place, child in enumerate(children):
            if child.is_running:
                continue
            if not child.restarts.allow(child.handle.returncode):
                if child.process.is_vital:
                    return child
                _explain(child)
                write_stderr(f"(the stack goes on without it; the whole log: {child.log})")
                children.remove(child)
                break
            write_stderr(
                f"{child.restarts.describe(child.handle.returncode)} and is started again (its log:"
                f" {child.log})"
            )
            children[place] = start_child(child.process, stack, child.restarts)
    return None


def _hold(actor: Child, stack: Stack) -> None:
    """Send SIGTSTP to the process that moves the arm, which then holds it; print the commands that
    let the arm move again.

    Args:
        actor: Process that moves the arm.
        stack: The stack; gives the namespace.
    """
    actor.send(signal.SIGTSTP)
    namespace = stack.namespace.strip("/")
    node = f"/{namespace}/actor" if namespace else "/actor"  # also of trials
    reset = f"ros2 service call {node}/reset std_srvs/srv/Trigger"
    start = f"ros2 service call {node}/start std_srvs/srv/Trigger"
    write_stderr(f"To let the arm go on: '{reset}', then '{start}'.")


def _stop(children: list[Child], signals: Signals) -> int:
    """End all processes, one after the other, the last started first; kill one that takes longer
    than `seconds_to_stop`. If a signal asks for more haste, go on with `_stop_fast`.

    The exit code of a process that had not become active when it was told to end does not count.

    Args:
        children: Processes of the stack.
        signals: Signals that this process has received.

    Returns:
        The exit code for `run_stack`.
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
    """Send SIGTERM to the process that moves the arm, so that the arm is held, then to the others.
    Kill those that are left after `FAST_END_S`, or at a request for an immediate end.

    Args:
        children: Processes of the stack; the last one moves the arm.
        signals: Signals that this process has received.
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
    """Return the exit code of the first process in the list that failed; 0 if none did."""
    return next((child.handle.returncode for child in children if child.handle.returncode), 0)


def _wait(
    children: list[Child], seconds: float, gives_up: Callable[[], bool] = lambda: False
) -> None:
    """Wait until all processes have ended, the time is up, or `gives_up` returns True.

    Args:
        children: The processes.
        seconds: Longest wait [s].
        gives_up: Called every `POLL_S`.
    """
    deadline = time.monotonic() + seconds
    while (
        any(child.is_running for child in children)
        and time.monotonic() < deadline
        and not gives_up()
    ):
        time.sleep(POLL_S)


def _kill(children: list[Child], reason: str) -> None:
    """Kill the processes that are still running, and print a line for each.

    Args:
        children: The processes.
        reason: Text after the name of the process in the line.
    """
    for child in children:
        if child.is_running:
            child.handle.kill()
            child.handle.wait()
            write_stderr(f"{child.process.executable} {reason}")


def _explain(child: Child) -> None:
    """Print how a process ended and, unless it writes to the terminal, the end of its log."""
    write_stderr(child.restarts.describe(child.handle.returncode))
    if child.process.executable in ON_TERMINAL:
        return
    for line in child.log_tail(LOG_TAIL_LINES):
        write_stderr(f"  {line}")
