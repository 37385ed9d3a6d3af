"""`sql-ros doctor`: check what is installed and works on this machine."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--robot",
        action="store_true",
        help="judge a robot's PC: what acts there, and what is on the network",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line per check, with advice for what does not work.

    Returns:
        Exit code 1 if a needed part does not work, otherwise 0.
    """
    from sql_ros.checks.doctor import examine

    return examine(robot=args.robot)
