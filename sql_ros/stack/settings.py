"""The launch arguments of a stack as values, checked one by one and against each other."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sql_ros.core.errors import ConfigError
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task
from sql_ros.share import find_policy
from sql_ros.stack.arguments import (
    DEFAULT_TASK,
    check_arguments,
    check_domain,
    number,
    whole_number,
)

ROS_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """What a start was asked for.

    Attributes:
        args: every launch argument, as given or by default.
        task: loaded.
        sim, mode, by_hand, dry_run, resume: of the arguments of the same names.
        realtime_factor: simulated seconds per second; 0: lockstep.
        seed, most_transitions: of the arguments of the same names.
        run_dir: absolute.
        policy: absolute path of the file to start with, if there is one.
        cpu: core of the actor; -1: none is reserved.
        other_cpus: cores of the other processes; empty: all.
        topics: remappings of the actor.
        namespace: without a slash at its end.
        session: names this start of the stack.
    """

    args: Mapping[str, str]
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
    policy: Path | None
    cpu: int
    other_cpus: tuple[int, ...]
    topics: Mapping[str, str]
    namespace: str
    session: str = field(default_factory=lambda: f"{time.time_ns()}")

    @property
    def task_name(self) -> str:
        """Return the task as the nodes find it: a name, or an absolute path."""
        given = self.args["task"]
        return str(Path(given).absolute()) if "/" in given else given

    @property
    def key_file(self) -> str:
        """Return the absolute path of the key; empty: nothing is signed."""
        return str(Path(self.args["key_file"]).resolve()) if self.args["key_file"] else ""

    @property
    def uses_sim_time(self) -> bool:
        """Return whether the nodes take their time from /clock."""
        return (self.args["use_sim_time"] or self.args["sim"]) == "true"


def read_settings(given: Mapping[str, str]) -> Settings:
    """Read launch arguments.

    Args:
        given: launch arguments by name; those not given take their defaults.

    Raises:
        ConfigError: An unknown argument, a value that is not allowed, or a combination that
            cannot work.
    """
    args = check_arguments(given)
    args["task"] = args["task"] or DEFAULT_TASK
    check_domain()
    sim = args["sim"] == "true"
    by_hand = args["by_hand"] == "true" if args["by_hand"] else not sim
    seed = whole_number(args, "seed")
    cpu, other_cpus = control_cpu(args["control_cpu"])
    task = load_task(args["task"], args["joint_prefix"])
    namespace = args["namespace"].rstrip("/")
    topics = _topics(args, task)
    settings = Settings(
        args=args,
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
        policy=find_policy(args["policy"]).resolve() if args["policy"] else None,
        cpu=cpu,
        other_cpus=other_cpus,
        topics=topics,
        namespace=namespace,
    )
    _check_combination(settings)
    _check_names(namespace, topics)
    return settings


def control_cpu(text: str) -> tuple[int, tuple[int, ...]]:
    """Return the core of the actor and those left to the others; -1 and none where it is empty.

    Raises:
        ConfigError: This machine has no such core, or no other.
    """
    if not text:
        return -1, ()
    cores = sorted(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) not in cores:
        raise ConfigError(f"core {text} for the actor, expected one of the cores of this machine: {', '.join(map(str, cores))}")
    if len(cores) == 1:
        raise ConfigError(f"core {text} for the actor leaves the other processes no core: this machine has but one")
    return int(text), tuple(core for core in cores if core != int(text))


def _realtime_factor(args: Mapping[str, str], by_hand: bool) -> float:
    """Return the pace given; by default lockstep to train and try in simulation, else an arm's."""
    if args["realtime_factor"]:
        return number(args, "realtime_factor")
    is_lockstep = args["sim"] == "true" and args["mode"] != "play" and not by_hand
    return 0.0 if is_lockstep else 1.0


def _run_dir(args: Mapping[str, str], seed: int) -> Path:
    """Return the folder that was asked for, or one named by time, namespace, task and seed."""
    namespace = args["namespace"].strip("/").replace("/", "-")
    words = [f"{datetime.now():%Y%m%d-%H%M%S}", namespace, Path(args["task"]).stem, f"seed{seed}"]
    return Path(args["run_dir"] or "runs/" + "-".join(word for word in words if word)).resolve()


def _topics(args: Mapping[str, str], task: Task) -> dict[str, str]:
    """Return the actor's remappings: the bridge's topics in simulation, the arm's otherwise."""
    if args["sim"] == "true":
        return {"commands": "sim_bridge/commands"}
    topics = {"commands": _command_topic(task, args)}
    if task.robot.state_topic != "joint_states":
        topics["joint_states"] = task.robot.state_topic
    return topics


def _command_topic(task: Task, args: Mapping[str, str]) -> str:
    """Return the topic of the real arm's controller for the mode of the task.

    Raises:
        ConfigError: The robot file names no controller for this mode, or one that needs consent.
    """
    try:
        controller = task.robot.controller(task.config.command_mode)
        if args["dry_run"] != "true":
            task.robot.check_timeout(task.config.command_mode)
    except ConfigError as error:
        raise ConfigError(f"robot file {task.config.robot} has {error}") from None
    return args["command_topic"] or controller.command_topic


def _check_combination(settings: Settings) -> None:
    args, factor = settings.args, settings.realtime_factor
    if not settings.sim and factor != 1.0:
        raise ConfigError(f"realtime_factor:={factor:g}, but time on a real arm (sim:=false) runs as it does: leave it out")
    if settings.dry_run and factor == 0.0:
        raise ConfigError("dry_run:=true in lockstep, where the simulation waits for commands: give realtime_factor:=1")
    if settings.mode != "train" and not args["policy"]:
        raise ConfigError(f"mode:={settings.mode} needs a policy, e.g. policy:=runs/latest/policy.onnx")
    if settings.mode == "trials" and not settings.sim and not settings.by_hand:
        raise ConfigError("by_hand:=false on a real arm (sim:=false), which nothing but a hand pushes")
    if args["targets"] == "goal" and settings.mode != "play":
        raise ConfigError(f"targets:=goal with mode:={settings.mode}: goals are taken in mode:=play only")
    if settings.resume and (settings.mode != "train" or not args["run_dir"]):
        raise ConfigError("resume:=true goes on with a training: it needs mode:=train, and run_dir:=")


def _check_names(namespace: str, topics: Mapping[str, str]) -> None:
    """Check that ROS takes the names."""
    named = {"namespace": namespace.removeprefix("/")}
    named |= {what: re.sub("^~?/", "", topic) for what, topic in topics.items()}
    for what, name in named.items():
        if name and not ROS_NAME.fullmatch(name):
            raise ConfigError(f"{what}: '{name}' is no name in ROS, expected letters, digits and _ between slashes, no digit first")
