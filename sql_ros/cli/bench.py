"""`sql-ros bench`: the real stack, measured from its own /diagnostics, and the learner beside others."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sql_ros.cli.numbers import natural, positive, positive_real
from sql_ros.core.errors import ConfigError
from sql_ros.core.parent import ending_with_this_process

Report = dict[str, float | str]
STARTS_WITHIN_S = 40.0  # the first control step, also on a busy machine
SETTLE_S = 3.0  # discovery and the first steps are left out
REPORT_S = 1.0  # between two reports of the actor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("what", choices=("learner", "actor", "lockstep", "soak"), help="what to measure")
    parser.add_argument("--task", default="sawyer_reach", help="name of a file in config/tasks/, or a path (default: %(default)s)")
    parser.add_argument("--seconds", default=10.0, type=positive_real, help="per measurement of actor and lockstep (default: %(default)s)")
    parser.add_argument("--seed", default=0, type=natural, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--minutes", default=30.0, type=positive_real, help="of soak (default: %(default)s)")
    actor = parser.add_argument_group("actor and soak")
    actor.add_argument(
        "--rates", type=positive_real, nargs="+", metavar="HZ", help="control rates; soak takes the first (default: 20 100 500 1000; 500)"
    )
    actor.add_argument("--priority", default=50, type=int, help="SCHED_FIFO priority to ask for; 0: none (default: %(default)s)")
    actor.add_argument(
        "--cpu", default=_last_core(), metavar="N", help="core that the actor is to have to itself; '': none (default: the last of several)"
    )
    learner = parser.add_argument_group("learner")
    learner.add_argument("--batch", default=256, type=int, help="(default: %(default)s)")
    learner.add_argument("--width", default=256, type=int, help="of both hidden layers (default: %(default)s)")
    learner.add_argument("--value-particles", default=16, type=int, help="(default: %(default)s)")
    learner.add_argument(
        "--kernel-particles", default=16, type=int, help="half fixed, half updated, where SVGD is used (default: %(default)s)"
    )
    learner.add_argument("--threads", default=2, type=positive, help="of torch (default: %(default)s)")
    learner.add_argument("--repeats", default=9, type=positive, help="(default: %(default)s)")
    learner.add_argument("--no-sb3", action="store_true", help="leave stable-baselines3 out")
    learner.add_argument("--sweep", action="store_true", help="also the cost along particles and batch")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from sql_ros.cli.bench_actor import Claims, header, measure_actor
    from sql_ros.runs.figures import write_figures
    from sql_ros.stack.settings import control_cpu

    figures: dict[str, float] = {}
    claims = Claims(args.priority, *control_cpu(args.cpu))
    rates = args.rates or ([500.0] if args.what == "soak" else [20.0, 100.0, 500.0, 1000.0])
    if args.what == "learner":
        figures = _measure_learner(args)
    elif args.what == "soak":
        from sql_ros.cli.bench_soak import measure_soak

        figures = measure_soak(args.task, rates[0], 60.0 * args.minutes, args.seed, claims, _run, lambda line: print(line, flush=True))
    elif args.what == "lockstep":
        figures = measure_lockstep(args.task, args.seconds, args.seed)
    else:
        print(header(), flush=True)
        figures = measure_actor(args.task, rates, args.seconds, args.seed, claims, _run, lambda line: print(line, flush=True))
    if args.what in ("lockstep", "soak"):
        for name, value in figures.items():
            print(f"  {name:32s} {value:.6g}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return 0


def _measure_learner(args: argparse.Namespace) -> dict[str, float]:
    from sql_ros.bench import learner, report, sweep
    from sql_ros.bench.contenders import Problem
    from sql_ros.core.memory import keep_freed_memory

    keep_freed_memory()
    result = learner.measure_learner(
        args.batch, args.width, args.value_particles, args.kernel_particles, threads=args.threads, repeats=args.repeats, seed=args.seed,
        variants=learner.OURS, with_sb3=not args.no_sb3,
    )  # fmt: skip
    print(report.table(result))
    figures = report.figures(result)
    if args.sweep:
        problem = Problem(args.batch, args.width, args.value_particles, args.kernel_particles, seed=args.seed)
        lines = sweep.sweep(problem, threads=args.threads)
        print("\n" + sweep.sweep_table(lines))
        figures |= sweep.sweep_figures(lines)
    return figures


def measure_lockstep(task: str, seconds: float, seed: int) -> dict[str, float]:
    """Control steps per second of actor and bridge in lockstep, exploring uniformly, without a learner."""
    lockstep = ["-p", "realtime_factor:=0.0"]
    actor = [*lockstep, "-p", f"seed:={seed}", "-p", "learner_patience_s:=0.0", "-r", "commands:=sim_bridge/commands"]
    values, _ = _run(task, {"sim_bridge": lockstep, "actor": actor}, seconds)
    steps = float(values[-1]["control_steps"]) - float(values[0]["control_steps"])
    return {"lockstep_steps_per_s": steps / (float(values[-1]["received_s"]) - float(values[0]["received_s"]))}


def _last_core() -> str:
    cores = os.sched_getaffinity(0)
    return str(max(cores)) if len(cores) > 1 else ""


def own_domain() -> dict[str, str]:
    """Environment of processes that only this one and its children are to hear; tests take domains up to 50."""
    return {"ROS_DOMAIN_ID": str(51 + os.getpid() % 50), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def _run(
    task: str,
    nodes: dict[str, list[str]],
    seconds: float,
    others: tuple[int, ...] = (),
    watch: Callable[[dict[str, int]], None] = lambda pids: None,
) -> tuple[list[Report], dict[str, float]]:
    """Starts nodes with their ROS arguments in a domain of their own; see `bench_actor.Running`."""
    domain = own_domain()
    environment = {**os.environ, **domain}
    with tempfile.TemporaryDirectory() as logs:
        environment["ROS_LOG_DIR"] = logs
        children = {
            name: subprocess.Popen(
                [sys.executable, "-m", f"sql_ros.nodes.{name}_node", "--ros-args", "-p", f"task:='{task}'", *arguments],
                env=environment,
                stderr=(Path(logs) / name).open("wb"),
                preexec_fn=ending_with_this_process(),
            )
            for name, arguments in nodes.items()
        }
        for name in children.keys() - {"actor"} if others else ():
            os.sched_setaffinity(children[name].pid, others)  # before it has threads, which inherit it
        try:
            os.environ.update(domain)
            return _listen(seconds, children, watch)
        except ConfigError:
            for name, child in children.items():
                if child.poll() is not None:
                    said = (Path(logs) / name).read_text(errors="replace").strip().splitlines()
                    raise ConfigError(f"{name} ended: {said[-1] if said else f'exit code {child.returncode}'}") from None
            raise
        finally:
            for child in children.values():
                child.terminate()  # SIGINT is ignored by a process that starts in the background of a script
            for child in children.values():
                child.wait(20)


def _cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int | str = "self") -> float:
    """Resident memory of a process [MiB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _listen(
    seconds: float, children: dict[str, subprocess.Popen[bytes]], watch: Callable[[dict[str, int]], None]
) -> tuple[list[Report], dict[str, float]]:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    from sql_ros.cli.bench_machine import stolen_s

    pids = {name: child.pid for name, child in children.items()}
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("bench", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    kept: list[Report] = []
    used: list[dict[str, float]] = []  # CPU time of each node, and what the host took, when the reports came
    settled: float | None = None

    def has_ended() -> bool:
        return any(child.poll() is not None for child in children.values())

    def has_enough() -> bool:
        return len(kept) > 1 and float(kept[-1]["received_s"]) - float(kept[0]["received_s"]) > seconds - REPORT_S / 2

    def on_diagnostics(message: DiagnosticArray) -> None:
        nonlocal settled
        now = time.monotonic()
        for status in message.status:
            values = {entry.key: _number(entry.value) for entry in status.values} if status.name == "actor: control" else {}
            if not values or has_ended():  # no values before it is active, no CPU time of who ended
                continue
            if settled is None and float(values["control_steps"]) > 0:
                settled = now + SETTLE_S
            if settled is not None and now >= settled:
                kept.append({**values, "received_s": now})
                used.append({**{name: _cpu_seconds(pid) for name, pid in pids.items()}, "stolen": stolen_s()})
            watch(pids)

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    if "learner" not in children:
        _accept_run(node, lambda: settled is not None)
    started = time.monotonic()
    while not has_enough() and not has_ended():
        executor.spin_once(timeout_sec=0.1)
        if time.monotonic() > (started + STARTS_WITHIN_S if settled is None else settled + 2.0 * seconds + 10.0 * REPORT_S):
            break
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    if has_ended():
        raise ConfigError("a node ended")
    if len(kept) < 2:
        came = "no control steps" if settled is None else f"{len(kept)} times, expected once per second"
        raise ConfigError(f"the actor reported {came}: does `sql-ros doctor` find that DDS discovery works?")
    return kept, {name: used[-1][name] - used[0][name] for name in used[0]}


def _accept_run(node: Any, has_begun: Callable[[], bool]) -> None:
    """Report as the learner that an actor waits for, until its first step."""
    from std_msgs.msg import UInt64MultiArray

    from sql_ros.nodes.messages import Progress, progress_to_msg
    from sql_ros.nodes.qos import RELIABLE

    publisher = node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
    accepted = progress_to_msg(Progress(0, 0, 0, {}))
    node.create_timer(REPORT_S, lambda: None if has_begun() else publisher.publish(accepted))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
