"""Combine launch arguments and the params file: which value a parameter gets if both set it.

====================  ===========================================================================
parameter             value of the node
====================  ===========================================================================
in `PROTECTIVE`       true, if the launch argument or the params file says so
in `SETTABLE`         the launch argument, if one was given; else what the params file says
another of a launch   what the launch decides; another value in the params file is refused
of the node alone     what the params file says
====================  ===========================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sql_ros.common.errors import ConfigError
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_arguments

SETTABLE: Mapping[str, type] = {
    "autostart": bool,
    "by_hand": bool,
    "compares_description": bool,
    "dry_run": bool,
    "identify": str,
    "joint_prefix": str,
    "key_file": str,
    "most_transitions": int,
    "people_in_reach": bool,
    "protocol": str,
    "repeats": int,
    "seed": int,
    "switch_controllers": bool,
    "targets": str,
    "weights": str,
}
PROTECTIVE = ("dry_run", "people_in_reach")
ARGUMENT_OF_PARAMETER = {"cpu": "control_cpu"}  # parameter to its argument of another name
# node and parameter whose value in the params file is ignored: the bridge publishes simulated time
UNCHECKED = {("sim_bridge", "use_sim_time")}

_logger = logging.getLogger(__name__)


def given_arguments(given: Mapping[str, str]) -> dict[str, str]:
    """Return the launch arguments that are not empty; an empty value counts as not given."""
    return {name: value for name, value in given.items() if value}


def effective_arguments(
    given: Mapping[str, str], of_file: Mapping[str, Any], file: str
) -> dict[str, str]:
    """Return the value of every launch argument, name to text.

    The value is the given one, else that of the params file, else the default. But a parameter of
    `PROTECTIVE` that the params file sets to true stays true, and a warning is logged if the given
    value is false.

    Args:
        given: Name to value of the launch arguments that the user gave.
        of_file: Parameters in the params file of the node that moves the arm, name to value.
        file: Name of the params file, for messages.

    Raises:
        ConfigError: An argument is unknown, or a value is not allowed.
    """
    texts = {name: _text(name, of_file[name], file) for name in SETTABLE if name in of_file}
    effective = check_arguments({**given_arguments(texts), **given})
    for name in PROTECTIVE:
        if texts.get(name) == "true" and effective[name] != "true":
            _logger.warning("%s:=%s, but %s says true: it stays true", name, given[name], file)
            effective[name] = "true"
    return effective


def merge_parameters(
    node: str, of_launch: Mapping[str, Any], of_file: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """Return the parameters of a node: those of the params file, replaced by those of the launch.

    If a given launch argument replaces another value of the params file, a warning is logged.

    Args:
        node: Node name.
        of_launch: Parameters that the launch decides and those that given launch arguments set,
            name to value.
        of_file: Parameters in the params file, name to value.
        file: Name of the params file, for messages.

    Raises:
        ConfigError: The params file has another value for a parameter that the launch decides.
    """
    for name, value in of_launch.items():
        if name not in of_file or of_file[name] == value or (node, name) in UNCHECKED:
            continue
        if name not in SETTABLE and name not in ARGUMENT_OF_PARAMETER:
            raise ConfigError(_contradiction(node, name, of_file[name], value, file))
        argument = ARGUMENT_OF_PARAMETER.get(name, name)
        said = f"'{name}' of the {node} is {value!r}, not {of_file[name]!r} as {file} says"
        _logger.warning("%s:= was given: %s", argument, said)
    return {**of_file, **of_launch}


def _text(name: str, value: Any, file: str) -> str:
    """Return a value of the params file as the text of a launch argument.

    Args:
        name: Name of the parameter, a key of `SETTABLE`.
        value: Value in the params file.
        file: Name of the params file, for errors.

    Raises:
        ConfigError: The value does not have the type of `SETTABLE`.
    """
    kind = SETTABLE[name]
    if type(value) is not kind:
        raise ConfigError(f"{file}: '{name}' is {value!r}, expected {kind.__name__}")
    return str(value).lower() if kind is bool else str(value)


def _contradiction(node: str, name: str, found: Any, decided: Any, file: str) -> str:
    """Return the error text for a parameter that the params file and the launch set to different
    values.

    Args:
        node: Node name.
        name: Name of the parameter.
        found: Value in the params file.
        decided: Value that the launch decides.
        file: Name of the params file.
    """
    is_argument = name in {argument.name for argument in SAWYER_STACK_ARGUMENTS}
    advice = f"leave it out{f', and give {name}:= instead' if is_argument else ''}"
    decision = f"but the launch arguments decide it, here {decided!r}"
    return f"{file}: '{name}' of the {node} is {found!r}, {decision}: {advice}"
