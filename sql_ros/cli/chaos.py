"""`sql-ros chaos`: kill processes of a training stack and cut its network at random moments, and
count lost and doubled transitions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.common.argument_types import natural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--kills", type=natural, default=10, help="number of SIGKILLs (default: 10; about 6 s each)"
    )
    parser.add_argument(
        "--cuts",
        type=natural,
        default=0,
        help="number of network cuts between two hosts, needs root (default: 0; about 8 s each)",
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="seed of victims and moments (default: 0)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a JSON file"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the runs there (default: they are removed)"
    )


def run(args: argparse.Namespace) -> int:
    """Run a stack with kills and network cuts, and print the counts; with `--json` also write them.

    Returns:
        Exit code 1 if a transition was lost or doubled or the arm was unsafe, otherwise 0.
    """
    from sql_ros.checks.stress.chaos import run_chaos
    from sql_ros.common.figures_json import write_figures

    counts = run_chaos(args.kills, args.cuts, args.seed, args.out)
    if args.json:
        write_figures(args.json, counts.figures(), args.seed)
    return int(not counts.is_clean())
