"""`sql-ros fuzz`: feed malformed input to every part that takes input, and count crashes."""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.common.argument_types import natural, positive

TOTALS = ("cases", "taken", "refused", "crashed", "hung", "unreadable")  # figures printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--cases",
        type=positive,
        default=10_000,
        help="number of cases (default: 10000; a minute or two)",
    )
    parser.add_argument("--seed", type=natural, default=0, help="seed of the input (default: 0)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a JSON file"
    )


def run(args: argparse.Namespace) -> int:
    """Feed the input and print the counts; with `--json` also write them.

    Returns:
        Exit code 1 if a case crashed, hung, or was refused without a readable reason, otherwise 0.
    """
    from sql_ros.checks.stress.fuzz import attack, figures
    from sql_ros.common.figures_json import write_figures

    counts = attack(args.cases, args.seed)
    numbers = figures(counts)
    print("\n".join(f"{name:>12} {numbers[name]:g}" for name in TOTALS))
    if args.json:
        write_figures(args.json, numbers, args.seed)
    return int(not all(each.is_clean() for each in counts.values()))
