"""`sql-ros chaos`: kills the processes of a training stack at random, again and again, and counts what that did.

A stack in a domain of its own trains `sawyer_reach` in accelerated real time. Learner, actor or bridge get SIGKILL, or SIGSTOP for a while,
and this process listens: to every transition that is sent, to what is acknowledged, to every command. At the end it compares the
buffer of the last checkpoint with what was sent. What is counted is in `Outcome`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.cli.bench import own_domain
from sql_ros.core.errors import ConfigError, SqlRosError
from sql_ros.robot.tasks import load_task
from sql_ros.runs.figures import write_figures

TASK, FACTOR = "sawyer_reach", 5.0  # simulated seconds per second
VICTIMS = ("learner", "actor", "sim_bridge")
STOPPED_SHARE, STOPPED_S = 0.2, (1.0, 3.0)  # of the blows that only stop a process, and for how long
PAUSE_S = (0.5, 3.0)  # between recovery and the next blow
RECOVERED = 20  # new transitions in the buffer: training goes on
PATIENCE_S = 90.0  # for that
PARAMS = """
learner: {ros__parameters: {checkpoint_period_s: 5.0, trainer: {warmup_transitions: 500, updates_per_transition: 0.2}}}
actor: {ros__parameters: {max_state_age_s: 0.5, max_lateness_s: 0.5}}
monitor: {ros__parameters: {evaluation_episodes: 1, evaluation_period: 1000000, stops_on_success: false}}
"""


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kills, stops: blows by SIGKILL and by SIGSTOP.
        transitions: in the buffer at the end.
        lost: acknowledged, but not there.
        doubled: there more often than made.
        unsafe_commands: not finite, or faster than the arm may move.
        recoveries_s: from each blow until training went on.
    """

    kills: int = 0
    stops: int = 0
    transitions: int = 0
    lost: int = 0
    doubled: int = 0
    unsafe_commands: int = 0
    recoveries_s: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Flat numbers."""
        counts = {name: float(value) for name, value in vars(self).items() if name != "recoveries_s"}
        times = self.recoveries_s or [0.0]
        return {**counts, "recovery_max_s": max(times), "recovery_p50_s": float(np.median(times))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs in all (default: 10; some 6 s each)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the run there (default: it is removed)")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if anything was lost, doubled or unsafe."""
    if args.kills < 1:
        raise ConfigError(f"--kills {args.kills}, expected at least 1")
    with tempfile.TemporaryDirectory() as folder:
        outcome = _wreak(args.kills, args.seed, (args.out or Path(folder) / "run").resolve(), Path(folder))
    figures = outcome.figures()
    print("\n".join(f"{name:>18} {value:g}" for name, value in figures.items()))
    if args.json:
        write_figures(args.json, figures, args.seed)
    return int(any((outcome.lost, outcome.doubled, outcome.unsafe_commands)))


def _wreak(kills: int, seed: int, run_dir: Path, scratch: Path) -> Outcome:
    params, log = scratch / "chaos.yaml", scratch / "stack.log"
    params.write_text(PARAMS)
    os.environ |= {**own_domain(), "ROS_LOG_DIR": str(scratch)}
    words = [sys.executable, "-m", "sql_ros.cli.main", "up", "sawyer_stack", f"task:={TASK}", f"run_dir:={run_dir}"]
    words += [f"realtime_factor:={FACTOR}", f"seed:={seed}", f"params_file:={params}"]
    outcome, rng = Outcome(), np.random.default_rng(seed)
    with log.open("wb") as output:
        stack = subprocess.Popen(words, cwd=scratch, stdout=output, stderr=subprocess.STDOUT)
    witness = _Witness(stack, log)
    victims: list[str] = []
    try:
        witness.await_training()
        while outcome.kills < kills:
            witness.listen(float(rng.uniform(*PAUSE_S)))
            if not victims:  # in rounds: a stack rightly ends with a process that crashes too often
                victims = rng.permutation(VICTIMS).tolist()
            victim = victims.pop()
            if rng.random() < STOPPED_SHARE:
                outcome.stops += 1
                _signal(stack.pid, victim, signal.SIGSTOP)
                witness.listen(float(rng.uniform(*STOPPED_S)))
                _signal(stack.pid, victim, signal.SIGCONT)
            else:
                outcome.kills += 1
                _signal(stack.pid, victim, signal.SIGKILL)
            outcome.recoveries_s.append(witness.await_training())
            print(f"{outcome.kills:4d} of {kills}: {victim}, training again after {outcome.recoveries_s[-1]:.1f} s", flush=True)
    finally:
        stack.send_signal(signal.SIGINT)
        stack.wait(90)
        witness.listen(1.0)  # the last acknowledgement
        witness.close()
    outcome.unsafe_commands = witness.unsafe_commands
    _compare(outcome, witness, run_dir)
    return outcome


def _compare(outcome: Outcome, witness: _Witness, run_dir: Path) -> None:
    """The buffer of the last checkpoint with what was sent."""
    from sql_ros.core.checkpoint import load_checkpoint

    state, manifest = load_checkpoint(run_dir / "checkpoints")
    kept = [state["replay"][name].numpy() for name in ("observation", "action", "reward")]
    there = Counter(_fingerprint(*values) for values in zip(*kept))
    made = Counter(witness.sent.values())
    outcome.transitions = int(manifest["added"])
    for (process, sequence), fingerprint in witness.sent.items():
        outcome.lost += int(sequence <= witness.acknowledged.get(process, 0) and not there[fingerprint])
    outcome.doubled = sum(max(count - made[fingerprint], 0) for fingerprint, count in there.items() if fingerprint in made)


def _fingerprint(observation: npt.ArrayLike, action: npt.ArrayLike, reward: npt.ArrayLike) -> bytes:
    return b"".join(np.asarray(values, np.float32).tobytes() for values in (observation, action, reward))


def _signal(stack: int, victim: str, number: int) -> None:
    """Sends a signal to a node of a stack, if it is up just now."""
    for child in Path(f"/proc/{stack}/task/{stack}/children").read_text().split():
        if f"{victim}_node" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), number)


class _Witness:
    """Listens to a stack.

    Attributes:
        sent: fingerprints by actor process and sequence.
        acknowledged: sequence by actor process.
        transitions: in the learner's buffer.
        unsafe_commands: see `Outcome`.
    """

    def __init__(self, stack: subprocess.Popen[bytes], log: Path) -> None:
        import rclpy
        from std_msgs.msg import Float64MultiArray, UInt64MultiArray

        from sql_ros.nodes.messages import TransitionCodec, progress_from_msg
        from sql_ros.nodes.qos import RELIABLE, REPLAY

        self._stack, self._log, self._progress_from_msg = stack, log, progress_from_msg
        task = load_task(TASK)
        self._codec, self._fastest = TransitionCodec(task.spec), np.array(task.robot.velocity_limit)
        self.sent: dict[tuple[int, int], bytes] = {}
        self.acknowledged: dict[int, int] = {}
        self.transitions = self.unsafe_commands = 0
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("chaos", context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(Float64MultiArray, "replay", self._on_replay, REPLAY)
        self._node.create_subscription(UInt64MultiArray, "learner/progress", self._on_progress, RELIABLE)
        self._node.create_subscription(Float64MultiArray, "sim_bridge/commands", self._on_command, RELIABLE)

    def listen(self, seconds: float) -> None:
        """For a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def await_training(self) -> float:
        """Until the buffer has grown; how long that took [s].

        Raises:
            SqlRosError: the stack has ended, or does not train again.
        """
        began, goal = time.monotonic(), self.transitions + RECOVERED
        while self.transitions < goal:
            if self._stack.poll() is not None or time.monotonic() > began + PATIENCE_S:
                last = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
                raise SqlRosError(f"the stack does not train any more (exit code {self._stack.poll()}); it said last:\n{last}")
            self._executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - began

    def close(self) -> None:
        """Ends listening."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_replay(self, message: Any) -> None:
        entry = self._codec.from_msg(message)
        t = entry.transition
        self.sent[entry.run, entry.sequence] = _fingerprint(t.observation, t.action, t.reward)

    def _on_progress(self, message: Any) -> None:
        progress = self._progress_from_msg(message)
        self.transitions = progress.transitions
        for process, sequence in progress.acknowledged.items():
            self.acknowledged[process] = max(sequence, self.acknowledged.get(process, 0))

    def _on_command(self, message: Any) -> None:
        velocity = np.array(message.data)
        self.unsafe_commands += int(not (np.abs(velocity) <= self._fastest).all())
