"""`sql-ros chaos`: mistreats a training stack at random, again and again, and counts what that did.

A stack in a domain of its own trains `sawyer_reach` in accelerated real time. First learner, actor or bridge get SIGKILL, or SIGSTOP for a
while; then, if asked for, a learner on another host, made of a network namespace, is cut off and joined again. `witness.py` listens
throughout. At the end of each part the buffer of the last checkpoint is compared with what was sent. What is counted is in `Outcome`.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sql_ros.cli.bench import own_domain
from sql_ros.cli.numbers import natural
from sql_ros.core.errors import ConfigError, SqlRosError
from sql_ros.core.parent import ending_with_this_process
from sql_ros.robot.tasks import load_task
from sql_ros.runs.figures import write_figures
from sql_ros.stack.restarts import MOST_RESTARTS, WITHIN_S

if TYPE_CHECKING:
    from sql_ros.cli.witness import Witness

TASK, FACTOR = "sawyer_reach", 5.0  # simulated seconds per second
VICTIMS = ("learner", "actor", "sim_bridge")
STOPPED_SHARE, STOPPED_S = 0.2, (1.5, 3.0)  # of the blows that only stop a process, and for how long
PAUSE_S = (0.5, 3.0)  # between recovery and the next blow
IN_FLIGHT_S, START_S = 0.5, 10.0  # what was on its way arrives; a process is started again
CUT_S = (1.0, 5.0)  # for how long the other host is cut off
PARAMS = """
learner: {ros__parameters: {checkpoint_period_s: 5.0, trainer: {warmup_transitions: 500, updates_per_transition: 0.2}}}
actor: {ros__parameters: {max_state_age_s: 0.5, max_lateness_s: 0.5}}
sim_bridge: {ros__parameters: {state_rate_hz: 20.0}}
monitor: {ros__parameters: {evaluation_episodes: 1, evaluation_period: 1000000, stops_on_success: false}}
"""


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kills, stops, cuts: blows by SIGKILL and SIGSTOP, and how often the network was cut.
        transitions: in the buffers at the end.
        lost: acknowledged, but not there.
        doubled: there more often than made.
        unsafe_commands: not finite, or faster than the arm may move.
        held, not_held: states in which the arm was at rest after its actor was killed or stopped, and in which it was not.
        recoveries_s: from the end of each blow until training went on; a killed actor's is over once the arm was seen at rest.
    """

    kills: int = 0
    stops: int = 0
    cuts: int = 0
    transitions: int = 0
    lost: int = 0
    doubled: int = 0
    unsafe_commands: int = 0
    held: int = 0
    not_held: int = 0
    recoveries_s: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Flat numbers."""
        counts = {name: float(value) for name, value in vars(self).items() if name != "recoveries_s"}
        times = self.recoveries_s or [0.0]
        return {**counts, "recovery_max_s": max(times), "recovery_p50_s": float(np.median(times))}

    def add(self, other: Outcome) -> None:
        """Takes in what came of another part."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def is_clean(self) -> bool:
        """Nothing was lost, doubled or unsafe."""
        return not any((self.lost, self.doubled, self.unsafe_commands, self.not_held))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--kills", type=natural, default=10, help="SIGKILLs in all (default: 10; some 6 s each)")
    parser.add_argument(
        "--cuts", type=natural, default=0, help="cuts of the network between two hosts, needs root (default: 0; some 8 s each)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of victims and moments (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the runs there (default: they are removed)")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if anything was lost, doubled or unsafe."""
    if not args.kills + args.cuts:
        raise ConfigError(f"--kills {args.kills} --cuts {args.cuts}, expected at least one of something")
    if args.cuts and (os.geteuid() != 0 or shutil.which("ip") is None):
        raise ConfigError("--cuts makes network namespaces, which takes root and the command 'ip' (package iproute2)")
    outcome = Outcome()
    os.environ |= own_domain()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        os.environ["ROS_LOG_DIR"] = folder
        for part, asked in ((_kill, args.kills), (_cut, args.cuts)):
            if asked:
                run_dir = (args.out or scratch / "runs").resolve() / part.__name__.strip("_")
                # in a process of its own: what Fast DDS once learned of peers in one, it keeps
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=ending_with_this_process()) as pool:
                    outcome.add(pool.submit(part, asked, args.seed, run_dir, scratch).result())
                print("\n".join(f"{name:>18} {value:g}" for name, value in outcome.figures().items()), flush=True)
    figures = outcome.figures()
    if args.json:
        write_figures(args.json, figures, args.seed)
    return int(not outcome.is_clean())


def _arguments(run_dir: Path, seed: int, scratch: Path) -> dict[str, str]:
    """Of the stack."""
    params = scratch / "chaos.yaml"
    params.write_text(PARAMS)
    return {"task": TASK, "run_dir": str(run_dir), "realtime_factor": f"{FACTOR}", "seed": f"{seed}", "params_file": str(params)}


def _kill(kills: int, seed: int, run_dir: Path, scratch: Path) -> Outcome:
    """The stack of `sql-ros up`, which starts again what was killed."""
    outcome, rng, log = Outcome(), np.random.default_rng(seed), scratch / "stack.log"
    words = [f"{name}:={value}" for name, value in _arguments(run_dir, seed, scratch).items()]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "sql_ros.cli.main", "up", "sawyer_stack", *words]
        stack = subprocess.Popen(command, cwd=scratch, stdout=output, stderr=subprocess.STDOUT, preexec_fn=ending_with_this_process())
    victims: list[str] = []
    killed: dict[str, list[float]] = {victim: [] for victim in VICTIMS}  # when

    def strike(witness: Witness) -> None:
        if not victims:
            victims.extend(rng.permutation(VICTIMS))
        victim = victims.pop()
        while sum(time.monotonic() - at < WITHIN_S + IN_FLIGHT_S for at in killed[victim]) >= MOST_RESTARTS:
            witness.listen(IN_FLIGHT_S)  # a stack rightly ends with a process that crashes too often
        if victim == "actor":
            witness.expect_hold()
        pid = _find(stack, victim)
        if rng.random() < STOPPED_SHARE:
            outcome.stops += 1
            os.kill(pid, signal.SIGSTOP)
            witness.listen(float(rng.uniform(*STOPPED_S)))
            os.kill(pid, signal.SIGCONT)
            began = time.monotonic()
        else:
            outcome.kills += 1
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            while (successor := _find(stack, victim)) == pid:
                witness.listen(0.05)
            killed[victim].append(time.monotonic())
            if victim == "actor":  # a quick one would move the arm, which is to be seen at rest, before its commands are heard here
                os.kill(successor, signal.SIGSTOP)
                witness.watch_hold()
                os.kill(successor, signal.SIGCONT)
                began = time.monotonic()
        _recover(outcome, witness, began, f"{outcome.kills:4d} of {kills} killed: {victim}")

    _mistreat(outcome, [stack], log, run_dir, rng, strike, lambda: outcome.kills >= kills)
    return outcome


def _cut(cuts: int, seed: int, run_dir: Path, scratch: Path) -> Outcome:
    """Learner on one host, actor and bridge on the other, joined by a cable; each knows the other by name, as ROS_STATIC_PEERS."""
    from sql_ros.stack.description import ros_arguments, sawyer_stack

    other, here, there = f"sql_ros_{os.getpid()}", f"sr{os.getpid()}a", f"sr{os.getpid()}b"
    net = f"10.77.{os.getpid() % 250}"
    outcome, rng = Outcome(), np.random.default_rng(seed)
    stack, log = sawyer_stack(_arguments(run_dir, seed, scratch)), scratch / "hosts.log"
    children: list[subprocess.Popen[bytes]] = []
    _ip("netns", "add", other)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", other)
        for words, device, address in (([], here, "1"), (["-n", other], there, "2")):
            _ip(*words, "address", "add", f"{net}.{address}/24", "dev", device)
            _ip(*words, "link", "set", device, "up")
        _ip("-n", other, "link", "set", "lo", "up")
        os.environ["ROS_STATIC_PEERS"] = f"{net}.2"  # of this process, too
        with log.open("wb") as output:
            for process in stack.processes:
                remote = process.executable == "learner"
                if remote or process.executable in VICTIMS:
                    words = [sys.executable, "-m", f"sql_ros.nodes.{process.executable}_node", *ros_arguments(process, stack)]
                    environment = {**os.environ, "ROS_STATIC_PEERS": f"{net}.1" if remote else f"{net}.2"}
                    words = ["ip", "netns", "exec", other, *words] if remote else words
                    child = subprocess.Popen(
                        words, cwd=scratch, env=environment, stdout=output, stderr=subprocess.STDOUT, preexec_fn=ending_with_this_process()
                    )
                    children.append(child)

        def sever(witness: Witness) -> None:
            _ip("link", "set", here, "down")
            witness.listen(float(rng.uniform(*CUT_S)))
            _ip("link", "set", here, "up")
            outcome.cuts += 1
            _recover(outcome, witness, time.monotonic(), f"{outcome.cuts:4d} of {cuts} cut")

        _mistreat(outcome, children, log, run_dir, rng, sever, lambda: outcome.cuts >= cuts)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
        _ip("netns", "delete", other)
    return outcome


def _mistreat(
    outcome: Outcome,
    children: list[subprocess.Popen[bytes]],
    log: Path,
    run_dir: Path,
    rng: np.random.Generator,
    strike: Callable[[Witness], None],
    is_over: Callable[[], bool],
) -> None:
    """Strikes until it is over, ends the stack, and counts."""
    from sql_ros.cli.witness import STILL_RAD_S, Witness

    witness = Witness(children, log, load_task(TASK))
    try:
        witness.await_training()
        while not is_over():
            witness.listen(float(rng.uniform(*PAUSE_S)))
            strike(witness)
    finally:
        for child in reversed(children):  # the actor before its learner
            child.send_signal(signal.SIGINT)
            child.wait(90)
        witness.listen(1.0)  # the last acknowledgement
        witness.close()
    outcome.unsafe_commands += witness.unsafe_commands
    speeds = witness.speeds_without_commands()
    outcome.not_held += int((speeds > STILL_RAD_S).sum())
    outcome.held += int((speeds <= STILL_RAD_S).sum())
    _compare(outcome, witness, run_dir)


def _recover(outcome: Outcome, witness: Witness, began: float, what: str) -> None:
    witness.listen(IN_FLIGHT_S)
    witness.await_training()
    outcome.recoveries_s.append(time.monotonic() - began)
    print(f"{what}, training again after {outcome.recoveries_s[-1]:.1f} s", flush=True)


def _compare(outcome: Outcome, witness: Witness, run_dir: Path) -> None:
    """The buffer of the last checkpoint with what was sent."""
    from sql_ros.cli.witness import fingerprint
    from sql_ros.core.checkpoint import load_checkpoint

    state, manifest = load_checkpoint(run_dir / "checkpoints")
    kept = [state["replay"][name].numpy() for name in ("observation", "action", "reward")]
    there = Counter(fingerprint(*values) for values in zip(*kept))
    made = Counter(witness.sent.values())
    outcome.transitions += int(manifest["added"])
    for (process, sequence), print_ in witness.sent.items():
        outcome.lost += int(sequence <= witness.acknowledged.get(process, 0) and not there[print_])
    outcome.doubled += sum(max(count - made[print_], 0) for print_, count in there.items() if print_ in made)


def _find(stack: subprocess.Popen[bytes], victim: str) -> int:
    """The process of a node of a stack, as soon as there is one.

    Raises:
        SqlRosError: the stack has ended, or does not start it.
    """
    deadline = time.monotonic() + START_S
    while stack.poll() is None and time.monotonic() < deadline:
        for child in Path(f"/proc/{stack.pid}/task/{stack.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if f"{victim}_node" in Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
        time.sleep(0.01)
    raise SqlRosError(f"the stack does not start {victim} again (exit code {stack.poll()})")


def _ip(*words: str) -> None:
    ended = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ended.returncode:
        raise ConfigError(f"'ip {' '.join(words)}' failed: {ended.stderr.strip()}")
