"""Reference pages of the commands and of the launch arguments, from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from sql_ros.checks.site.markdown import cell, code, table
from sql_ros.common.errors import ConfigError
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS


def launch_arguments_page() -> str:
    """Return the page of the launch arguments of a stack."""
    rows = [
        (code(f"{argument.name}:="), code(argument.default), cell(argument.help))
        for argument in SAWYER_STACK_ARGUMENTS
    ]
    return f"""# Launch arguments

`sql-ros up NAME:=VALUE ...` and `ros2 launch sql_ros sawyer_stack.launch.py NAME:=VALUE ...` take
the same arguments. [The stack](../stack.md) explains their use.
{table(["argument", "default", "description"], rows)}"""


def commands_page(parsers: Iterable[argparse.ArgumentParser]) -> str:
    """Return the page of the commands.

    Args:
        parsers: Parser of each command, with its name, description and examples.

    Raises:
        ConfigError: An argument has no description.
    """
    sections = "\n".join(_section(parser) for parser in parsers)
    return f"""# Commands

`sql-ros COMMAND --help` shows the same in a terminal. The exit code is 0, or 1 if a check fails,
or 2 after a wrong input, or 130 after Ctrl-C.

{sections}"""


def _section(parser: argparse.ArgumentParser) -> str:
    """Return the section of a command: description, usage, arguments and examples.

    Args:
        parser: Parser of the command's arguments.

    Raises:
        ConfigError: An argument has no description.
    """
    rows = [
        (code(_names(action)), cell(_description(action, parser.prog)))
        for action in parser._actions
        if action.dest != "help" and action.help != argparse.SUPPRESS
    ]
    arguments = table(["argument", "description"], rows) if rows else ""
    return f"""## {parser.prog}

{parser.description}

```text
{parser.format_usage().strip()}
```
{arguments}
```text
{parser.epilog}
```
"""


def _names(action: argparse.Action) -> str:
    """Return the names of an argument, with its value."""
    value = action.metavar or action.dest.upper()
    shown = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return str(action.metavar or action.dest)
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {shown}"


def _description(action: argparse.Action, command: str) -> str:
    """Return the description of an argument, with its choices and its default.

    Args:
        action: The argument.
        command: Command that has it, for the error text.

    Raises:
        ConfigError: The argument has no description.
    """
    if not action.help:
        raise ConfigError(f"{command}: argument '{_names(action)}' has no help text")
    text = action.help % {**vars(action), "prog": command}
    if action.choices:
        text += f" ({' | '.join(map(str, action.choices))})"
    has_default = action.default not in (None, False, argparse.SUPPRESS, [])
    is_said = "default" in text or not has_default
    return text if is_said else f"{text}; default: {action.default}"
