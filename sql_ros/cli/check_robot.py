"""`sql-ros check-robot`: check an arm and its task in simulation."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "task", metavar="TASK", help="task file of the arm, or the name of one in config/tasks/"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw the arm at the start of an episode as a PNG file",
    )


def run(args: argparse.Namespace) -> int:
    """Print summary, errors and warnings of the checks; with `--picture` also draw the arm.

    Returns:
        Exit code 1 if a check found an error, otherwise 0.

    Raises:
        ConfigError: A file cannot be read, or arm, scene and control rate do not fit each other, so
            that no check is possible.
        ImportError: A picture is requested, and Matplotlib cannot be used.
    """
    from sql_ros.arms.robot_checks import check_robot
    from sql_ros.robot.tasks import load_task
    from sql_ros.runs.picture import draw_arm

    task = load_task(args.task)
    report = check_robot(task)
    print("\n".join(report.lines()))
    if args.picture:
        print(f"{args.picture}: {draw_arm(task, None, args.picture, seed=0)}")
    return 1 if report.errors else 0
