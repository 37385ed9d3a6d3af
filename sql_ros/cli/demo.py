"""`sql-ros demo`: film one simulated episode in which a policy stacks a brick and the arm is
pushed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.common.argument_types import natural

PUSHED = "right_l5"  # body of the Sawyer that is pushed
PUSHED_AT_S = 5.0  # time of the push in the episode
SHIPPED = "sawyer_stack"  # default policy, a name in config/policies/


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--policy",
        default=SHIPPED,
        metavar="FILE",
        help="an ONNX file, or a name in config/policies/ (default: %(default)s)",
    )
    parser.add_argument(
        "--push",
        type=float,
        default=45.0,
        metavar="N",
        help="force of the push (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=natural,
        default=0,
        help="seed of start pose, target and direction of the push (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo"),
        metavar="FOLDER",
        help="folder for clip.gif and strip.png (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Film one episode into the folder `--out`; print its result and the files.

    Returns:
        Exit code 1 if the arm did not recover from the push, otherwise 0.

    Raises:
        SqlRosError: The policy cannot be used.
    """
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.clip import film
    from sql_ros.trials.table import describe

    task, policy = load_policy(args.policy)
    row, files = film(
        task, policy, args.out, seed=args.seed, push_n=args.push, at_s=PUSHED_AT_S, body=PUSHED
    )
    print(describe(row))
    for file in files:
        print(f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    return 0 if row.success else 1
