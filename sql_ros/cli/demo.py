"""`sql-ros demo`: the shipped policy stacks and is pushed, in seconds, with a clip."""

from __future__ import annotations

import argparse
from pathlib import Path

from sql_ros.cli.numbers import natural

PUSHED = "right_l5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument("--task", default="sawyer_stack", help="name of a file in config/tasks/, or a path (default: %(default)s)")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="an ONNX file (default: the shipped config/policies/<task>.onnx)")
    parser.add_argument("--push", type=float, default=45.0, metavar="N", help="how hard (default: %(default)s)")
    parser.add_argument("--at", type=float, default=5.0, metavar="S", help="when, in the episode (default: %(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="of start pose, target and direction (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="for clip.gif, strip.png (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Films one episode; exit code 1 if the arm did not recover."""
    from sql_ros.core.errors import ConfigError
    from sql_ros.core.policy import Policy
    from sql_ros.robot.tasks import load_task
    from sql_ros.runs.clip import film
    from sql_ros.runs.trial_table import line
    from sql_ros.share import share_folder

    task = load_task(args.task)
    path = args.policy or share_folder() / "config" / "policies" / f"{Path(args.task).stem}.onnx"
    if not path.is_file():
        raise ConfigError(f"no policy {path}: name one with --policy, as a run leaves it in runs/latest/policy.onnx")
    policy = Policy(path.read_bytes(), task.spec)
    row, files = film(task, policy, args.out, seed=args.seed, push_n=args.push, at_s=args.at, body=PUSHED)
    print(line(row))
    for file in files:
        print(f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    return 0 if row.success else 1
