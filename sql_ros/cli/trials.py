"""`sql-ros trials`: a policy, or several on the same draws, against perturbations; the stack does it, this writes the report."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sql_ros.cli.numbers import natural
from sql_ros.core.errors import ConfigError
from sql_ros.core.run_folder import check_is_unused
from sql_ros.share import find_policy

KEYS = {"s": "skip", "r": "repeat", "a": "abort"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "--policy",
        required=True,
        action="append",
        metavar="[NAME=]FILE",
        help="an ONNX file, or a name in config/policies/; give it again to compare several on the same draws",
    )
    parser.add_argument("--task", default="", help="name of a file in config/tasks/, or a path (default: that of the policies)")
    parser.add_argument("--protocol", default="standard", help="name of a file in config/trials/, or a path (default: %(default)s)")
    parser.add_argument("--repeats", default=0, type=int, help="trials per kind and size; 0: as the protocol says (default: %(default)s)")
    parser.add_argument("--seed", default=0, type=natural, help="of every draw (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for report and tables (default: runs/<time>-trials)")
    parser.add_argument("--real", action="store_true", help="the real arm's topics: an operator is asked to push")
    parser.add_argument("--by-hand", action="store_true", help="the same with the simulated arm, at its real pace")
    parser.add_argument("--in-process", action="store_true", help="the simulation in this process, without ROS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> int:
    """Tries each policy, then writes one report."""
    from sql_ros.runs.figures import command_line, write_figures
    from sql_ros.runs.trial_report import figures_of, write_trial_report
    from sql_ros.runs.trial_table import read_rows

    if args.in_process and (args.real or args.by_hand):
        raise ConfigError("--in-process has no operator: leave out --real and --by-hand")
    policies = _named(args.policy)
    task = _task(args.task, policies)
    out = args.out or Path(f"runs/{datetime.now():%Y%m%d-%H%M%S}-trials")
    check_is_unused(out, "give another --out, so that nothing measured is mixed")
    folders = {name: out / name if len(policies) > 1 else out for name in policies}
    prepare = _in_process if args.in_process else _in_stack
    sessions = {name: prepare(args, task, policies[name], folder) for name, folder in folders.items()}
    code, results = 0, {}
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
    figures = write_trial_report(out, results, task=Path(task).stem, command=command_line(), seed=args.seed)
    for key, value in figures_of(next(iter(results.values()))).items():
        print(f"  {key:28s} {value:.6g}")
    print(f"report: {out / 'report.md'}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return code


def _named(given: list[str]) -> dict[str, Path]:
    """By name: what stands before "=", else the file's own."""
    named: dict[str, Path] = {}
    for item in given:
        name, separator, path = item.partition("=")
        file = find_policy(path if separator else item)
        name = name if separator else file.stem
        if name in named or "/" in name or not name:
            raise ConfigError(f"--policy {item}: name '{name}' is taken or cannot be a folder; say --policy NAME=FILE")
        named[name] = file
    return named


def _task(given: str, policies: dict[str, Path]) -> str:
    """Return the task of all policies: the one given, or the one that they were trained for."""
    from sql_ros.robot.policy_file import task_of_policy

    tasks = {name: task_of_policy(path, given) for name, path in policies.items()}
    if len(set(tasks.values())) > 1:
        raise ConfigError(f"the policies are of several tasks: {', '.join(f'{name} of {task}' for name, task in tasks.items())}")
    return next(iter(tasks.values()))


def _in_process(args: argparse.Namespace, task_name: str, path: Path, folder: Path) -> Callable[[], int]:
    """Check a session in this process, and return what makes it."""
    from sql_ros.robot.drive import Drive
    from sql_ros.robot.policy_file import load_policy
    from sql_ros.robot.trials import Session, TrialActor, load_protocol
    from sql_ros.runs.rollout import SimulatedArm
    from sql_ros.runs.trial_table import append_rows, line

    check_is_unused(folder, "give another --out, so that nothing measured is mixed")
    task, policy = load_policy(str(path), task_name)
    protocol = load_protocol(args.protocol, task, args.repeats)

    def make() -> int:
        drive = Drive(task)
        session = Session(task, drive, protocol, args.seed, policy.info.sha256)
        actor, arm = TrialActor(task, policy, session, drive=drive), SimulatedArm(task)
        while (row := arm.try_once(actor)) is not None:
            append_rows(folder / "trials.csv", [row])
            print(f"{len(session.rows):4d} of {session.most_trials} at most: {line(row)}", flush=True)
        return 0

    return make


def _in_stack(args: argparse.Namespace, task: str, path: Path, folder: Path) -> Callable[[], int]:
    """Check a session of a stack, and return what makes it."""
    from sql_ros.runs.figures import command_line
    from sql_ros.stack.description import claim_run_dir
    from sql_ros.stack.preflight import preflight
    from sql_ros.stack.supervisor import run_stack

    given = {
        "mode": "trials", "task": task, "policy": str(path), "protocol": args.protocol, "repeats": str(args.repeats),
        "seed": str(args.seed), "run_dir": str(folder), "sim": "false" if args.real else "true",
    }  # fmt: skip
    by_hand = args.real or args.by_hand
    if by_hand:
        given["by_hand"] = "true"
    stack = preflight(given)

    def make() -> int:
        if by_hand:
            print(
                "Keep the emergency stop in reach. Type s to skip a trial, r to repeat it, a to abort the session, and Enter.", flush=True
            )
            threading.Thread(target=_listen_to_operator, daemon=True).start()
        claimed, lock = claim_run_dir(stack)
        with lock:
            return run_stack(claimed, command_line())

    return make


def _listen_to_operator() -> None:
    """Passes on what is typed."""
    import rclpy
    from std_srvs.srv import Trigger

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("operator", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    for text in sys.stdin:
        name = KEYS.get(text.strip()[:1].lower())
        if name is None:
            print(f"'{text.strip()}': type one of {', '.join(f'{key} ({word})' for key, word in KEYS.items())}", flush=True)
            continue
        client = node.create_client(Trigger, f"trials/{name}")
        if not client.wait_for_service(timeout_sec=5.0):
            print("the trials do not answer: did they end?", flush=True)
            continue
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, timeout_sec=5.0)
        answer = future.result()
        print(answer.message if answer else "no answer within 5 s", flush=True)
