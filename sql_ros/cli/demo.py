"""`sql-ros demo`: the shipped policy stacks and is pushed, in seconds, with a clip."""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.cli.numbers import natural

PUSHED = "right_l5"
SHIPPED = "sawyer_stack"  # policy and task that are shown where none are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("--task", default="", help="name of a file in config/tasks/, or a path (default: that of the policy)")
    parser.add_argument("--policy", metavar="FILE", help="an ONNX file, or a name in config/policies/ (default: of the task, sawyer_stack)")
    parser.add_argument("--push", type=float, default=45.0, metavar="N", help="how hard (default: %(default)s)")
    parser.add_argument("--at", type=float, default=5.0, metavar="S", help="when, in the episode (default: %(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="of start pose, target and direction (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="for clip.gif, strip.png (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Films one episode; exit code 1 if the arm did not recover."""
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.clip import film
    from sql_ros.runs.trial_table import line

    task, policy = load_policy(args.policy or (Path(args.task).stem if args.task else SHIPPED), args.task)
    row, files = film(task, policy, args.out, seed=args.seed, push_n=args.push, at_s=args.at, body=PUSHED)
    print(line(row))
    for file in files:
        print(f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    return 0 if row.success else 1
