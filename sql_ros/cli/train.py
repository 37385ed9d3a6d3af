"""`sql-ros train`: train an algorithm on a Gymnasium environment, in this process, without ROS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

KINDS = ("sql", "ddpg", "sac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "env",
        metavar="ENV",
        help=(
            "Gymnasium id with Box observations and actions, e.g. sql_ros/PointMaze-v0; MODULE:ID"
            " with a module, in the working folder or installed, that registers the id; or a task"
            " file of an arm, e.g. my_panda/panda_reach.yaml"
        ),
    )
    parser.add_argument(
        "--algo", choices=KINDS, help="soft Q-learning, or what it is compared with (default: sql)"
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="transitions in all (default: 50000)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of environment, networks, draws (default: 0)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run folder (default: runs/train/ENV-ALGO-SEED)"
    )
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="YAML with options, as a run leaves it in params.yaml",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="OPTION=VALUE",
        help="options of run, algorithm and trainer, e.g. algorithm.temperature=0.1",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in the run folder"
    )


def run(args: argparse.Namespace) -> int:
    """Make or resume the run, and write its folder with checkpoints and report.

    With `--resume` and without `--params`, the options are those with which the run was begun.

    Returns:
        The exit code: 0, or 128 plus the number of the signal that ended the run.

    Raises:
        SqlRosError: An option, the environment or the run folder cannot be used.
    """
    import torch

    from sql_ros.common.allocator import keep_freed_memory
    from sql_ros.common.interruption import Interrupted
    from sql_ros.experiments.train_folder import params_of
    from sql_ros.experiments.training import default_folder, make_run, settings

    given: dict[str, dict[str, Any]] = {"run": {}, "algorithm": {}}
    for section, name, value in (
        ("run", "steps", args.steps),
        ("run", "seed", args.seed),
        ("algorithm", "kind", args.algo),
    ):
        if value is not None:
            given[section][name] = value
    folder = args.out or default_folder(args.env, args.params, args.set, given)
    params = args.params
    if args.resume and params is None:
        params = params_of(folder)  # the options with which the run was begun
    configs = settings(params, args.set, given)
    keep_freed_memory()
    torch.set_num_threads(1)
    try:
        curve = make_run(args.env, folder, configs, resume=args.resume)
    except Interrupted as interruption:
        return interruption.exit_code
    if curve.steps:
        print(f"report: {folder / 'report.md'}")
    return 0
