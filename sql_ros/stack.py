"""The stacks: which processes, with which parameters and remappings. `ros2 launch` and `sql-ros up` both read this and nothing else.

Knows no ROS: it is data and a few rules, checked before anything starts.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sql_ros.core.config import read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task
from sql_ros.share import find_file, share_folder
from sql_ros.sim.simulation import Simulation


@dataclass(frozen=True)
class Argument:
    """A launch argument: name, default and description, all strings as in launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeProcess:
    """One process: `ros2 run sql_ros <executable>` with these parameters and remappings."""

    executable: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str] = field(default_factory=dict)
    seconds_to_stop: float = 10.0  # after SIGINT
    respawns: bool = False  # is started again when it crashed
    cpus: tuple[int, ...] = ()  # cores it may run on; none: all


@dataclass(frozen=True)
class Stack:
    """Processes to start in order; when one ends that is not to be started again, all are to end.

    `sql-ros up` stops them in reverse, so that the arm is held first and the report is written last; `ros2 launch` stops all at once.
    Where the monitor ends by itself (learned, or `most_transitions`) the arm goes on until its report is written.
    """

    processes: tuple[NodeProcess, ...]
    namespace: str
    log_level: str
    run_dir: Path
    enclaves: str = ""  # of DDS Security; each process has its own in there

    def own_arguments(self, process: NodeProcess) -> list[str]:
        """What a process is told beside name, namespace, parameters and remappings."""
        enclave = ["--enclave", f"/{self.enclaves.strip('/')}/{process.executable}"] if self.enclaves else []
        return ["--ros-args", "--log-level", self.log_level, *enclave]


BOOLEANS = ("true", "false")
LONGEST_NAME = 255  # characters, of a file or folder in Linux
LARGEST_DOMAIN = 232  # that DDS has UDP ports for
ROS_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
OF_LAUNCH = ("launch-prefix", "launch-prefix-filter", "emulate_tty", "sigterm_timeout", "sigkill_timeout")  # it reads these itself
LIKENESS = 0.9  # share of the letters from which on a name is a misspelled one; `model` and `speed` (0.89) are not `mode` and `seed`

SAWYER_STACK_ARGUMENTS = (
    Argument("sim", "true", "true: the MuJoCo bridge stands in for the arm; false: the real arm's topics", BOOLEANS),
    Argument("task", "sawyer_reach", "name of a file in config/tasks/, or a path"),
    Argument(
        "mode",
        "train",
        "train: learn while acting; play: act with a given policy; trials: try it against perturbations",
        ("train", "play", "trials"),
    ),
    Argument("policy", "", "ONNX file to start with, e.g. runs/latest/policy.onnx; needed for play and trials"),
    Argument(
        "realtime_factor", "", "simulated seconds per second, 0: lockstep, as fast as possible; empty: 0 to train in simulation, else 1"
    ),
    Argument("namespace", "", "of all nodes"),
    Argument("params_file", "", "YAML with ros__parameters per node; empty: config/sawyer_stack.yaml and the task's own in config/params/"),
    Argument("use_sim_time", "", "nodes take their time from /clock; empty: true in simulation, false on a real arm", ("", *BOOLEANS)),
    Argument("run_dir", "", "what the run leaves behind goes here; empty: runs/<time>-<task>-seed<seed>"),
    Argument("resume", "false", "continue from the newest checkpoint in run_dir", BOOLEANS),
    Argument("most_transitions", "0", "end the run after so many transitions, learned or not; 0: no limit"),
    Argument("seed", "0", "of weights, exploration, start poses and targets"),
    Argument("log_level", "info", "of all nodes", ("debug", "info", "warn", "error", "fatal")),
    Argument("command_topic", "", "where a real arm listens; empty: command_topic of its config/robots/ file; not used in simulation"),
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


def sawyer_stack(given: Mapping[str, str]) -> Stack:
    """The learner, the actor, the simulated arm (or none) and the monitor; for trials the simulated arm (or none) and their node.

    Args:
        given: launch arguments by name; those not given take their defaults.

    Raises:
        ConfigError: an unknown argument, a value that is not allowed, or a combination that cannot work.
    """
    args = _checked(given)
    sim, train = args["sim"] == "true", args["mode"] == "train"
    tries = args["mode"] == "trials"
    by_hand = args["by_hand"] == "true" if args["by_hand"] else not sim
    args["realtime_factor"] = args["realtime_factor"] or ("0" if sim and (train or tries) and not by_hand else "1")
    factor, seed = _number(args, "realtime_factor"), _whole(args, "seed")
    most = _whole(args, "most_transitions")
    own, others = control_cpu(args["control_cpu"])
    check_domain()
    loaded = load_task(args["task"])  # an unknown task ends here, before any process starts
    robot = loaded.robot
    if not sim and factor != 1.0:
        raise ConfigError(f"realtime_factor:={factor:g}, but time on a real arm (sim:=false) runs as it does: leave it out")
    if args["dry_run"] == "true" and factor == 0.0:
        raise ConfigError("dry_run:=true in lockstep, where the simulation waits for commands: give realtime_factor:=1")
    if not train and not args["policy"]:
        raise ConfigError(f"mode:={args['mode']} needs a policy, e.g. policy:=runs/latest/policy.onnx")
    if tries and not sim and not by_hand:
        raise ConfigError("by_hand:=false on a real arm (sim:=false), which nothing but a hand pushes")
    if args["policy"] and not Path(args["policy"]).is_file():
        raise ConfigError(f"policy:={args['policy']}: no such file")
    run_dir = Path(args["run_dir"] or f"runs/{datetime.now():%Y%m%d-%H%M%S}-{Path(args['task']).stem}-seed{seed}").resolve()
    if not train:
        check_is_no_training(run_dir)
    task = str(Path(args["task"]).absolute()) if "/" in args["task"] else args["task"]
    shared = {"use_sim_time": (args["use_sim_time"] or args["sim"]) == "true", "task": task}
    managed = {"task": task, "realtime_factor": factor, "autostart": args["autostart"] == "true"}
    policy = str(Path(args["policy"]).resolve()) if args["policy"] else ""
    key = {"key_file": str(Path(args["key_file"]).resolve()) if args["key_file"] else ""}
    watched = {**shared, **key, "mode": args["mode"], "run_dir": str(run_dir), "seed": seed, "policy": policy, "most_transitions": most}
    processes = [] if tries else [NodeProcess("monitor", watched, seconds_to_stop=30.0)]
    if train:
        resume = args["resume"] == "true"
        session = f"{time.time_ns()}"  # of this start of the stack
        learner = {**shared, **managed, **key, "seed": seed, "run_dir": str(run_dir), "resume": resume, "session": session}
        processes.append(NodeProcess("learner", learner, seconds_to_stop=30.0))
    if sim:
        processes.append(NodeProcess("sim_bridge", {**managed, "use_sim_time": False, "seed": seed}))
    acting = {**shared, **managed, **key, "mode": args["mode"], "policy": policy, "seed": seed, "dry_run": args["dry_run"] == "true"}
    if others:
        acting["cpu"] = own
    topics = {"commands": "sim_bridge/commands"} if sim else {"commands": args["command_topic"] or robot.command_topic}
    if not sim and robot.state_topic != "joint_states":
        topics["joint_states"] = robot.state_topic
    namespace = args["namespace"].rstrip("/")
    named = {"namespace": namespace.removeprefix("/"), **{what: re.sub("^~?/", "", topic) for what, topic in topics.items()}}
    for what, name in named.items():
        if name and not ROS_NAME.fullmatch(name):
            raise ConfigError(f"{what}: '{name}' is no name in ROS, expected letters, digits and _ between slashes, no digit first")
    if tries:
        trying = {"protocol": args["protocol"], "repeats": _whole(args, "repeats"), "by_hand": by_hand, "csv": str(run_dir / "trials.csv")}
        processes.append(NodeProcess("trials", {**acting, **trying, "mode": "play"}, {**topics, "disturb": "sim_bridge/disturb"}))
    else:
        processes.append(NodeProcess("actor", acting, topics))
    defaults = _read_params(args["params_file"], Path(args["task"]).stem)
    defaults["trials"] = {**defaults["actor"], **defaults["trials"]}  # it is an actor
    again = {"learner", "sim_bridge", "actor"} if sim else {"learner"}  # no arm begins to move again without anybody asking
    merged = [
        replace(
            p,
            parameters={**defaults["/**"], **defaults[p.executable], **p.parameters},
            respawns=args["respawn"] == "true" and train and p.executable in again,
            cpus=() if p.executable in ("actor", "trials") else others,
        )
        for p in processes
    ]
    Arm(robot)  # what is wrong with arm or scene is said here, too
    if sim:
        Simulation(loaded.config.scene, robot, goal=True)
    return Stack(tuple(merged), namespace, args["log_level"], run_dir, args["enclaves"])


STACKS = {"sawyer_stack": (SAWYER_STACK_ARGUMENTS, sawyer_stack)}


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


def check_is_no_training(folder: Path) -> None:
    """What plays a policy or tries it must not put its report in the place of a training's, nor its episodes behind them.

    Raises:
        ConfigError: the folder has a training's checkpoints.
    """
    if (folder / "checkpoints").is_dir():
        raise ConfigError(f"{folder} is the folder of a training, whose report would be replaced: give another one, or none")


def make_run_dir(stack: Stack) -> None:
    """Makes the folder that all processes write to.

    Raises:
        ConfigError: it cannot be made, or not be written to.
    """
    try:
        stack.run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir {stack.run_dir} cannot be made: {error.strerror}") from None
    if not os.access(stack.run_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"run_dir {stack.run_dir} cannot be written to")


def ros_arguments(process: NodeProcess, stack: Stack) -> list[str]:
    """Command-line arguments for a process, as `ros2 run` takes them."""
    arguments = [*stack.own_arguments(process), "-r", f"__node:={process.executable}"]
    if stack.namespace:
        arguments += ["-r", f"__ns:=/{stack.namespace.strip('/')}"]
    for origin, target in process.remappings.items():
        arguments += ["-r", f"{origin}:={target}"]
    for name, value in process.parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    return arguments


def _checked(given: Mapping[str, str]) -> dict[str, str]:
    known = {argument.name: argument for argument in SAWYER_STACK_ARGUMENTS}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(_unknown(name))
        if "\0" in value or any(len(part) > LONGEST_NAME for part in value.split("/")):
            raise ConfigError(f"{name}:={value[:40]!r}..., expected at most {LONGEST_NAME} characters between slashes, no NUL")
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigError(f"{name}:={value}, expected one of: {', '.join(choice for choice in choices if choice)}")
    return {name: given.get(name, argument.default) for name, argument in known.items()}


def control_cpu(text: str) -> tuple[int, tuple[int, ...]]:
    """The core of the actor and those that are left to the others, from a number; -1 and none where it is empty.

    Raises:
        ConfigError: this machine has no such core, or no other.
    """
    if not text:
        return -1, ()
    cores = sorted(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) not in cores:
        raise ConfigError(f"core {text} for the actor, expected one of the cores of this machine: {', '.join(map(str, cores))}")
    if len(cores) == 1:
        raise ConfigError(f"core {text} for the actor leaves the other processes no core: this machine has but one")
    return int(text), tuple(core for core in cores if core != int(text))


def _number(args: Mapping[str, str], name: str) -> float:
    try:
        return float(args[name])
    except ValueError:
        raise ConfigError(f"{name}:={args[name]}, expected a number") from None


def _whole(args: Mapping[str, str], name: str) -> int:
    if not args[name].isdecimal():
        raise ConfigError(f"{name}:={args[name]}, expected a whole number from 0")
    return int(args[name])


def _read_params(name: str, task: str) -> dict[str, dict[str, Any]]:
    """Parameters per section of a params file, nested keys joined by dots; what launch arguments set wins over them.

    Where none is named: those of the stack, and over them what config/params/<task>.yaml says, if there is one.
    Sections must be nodes of this stack: rcl would ignore any other in silence.
    """
    if name:
        return _read_sections(find_file(name, "config"))
    sections = _read_sections(share_folder() / "config" / "sawyer_stack.yaml")
    own = share_folder() / "config" / "params" / f"{task}.yaml"
    if own.is_file():
        for section, values in _read_sections(own).items():
            sections[section] |= values
    return sections


def _read_sections(path: Path) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {section: {} for section in ("/**", "learner", "actor", "sim_bridge", "monitor", "trials")}
    for section, content in read_yaml(path).items():
        if section not in sections:
            raise ConfigError(f"{path}: section '{section}' is no node of this stack, expected one of: {', '.join(sections)}")
        if not isinstance(content, dict) or not isinstance(content.get("ros__parameters"), dict) or len(content) != 1:
            raise ConfigError(f"{path}: section '{section}' must hold 'ros__parameters:' with parameters, and nothing else")
        sections[section] = _flat(content["ros__parameters"])
    return sections


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _yaml(value: Any) -> str:
    """A value as rcl parses it: strings quoted, so that "" and "007" stay strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
