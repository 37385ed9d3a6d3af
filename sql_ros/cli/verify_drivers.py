"""`sql-ros verify drivers`: the stack beside driver doubles, a row per case."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sql_ros.cli.numbers import positive

SUITE = "drivers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the suite takes beside those of the mathematics."""
    group = parser.add_argument_group(f"of the suite {SUITE}")
    group.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="rows whose name arm/mode/case contains it, e.g. ur5e/play or protective_stop",
    )
    group.add_argument("--jobs", type=positive, default=2, help="rows at a time (default: %(default)s)")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> int:
    """Print a row per case as it ends; exit code 1 if one fails."""
    from sql_ros.checks.drivers.row import Outcome
    from sql_ros.checks.drivers.table import choose
    from sql_ros.checks.drivers.verify import (
        figures_of,
        line,
        play_rows,
        table,
        write_policies,
    )
    from sql_ros.runs.figures import write_figures

    rows = choose(args.only)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sql_ros_drivers_") as temporary:
        folder = args.out or Path(temporary)
        policies = write_policies(folder.resolve() / "policies")

        def show(outcome: Outcome) -> None:
            print(f"[{time.monotonic() - began:5.0f} s] {line(outcome)}", flush=True)

        outcomes = play_rows(rows, policies, folder.resolve(), args.jobs, show)
    figures = figures_of(outcomes)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    print()
    for name, value in figures.items():
        print(f"  {name:42s} {value:.6g}")
    for outcome in failed:
        print(line(outcome))
    if args.out:
        (args.out / "drivers.md").write_text(table(outcomes))
        print(f"written to {args.out / 'drivers.md'}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return 1 if failed else 0
