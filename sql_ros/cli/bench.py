"""`sql-ros bench`: measure the learner and other implementations, and the timing of a stack."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sql_ros.common.argument_types import positive, positive_real

PRIORITY = 50  # SCHED_FIFO priority of the actor and the simulated arm
SEED = 0  # of all draws
REPEATS = 9  # rounds in which each implementation of the learner is measured once
KERNEL_PARTICLES = 16  # particles of SVGD, half of them fixed and half updated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "what", choices=("learner", "actor", "lockstep", "soak"), help="what to measure"
    )
    parser.add_argument(
        "--task",
        default="sawyer_reach",
        help="name of a file in config/tasks/, or a path (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        default=10.0,
        type=positive_real,
        help="length of a measurement of actor and lockstep (default: %(default)s)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a JSON file"
    )
    parser.add_argument(
        "--minutes", default=30.0, type=positive_real, help="length of soak (default: %(default)s)"
    )
    actor = parser.add_argument_group("actor and soak")
    actor.add_argument(
        "--rates",
        type=positive_real,
        nargs="+",
        metavar="HZ",
        help="control rates; soak takes the first (default: 20 100 500 1000; 500)",
    )
    learner = parser.add_argument_group("learner")
    learner.add_argument(
        "--batch", default=256, type=int, help="transitions per update (default: %(default)s)"
    )
    learner.add_argument(
        "--width", default=256, type=int, help="units of both hidden layers (default: %(default)s)"
    )
    learner.add_argument(
        "--value-particles",
        default=16,
        type=int,
        help="actions per state for the soft value (default: %(default)s)",
    )
    learner.add_argument(
        "--threads", default=2, type=positive, help="threads of torch (default: %(default)s)"
    )
    learner.add_argument(
        "--sweep", action="store_true", help="also the cost by particles and by batch size"
    )


def run(args: argparse.Namespace) -> int:
    """Measure what `args.what` names, and print the figures; with `--json` also write them.

    Actor and soak run with real-time priority, on a core of their own, where the kernel grants it.

    Returns:
        Exit code 0.

    Raises:
        SqlRosError: The task cannot be used.
    """
    from sql_ros.checks.bench.control_loop import RealtimeRequest, header, measure_actor
    from sql_ros.checks.bench.lockstep import measure_lockstep
    from sql_ros.checks.bench.node_processes import run_nodes
    from sql_ros.common.figures_json import write_figures
    from sql_ros.stack.settings import control_cpu

    figures: dict[str, float] = {}
    realtime = RealtimeRequest(PRIORITY, *control_cpu(_last_core()))
    rates = args.rates or ([500.0] if args.what == "soak" else [20.0, 100.0, 500.0, 1000.0])
    if args.what == "learner":
        figures = _measure_learner(args)
    elif args.what == "soak":
        from sql_ros.checks.bench.soak import measure_soak

        figures = measure_soak(
            args.task,
            rates[0],
            60.0 * args.minutes,
            SEED,
            realtime,
            run_nodes,
            lambda line: print(line, flush=True),
        )
    elif args.what == "lockstep":
        figures = measure_lockstep(args.task, args.seconds, SEED)
    else:
        print(header(), flush=True)
        figures = measure_actor(
            args.task,
            rates,
            args.seconds,
            SEED,
            realtime,
            run_nodes,
            lambda line: print(line, flush=True),
        )
    if args.what in ("lockstep", "soak"):
        for name, value in figures.items():
            print(f"  {name:32s} {value:.6g}")
    if args.json:
        write_figures(args.json, figures, SEED)
    return 0


def _measure_learner(args: argparse.Namespace) -> dict[str, float]:
    """Measure updates per second and, with `--sweep`, the cost of an update by size; print tables.

    Returns:
        Name to figure, for `--json`.
    """
    from sql_ros.checks.bench import learner, report, sweep
    from sql_ros.checks.bench.implementations import UpdateProblem
    from sql_ros.common.allocator import keep_freed_memory

    keep_freed_memory()
    result = learner.measure_learner(
        args.batch,
        args.width,
        args.value_particles,
        KERNEL_PARTICLES,
        threads=args.threads,
        repeats=REPEATS,
        seed=SEED,
        variants=learner.OURS,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(report.table(result))
    figures = report.figures(result)
    if args.sweep:
        problem = UpdateProblem(
            args.batch, args.width, args.value_particles, KERNEL_PARTICLES, seed=SEED
        )
        lines = sweep.sweep(problem, threads=args.threads)
        print("\n" + sweep.sweep_table(lines))
        figures |= sweep.sweep_figures(lines)
    return figures


def _last_core() -> str:
    """Return the number of the last core as text; empty if this process has only one core."""
    cores = os.sched_getaffinity(0)
    return str(max(cores)) if len(cores) > 1 else ""
