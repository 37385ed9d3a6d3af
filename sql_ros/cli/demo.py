"""`sql-ros demo`: film one simulated episode in which a policy stacks a brick and the arm is
pushed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

PUSH_N = 45.0  # largest force of the push [N]
PUSH_PER_NM = 0.6  # force of the push for 1 N m of the strongest joint [N]
SEED = 0  # seed of start pose, target and direction of the push
PUSHED_AT_S = 5.0  # time of the push in the episode, at most
PUSHED_AT_SHARE = 0.4  # the same, as a share of the episode
PICTURES = (".gif", ".png", ".mp4")  # endings of files, which no folder has
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
        "--task",
        default="",
        metavar="FILE",
        help="task file of the policy (default: that of its run, or of config/tasks/)",
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
        SqlRosError: The policy cannot be used, or `--out` is the name of a picture.
    """
    from sql_ros.common.errors import ConfigError
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.clip import film
    from sql_ros.trials.protocol import default_bodies
    from sql_ros.trials.table import describe

    if args.out.suffix.lower() in PICTURES:
        raise ConfigError(
            f"--out is {args.out}, expected a folder, into which clip.gif and strip.png are written"
        )
    task, policy = load_policy(args.policy, args.task)
    row, files = film(
        task,
        policy,
        args.out,
        seed=SEED,
        push_n=min(PUSH_N, PUSH_PER_NM * max(task.robot.effort_limit)),
        at_s=min(PUSHED_AT_S, PUSHED_AT_SHARE * task.config.episode_s),
        body=default_bodies(task)[1],
    )
    print(describe(row))
    for file in files:
        print(f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    return 0 if row.success else 1
