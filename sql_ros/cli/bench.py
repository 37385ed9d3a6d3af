"""`sql-ros bench`: the real stack, measured from its own /diagnostics, and the learner beside others."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from sql_ros.core.config import read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.share import find_file

SETTLE_S = 3.0  # discovery and the first steps are left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("what", choices=("learner", "lockstep", "period"), help="what to measure")
    parser.add_argument("--task", default="sawyer_reach", help="name of a file in config/tasks/, or a path (default: %(default)s)")
    parser.add_argument("--seconds", default=10.0, type=float, help="per measurement of lockstep and period (default: %(default)s)")
    parser.add_argument("--rates", default=[20.0, 100.0], type=float, nargs="+", metavar="HZ", help="control rates of period")
    parser.add_argument("--seed", default=0, type=int, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    learner = parser.add_argument_group("learner")
    learner.add_argument("--batch", default=256, type=int, help="(default: %(default)s)")
    learner.add_argument("--width", default=256, type=int, help="of both hidden layers (default: %(default)s)")
    learner.add_argument("--value-particles", default=16, type=int, help="(default: %(default)s)")
    learner.add_argument(
        "--kernel-particles", default=16, type=int, help="half fixed, half updated, where SVGD is used (default: %(default)s)"
    )
    learner.add_argument("--threads", default=2, type=int, help="of torch (default: %(default)s)")
    learner.add_argument("--repeats", default=9, type=int, help="(default: %(default)s)")
    learner.add_argument("--no-sb3", action="store_true", help="leave stable-baselines3 out")
    learner.add_argument("--sweep", action="store_true", help="also the cost along particles and batch")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from sql_ros.runs.figures import write_figures

    figures: dict[str, float] = {}
    if args.what == "learner":
        figures = _measure_learner(args)
    elif args.what == "lockstep":
        figures = measure_lockstep(args.task, args.seconds, args.seed)
    else:
        for rate in args.rates:
            figures.update(measure_period(args.task, rate, args.seconds, args.seed))
    if args.what != "learner":
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
    values = _run(task, ["realtime_factor:=0.0"], seconds, seed)
    steps = values[-1]["control_steps"] - values[0]["control_steps"]
    return {"lockstep_steps_per_s": steps / (values[-1]["received_s"] - values[0]["received_s"])}


def measure_period(task: str, rate_hz: float, seconds: float, seed: int) -> dict[str, float]:
    """Control period of the paced actor [ms], beside the paced bridge."""
    values = read_yaml(find_file(task, "config/tasks"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(task).stem}.yaml"
        path.write_text(yaml.safe_dump({**values, "control_rate_hz": rate_hz}))
        last = _run(str(path), ["realtime_factor:=1.0"], seconds, seed)[-1]
    names = {"period_p50_ms": "p50", "period_p99_ms": "p99", "period_max_ms": "max"}
    figures = {f"period_{short}_ms_{rate_hz:g}": last[name] for name, short in names.items()}
    return {**figures, f"missed_fraction_{rate_hz:g}": last["missed_deadlines"] / max(last["control_steps"], 1)}


def _run(task: str, factor: list[str], seconds: float, seed: int) -> list[dict[str, float]]:
    """Starts bridge and actor in a domain of their own; returns the actor's control diagnostics, one per second."""
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment = {**os.environ, **domain}
    common = ["-p", f"task:='{task}'", "-p", factor[0]]
    with tempfile.TemporaryDirectory() as logs:
        environment["ROS_LOG_DIR"] = logs
        commands = {
            "sim_bridge": ["-p", "state_rate_hz:=100.0", "--ros-args"],
            "actor": ["-p", f"seed:={seed}", "-p", "learner_patience_s:=0.0", "-r", "commands:=sim_bridge/commands"],
        }
        children = [
            subprocess.Popen(
                [sys.executable, "-m", f"sql_ros.nodes.{name}_node", "--ros-args", *common, *extra],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            for name, extra in commands.items()
        ]
        try:
            os.environ.update(domain)
            return _listen(seconds)
        finally:
            for child in children:
                child.send_signal(signal.SIGINT)
            for child in children:
                child.wait(20)


def _listen(seconds: float) -> list[dict[str, float]]:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("bench", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    seen: list[dict[str, float]] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "actor: control":
                numbers = {entry.key: float(entry.value) for entry in status.values}
                if numbers:  # none before it is active
                    seen.append({**numbers, "received_s": time.monotonic()})

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    deadline = time.monotonic() + seconds + SETTLE_S + 20.0
    settled: float | None = None
    while time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
        if settled is None and seen and seen[-1]["control_steps"] > 0:
            settled = time.monotonic() + SETTLE_S
        if settled is not None and time.monotonic() > settled + seconds:
            break
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    kept = [values for values in seen if settled is not None and values["received_s"] >= settled]
    if len(kept) < 2:
        raise ConfigError("the actor reported no control steps: does `sql-ros doctor` find that DDS discovery works?")
    return kept
