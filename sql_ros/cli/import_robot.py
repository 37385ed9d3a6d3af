"""`sql-ros import-robot`: write the files of an arm from its description."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sql_ros.common.errors import ConfigError

if TYPE_CHECKING:
    from sql_ros.arms.import_robot import ImportedArm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "description",
        metavar="DESCRIPTION",
        help="MJCF, URDF or xacro of the arm; or the topic on which its driver publishes the URDF,"
        " e.g. /robot_description",
    )
    parser.add_argument("arguments", nargs="*", metavar="NAME:=VALUE", help="arguments of a xacro")
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


def _imported(args: argparse.Namespace) -> ImportedArm:
    """Write the files of the arm from a file or a topic.

    Args:
        args: Arguments of the command.

    Raises:
        ConfigError: The arm cannot be imported; or there are arguments, but the description is no
            xacro.
    """
    from sql_ros.arms.description_source import XACRO, expand_xacro, import_text, is_topic
    from sql_ros.arms.import_robot import import_robot

    path = Path(args.description)
    if path.suffix == XACRO:
        text = expand_xacro(path, args.arguments)
        return import_text(text, path, args.out, args.tool, args.prefix)
    if args.arguments:
        raise ConfigError(
            f"{path} takes no arguments ({', '.join(args.arguments)}): it is no xacro"
        )
    if is_topic(args.description):
        from sql_ros.checks.description_topic import receive_description

        text = receive_description(args.description)
        return import_text(text, Path.cwd() / args.out, args.out, args.tool, args.prefix)
    return import_robot(path, args.out, args.tool, args.prefix)


def run(args: argparse.Namespace) -> int:
    """Write the files and a picture of the arm. Print every guess, and the result of the checks.

    Without Matplotlib no picture is drawn.

    Returns:
        Exit code 1 if a check found an error, otherwise 0. The files are written in both cases.

    Raises:
        ConfigError: The description cannot be read, or the arm cannot be imported, see
            `sql_ros.arms.import_robot.import_robot`.
    """
    from sql_ros.robot.tasks import load_task
    from sql_ros.runs.picture import draw_arm

    arm = _imported(args)
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
