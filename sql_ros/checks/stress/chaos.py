"""`sql-ros chaos`: kill and cut off a training stack at random, and count what that breaks.

A stack in a DDS domain of its own trains `sawyer_reach` in accelerated real time. In the first part
the learner, the actor or the simulated arm gets SIGKILL, or SIGSTOP for a while. In the second part
the learner is on another host, made of a network namespace. Its network is cut off and joined
again. A kill, a stop or a cut is a strike. `stack_monitor.py` listens throughout. At the end of
each part the buffer of the last checkpoint is compared with the transitions that were sent.
`ChaosCounts` lists what is counted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sql_ros.checks.processes import own_domain, start_process
from sql_ros.common.child_process import python_words
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.common.worker_pool import worker_pool
from sql_ros.robot.tasks import load_task
from sql_ros.stack.restarts import MOST_RESTARTS, WITHIN_S

if TYPE_CHECKING:
    from sql_ros.checks.stress.stack_monitor import StackMonitor

TASK = "sawyer_reach"
REALTIME_FACTOR = 5.0  # simulated seconds per second
VICTIMS = ("learner", "actor", "sim_bridge")
STOPPED_SHARE = 0.2  # share of the strikes on processes that are SIGSTOP instead of SIGKILL
STOPPED_S = (1.5, 3.0)  # range of the time between SIGSTOP and SIGCONT
PAUSE_S = (0.5, 3.0)  # range of the pause between a recovery and the next strike
IN_FLIGHT_S = 0.5  # time in which messages on their way arrive
RESTART_S = 10.0  # longest restart of a process
POLL_S = 0.05
CUT_S = (1.0, 5.0)  # range of the length of a network cut
END_S = 90.0  # longest end of a process
PARAMS = """
learner:
  ros__parameters:
    checkpoint_period_s: 5.0
    trainer: {warmup_transitions: 500, updates_per_transition: 0.2}
actor: {ros__parameters: {max_state_age_s: 0.5, max_lateness_s: 0.5}}
sim_bridge: {ros__parameters: {state_rate_hz: 20.0}}
monitor:
  ros__parameters: {evaluation_episodes: 1, evaluation_period: 1000000, stops_on_success: false}
"""


@dataclass
class ChaosCounts:
    """Counts of a run.

    Attributes:
        kills: Strikes by SIGKILL.
        stops: Strikes by SIGSTOP, later continued by SIGCONT.
        cuts: Network cuts.
        transitions: Transitions in the buffers of the last checkpoints.
        lost: Transitions that were acknowledged and are not in the buffer.
        doubled: Surplus copies of transitions that are in the buffer more often than they were
            made.
        unsafe_commands: Commands that are not finite, or faster than the velocity limits.
        held: States in which the arm had to be at rest, because its actor was killed or stopped,
            and was.
        not_held: States in which the arm had to be at rest and moved.
        recoveries_s: For each strike, time from its end until training went on [s]. The strike that
            kills an actor ends once the arm was seen at rest.
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
        """Return the counts by name, with `recovery_p50_s` and `recovery_max_s` [s], which are 0
        without a strike.
        """
        counts = {
            name: float(value) for name, value in vars(self).items() if name != "recoveries_s"
        }
        times = self.recoveries_s or [0.0]
        return {**counts, "recovery_max_s": max(times), "recovery_p50_s": float(np.median(times))}

    def add(self, other: ChaosCounts) -> None:
        """Add the counts of another part to these, in place.

        Args:
            other: Counts of the other part.
        """
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def is_clean(self) -> bool:
        """Return whether no transition was lost or doubled, no command unsafe, and the arm held in
        every state.
        """
        return not any((self.lost, self.doubled, self.unsafe_commands, self.not_held))


def run_chaos(kills: int, cuts: int, seed: int, out: Path | None) -> ChaosCounts:
    """Kill processes and cut the network of a training stack; print and return the counts.

    Sets the DDS domain and the log folder in the environment of this process.

    Args:
        kills: Number of SIGKILLs; 0: no first part. SIGSTOPs come in addition, in the share
            `STOPPED_SHARE` of the strikes.
        cuts: Number of network cuts; 0: no second part. They need root.
        seed: Seed of victims, kinds and moments, and of the stack.
        out: Folder that keeps the run folders, in `kill` and `cut`; None: they are removed.

    Returns:
        The counts of both parts together.

    Raises:
        ConfigError: Both numbers are zero, or the cuts are not possible here.
        SqlRosError: The stack ended or did not train again after a strike.
    """
    if not kills + cuts:
        raise ConfigError(f"--kills {kills} --cuts {cuts}, expected at least one of something")
    if cuts and (os.geteuid() != 0 or shutil.which("ip") is None):
        raise ConfigError(
            "--cuts makes network namespaces, which takes root and the command 'ip' (package"
            " iproute2)"
        )
    total = ChaosCounts()
    os.environ |= own_domain()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        os.environ["ROS_LOG_DIR"] = folder
        for name, part, count in (("kill", _run_kills, kills), ("cut", _run_cuts, cuts)):
            if not count:
                continue
            run_dir = (out or scratch / "runs").resolve() / name
            # each part in a process of its own: Fast DDS would keep the peers of the first part
            with worker_pool(1, spawns=True) as pool:
                total.add(pool.submit(part, count, seed, run_dir, scratch).result())
            lines = [f"{figure:>18} {value:g}" for figure, value in total.figures().items()]
            print("\n".join(lines), flush=True)
    return total


def _launch_arguments(run_dir: Path, seed: int, scratch: Path) -> dict[str, str]:
    """Write the params file of the stack, `chaos.yaml`, and return the launch arguments by name:
    task, run folder, pace, seed and params file.

    Args:
        run_dir: Run folder of the stack.
        seed: Seed of the stack.
        scratch: Folder for the params file.
    """
    params = scratch / "chaos.yaml"
    params.write_text(PARAMS)
    return {
        "task": TASK,
        "run_dir": str(run_dir),
        "realtime_factor": f"{REALTIME_FACTOR}",
        "seed": f"{seed}",
        "params_file": str(params),
    }


def _run_kills(kills: int, seed: int, run_dir: Path, scratch: Path) -> ChaosCounts:
    """Run the first part: send SIGKILL or SIGSTOP to processes of `sql-ros up`, which starts killed
    ones again.

    Args:
        kills: Number of SIGKILLs.
        seed: Seed of the strikes and of the stack.
        run_dir: Run folder of the stack.
        scratch: Folder for params file and output.

    Returns:
        The counts of the part.

    Raises:
        SqlRosError: The stack ended or did not train again after a strike.
    """
    log = scratch / "stack.log"
    arguments = _launch_arguments(run_dir, seed, scratch)
    words = [f"{name}:={value}" for name, value in arguments.items()]
    command = [*python_words(), "-m", "sql_ros.cli.main", "up", "sawyer_stack", *words]
    with log.open("wb") as output:
        supervisor = start_process(command, output, folder=scratch)
    strikes = _Strikes(supervisor, kills, np.random.default_rng(seed))
    _run_strikes(
        strikes.counts,
        [supervisor],
        log,
        run_dir,
        strikes.rng,
        strikes.strike,
        lambda: strikes.counts.kills >= kills,
    )
    return strikes.counts


class _Strikes:
    """Sends SIGKILL or SIGSTOP to the processes of a stack in random order.

    Args:
        supervisor: Process of `sql-ros up`.
        kills: Number of SIGKILLs in all, shown with each strike.
        rng: Draws victims, signals and moments.

    Attributes:
        counts: Counts of the strikes so far.
        rng: The given generator.
    """

    def __init__(
        self, supervisor: subprocess.Popen[bytes], kills: int, rng: np.random.Generator
    ) -> None:
        self._supervisor = supervisor
        self._kills = kills
        self.rng = rng
        self.counts = ChaosCounts()
        # victims that are still to come in this round; the last is next
        self._victims: list[str] = []
        self._killed_at: dict[str, list[float]] = {victim: [] for victim in VICTIMS}

    def strike(self, monitor: StackMonitor) -> None:
        """Send SIGKILL or SIGSTOP to the next process, and wait until training goes on.

        A process that got SIGSTOP gets SIGCONT after a while. Every process of `VICTIMS` has one
        turn in each round. Prints a line.

        Args:
            monitor: Listener to the stack; receives messages meanwhile.

        Raises:
            SqlRosError: The stack ended or did not train again.
        """
        if not self._victims:
            self._victims.extend(self.rng.permutation(VICTIMS))
        victim = self._victims.pop()
        self._await_permitted(victim, monitor)
        if victim == "actor":
            monitor.expect_hold()
        pid = _await_node(self._supervisor, victim)
        if self.rng.random() < STOPPED_SHARE:
            began = self._stop(pid, monitor)
        else:
            began = self._kill(victim, pid, monitor)
        text = f"{self.counts.kills:4d} of {self._kills} killed: {victim}"
        _await_recovery(self.counts, monitor, began, text)

    def _await_permitted(self, victim: str, monitor: StackMonitor) -> None:
        """Wait until another crash of a process does not end the stack.

        The supervisor ends the stack at the crash after `MOST_RESTARTS` restarts of a process
        within `WITHIN_S`.

        Args:
            victim: The process, one of `VICTIMS`.
            monitor: Listener to the stack; receives messages meanwhile.
        """

        def recent() -> int:
            """Return how often the process was killed within the time for which the supervisor
            counts.
            """
            now = time.monotonic()
            return sum(now - at < WITHIN_S + IN_FLIGHT_S for at in self._killed_at[victim])

        while recent() >= MOST_RESTARTS:
            monitor.listen(IN_FLIGHT_S)

    def _stop(self, pid: int, monitor: StackMonitor) -> float:
        """Send SIGSTOP to a process, and SIGCONT after a random time from `STOPPED_S`.

        Args:
            pid: Id of the process.
            monitor: Listener to the stack; receives messages meanwhile.

        Returns:
            Steady time of the SIGCONT [s].
        """
        self.counts.stops += 1
        os.kill(pid, signal.SIGSTOP)
        monitor.listen(float(self.rng.uniform(*STOPPED_S)))
        os.kill(pid, signal.SIGCONT)
        return time.monotonic()

    def _kill(self, victim: str, pid: int, monitor: StackMonitor) -> float:
        """Send SIGKILL to a process and wait for its successor.

        The successor of an actor is stopped until the arm was seen at rest, because it would move
        the arm before.

        Args:
            victim: Name of the process, one of `VICTIMS`.
            pid: Id of the process.
            monitor: Listener to the stack; receives messages meanwhile.

        Returns:
            Steady time from which the recovery counts [s]: the kill, or for an actor the end of its
            successor's stop.
        """
        self.counts.kills += 1
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        while (successor := _await_node(self._supervisor, victim)) == pid:
            monitor.listen(POLL_S)
        self._killed_at[victim].append(time.monotonic())
        if victim != "actor":
            return began
        # a quick successor would move the arm before the arm was seen at rest
        os.kill(successor, signal.SIGSTOP)
        monitor.record_hold()
        os.kill(successor, signal.SIGCONT)
        return time.monotonic()


def _run_cuts(cuts: int, seed: int, run_dir: Path, scratch: Path) -> ChaosCounts:
    """Run the second part: cut the network between a learner on one host and actor and simulated
    arm on another.

    Each host finds the other by its address in ROS_STATIC_PEERS.

    Args:
        cuts: Number of cuts.
        seed: Seed of the moments and of the stack.
        run_dir: Run folder of the stack.
        scratch: Folder for params file and output.

    Returns:
        The counts of the part.

    Raises:
        ConfigError: The command `ip` failed.
        SqlRosError: A process ended, or the stack did not train again after a cut.
    """
    counts = ChaosCounts()
    rng = np.random.default_rng(seed)
    log = scratch / "hosts.log"
    children: list[subprocess.Popen[bytes]] = []
    with _two_hosts() as hosts:
        try:
            children += _start_on_hosts(hosts, _launch_arguments(run_dir, seed, scratch), log)

            def cut_network(monitor: StackMonitor) -> None:
                """Cut the network for a random time from `CUT_S`, count the cut, and wait until
                training goes on.
                """
                _ip("link", "set", hosts.device, "down")
                monitor.listen(float(rng.uniform(*CUT_S)))
                _ip("link", "set", hosts.device, "up")
                counts.cuts += 1
                text = f"{counts.cuts:4d} of {cuts} cut"
                _await_recovery(counts, monitor, time.monotonic(), text)

            _run_strikes(
                counts, children, log, run_dir, rng, cut_network, lambda: counts.cuts >= cuts
            )
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
    return counts


@dataclass(frozen=True)
class _Hosts:
    """This host and a network namespace that stands for another host.

    Attributes:
        namespace: Name of the network namespace.
        device: Network device of this host towards the namespace.
        address: IP address of this host.
        other_address: IP address of the other host.
    """

    namespace: str
    device: str
    address: str
    other_address: str


@contextlib.contextmanager
def _two_hosts() -> Iterator[_Hosts]:
    """Create a network namespace that is connected to this one, yield both, and delete the
    namespace at the end.

    Raises:
        ConfigError: The command `ip` failed.
    """
    pid = os.getpid()
    subnet = f"10.77.{pid % 250}"
    hosts = _Hosts(f"sql_ros_{pid}", f"sr{pid}a", f"{subnet}.1", f"{subnet}.2")
    far_device = f"sr{pid}b"
    far = ["-n", hosts.namespace]
    cable = ["link", "add", hosts.device, "type", "veth", "peer", "name", far_device]
    _ip("netns", "add", hosts.namespace)
    try:
        _ip(*cable, "netns", hosts.namespace)
        for words, device, address in (
            ([], hosts.device, hosts.address),
            (far, far_device, hosts.other_address),
        ):
            _ip(*words, "address", "add", f"{address}/24", "dev", device)
            _ip(*words, "link", "set", device, "up")
        _ip(*far, "link", "set", "lo", "up")
        yield hosts
    finally:
        _ip("netns", "delete", hosts.namespace)


def _start_on_hosts(
    hosts: _Hosts, arguments: dict[str, str], log: Path
) -> list[subprocess.Popen[bytes]]:
    """Start the learner on the other host, and actor and simulated arm on this one.

    Sets ROS_STATIC_PEERS in the environment of this process, which listens to both.

    Args:
        hosts: Both hosts.
        arguments: Launch arguments of the stack by name.
        log: File for the output of all processes; its folder is their working folder.

    Returns:
        The processes in the order of their start.
    """
    from sql_ros.stack.description import ros_arguments, sawyer_stack

    stack = sawyer_stack(arguments)
    os.environ["ROS_STATIC_PEERS"] = hosts.other_address
    children = []
    with log.open("wb") as output:
        for process in stack.processes:
            if process.executable not in VICTIMS:
                continue
            node = [*python_words(), "-m", f"sql_ros.nodes.{process.executable}_node"]
            words = [*node, *ros_arguments(process, stack)]
            peer = hosts.other_address
            if process.executable == "learner":
                words = ["ip", "netns", "exec", hosts.namespace, *words]
                peer = hosts.address
            environment = {**os.environ, "ROS_STATIC_PEERS": peer}
            children.append(
                start_process(words, output, environment=environment, folder=log.parent)
            )
    return children


def _run_strikes(
    counts: ChaosCounts,
    children: list[subprocess.Popen[bytes]],
    log: Path,
    run_dir: Path,
    rng: np.random.Generator,
    strike: Callable[[StackMonitor], None],
    is_over: Callable[[], bool],
) -> None:
    """Wait for training, strike until there were enough strikes, end the stack, and add to the
    counts.

    After an error the stack is ended too, but nothing is added to the counts.

    Args:
        counts: Counts that are changed in place; `strike` changes them too.
        children: Processes of the stack; they get SIGINT in reverse order.
        log: File with their output.
        run_dir: Run folder of the stack, whose last checkpoint is compared.
        rng: Draws the pauses between strikes.
        strike: Strikes once, and waits for the recovery.
        is_over: Returns whether there were enough strikes.

    Raises:
        SqlRosError: The stack does not train, or not again after a strike.
    """
    from sql_ros.checks.stress.stack_monitor import AT_REST_RAD_S, StackMonitor

    monitor = StackMonitor(children, log, load_task(TASK))
    try:
        monitor.await_training()
        while not is_over():
            monitor.listen(float(rng.uniform(*PAUSE_S)))
            strike(monitor)
    finally:
        for child in reversed(children):  # the actor before its learner
            child.send_signal(signal.SIGINT)
            child.wait(END_S)
        monitor.listen(1.0)  # until the last acknowledgement has arrived
        monitor.close()
    counts.unsafe_commands += monitor.unsafe_commands
    speeds = monitor.speeds_without_commands()
    counts.not_held += int((speeds > AT_REST_RAD_S).sum())
    counts.held += int((speeds <= AT_REST_RAD_S).sum())
    _count_lost_and_doubled(counts, monitor, run_dir)


def _await_recovery(counts: ChaosCounts, monitor: StackMonitor, began: float, text: str) -> None:
    """Wait until training goes on; add the time it took to the counts, and print it.

    Args:
        counts: Counts whose `recoveries_s` gets another time.
        monitor: Listener to the stack.
        began: Steady time of the end of the strike [s].
        text: Beginning of the printed line.

    Raises:
        SqlRosError: The stack ended or did not train again.
    """
    monitor.listen(IN_FLIGHT_S)
    monitor.await_training()
    counts.recoveries_s.append(time.monotonic() - began)
    print(f"{text}, training again after {counts.recoveries_s[-1]:.1f} s", flush=True)


def _count_lost_and_doubled(counts: ChaosCounts, monitor: StackMonitor, run_dir: Path) -> None:
    """Add the transitions of the last checkpoint, and the lost and the doubled ones, to the counts.

    Transitions that the listener did not receive are neither lost nor doubled.

    Args:
        counts: Counts that are changed in place.
        monitor: Listener that received the transitions and acknowledgements.
        run_dir: Run folder with the checkpoint.
    """
    from sql_ros.checks.stress.stack_monitor import fingerprint
    from sql_ros.learning.checkpoint import load_checkpoint

    state, manifest = load_checkpoint(run_dir / "checkpoints")
    fields = [state["replay"][name].numpy() for name in ("observation", "action", "reward")]
    in_buffer = Counter(fingerprint(*values) for values in zip(*fields))
    made = Counter(monitor.sent.values())
    counts.transitions += int(manifest["added"])
    for (process, sequence), key in monitor.sent.items():
        is_acknowledged = sequence <= monitor.acknowledged.get(process, 0)
        counts.lost += int(is_acknowledged and not in_buffer[key])
    counts.doubled += sum(
        max(count - made[key], 0) for key, count in in_buffer.items() if key in made
    )


def _await_node(supervisor: subprocess.Popen[bytes], executable: str) -> int:
    """Return the process id of a node of the stack; wait for its start.

    Args:
        supervisor: Process of `sql-ros up`.
        executable: Name of the node, one of `VICTIMS`.

    Raises:
        SqlRosError: The stack has ended, or does not start the node within `RESTART_S`.
    """
    deadline = time.monotonic() + RESTART_S
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    while supervisor.poll() is None and time.monotonic() < deadline:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if f"{executable}_node" in Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
        time.sleep(0.01)
    raise SqlRosError(
        f"the stack does not start {executable} again (exit code {supervisor.poll()})"
    )


def _ip(*words: str) -> None:
    """Run the command `ip`, which needs root.

    Args:
        words: Arguments of the command.

    Raises:
        ConfigError: The command failed; the text has its stderr.
    """
    ended = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ended.returncode:
        raise ConfigError(f"'ip {' '.join(words)}' failed: {ended.stderr.strip()}")
