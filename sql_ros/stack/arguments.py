"""The launch arguments of a stack: names, defaults, descriptions, and checks of what was given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sql_ros.core.errors import ConfigError

BOOLEANS = ("true", "false")
DEFAULT_TASK = "sawyer_reach"

LONGEST_NAME = 255  # characters, of a file or folder in Linux

LARGEST_DOMAIN = 232  # that DDS has UDP ports for

OF_LAUNCH = ("launch-prefix", "launch-prefix-filter", "emulate_tty", "sigterm_timeout", "sigkill_timeout")  # it reads these itself

LIKENESS = 0.9  # share of the letters from which on a name is a misspelled one; `model` and `speed` (0.89) are not `mode` and `seed`


@dataclass(frozen=True)
class Argument:
    """A launch argument: name, default and description, all strings as in launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return the choices as launch checks them: true and false may also be written as in Python and YAML."""
        words = [word for word in self.choices if word in BOOLEANS]
        return (*self.choices, *(word.capitalize() for word in words), *(word.upper() for word in words))

    @property
    def help(self) -> str:
        """Return the description with the choices."""
        shown = " | ".join(choice for choice in self.choices if choice)
        return f"{self.description} ({shown})" if shown else self.description

    def read(self, value: str) -> str:
        """Return a value as the rest of the program writes it: true and false in lower case.

        Raises:
            ConfigError: It is not among the choices.
        """
        word = value.lower() if value.lower() in BOOLEANS else value
        if self.choices and word not in self.choices:
            shown = ", ".join(choice for choice in self.choices if choice)
            raise ConfigError(f"{self.name}:={value}, expected one of: {shown}")
        return word if self.choices else value


SAWYER_STACK_ARGUMENTS = (
    Argument("sim", "true", "true: the MuJoCo bridge stands in for the arm; false: the real arm's topics", BOOLEANS),
    Argument("task", "", f"name of a file in config/tasks/, or a path; empty: that of the run or the policy, else {DEFAULT_TASK}"),
    Argument(
        "mode",
        "train",
        "train: learn while acting; play: act with a given policy; trials: try it against perturbations",
        ("train", "play", "trials"),
    ),
    Argument(
        "policy", "", "ONNX file to start with, e.g. runs/latest/policy.onnx, or a name in config/policies/; needed for play and trials"
    ),
    Argument(
        "realtime_factor", "", "simulated seconds per second, 0: lockstep, as fast as possible; empty: 0 to train in simulation, else 1"
    ),
    Argument("namespace", "", "of all nodes"),
    Argument("params_file", "", "YAML with ros__parameters per node; empty: config/sawyer_stack.yaml and the task's own in config/params/"),
    Argument(
        "use_sim_time",
        "",
        "nodes take their time from /clock; empty: true in simulation, false on a real arm; true with sim:=false: another simulator's arm",
        ("", *BOOLEANS),
    ),
    Argument("run_dir", "", "what the run leaves behind goes here; empty: runs/<time>-[<namespace>-]<task>-seed<seed>"),
    Argument("resume", "false", "continue from the newest checkpoint in run_dir", BOOLEANS),
    Argument("most_transitions", "0", "end a training after so many transitions, learned or not; 0: no limit"),
    Argument("seed", "0", "of weights, exploration, start poses and targets"),
    Argument("log_level", "info", "of all nodes", ("debug", "info", "warn", "error", "fatal")),
    Argument(
        "command_topic", "", "topic of a real arm's commands; empty: that of its controller in config/robots/; not used in simulation"
    ),
    Argument(
        "targets",
        "drawn",
        "play: drawn: anew for each episode, until a goal comes; goal: hold until one comes on actor/goal",
        ("drawn", "goal"),
    ),
    Argument("joint_prefix", "", "before every joint and frame name on topics, e.g. left_; empty: as in config/robots/"),
    Argument(
        "switch_controllers",
        "false",
        "real arm: activate the controller of the commands where another is active, and restore that at the end",
        BOOLEANS,
    ),
    Argument("dry_run", "false", "send nothing to the arm: what would be sent goes to actor/dry_run_commands", BOOLEANS),
    Argument("protocol", "standard", "of the trials: name of a file in config/trials/, or a path"),
    Argument("repeats", "0", "trials per kind and size; 0: as the protocol says"),
    Argument("by_hand", "", "trials: an operator pushes; empty: true on a real arm, false in simulation", ("", *BOOLEANS)),
    Argument(
        "respawn",
        "true",
        "a process that crashed is started again, on a real arm the learner only; the learner goes on from what it left",
        BOOLEANS,
    ),
    Argument("key_file", "", "policies, progress and transitions are signed by the key in it, see 'sql-ros keygen'; empty: they are not"),
    Argument("enclaves", "", "DDS Security: every process has the enclave of its name in there, see config/security; empty: none is named"),
    Argument("control_cpu", "", "core that the actor has to itself, the other processes of the stack keep off it; empty: none"),
    Argument("autostart", "true", "nodes configure and activate by themselves; false: they wait for change_state", BOOLEANS),
)


def check_domain() -> None:
    """ROS_DOMAIN_ID of the environment is one.

    Raises:
        ConfigError: it is not.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "")
    if domain and not (re.fullmatch("[0-9]{1,3}", domain) and int(domain) <= LARGEST_DOMAIN):
        raise ConfigError(f"ROS_DOMAIN_ID is '{domain}', expected a whole number from 0 to {LARGEST_DOMAIN}")


def check_names(names: Iterable[str], typed: Iterable[str]) -> list[str]:
    """For the launch file: what was misspelled would be ignored in silence, and `dryrun:=true` would move the arm.

    A launch file that includes ours keeps its arguments in the same place, and it alone knows them. Where nothing is set but what was
    typed there is none, and every name must be ours; where there is one, none may look like one of ours.

    Args:
        names: of all that is set before ours take their defaults.
        typed: of what the command line sets.

    Returns:
        Names that are not ours and were let pass.

    Raises:
        ConfigError: a name that is not ours, by this rule.
    """
    known = {argument.name: _letters(argument.name) for argument in SAWYER_STACK_ARGUMENTS}
    strangers = sorted(set(names) - {*known, *OF_LAUNCH})
    is_included = bool(set(names) - set(typed))
    for name in strangers:
        if not is_included:
            raise ConfigError(_unknown(name))
        if get_close_matches(_letters(name), known.values(), 1, LIKENESS):
            raise ConfigError(f"{_unknown(name)}; an argument of the including launch file must not look like one of these")
    return strangers


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _unknown(name: str) -> str:
    return f"unknown argument '{name}', expected one of: {', '.join(argument.name for argument in SAWYER_STACK_ARGUMENTS)}"


def check_arguments(given: Mapping[str, str]) -> dict[str, str]:
    """Return every argument by name: those given, and the defaults of the others.

    Raises:
        ConfigError: An unknown name, or a value that is not among the choices.
    """
    known = {argument.name: argument for argument in SAWYER_STACK_ARGUMENTS}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(_unknown(name))
        if "\0" in value or any(len(part) > LONGEST_NAME for part in value.split("/")):
            raise ConfigError(f"{name}:={value[:40]!r}..., expected at most {LONGEST_NAME} characters between slashes, no NUL")
    return {name: argument.read(given.get(name, argument.default)) for name, argument in known.items()}


def number(args: Mapping[str, str], name: str) -> float:
    """Return an argument as a number.

    Raises:
        ConfigError: It is none.
    """
    try:
        return float(args[name])
    except ValueError:
        raise ConfigError(f"{name}:={args[name]}, expected a number") from None


def whole_number(args: Mapping[str, str], name: str) -> int:
    """Return an argument as a whole number from 0.

    Raises:
        ConfigError: It is none.
    """
    if not args[name].isdecimal():
        raise ConfigError(f"{name}:={args[name]}, expected a whole number from 0")
    return int(args[name])
