"""Start nodes in a DDS domain of their own and collect the actor's reports on /diagnostics."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sql_ros.checks.bench.machine import stolen_s
from sql_ros.checks.processes import (
    await_end,
    cpu_seconds,
    node_command,
    own_domain,
    start_process,
)
from sql_ros.common.errors import ConfigError

ActorReport = dict[str, float | str]  # values of the actor's /diagnostics by key, and "received_s"
Watch = Callable[[dict[str, int]], None]  # called with the process ids by executable
STARTS_WITHIN_S = 40.0  # longest wait for the first control step, on a busy machine
SETTLE_S = 3.0  # time after the first step in which reports are not kept
REPORT_S = 1.0  # between two reports of the actor
END_S = 20.0  # longest end of a node


@dataclass(frozen=True)
class NodeSettings:
    """ROS arguments of a node.

    Attributes:
        parameters: Values by parameter name.
        remappings: New names by topic name.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)


def run_nodes(
    task: str,
    nodes: Mapping[str, NodeSettings],
    seconds: float,
    other_cpus: tuple[int, ...] = (),
    watch: Watch = lambda pids: None,
) -> tuple[list[ActorReport], dict[str, float]]:
    """Run nodes in a DDS domain of their own and collect the actor's reports.

    The reports begin `SETTLE_S` after the first control step. The nodes are ended before the
    function returns. The environment variables of the domain are also set in this process, and
    remain.

    Args:
        task: Name of a file in config/tasks/, or a path.
        nodes: Settings by executable; "actor" is among them. Without "learner" this process
            publishes the progress of a learner until the actor's first step, because the actor
            waits for a learner.
        seconds: Time between the first and the last report [s].
        other_cpus: Cores of all nodes but the actor; empty: all cores.
        watch: Called with the process ids by executable at each report, also before the reports are
            kept.

    Returns:
        The actor's reports, one per second. Each has the values of its /diagnostics and
        `received_s`, the steady time of its arrival [s]. Then the CPU time between the first and
        the last report [s] by executable; "stolen" is the time that the host of a virtual machine
        took.

    Raises:
        ConfigError: A node ended (with the last line of its output), or the actor made fewer than
            two reports.
    """
    domain = own_domain()
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        environment = {**os.environ, **domain, "ROS_LOG_DIR": folder}
        with _running(task, nodes, environment, logs, other_cpus) as children:
            os.environ.update(domain)
            try:
                return _collect(children, seconds, watch)
            except ConfigError:
                _explain_end(children, logs)
                raise


@contextlib.contextmanager
def _running(
    task: str,
    nodes: Mapping[str, NodeSettings],
    environment: Mapping[str, str],
    logs: Path,
    other_cpus: tuple[int, ...],
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start the nodes, yield their processes by executable, and end them at the end of the context.

    Args:
        task: Name of a file in config/tasks/, or a path; a parameter of every node.
        nodes: Settings by executable.
        environment: Environment variables of the nodes.
        logs: Folder in which each node's output goes to a file of its name.
        other_cpus: Cores of all nodes but the actor; empty: all cores.

    Yields:
        The running processes by executable.
    """
    children = {}
    for name, settings in nodes.items():
        parameters = {"task": f"'{task}'", **settings.parameters}
        with (logs / name).open("wb") as log:
            words = node_command(name, parameters, settings.remappings)
            children[name] = start_process(words, log, environment=environment)
        if other_cpus and name != "actor":
            # at once: threads inherit the cores of the thread that starts them
            os.sched_setaffinity(children[name].pid, other_cpus)
    try:
        yield children
    finally:
        for child in children.values():
            # SIGINT is ignored by a process that starts in the background of a script
            child.terminate()
        for child in children.values():
            await_end(child, END_S)


def _explain_end(children: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Raise an error about the first node that has ended; do nothing if all run.

    Args:
        children: Processes by executable.
        logs: Folder with each node's output in a file of its name.

    Raises:
        ConfigError: A node has ended. The text has the last line of its output.
    """
    for name, child in children.items():
        if child.poll() is not None:
            lines = (logs / name).read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else f"exit code {child.returncode}"
            raise ConfigError(f"{name} ended: {last}") from None


def _collect(
    children: Mapping[str, subprocess.Popen[bytes]], seconds: float, watch: Watch
) -> tuple[list[ActorReport], dict[str, float]]:
    """Listen to /diagnostics until the actor's reports span a time, or a node ends.

    Waits at most `STARTS_WITHIN_S` for the first control step. Plays the learner if none is among
    the nodes.

    Args:
        children: Processes by executable.
        seconds: Time that the reports must span [s].
        watch: Called with the process ids by executable at each report.

    Returns:
        The actor's reports in order, and the CPU time between the first and the last one by
        executable, and by "stolen" [s].

    Raises:
        ConfigError: A node ended, or the actor made fewer than two reports.
    """
    from diagnostic_msgs.msg import DiagnosticArray

    from sql_ros.checks.listener_node import ListenerNode

    reports = _ActorReports(children, seconds, watch)
    listener = ListenerNode("bench")
    try:
        listener.node.create_subscription(
            DiagnosticArray, "/diagnostics", reports.on_diagnostics, 10
        )
        if "learner" not in children:
            _play_learner(listener.node, lambda: reports.settled_at is not None)
        listener.spin_until(
            lambda: reports.settled_at is not None or reports.has_ended, STARTS_WITHIN_S
        )
        if reports.settled_at is not None:
            longest_s = SETTLE_S + 2.0 * seconds + 10.0 * REPORT_S
            listener.spin_until(lambda: reports.has_enough or reports.has_ended, longest_s)
    finally:
        listener.close()
    return reports.result()


class _ActorReports:
    """Collects the reports of an actor from `SETTLE_S` after its first control step on.

    Args:
        children: Processes by executable.
        seconds: Time that the reports must span [s].
        watch: Called with the process ids by executable at each report.

    Attributes:
        settled_at: Steady time from which reports are kept [s]; None before the first control step.
    """

    def __init__(
        self, children: Mapping[str, subprocess.Popen[bytes]], seconds: float, watch: Watch
    ) -> None:
        self._children = children
        self._seconds = seconds
        self._watch = watch
        self._reports: list[ActorReport] = []
        self._used_s: list[dict[str, float]] = []  # CPU time at each report
        self.settled_at: float | None = None

    @property
    def has_ended(self) -> bool:
        """Return whether a node has ended."""
        return any(child.poll() is not None for child in self._children.values())

    @property
    def has_enough(self) -> bool:
        """Return whether the kept reports span the requested time, to within half a
        report period.
        """
        if len(self._reports) < 2:
            return False
        span_s = float(self._reports[-1]["received_s"]) - float(self._reports[0]["received_s"])
        return span_s > self._seconds - REPORT_S / 2

    def on_diagnostics(self, message: Any) -> None:
        """Take the values of the actor's control loop from a message; ignore the other statuses.

        Values that come before the actor is active (there are none) or after a node has ended are
        dropped.

        Args:
            message: A `diagnostic_msgs/DiagnosticArray`.
        """
        now = time.monotonic()
        for status in message.status:
            if status.name != "actor: control":
                continue
            values = {entry.key: _number(entry.value) for entry in status.values}
            # an actor has no values before it is active; a node that ended has no CPU time
            if values and not self.has_ended:
                self._take(values, now)

    def result(self) -> tuple[list[ActorReport], dict[str, float]]:
        """Return the kept reports, and the CPU time between the first and the last one by
        executable, and by "stolen" [s].

        Raises:
            ConfigError: A node has ended, or there are fewer than two reports.
        """
        if self.has_ended:
            raise ConfigError("a node ended")
        count = len(self._reports)
        if count < 2:
            came = f"{count} times, expected once per second"
            if self.settled_at is None:
                came = "no control steps"
            raise ConfigError(
                f"the actor reported {came}: does `sql-ros doctor` find that DDS discovery works?"
            )
        first = self._used_s[0]
        last = self._used_s[-1]
        return self._reports, {name: last[name] - first[name] for name in first}

    def _take(self, values: ActorReport, now: float) -> None:
        """Call `watch`, and keep a report with the CPU times of the processes if the loop has
        settled.

        The first report with a control step sets `settled_at`.

        Args:
            values: Values of the report by key.
            now: Steady time of the report's arrival [s].
        """
        pids = {name: child.pid for name, child in self._children.items()}
        if self.settled_at is None and float(values["control_steps"]) > 0:
            self.settled_at = now + SETTLE_S
        if self.settled_at is not None and now >= self.settled_at:
            self._reports.append({**values, "received_s": now})
            used_s = {name: cpu_seconds(pid) for name, pid in pids.items()}
            self._used_s.append({**used_s, "stolen": stolen_s()})
        self._watch(pids)


def _play_learner(node: Any, has_begun: Callable[[], bool]) -> None:
    """Create a timer that publishes the progress of a learner that accepted the run, on
    `learner/progress`.

    Args:
        node: Node of publisher and timer.
        has_begun: Tested once per `REPORT_S`. While it returns True, nothing is published.
    """
    from std_msgs.msg import UInt64MultiArray

    from sql_ros.nodes.messages import Progress, progress_to_msg
    from sql_ros.nodes.qos import RELIABLE

    publisher = node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
    accepted = progress_to_msg(Progress(0, 0, 0, {}))
    node.create_timer(REPORT_S, lambda: None if has_begun() else publisher.publish(accepted))


def _number(text: str) -> float | str:
    """Return the text of a diagnostic value as a number, or unchanged if the text is no number."""
    try:
        return float(text)
    except ValueError:
        return text
