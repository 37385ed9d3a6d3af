"""`sql-ros verify drivers`: run the stack beside simulated drivers of arms, one row per case."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sql_ros.common.argument_types import positive

SUITE = "drivers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the suite."""
    group = parser.add_argument_group(f"of the suite {SUITE}")
    group.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="rows whose name arm/mode/case contains it, e.g. ur5e/play or protective_stop",
    )
    group.add_argument(
        "--jobs", type=positive, default=2, help="rows at a time (default: %(default)s)"
    )
    group.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a JSON file")


def run(args: argparse.Namespace) -> int:
    """Run the stack once per chosen row (arm, mode and case of a driver); print each row as it
    ends, then the figures.

    With `--out` the logs are kept there, beside drivers.md; with `--json` the figures are written.

    Returns:
        Exit code 1 if a row fails, otherwise 0.
    """
    from sql_ros.checks.drivers.row import RowResult
    from sql_ros.checks.drivers.table import choose
    from sql_ros.checks.drivers.verify import (
        figures_of,
        line,
        play_rows,
        table,
        write_policies,
    )
    from sql_ros.common.figures_json import write_figures

    rows = choose(args.only)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sql_ros_drivers_") as temporary:
        folder = args.out or Path(temporary)
        policies = write_policies(folder.resolve() / "policies")

        def show(result: RowResult) -> None:
            """Print the result of a row."""
            print(f"[{time.monotonic() - began:5.0f} s] {line(result)}", flush=True)

        results = play_rows(rows, policies, folder.resolve(), args.jobs, show)
    figures = figures_of(results)
    failed = [result for result in results if result.state == "failed"]
    print()
    for name, value in figures.items():
        print(f"  {name:42s} {value:.6g}")
    for result in failed:
        print(line(result))
    if args.out:
        (args.out / "drivers.md").write_text(table(results))
        print(f"written to {args.out / 'drivers.md'}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return 1 if failed else 0
