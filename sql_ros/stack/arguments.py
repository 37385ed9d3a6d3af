"""The launch arguments of a stack: names, defaults, descriptions, and checks of given values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sql_ros.common.errors import ConfigError

BOOLEANS = ("true", "false")
DEFAULT_TASK = "sawyer_reach"

LONGEST_NAME = 255  # characters in the name of a file or folder in Linux

LARGEST_DOMAIN = 232  # DDS has no UDP ports for a larger number

# arguments that `ros2 launch` reads itself
LAUNCH_ONLY = (
    "launch-prefix",
    "launch-prefix-filter",
    "emulate_tty",
    "sigterm_timeout",
    "sigkill_timeout",
)

# least similarity of two names for one to count as a misspelling of the other: `mode` and `model`,
# `seed` and `speed` have 0.89 and are different names
MISSPELLING_SHARE = 0.9


@dataclass(frozen=True)
class Argument:
    """A launch argument. All values are text, as in launch files.

    Attributes:
        name: Name, as in `name:=value`.
        default: Value if none is given.
        description: Description, for `--show-args`.
        choices: Allowed values; empty: any value is allowed.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return all spellings of the choices that are accepted; empty if there are no choices.

        "true" and "false" may also be capitalised, as in Python, or in upper case, as in YAML.
        """
        words = [word for word in self.choices if word in BOOLEANS]
        return (
            *self.choices,
            *(word.capitalize() for word in words),
            *(word.upper() for word in words),
        )

    @property
    def help(self) -> str:
        """Return the description, followed by the choices in parentheses."""
        shown = " | ".join(choice for choice in self.choices if choice)
        return f"{self.description} ({shown})" if shown else self.description

    def read(self, value: str) -> str:
        """Return a given value; with choices, "true" and "false" in lower case.

        Args:
            value: Value as given.

        Raises:
            ConfigError: The value is not among the choices.
        """
        word = value.lower() if value.lower() in BOOLEANS else value
        if self.choices and word not in self.choices:
            shown = ", ".join(choice for choice in self.choices if choice)
            raise ConfigError(f"{self.name}:={value}, expected one of: {shown}")
        return word if self.choices else value


SAWYER_STACK_ARGUMENTS = (
    Argument(
        "sim",
        "true",
        "true: the MuJoCo bridge simulates the arm; false: the topics of the real arm",
        BOOLEANS,
    ),
    Argument(
        "task",
        "",
        "name of a file in config/tasks/, or a path; empty: that of the run or the policy, else"
        f" {DEFAULT_TASK}",
    ),
    Argument(
        "mode",
        "train",
        "train: learn while acting; play: act with a given policy; trials: perturb the arm while"
        " it acts",
        ("train", "play", "trials"),
    ),
    Argument(
        "policy",
        "",
        "ONNX file to start with, e.g. runs/latest/policy.onnx, or a name in config/policies/;"
        " needed for play and trials; in play also several skills, A.onnx,B.onnx",
    ),
    Argument(
        "weights",
        "",
        "play with several skills: weight of each one's Q, e.g. 0.5,0.5; empty: 1/n each",
    ),
    Argument(
        "realtime_factor",
        "",
        "simulated seconds per second; 0: lockstep, as fast as possible; empty: 0 to train in"
        " simulation, else 1",
    ),
    Argument("namespace", "", "ROS namespace of all nodes"),
    Argument(
        "params_file",
        "",
        "YAML with ros__parameters per node; empty: config/sawyer_stack.yaml and the task's own in"
        " config/params/",
    ),
    Argument(
        "use_sim_time",
        "",
        "nodes take their time from /clock; empty: true in simulation, false on a real arm; true"
        " with sim:=false: the arm of another simulator",
        ("", *BOOLEANS),
    ),
    Argument(
        "run_dir",
        "",
        "run folder; empty: runs/<time>-[<namespace>-]<task>-seed<seed>",
    ),
    Argument("resume", "false", "continue from the newest checkpoint in run_dir", BOOLEANS),
    Argument(
        "most_transitions",
        "0",
        "number of transitions after which a training ends; 0: no limit",
    ),
    Argument("seed", "0", "seed of weights, exploration, start poses and targets"),
    Argument(
        "log_level", "info", "log level of all nodes", ("debug", "info", "warn", "error", "fatal")
    ),
    Argument(
        "command_topic",
        "",
        "topic of a real arm's commands; empty: that of its controller in config/robots/; not used"
        " in simulation",
    ),
    Argument(
        "targets",
        "drawn",
        "play: drawn: draw one for each episode, until a goal arrives; goal: hold until one"
        " arrives on actor/goal",
        ("drawn", "goal"),
    ),
    Argument(
        "joint_prefix",
        "",
        "prefix of every joint and frame name on topics, e.g. left_; empty: as in config/robots/",
    ),
    Argument(
        "people_in_reach",
        "false",
        "people may be in reach: tool and links move at most at 0.25 m/s",
        BOOLEANS,
    ),
    Argument(
        "switch_controllers",
        "false",
        "real arm: activate the controller of the commands where another one is active, and restore"
        " the other one at the end",
        BOOLEANS,
    ),
    Argument(
        "identify",
        "first",
        "real arm: move each joint a little before the arm acts, after actor/start; first: only if"
        " there is no record of an identification",
        ("first", "always", "never"),
    ),
    Argument(
        "compares_description",
        "true",
        "real arm: hold it while the topic robot_description describes another arm",
        BOOLEANS,
    ),
    Argument(
        "dry_run",
        "false",
        "send nothing to the arm; publish the commands on actor/dry_run_commands instead",
        BOOLEANS,
    ),
    Argument("protocol", "standard", "trials: name of a file in config/trials/, or a path"),
    Argument("repeats", "0", "number of trials per kind and size; 0: as the protocol says"),
    Argument(
        "by_hand",
        "",
        "trials: an operator pushes the arm; empty: true on a real arm, false in simulation",
        ("", *BOOLEANS),
    ),
    Argument(
        "key_file",
        "",
        "key that signs policies, progress and transitions, see 'sql-ros keygen'; empty: nothing is"
        " signed",
    ),
    Argument(
        "enclaves",
        "",
        "DDS Security: folder with an enclave for each process, see config/security; empty: none",
    ),
    Argument(
        "control_cpu",
        "",
        "core that only the actor uses, of all processes of the stack; empty: none",
    ),
    Argument(
        "page",
        "false",
        "also serve the operator's page on 127.0.0.1, for a browser on this computer",
        BOOLEANS,
    ),
    Argument(
        "autostart",
        "true",
        "true: nodes configure and activate themselves; false: they wait for change_state",
        BOOLEANS,
    ),
)


def check_domain() -> None:
    """Check the environment variable ROS_DOMAIN_ID, which may be missing or empty.

    Raises:
        ConfigError: It is not a whole number from 0 to `LARGEST_DOMAIN`.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "")
    if domain and not (re.fullmatch("[0-9]{1,3}", domain) and int(domain) <= LARGEST_DOMAIN):
        raise ConfigError(
            f"ROS_DOMAIN_ID is '{domain}', expected a whole number from 0 to {LARGEST_DOMAIN}"
        )


def check_names(names: Iterable[str], typed: Iterable[str]) -> list[str]:
    """Check the names of launch arguments. `ros2 launch` itself ignores unknown names, so that a
    misspelled `dryrun:=true` would move the arm.

    Every name must be one of `SAWYER_STACK_ARGUMENTS` or `LAUNCH_ONLY`. A launch file that includes
    that of the stack may set further ones, which must not resemble those of the stack.

    Args:
        names: Names of all arguments that are set when the stack's launch file begins.
        typed: Names that the command line sets. If there are other names, the launch file is
            included by another one.

    Returns:
        The names that are not those of the stack, sorted.

    Raises:
        ConfigError: A name is unknown, or resembles one of the stack.
    """
    known = {argument.name: _normalized(argument.name) for argument in SAWYER_STACK_ARGUMENTS}
    strangers = sorted(set(names) - {*known, *LAUNCH_ONLY})
    is_included = bool(set(names) - set(typed))
    for name in strangers:
        if not is_included:
            raise ConfigError(_unknown_text(name))
        if get_close_matches(_normalized(name), known.values(), 1, MISSPELLING_SHARE):
            raise ConfigError(
                f"{_unknown_text(name)}; an argument of the including launch file must not resemble"
                " one of these"
            )
    return strangers


def _normalized(name: str) -> str:
    """Return the letters and digits of a name in lower case, to find misspellings of it."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _unknown_text(name: str) -> str:
    """Return the error text for an unknown argument, with the legal names."""
    return (
        f"unknown argument '{name}', expected one of:"
        f" {', '.join(argument.name for argument in SAWYER_STACK_ARGUMENTS)}"
    )


def check_arguments(given: Mapping[str, str]) -> dict[str, str]:
    """Check given launch arguments, and fill in the defaults of the others.

    Args:
        given: Name to value.

    Returns:
        Name to value of every launch argument.

    Raises:
        ConfigError: A name is unknown, a value is not among the choices, or a value is too long for
            a path.
    """
    known = {argument.name: argument for argument in SAWYER_STACK_ARGUMENTS}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(_unknown_text(name))
        if "\0" in value or any(len(part) > LONGEST_NAME for part in value.split("/")):
            raise ConfigError(
                f"{name}:={value[:40]!r}..., expected at most {LONGEST_NAME} characters between"
                " slashes, no NUL"
            )
    return {
        name: argument.read(given.get(name, argument.default)) for name, argument in known.items()
    }


def number(args: Mapping[str, str], name: str) -> float:
    """Return the value of a launch argument as a number.

    Args:
        args: Name to value of the launch arguments.
        name: Name of the argument.

    Raises:
        ConfigError: The value is not a number.
    """
    try:
        return float(args[name])
    except ValueError:
        raise ConfigError(f"{name}:={args[name]}, expected a number") from None


def whole_number(args: Mapping[str, str], name: str) -> int:
    """Return the value of a launch argument as a whole number that is not negative.

    Args:
        args: Name to value of the launch arguments.
        name: Name of the argument.

    Raises:
        ConfigError: The value is not such a number.
    """
    if not args[name].isdecimal():
        raise ConfigError(f"{name}:={args[name]}, expected a whole number from 0")
    return int(args[name])
