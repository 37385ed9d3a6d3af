"""`sql-ros eval`: evaluate an exported policy in simulation, without ROS."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sql_ros.common.argument_types import natural, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--policy",
        required=True,
        metavar="FILE",
        help="an ONNX file written by a run, or a name in config/policies/",
    )
    parser.add_argument(
        "--task",
        default="",
        help="name of a file in config/tasks/, or a path (default: that of the policy)",
    )
    parser.add_argument(
        "--episodes", default=100, type=positive, help="number of episodes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        default=1000,
        type=natural,
        help="seed of start poses and targets (default: %(default)s)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a JSON file"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate the policy: print a dot per success and a cross per failure, then the figures; with
    `--json` also write the figures.

    Returns:
        Exit code 0, however many episodes succeeded.

    Raises:
        SqlRosError: The policy cannot be used, or does not fit the task.
    """
    from sql_ros.common.figures_json import write_figures
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.evaluation import Evaluation, Evaluator

    task, policy = load_policy(args.policy, args.task)
    began = time.monotonic()

    def show(so_far: Evaluation) -> bool:
        """Print the outcome of the last episode; return True, which continues the evaluation."""
        print(
            "." if so_far.successes[-1] else "x",
            end="\n" if len(so_far.successes) % 50 == 0 else "",
            flush=True,
        )
        return True

    result = Evaluator(task, args.seed).evaluate(policy, args.episodes, show)
    figures = {**result.figures(), "wall_s": time.monotonic() - began}
    print(
        f"\n{sum(result.successes)} of {args.episodes} episodes reached the goal,"
        f" {result.failures} failed, {result.timeouts} timed out; policy version"
        f" {policy.info.version}"
    )
    for name, value in figures.items():
        print(f"  {name:28s} {value:.6g}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return 0
