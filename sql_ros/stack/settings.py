"""Convert the launch arguments of a stack to typed values, and check them against each other."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sql_ros.common.data_files import find_policies
from sql_ros.common.errors import ConfigError
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task
from sql_ros.stack.arguments import (
    DEFAULT_TASK,
    check_arguments,
    check_domain,
    number,
    whole_number,
)
from sql_ros.stack.params_file import Parameters, read_params
from sql_ros.stack.precedence import SETTABLE, effective_arguments, given_arguments

# parameters of the actor that trials do not have: they never train, and have their own targets
ACTOR_ONLY = (
    "actor_id",
    "explores",
    "learner_patience_s",
    "mode",
    "most_transitions",
    "targets",
    "temperature",
    "weights",
)
ROS_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """The settings of one start of a stack.

    Attributes:
        args: Name to text of every launch argument: as given, else as in the params file, else the
            default.
        given: Name to text of the launch arguments that the user gave.
        of_file: Node to its parameters in the params file. Those of the actor also apply to trials.
        task: The loaded task.
        sim: Whether the arm is simulated by the sim_bridge.
        mode: "train", "play" or "trials".
        by_hand: Whether an operator pushes the arm in trials.
        dry_run: Whether no command is sent to the arm.
        resume: Whether a training is resumed from its newest checkpoint.
        realtime_factor: Simulated seconds per second; 0: lockstep.
        seed: Seed of weights, exploration, start poses and targets.
        most_transitions: Number of transitions after which a training ends; 0: no limit.
        run_dir: Absolute path of the run folder.
        policies: Absolute paths of the policies to start with, in play one for each skill.
        cpu: Core of the actor; -1: none is reserved.
        other_cpus: Cores of the other processes; empty: all.
        topics: Remappings of the process that moves the arm, topic name to new name.
        namespace: ROS namespace without a slash at its end; empty: the root.
        session: Text that identifies this start of the stack: its time [ns since 1970].
    """

    args: Mapping[str, str]
    given: Mapping[str, str]
    of_file: Parameters
    task: Task
    sim: bool
    mode: str
    by_hand: bool
    dry_run: bool
    resume: bool
    realtime_factor: float
    seed: int
    most_transitions: int
    run_dir: Path
    policies: tuple[Path, ...]
    cpu: int
    other_cpus: tuple[int, ...]
    topics: Mapping[str, str]
    namespace: str
    session: str = field(default_factory=lambda: f"{time.time_ns()}")

    @property
    def task_name(self) -> str:
        """Return the task for the nodes: a name as given, or an absolute path."""
        given = self.args["task"]
        return str(Path(given).absolute()) if "/" in given else given

    @property
    def key_file(self) -> str:
        """Return the absolute path of the key file; empty: nothing is signed."""
        return str(Path(self.args["key_file"]).resolve()) if self.args["key_file"] else ""

    @property
    def params_file(self) -> str:
        """Return the name of the params file, for messages to users."""
        return _shown_file(self.given)

    @property
    def policy(self) -> Path | None:
        """Return the policy to start with; None: there is none, or there are several."""
        return self.policies[0] if len(self.policies) == 1 else None

    def given_parameters(self, *names: str) -> dict[str, Any]:
        """Return the ROS parameters that given launch arguments set, name to typed value.

        Args:
            names: Names of launch arguments. Those that the user did not give are left out, so that
                the params file or the node's default applies.
        """
        return {name: self._value(name) for name in names if name in self.given}

    def _value(self, name: str) -> Any:
        """Return the value of a launch argument in the type of the ROS parameter of that name.

        Raises:
            ConfigError: The value is not a whole number, where one is needed.
        """
        if name == "key_file":
            return self.key_file
        if SETTABLE[name] is int:
            return whole_number(self.args, name)
        return self.args[name] == "true" if SETTABLE[name] is bool else self.args[name]

    @property
    def has_real_arm(self) -> bool:
        """Return whether the arm is real: simulated neither by the sim_bridge nor by another
        simulator.
        """
        return not self.sim and not self.uses_sim_time

    @property
    def uses_sim_time(self) -> bool:
        """Return whether the nodes take their time from /clock."""
        return (self.args["use_sim_time"] or self.args["sim"]) == "true"


def read_settings(given: Mapping[str, str]) -> Settings:
    """Return the settings for launch arguments; read the params file and the task.

    A given argument comes before the value of the params file, and that before the default, see
    `effective_arguments`.

    Args:
        given: Name to text of launch arguments; the others take their defaults.

    Raises:
        ConfigError: An argument is unknown, a value is not allowed, or a combination cannot work.
    """
    given = given_arguments(given)
    asked = check_arguments(given)
    task_name = asked["task"] or DEFAULT_TASK
    of_file = read_params(
        asked["params_file"], Path(task_name).stem, asked["namespace"].rstrip("/")
    )
    of_file["trials"] = {**_shared_with_trials(of_file["actor"]), **of_file["trials"]}
    mover = "trials" if asked["mode"] == "trials" else "actor"
    args = effective_arguments(given, of_file[mover], _shown_file(given))
    args["task"] = task_name
    check_domain()
    sim = args["sim"] == "true"
    by_hand = args["by_hand"] == "true" if args["by_hand"] else not sim
    seed = whole_number(args, "seed")
    cpu, other_cpus = control_cpu(args["control_cpu"])
    task = load_task(
        args["task"], args["joint_prefix"], people_in_reach=args["people_in_reach"] == "true"
    )
    namespace = args["namespace"].rstrip("/")
    topics = _topics(args, task)
    settings = Settings(
        args=args,
        given=given,
        of_file=of_file,
        task=task,
        sim=sim,
        mode=args["mode"],
        by_hand=by_hand,
        dry_run=args["dry_run"] == "true",
        resume=args["resume"] == "true",
        realtime_factor=_realtime_factor(args, by_hand),
        seed=seed,
        most_transitions=whole_number(args, "most_transitions"),
        run_dir=_run_dir(args, seed),
        policies=tuple(path.resolve() for path in find_policies(args["policy"])),
        cpu=cpu,
        other_cpus=other_cpus,
        topics=topics,
        namespace=namespace,
    )
    _check_combination(settings)
    check_ros_names(namespace, topics)
    return settings


def _check_skills(settings: Settings) -> None:
    """Check that several policies, and weights for them, are given in play only.

    Raises:
        ConfigError: One of these is not so.
    """
    are_several = len(settings.policies) > 1
    if are_several and settings.mode != "play":
        raise ConfigError(
            f"policy:= names {len(settings.policies)} skills with mode:={settings.mode}: skills are"
            " blended in mode:=play only"
        )
    if settings.args["weights"] and not are_several:
        raise ConfigError(
            f"weights:={settings.args['weights']} without several skills: give"
            " policy:=A.onnx,B.onnx"
        )


def _shared_with_trials(of_actor: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of the actor that the trials node has too (all but `ACTOR_ONLY`)."""
    return {name: value for name, value in of_actor.items() if name not in ACTOR_ONLY}


def _shown_file(given: Mapping[str, str]) -> str:
    """Return the name of the params file for messages to users, from the given launch arguments."""
    return given.get("params_file", "config/sawyer_stack.yaml")


def control_cpu(text: str) -> tuple[int, tuple[int, ...]]:
    """Return the core of the actor and the cores of the other processes.

    Args:
        text: Number of the core to reserve for the actor; empty: none.

    Returns:
        The core, -1 if none is reserved; and the other cores, empty if none is reserved.

    Raises:
        ConfigError: This process may not use that core, or may use no other one.
    """
    if not text:
        return -1, ()
    cores = sorted(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) not in cores:
        raise ConfigError(
            f"core {text} for the actor, expected one of the cores of this machine:"
            f" {', '.join(map(str, cores))}"
        )
    if len(cores) == 1:
        raise ConfigError(
            f"core {text} for the actor leaves the other processes no core: this machine has"
            " but one"
        )
    return int(text), tuple(core for core in cores if core != int(text))


def _realtime_factor(args: Mapping[str, str], by_hand: bool) -> float:
    """Return the simulated seconds per second; 0: lockstep.

    If the launch argument is empty, training and trials in simulation run in lockstep, except
    trials by hand; all else runs in real time.

    Args:
        args: Name to text of the launch arguments.
        by_hand: Whether an operator pushes the arm.

    Raises:
        ConfigError: The launch argument is not a number.
    """
    if args["realtime_factor"]:
        return number(args, "realtime_factor")
    is_lockstep = args["sim"] == "true" and args["mode"] != "play" and not by_hand
    return 0.0 if is_lockstep else 1.0


def _run_dir(args: Mapping[str, str], seed: int) -> Path:
    """Return the absolute path of the run folder: the given one, else one below runs/ with a name
    of time, namespace, task and seed. The folder is not made.

    Args:
        args: Name to text of the launch arguments.
        seed: Seed of the run.
    """
    namespace = args["namespace"].strip("/").replace("/", "-")
    words = [f"{datetime.now():%Y%m%d-%H%M%S}", namespace, Path(args["task"]).stem, f"seed{seed}"]
    return Path(args["run_dir"] or "runs/" + "-".join(word for word in words if word)).resolve()


def _topics(args: Mapping[str, str], task: Task) -> dict[str, str]:
    """Return the remappings of the process that moves the arm, topic name to new name.

    The new names are the topics of the sim_bridge, or those of the real arm.

    Args:
        args: Name to text of the launch arguments.
        task: The task; gives robot and command mode.

    Raises:
        ConfigError: The robot file does not allow the command mode of the task on the real arm, see
            `_command_topic`.
    """
    if args["sim"] == "true":
        return {"commands": "sim_bridge/commands"}
    topics = {"commands": _command_topic(task, args)}
    if task.robot.state_topic != "joint_states":
        topics["joint_states"] = task.robot.state_topic
    return topics


def _command_topic(task: Task, args: Mapping[str, str]) -> str:
    """Return the command topic of the real arm, for the command mode of the task.

    The topic is the launch argument `command_topic`, else that of the controller in the robot file.

    Args:
        task: The task; gives robot and command mode.
        args: Name to text of the launch arguments.

    Raises:
        ConfigError: The robot file names no controller for this mode; or, unless in a dry run, the
            controller has no timeout and the robot file does not accept that.
    """
    try:
        controller = task.robot.controller(task.config.command_mode)
        if args["dry_run"] != "true":
            task.robot.check_timeout(task.config.command_mode)
    except ConfigError as error:
        raise ConfigError(f"robot file {task.config.robot} has {error}") from None
    return args["command_topic"] or controller.command_topic


def _check_combination(settings: Settings) -> None:
    """Check settings against each other: mode, arm, policy, pace, dry run, goals and resume.

    Raises:
        ConfigError: A real arm has another pace than real time; a dry run is in lockstep; play or
            trials have no policy; trials on a real arm are not by hand; goals are asked for outside
            of mode play; or a resumed run is no training or has no `run_dir`.
    """
    args = settings.args
    factor = settings.realtime_factor
    if not settings.sim and factor != 1.0:
        raise ConfigError(
            f"realtime_factor:={factor:g}, but time on a real arm (sim:=false) runs as it does:"
            " leave it out"
        )
    if settings.dry_run and factor == 0.0:
        source = _source(settings, "dry_run")
        raise ConfigError(
            f"dry_run:=true{source} in lockstep, where the simulation waits for commands: give"
            " realtime_factor:=1"
        )
    if settings.mode != "train" and not args["policy"]:
        raise ConfigError(
            f"mode:={settings.mode} needs a policy, e.g. policy:=runs/latest/policy.onnx"
        )
    _check_skills(settings)
    if settings.mode == "trials" and not settings.sim and not settings.by_hand:
        raise ConfigError(
            "by_hand:=false on a real arm (sim:=false), which nothing but a hand pushes"
        )
    if args["targets"] == "goal" and settings.mode != "play":
        source = _source(settings, "targets")
        raise ConfigError(
            f"targets:=goal{source} with mode:={settings.mode}: goals are taken in mode:=play only"
        )
    if settings.resume and (settings.mode != "train" or not args["run_dir"]):
        raise ConfigError(
            "resume:=true goes on with a training: it needs mode:=train, and run_dir:="
        )


def _source(settings: Settings, name: str) -> str:
    """Return " (from <params file>)" for a launch argument that the user did not give, else ""."""
    return "" if name in settings.given else f" (from {settings.params_file})"


def check_ros_names(namespace: str, topics: Mapping[str, str]) -> None:
    """Check that namespace and topics are legal names in ROS.

    Args:
        namespace: ROS namespace of the stack; empty: the root.
        topics: Topic name to new name.

    Raises:
        ConfigError: A name is not legal.
    """
    named = {"namespace": namespace.removeprefix("/")}
    named |= {what: re.sub("^~?/", "", topic) for what, topic in topics.items()}
    for what, name in named.items():
        if name and not ROS_NAME.fullmatch(name):
            raise ConfigError(
                f"{what}: '{name}' is no name in ROS, expected letters, digits and _ between"
                " slashes, no digit first"
            )
