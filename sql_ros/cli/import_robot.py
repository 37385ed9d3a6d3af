"""`sql-ros import-robot`: write the files of an arm from its description."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "description", type=Path, metavar="DESCRIPTION", help="MJCF or URDF of the arm"
    )
    parser.add_argument(
        "--tool",
        default="",
        metavar="NAME",
        help="site, body or link whose pose tasks see (default: the only candidate)",
    )
    parser.add_argument(
        "--prefix",
        default="",
        metavar="P",
        help="prefix of the driver's joint and frame names, e.g. left_ (default: none)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the files; a new one"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and a picture of the arm. Print every guess, and the result of the checks.

    Without Matplotlib no picture is drawn.

    Returns:
        Exit code 1 if a check found an error, otherwise 0. The files are written in both cases.

    Raises:
        ConfigError: The arm cannot be imported, see `sql_ros.arms.import_robot.import_robot`.
    """
    from sql_ros.arms.import_robot import import_robot
    from sql_ros.robot.tasks import load_task
    from sql_ros.runs.picture import draw_arm

    arm = import_robot(args.description, args.out, args.tool, args.prefix)
    print("Guesses, to be confirmed:")
    for guess in arm.guesses:
        print(f"  {guess}")
    print("Checks:")
    for line in arm.report.lines():
        print(f"  {line}")
    try:
        draw_arm(load_task(str(arm.task)), None, arm.picture, seed=0)
        pictures = f", {arm.picture}"
    except ImportError as error:
        pictures = f" (no picture: {error})"
    print(f"written: {arm.robot}, {arm.task}{pictures}")
    print(f"next: sql-ros up task:={arm.task}")
    return 1 if arm.report.errors else 0
