"""`sql-ros experiment`: comparisons over environments and seeds that leave a report."""

from __future__ import annotations

import argparse
from pathlib import Path

EXPERIMENTS = ("ablation", "stacking")
STACKING_STEPS, STACKING_EVERY = 59_000, 1500  # an hour of robot time, and between two evaluations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("experiment", choices=EXPERIMENTS, help="ablation: settings of the learner; stacking: beside SAC and DDPG")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results; runs that are there are not made again")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes of one thread (default: %(default)s)")
    parser.add_argument("--envs", nargs="+", default=[], metavar="ID", help="ablation: Gymnasium environments (default: all)")
    parser.add_argument("--contenders", nargs="+", default=[], metavar="NAME", help="sides of the comparison (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="(default: 0 1 2)")
    parser.add_argument("--steps", type=int, default=0, help="transitions per run (default: those of each environment)")
    parser.add_argument("--evaluate-every", type=int, default=STACKING_EVERY, help="stacking: transitions (default: %(default)s)")
    parser.add_argument("--report-only", action="store_true", help="make no runs, report on those there are")


def run(args: argparse.Namespace) -> int:
    """Makes the runs and the report; exit code 1 if a run failed."""
    return _stacking(args) if args.experiment == "stacking" else _ablation(args)


def _ablation(args: argparse.Namespace) -> int:
    from sql_ros.experiments.ablation import run as make_runs
    from sql_ros.experiments.ablation_plan import plan
    from sql_ros.experiments.ablation_report import write_report

    chosen = plan(args.envs, args.contenders, args.seeds, args.steps)
    failures = [] if args.report_only else make_runs(args.out, args.jobs, chosen)
    write_report(args.out)
    return 1 if failures else 0


def _stacking(args: argparse.Namespace) -> int:
    from sql_ros.core.errors import ConfigError
    from sql_ros.experiments.stacking import METHODS, make_runs
    from sql_ros.experiments.stacking_report import write_stacking_report

    methods = args.contenders or list(METHODS)
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--contenders {method}, expected any of: {', '.join(METHODS)}")
    if not args.report_only:
        make_runs(args.out, methods, args.seeds, args.steps or STACKING_STEPS, args.evaluate_every, args.jobs)
    write_stacking_report(args.out)
    print(f"report: {args.out / 'report.md'}")
    return 0
