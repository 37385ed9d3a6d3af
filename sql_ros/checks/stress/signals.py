"""`python -m sql_ros.checks.stress.signals`: send signals to an actor at random moments; none may
be lost.

==========
==========================================================================================
moment      when the signal is sent
==========
==========================================================================================
start       uniform from the start of the process until it is active: imports, configuration,
discovery
work        within a second after that: the actor acts on the states of an arm at rest
end         uniform in its end, which a SIGINT began
==========
==========================================================================================

A signal is lost where the process has not ended `LOST_S` later. SIGINT is not ignored when the
process starts; where a script starts one in its background, SIGINT is lost until Python has
started.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.load import busy_processes
from sql_ros.checks.processes import FIRST_DOMAIN, node_command, start_process
from sql_ros.common.child_process import ACTIVE
from sql_ros.common.data_files import find_file
from sql_ros.common.errors import ConfigError
from sql_ros.common.figures_json import write_figures
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.tasks import load_task

TASK = "sawyer_stack"  # a policy for it is shipped
START = "start"
WORK = "work"
END = "end"
MOMENTS = (START, WORK, END)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STATE_PERIOD_S = 0.02
WORK_S = 1.0
ACTIVE_S = 120.0  # longest start, on a loaded machine
LOST_S = 30.0
POLL_S = 0.005
SHOWN_EVERY = 20


@dataclass(frozen=True)
class SignalCase:
    """One signal.

    Attributes:
        moment: One of `MOMENTS`.
        number: The signal.
        share: Share of the moment's time span after which it is sent.
    """

    moment: str
    number: signal.Signals
    share: float


@dataclass(frozen=True)
class SignalResult:
    """Result of one signal.

    Attributes:
        case: The signal.
        ended_s: Time from the signal to the end of the process [s]; infinite: the signal was lost.
        code: Exit code of the process.
        output: Output of the process.
    """

    case: SignalCase
    ended_s: float
    code: int
    output: str

    @property
    def is_lost(self) -> bool:
        """Return whether the process did not end."""
        return self.ended_s == float("inf")


@dataclass
class Spans:
    """Time spans of an actor, as last measured.

    Attributes:
        start_s: From its start until it is active [s].
        end_s: From SIGINT to its end [s].
    """

    start_s: float = 5.0
    end_s: float = 0.5


@dataclass
class SignalResults:
    """All results of a check."""

    all: list[SignalResult] = field(default_factory=list)

    @property
    def lost(self) -> list[SignalResult]:
        """Return the results of the signals that were lost."""
        return [result for result in self.all if result.is_lost]

    def figures(self) -> dict[str, float]:
        """Return counts of signals by moment and number, and times of the end [s], by name."""
        ended_s = [result.ended_s for result in self.all if not result.is_lost] or [0.0]
        return {
            "signals": len(self.all),
            "lost": len(self.lost),
            **{
                f"signals_{moment}": sum(o.case.moment == moment for o in self.all)
                for moment in MOMENTS
            },
            **{
                f"signals_{number.name}": sum(o.case.number == number for o in self.all)
                for number in SIGNALS
            },
            "tracebacks": sum("Traceback" in result.output for result in self.all),
            "ended_p50_s": float(np.median(ended_s)),
            "ended_max_s": max(ended_s),
        }


def send_signals(
    count: int, seed: int, domain: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[SignalResult]:
    """Send signals, each to an actor of its own.

    Args:
        count: Number of signals; one that came after the end of its process does not count.
        seed: Seed of signals and moments.
        domain: ROS_DOMAIN_ID of the actors.
        folder: For their output.
        environment: Environment variables of the actors, beside those of this process.

    Yields:
        The result of each signal.

    Raises:
        ConfigError: An actor did not start.
    """
    rng = np.random.default_rng(seed)
    spans = Spans()
    sent = 0
    with _standing_arm(domain):
        # the first one measures the spans
        cases = itertools.chain([SignalCase(WORK, signal.SIGINT, 0.0)], _draw(rng))
        for case in cases:
            if sent == count:
                return
            result = _send_one(
                case, spans, folder, {**os.environ, **environment, "ROS_DOMAIN_ID": str(domain)}
            )
            if result is not None:
                sent += 1
                yield result


def _draw(rng: np.random.Generator) -> Iterator[SignalCase]:
    """Yield random signals without end."""
    while True:
        moment = MOMENTS[rng.integers(len(MOMENTS))]
        number = SIGNALS[rng.integers(len(SIGNALS))]
        yield SignalCase(moment, number, float(rng.random()))


@contextlib.contextmanager
def _standing_arm(domain: int) -> Iterator[None]:
    """Publish the states of an arm at rest and subscribe to its commands, in a thread."""
    robot = load_task(TASK).robot
    listener = ListenerNode("standing_arm", domain)
    node = listener.node
    states = node.create_publisher(JointState, "joint_states", RELIABLE)
    node.create_subscription(Float64MultiArray, "commands", lambda message: None, RELIABLE)
    position = np.array(robot.neutral_position)
    zero = np.zeros(len(position))

    def publish() -> None:
        stamp_ns = node.get_clock().now().nanoseconds
        states.publish(state_to_msg(stamp_ns, robot.wire_joints, position, zero, zero))

    node.create_timer(STATE_PERIOD_S, publish)
    listener.spin_in_thread()
    try:
        yield
    finally:
        listener.close()


def _send_one(
    case: SignalCase, spans: Spans, folder: Path, environment: Mapping[str, str]
) -> SignalResult | None:
    """Start an actor, send one signal, and wait for the end.

    Args:
        case: The signal and its moment.
        spans: How long actors took so far; brought up to date.
        folder: Folder for the log of the actor.
        environment: All environment variables of the actor.

    Returns:
        The result; None where the process had ended before the signal.

    Raises:
        ConfigError: The actor did not start.
    """
    marker = folder / "active"
    log = folder / "actor.log"
    marker.unlink(missing_ok=True)
    policy = find_file(TASK, "config/policies", ".onnx")
    parameters = {"mode": "play", "task": TASK, "policy": policy, "real_arm": False}
    began = time.monotonic()
    with log.open("wb") as file:
        process = start_process(
            node_command("actor", parameters),
            file,
            environment={**environment, ACTIVE: str(marker), "PYTHONFAULTHANDLER": "1"},
            prepare=_restore_sigint,
        )
    try:
        if case.moment == START:
            time.sleep(case.share * spans.start_s)
        else:
            _await_active(process, marker, log)
            spans.start_s = time.monotonic() - began
            time.sleep(case.share * WORK_S)
        if case.moment == END:
            process.send_signal(signal.SIGINT)
            time.sleep(case.share * spans.end_s)
        if process.poll() is not None:
            return None
        sent = time.monotonic()
        process.send_signal(case.number)
        ended_s = _await_end(process, sent)
        if case.moment == WORK and case.number == signal.SIGINT:
            spans.end_s = min(ended_s, LOST_S)
        return SignalResult(case, ended_s, process.returncode, log.read_text(errors="replace"))
    finally:
        process.kill()
        process.wait()


def _restore_sigint() -> None:
    """Let SIGINT end this process; a script that runs this check in its background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _await_active(process: subprocess.Popen[bytes], marker: Path, log: Path) -> None:
    """Wait until an actor is active.

    Args:
        process: The actor.
        marker: File that it makes when it becomes active.
        log: Its output.

    Raises:
        ConfigError: It ended, or was not active within `ACTIVE_S`.
    """
    deadline = time.monotonic() + ACTIVE_S
    while not marker.exists():
        if process.poll() is not None:
            raise ConfigError(
                f"the actor ended with exit code {process.returncode}:"
                f" {log.read_text(errors='replace')}"
            )
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGABRT)
            process.wait()
            raise ConfigError(
                f"the actor was not active within {ACTIVE_S} s: {log.read_text(errors='replace')}"
            )
        time.sleep(POLL_S)


def _await_end(process: subprocess.Popen[bytes], sent: float) -> float:
    """Wait for the end of an actor.

    A process that does not end gets SIGABRT, which writes its stacks to its log.

    Args:
        process: The actor.
        sent: Steady time of the signal [s].

    Returns:
        Time from the signal to the end [s]; infinite if it did not end.
    """
    try:
        process.wait(LOST_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        return float("inf")
    return time.monotonic() - sent


def main() -> int:
    """Run the check.

    Returns:
        Exit code 1 if a signal was lost, otherwise 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sql_ros.checks.stress.signals",
        description="Signals at random moments: none may be lost.",
    )
    parser.add_argument(
        "--count", type=int, default=2000, help="of the signals (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of signals and moments (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="actors at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--busy",
        type=int,
        default=0,
        help="processes that load the machine meanwhile (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    if min(args.count, args.jobs) < 1 or min(args.seed, args.busy) < 0:
        parser.error("expected at least 1 for --count and --jobs, at least 0 for --seed and --busy")
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    results = SignalResults()
    lock = threading.Lock()

    def work(job: int) -> None:
        """Send the signals of one job, and add their results."""
        count = args.count // args.jobs + (job < args.count % args.jobs)
        folder = Path(temporary) / str(job)
        folder.mkdir()
        environment = {"ROS_LOG_DIR": str(folder / "ros_log")}
        for result in send_signals(
            count, args.seed * args.jobs + job, FIRST_DOMAIN + job, folder, environment
        ):
            with lock:
                results.all.append(result)
                _show(results)

    with (
        tempfile.TemporaryDirectory(prefix="sql_ros_signals_") as temporary,
        busy_processes(args.busy),
        ThreadPoolExecutor(args.jobs) as pool,
    ):
        list(pool.map(work, range(args.jobs)))
    for name, value in results.figures().items():
        print(f"  {name:20s} {value:.6g}")
    if args.json:
        write_figures(args.json, {**results.figures(), "busy": args.busy}, args.seed)
    return int(bool(results.lost))


def _show(results: SignalResults) -> None:
    """Print the newest result if it is bad, and the number of signals from time to time."""
    newest = results.all[-1]
    if newest.is_lost or "Traceback" in newest.output:
        print(
            f"{'lost' if newest.is_lost else 'traceback'}: {newest.case}\n{newest.output}",
            flush=True,
        )
    if len(results.all) % SHOWN_EVERY == 0:
        print(f"{len(results.all)} signals, {len(results.lost)} lost", flush=True)


if __name__ == "__main__":
    sys.exit(main())
