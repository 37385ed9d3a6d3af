"""`sql-ros experiment`: run the papers' experiments, or comparisons of algorithms, and write a
report of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.common.argument_types import natural, positive

PAPER = (
    "multigoal",
    "swimmer",
    "maze",
    "pretrain",
    "finetune",
    "pusher",
    "soft-iteration",
    "validation",
)
OURS = ("ablation", "stacking")
STACKING_STEPS = 59_000  # an hour of robot time
STACKING_EVERY = 1500  # transitions between two evaluations
SEEDS = [0, 1, 2]  # default seeds of ablation and stacking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "experiment",
        choices=("all", *PAPER, *OURS),
        help=(
            "one of the papers' experiments, or all of them; ablation: settings of the learner;"
            " stacking: robot time"
        ),
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="results (default: runs/experiments/NAME; all: a folder for each in DIR)",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="worker processes of one thread (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=natural,
        default=[],
        metavar="N",
        help="seeds of the runs (default: as many as the experiment needs)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on in a folder that has runs; they are not made again",
    )
    parser.add_argument(
        "--report-only", action="store_true", help="make no runs, report on those there are"
    )
    papers = parser.add_argument_group("of the papers")
    papers.add_argument("--quick", action="store_true", help="a version of a few minutes")
    ours = parser.add_argument_group("ablation and stacking, which always go on")
    ours.add_argument(
        "--contenders",
        nargs="+",
        default=[],
        metavar="NAME",
        help="sides of the comparison (default: all)",
    )
    ours.add_argument(
        "--steps",
        type=natural,
        default=0,
        help="transitions per run (default: those of each environment)",
    )
    ours.add_argument(
        "--evaluate-every",
        type=positive,
        default=STACKING_EVERY,
        help="stacking: transitions (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the runs of an experiment, unless `--report-only`, and write its report.

    Returns:
        Exit code 1 if a run of ablation or stacking failed, otherwise 0.

    Raises:
        ConfigError: The folder of an experiment of the papers has runs already, and neither
            `--resume` nor `--report-only` is given; or a contender is unknown.
    """
    args.out = args.out or Path("runs/experiments") / args.experiment
    if args.experiment in ("all", *PAPER):
        return _of_the_papers(args)
    args.seeds = args.seeds or SEEDS
    return _stacking(args) if args.experiment == "stacking" else _ablation(args)


def _of_the_papers(args: argparse.Namespace) -> int:
    """Run one or all experiments of the papers; write report.md of each and print its verdict.

    With "all", an index page is written too, and with `--report-only` an experiment that cannot be
    reported is skipped with a line.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: The folder of an experiment has runs already, and neither `--resume` nor
            `--report-only` is given.
    """
    from sql_ros.common.errors import ConfigError
    from sql_ros.experiments.paper.registry import chosen, write_index
    from sql_ros.experiments.study import conduct

    for experiment in chosen(args.experiment):
        folder = args.out / experiment.name if args.experiment == "all" else args.out
        there = any((folder / "runs").glob("*.json"))
        if args.experiment == "all" and args.report_only and not there:
            print(f"{experiment.name}: not run yet", flush=True)
            continue
        if there and not (args.resume or args.report_only):
            raise ConfigError(
                f"{folder} has runs already: give --resume to go on with them, or another --out"
            )
        try:
            finding = conduct(
                experiment,
                folder,
                args.seeds,
                args.jobs,
                quick=args.quick,
                report_only=args.report_only,
            )
        except ConfigError as error:
            if args.experiment != "all" or not args.report_only:
                raise
            print(f"{experiment.name}: {error}", flush=True)  # report the others
            continue
        print(
            f"{experiment.name}: {finding.verdict}\n\n{finding.text}\n\nreport:"
            f" {folder / 'report.md'}",
            flush=True,
        )
    if args.experiment == "all":
        print(f"index: {write_index(args.out)}")
    return 0


def _ablation(args: argparse.Namespace) -> int:
    """Run the comparison of learner settings, and write its report. With `--report-only` no run is
    made.

    Returns:
        Exit code 1 if a run failed, otherwise 0.

    Raises:
        ConfigError: An environment or a contender is unknown.
    """
    from sql_ros.experiments.ablation import run as make_runs
    from sql_ros.experiments.ablation_plan import plan
    from sql_ros.experiments.ablation_report import write_report

    chosen = plan(contenders=args.contenders, seeds=args.seeds, steps=args.steps)
    failures = [] if args.report_only else make_runs(args.out, args.jobs, chosen)
    write_report(args.out)
    return 1 if failures else 0


def _stacking(args: argparse.Namespace) -> int:
    """Run the comparison of success against robot time for stacking, and write report.md. With
    `--report-only` no run is made.

    Returns:
        Exit code 1 if a run failed, otherwise 0.

    Raises:
        ConfigError: A contender is unknown.
    """
    from sql_ros.common.errors import ConfigError
    from sql_ros.experiments.stacking import METHODS, make_runs
    from sql_ros.experiments.stacking_report import write_stacking_report

    methods = args.contenders or list(METHODS)
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--contenders {method}, expected any of: {', '.join(METHODS)}")
    length = args.steps or STACKING_STEPS
    failures = (
        []
        if args.report_only
        else make_runs(args.out, methods, args.seeds, length, args.evaluate_every, args.jobs)
    )
    write_stacking_report(args.out)
    print(f"report: {args.out / 'report.md'}")
    return 1 if failures else 0
