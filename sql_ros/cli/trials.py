"""`sql-ros trials`: perturb an arm while a policy acts, and report how it recovers.

The trials run in a stack in mode trials, or in this process. Each policy has a session of its own,
with the same draws. Afterwards this command writes the report of all.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sql_ros.common.argument_types import natural
from sql_ros.common.data_files import find_policy
from sql_ros.common.errors import ConfigError
from sql_ros.common.run_folder import check_is_unused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--policy",
        required=True,
        action="append",
        metavar="[NAME=]FILE",
        help=(
            "an ONNX file, or a name in config/policies/; repeat the option to compare several on"
            " the same draws"
        ),
    )
    parser.add_argument(
        "--task",
        default="",
        help="name of a file in config/tasks/, or a path (default: that of the policies)",
    )
    parser.add_argument(
        "--protocol",
        default="standard",
        help="name of a file in config/trials/, or a path (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        default=0,
        type=int,
        help="trials per kind and size; 0: as the protocol says (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", default=0, type=natural, help="seed of all draws (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for report and tables (default: runs/<time>-trials)",
    )
    parser.add_argument(
        "--real", action="store_true", help="the real arm's topics: an operator is asked to push"
    )
    parser.add_argument(
        "--by-hand", action="store_true", help="the same with the simulated arm, at its real pace"
    )
    parser.add_argument(
        "--in-process", action="store_true", help="the simulation in this process, without ROS"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to a JSON file"
    )


def run(args: argparse.Namespace) -> int:
    """Check all sessions, run one per policy, then write one report; with `--json` also figures.

    The figures of the first policy are printed. A session that fails ends the command; the trials
    measured so far are reported.

    Returns:
        The exit code of the last session; 1 if no trial was completed.

    Raises:
        SqlRosError: A session cannot run. None has begun then.
    """
    from sql_ros.common.figures_json import command_line, write_figures
    from sql_ros.trials.report import figures_of, write_trial_report
    from sql_ros.trials.table import read_rows

    if args.in_process and (args.real or args.by_hand):
        raise ConfigError("--in-process has no operator: leave out --real and --by-hand")
    policies = _policies_by_name(args.policy)
    task = _common_task(args.task, policies)
    out = args.out or Path(f"runs/{datetime.now():%Y%m%d-%H%M%S}-trials")
    check_is_unused(out, "give another --out, so that nothing measured is mixed")
    folders = {name: out / name if len(policies) > 1 else out for name in policies}
    prepare = _prepare_in_process if args.in_process else _prepare_in_stack
    sessions = {
        name: prepare(args, task, policies[name], folder) for name, folder in folders.items()
    }
    code = 0
    results = {}
    for name, session in sessions.items():
        if len(policies) > 1:
            print(f"--- {name}", flush=True)
        code = session()
        table = folders[name] / "trials.csv"
        if table.is_file():
            results[name] = read_rows(table)
        if code:
            break
    if not results:
        return code or 1
    figures = write_trial_report(
        out, results, task=Path(task).stem, command=command_line(), seed=args.seed
    )
    for key, value in figures_of(next(iter(results.values()))).items():
        print(f"  {key:28s} {value:.6g}")
    print(f"report: {out / 'report.md'}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return code


def _policies_by_name(given: list[str]) -> dict[str, Path]:
    """Return policy name to path of the policy file.

    Args:
        given: Values of `--policy`: NAME=FILE; or FILE, whose stem is the name. FILE may be a name
            in config/policies/.

    Raises:
        ConfigError: There is no such file; or a name is used twice, is empty, or contains a slash.
    """
    named: dict[str, Path] = {}
    for item in given:
        name, separator, path = item.partition("=")
        file = find_policy(path if separator else item)
        name = name if separator else file.stem
        if name in named or "/" in name or not name:
            raise ConfigError(
                f"--policy {item}: name '{name}' is taken or cannot be a folder; say --policy"
                " NAME=FILE"
            )
        named[name] = file
    return named


def _common_task(given: str, policies: dict[str, Path]) -> str:
    """Return the one task of all policies, as a name in config/tasks/ or a path.

    Args:
        given: Name or path of the task on the command line; empty: the task for which the policies
            were trained.
        policies: Policy name to path of the policy file.

    Raises:
        SqlRosError: A policy file cannot be read, was trained for another task than the given one,
            or names a task that is not there; or the policies were trained for several tasks.
    """
    from sql_ros.robot.policy_file import task_of_policy

    tasks = {name: task_of_policy(path, given) for name, path in policies.items()}
    if len(set(tasks.values())) > 1:
        raise ConfigError(
            "the policies are of several tasks:"
            f" {', '.join(f'{name} of {task}' for name, task in tasks.items())}"
        )
    return next(iter(tasks.values()))


def _prepare_in_process(
    args: argparse.Namespace, task_name: str, path: Path, folder: Path
) -> Callable[[], int]:
    """Check a session that is simulated in this process, without ROS.

    Args:
        args: Arguments of the command.
        task_name: Name or path of the task.
        path: Policy file.
        folder: Folder for trials.csv.

    Returns:
        A function that runs the session, appends a row per trial to trials.csv, and returns exit
        code 0.

    Raises:
        SqlRosError: The folder has a run already, or policy, task or protocol cannot be used.
    """
    from sql_ros.robot.control.action_mapper import ActionMapper
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.rollout import SimulatedArm
    from sql_ros.trials.protocol import load_protocol
    from sql_ros.trials.session import Session
    from sql_ros.trials.table import append_rows, describe
    from sql_ros.trials.trial_runner import TrialRunner

    check_is_unused(folder, "give another --out, so that nothing measured is mixed")
    task, policy = load_policy(str(path), task_name)
    protocol = load_protocol(args.protocol, task, args.repeats)

    def run_session() -> int:
        """Run the session: write and print a row per trial; return exit code 0."""
        mapper = ActionMapper(task)
        session = Session(task, mapper, protocol, args.seed, policy.info.sha256)
        runner = TrialRunner(task, policy, session, mapper=mapper)
        arm = SimulatedArm(task)
        while (row := arm.try_once(runner)) is not None:
            append_rows(folder / "trials.csv", [row])
            print(
                f"{len(session.rows):4d} of {session.most_trials} at most: {describe(row)}",
                flush=True,
            )
        return 0

    return run_session


def _prepare_in_stack(
    args: argparse.Namespace, task: str, path: Path, folder: Path
) -> Callable[[], int]:
    """Check a session that runs in a stack, on the simulated or the real arm.

    Args:
        args: Arguments of the command.
        task: Name or path of the task.
        path: Policy file.
        folder: Run folder, in which the stack writes trials.csv.

    Returns:
        A function that runs the stack and returns its exit code.

    Raises:
        SqlRosError: The preflight refuses the stack.
    """
    from sql_ros.common.figures_json import command_line
    from sql_ros.nodes.operator_keys import pass_on_keys
    from sql_ros.stack.description import lock_run_dir
    from sql_ros.stack.preflight import preflight
    from sql_ros.stack.supervisor import run_stack

    given = {
        "mode": "trials",
        "task": task,
        "policy": str(path),
        "protocol": args.protocol,
        "repeats": str(args.repeats),
        "seed": str(args.seed),
        "run_dir": str(folder),
        "sim": "false" if args.real else "true",
    }
    by_hand = args.real or args.by_hand
    if by_hand:
        given["by_hand"] = "true"
    stack = preflight(given)

    def run_session() -> int:
        """Run the stack with a locked run folder, and return its exit code.

        For trials by hand, first print how to confirm, and read the operator's keys in a thread.
        """
        if by_hand:
            print(
                "Keep the emergency stop in reach. The arm stands before you are asked to reach for"
                " it, and is slow until you have confirmed that you are out of its reach. Type c to"
                " confirm, s to skip a trial, r to repeat it, a to abort the session, and press"
                " Enter.",
                flush=True,
            )
            threading.Thread(target=pass_on_keys, daemon=True).start()
        claimed, lock = lock_run_dir(stack)
        with lock:
            return run_stack(claimed, command_line())

    return run_session
