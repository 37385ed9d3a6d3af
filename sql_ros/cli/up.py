"""`sql-ros up`: start a stack without `ros2 launch`."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path

from sql_ros.common.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="stack name:=value",
        help="the stack (sawyer_stack may be left out), launch arguments",
    )
    parser.add_argument(
        "--resume", metavar="RUN_DIR", help="short for run_dir:=RUN_DIR resume:=true"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="copy the run's figures.json there"
    )
    parser.add_argument(
        "-s", "--show-args", action="store_true", help="list the arguments and exit"
    )


def run(args: argparse.Namespace) -> int:
    """Run a stack until it ends; with `--json` then copy its figures.json. With `--show-args` only
    print the launch arguments.

    Returns:
        The exit code of the stack, see `run_stack`; 0 with `--show-args`.

    Raises:
        SqlRosError: The arguments are wrong, the preflight refuses the stack
            (`sql_ros.stack.preflight`), or the run has left no figures.json for `--json`.
    """
    from sql_ros.stack.description import lock_run_dir
    from sql_ros.stack.preflight import STACKS
    from sql_ros.stack.supervisor import run_stack

    name, given = _stack_and_arguments(args.arguments, tuple(STACKS))
    arguments, check = STACKS[name]
    if args.show_args:
        for argument in arguments:
            print(f"{argument.name + ':=' + argument.default:40s} {argument.help}")
        return 0
    if args.resume:
        if given.get("run_dir", args.resume) != args.resume:
            raise ConfigError(
                f"--resume {args.resume}, but run_dir:={given['run_dir']}: give one of them"
            )
        given |= {"run_dir": args.resume, "resume": "true"}
    stack, lock = lock_run_dir(check(given))
    with lock:
        code = run_stack(stack, shlex.join(["sql-ros", "up", name, *stack.repeats]))
    if args.json and not code:
        figures = stack.run_dir / "figures.json"
        if not figures.is_file():
            raise ConfigError(f"--json {args.json}: the run left no {figures}")
        args.json.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figures, args.json)
    return code


def _stack_and_arguments(words: list[str], stacks: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the name of the stack, and launch argument name to value.

    Args:
        words: Positional arguments of the command: the stack, which may be left out, and words of
            the form name:=value.
        stacks: Names of the stacks; the first is the default.

    Raises:
        ConfigError: The stack is unknown, another word is not of the form name:=value, or an
            argument is given twice.
    """
    from sql_ros.common.data_files import share_folder

    given: dict[str, str] = {}
    for argument, value in (word.split(":=", 1) for word in words if ":=" in word):
        if argument in given:
            raise ConfigError(f"{argument}:= is given twice: {given[argument]} and {value}")
        given[argument] = value
    names = [word for word in words if ":=" not in word]
    for place, name in enumerate(names):
        if place == 0 and name in stacks:
            continue
        if (share_folder() / "config" / "tasks" / f"{name}.yaml").is_file() and name not in stacks:
            raise ConfigError(f"'{name}' is a task, not a stack: sql-ros up task:={name}")
        if place == 0 and "=" not in name:
            raise ConfigError(
                f"unknown stack '{name}', expected one of: {', '.join(stacks)}; arguments are of"
                " the form name:=value"
            )
        raise ConfigError(f"'{name}' is not of the form name:=value")
    return (names or stacks)[0], given
