"""`python -m sql_ros.checks.stress.signals`: send signals to an actor at random moments; none may
be lost.

==========  ==========================================================================
moment      when the signal is sent
==========  ==========================================================================
start       uniformly from the start of the process until the actor is active
work        within a second after that: the actor acts on the states of an arm at rest
end         uniformly during the end of the process, which a SIGINT began
==========  ==========================================================================

A signal is lost if the process has not ended `LOST_S` later. The processes start with SIGINT at its
default, also where a script runs this check in its background and so ignores SIGINT.
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
WORK_S = 1.0  # time after the start in which signals of the moment "work" are sent
ACTIVE_S = 120.0  # longest start, on a loaded machine
LOST_S = 30.0  # a process that has not ended after this time has lost the signal
POLL_S = 0.005
SHOWN_EVERY = 20


@dataclass(frozen=True)
class SignalCase:
    """One signal, before it is sent.

    Attributes:
        moment: One of `MOMENTS`.
        number: The signal, one of `SIGNALS`.
        share: Part of the moment's time span after which the signal is sent, from 0 to 1.
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
        output: Everything the process wrote to stdout and stderr.
    """

    case: SignalCase
    ended_s: float
    code: int
    output: str

    @property
    def is_lost(self) -> bool:
        """Return whether the process did not end within `LOST_S`."""
        return self.ended_s == float("inf")


@dataclass
class Spans:
    """Time spans of an actor, as last measured; the moments of the next signals are drawn in them.

    Attributes:
        start_s: From the start of the process until the actor is active [s].
        end_s: From SIGINT to the end of the process [s].
    """

    start_s: float = 5.0
    end_s: float = 0.5


@dataclass
class SignalResults:
    """All results of a check.

    Attributes:
        all: The results in the order of their ends.
    """

    all: list[SignalResult] = field(default_factory=list)

    @property
    def lost(self) -> list[SignalResult]:
        """Return the results of the signals that were lost."""
        return [result for result in self.all if result.is_lost]

    def figures(self) -> dict[str, float]:
        """Return the figures of the check by name.

        Returns:
            `signals`, `lost`; `signals_<moment>` and `signals_<signal>`: counts of signals.
            `tracebacks`: processes that printed one. `ended_p50_s`, `ended_max_s`: time from signal
            to end, without the lost signals [s].
        """
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
    """Send signals, each to a newly started actor, and yield each result as soon as it is known.

    The first signal is not random; it measures the time spans.

    Args:
        count: Number of results. A signal whose process had already ended is neither sent nor
            counted.
        seed: Seed of signals and moments.
        domain: ROS_DOMAIN_ID of the actors and of the played arm.
        folder: Existing folder for the actors' output.
        environment: Environment variables of the actors, beside those of this process.

    Yields:
        The result of each signal.

    Raises:
        ConfigError: An actor ended at its start, or was not active within `ACTIVE_S`.
    """
    rng = np.random.default_rng(seed)
    spans = Spans()
    sent = 0
    with _standing_arm(domain):
        # the first signal measures the spans
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
    """Yield random signals without end.

    Args:
        rng: Draws moment, signal and share.
    """
    while True:
        moment = MOMENTS[rng.integers(len(MOMENTS))]
        number = SIGNALS[rng.integers(len(SIGNALS))]
        yield SignalCase(moment, number, float(rng.random()))


@contextlib.contextmanager
def _standing_arm(domain: int) -> Iterator[None]:
    """Publish the states of an arm at rest and subscribe to its commands inside the context, in a
    thread.

    The commands have no effect.

    Args:
        domain: ROS_DOMAIN_ID.
    """
    robot = load_task(TASK).robot
    listener = ListenerNode("standing_arm", domain)
    node = listener.node
    states = node.create_publisher(JointState, "joint_states", RELIABLE)
    node.create_subscription(Float64MultiArray, "commands", lambda message: None, RELIABLE)
    position = np.array(robot.neutral_position)
    zero = np.zeros(len(position))

    def publish() -> None:
        """Publish the state of the arm at rest with the present time."""
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
    """Start an actor, send one signal at its moment, and wait for the end of the process.

    Args:
        case: The signal and its moment.
        spans: Time spans as last measured; updated in place.
        folder: Folder for the actor's output.
        environment: All environment variables of the actor.

    Returns:
        The result; None if the process had ended before the signal.

    Raises:
        ConfigError: The actor ended at its start, or was not active within `ACTIVE_S`.
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
    """Set SIGINT of this process to its default action. Called in the child before the actor
    replaces it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _await_active(process: subprocess.Popen[bytes], marker: Path, log: Path) -> None:
    """Wait until an actor is active. An actor that takes too long gets SIGABRT, which writes its
    stacks to its output.

    Args:
        process: The actor.
        marker: File that the actor creates when it becomes active.
        log: File with the actor's output, for the error.

    Raises:
        ConfigError: The actor ended, or was not active within `ACTIVE_S`.
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
    """Wait for the end of an actor, at most `LOST_S`.

    An actor that does not end gets SIGABRT, which writes its stacks to its output.

    Args:
        process: The actor.
        sent: Steady time of the signal [s].

    Returns:
        Time from the signal to the end [s]; infinite if the process did not end by itself.
    """
    try:
        process.wait(LOST_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        return float("inf")
    return time.monotonic() - sent


def _parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
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
    return args


def main() -> int:
    """Run the check with some actors at a time, print the figures and write them if asked.

    Each job has a DDS domain, a folder and a seed of its own.

    Returns:
        Exit code 1 if a signal was lost, otherwise 0.
    """
    args = _parse_arguments()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    results = SignalResults()
    lock = threading.Lock()

    def send_signals_of_job(job: int) -> None:
        """Send the signals of one job, and add their results to those of all jobs.

        Args:
            job: Number of the job from 0; gives domain, folder and seed.
        """
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
        list(pool.map(send_signals_of_job, range(args.jobs)))
    for name, value in results.figures().items():
        print(f"  {name:20s} {value:.6g}")
    if args.json:
        write_figures(args.json, {**results.figures(), "busy": args.busy}, args.seed)
    return int(bool(results.lost))


def _show(results: SignalResults) -> None:
    """Print the newest result if the signal was lost or the actor wrote a traceback; print the
    number of signals after every `SHOWN_EVERY`.
    """
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
