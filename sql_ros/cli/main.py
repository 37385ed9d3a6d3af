"""The program `sql-ros`, whose first argument names a command."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys

from sql_ros import __version__
from sql_ros.cli.commands import COMMANDS, GROUPS, Subcommand, aligned
from sql_ros.common.errors import CONFIG_EXIT_CODE, SqlRosError

OPTION = re.compile(r"--[a-z][\w-]*")  # in the usage of a parser
FIRST_STEPS = (
    ("sql-ros doctor", "check this machine"),
    ("sql-ros up sawyer_stack", "train the simulated Sawyer until it reaches its goals"),
    ("sql-ros eval --policy runs/latest/policy.onnx", "evaluate the trained policy"),
    ("sql-ros up sawyer_stack mode:=play policy:=runs/latest/policy.onnx realtime_factor:=1", ""),
    ("sql-ros verify", "check the mathematics, one row per check"),
)


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments of the program, without its name; None: those of this process.

    Returns:
        The exit code of the command; 2, after one line on stderr, if a `SqlRosError` or an error of
        a file was raised; 130 after Ctrl-C.

    Raises:
        SystemExit: argparse ends the process, after `--help` or for a wrong argument.
    """
    words = sys.argv[1:] if argv is None else argv
    command = _command(words)
    try:
        return command.run(_arguments(command, words[1:]))
    except SqlRosError as error:
        print(f"sql-ros {command.name}: {error}", file=sys.stderr)
        return CONFIG_EXIT_CODE
    except OSError as error:
        if error.filename is None:
            raise
        print(f"sql-ros {command.name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return CONFIG_EXIT_CODE
    except KeyboardInterrupt:
        return 130


def _command(words: list[str]) -> Subcommand:
    """Return the command that the first argument names.

    Args:
        words: Arguments of the program.

    Raises:
        SystemExit: The first argument is no command. Help, version or an error was printed.
    """
    commands = {command.name: command for command in COMMANDS}
    name = words[0] if words else ""
    if name in commands:
        return commands[name]
    parser = argparse.ArgumentParser(
        prog="sql-ros",
        usage="sql-ros [-h] [--version] command ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Soft Q-learning for real robot arms over ROS 2 (nothing to do with databases)."
        ),
        epilog=f"{_table()}\n\nfirst steps:\n{aligned(FIRST_STEPS)}",
    )
    parser.add_argument("--version", action="version", version=f"sql_ros {__version__}")
    parser.add_argument("command", choices=commands, help=argparse.SUPPRESS)
    if near := difflib.get_close_matches(name, commands, 1):
        parser.error(f"'{name}' is no command: did you mean '{near[0]}'?")
    parser.parse_args(words[:1])
    raise AssertionError("argparse ends the process where it finds no command")


def _table() -> str:
    """Return text that lists the commands in groups, one line each."""
    parts = []
    for group, title in GROUPS.items():
        lines = [f"  {each.name:12s}{each.summary}" for each in COMMANDS if each.group == group]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts) + "\n\nsql-ros <command> --help teaches each by examples."


def _arguments(command: Subcommand, words: list[str]) -> argparse.Namespace:
    """Parse the arguments of a command.

    Args:
        command: The command.
        words: Arguments after its name.

    Raises:
        SystemExit: An argument is unknown or wrong, or `--help` was given.
    """
    parser = command.parser()
    _check_spelling(parser, words)
    args, rest = parser.parse_known_args(words)
    if command.name == "up":  # argparse takes no name:=value after an option
        args.arguments += [word for word in rest if ":=" in word]
        rest = [word for word in rest if ":=" not in word]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _check_spelling(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Name an option that is nearly one of a parser's.

    argparse would report a required option as missing first.

    Args:
        parser: The parser.
        words: Arguments.

    Raises:
        SystemExit: An option is misspelled.
    """
    known = {"--help", *OPTION.findall(parser.format_usage())}
    for word in words[: words.index("--")] if "--" in words else words:
        option = word.split("=")[0]
        if not option.startswith("--") or any(each.startswith(option) for each in known):
            continue
        if near := difflib.get_close_matches(option, known, 1):
            parser.error(f"unrecognized argument {option}: did you mean {near[0]}?")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
