"""The processes of a stack: one function each, which gives its parameters and remappings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sql_ros.stack.arguments import whole_number
from sql_ros.stack.repeat import repeating
from sql_ros.stack.settings import Settings


@dataclass(frozen=True)
class NodeProcess:
    """One process: `ros2 run sql_ros <executable>` with these parameters and remappings."""

    executable: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str] = field(default_factory=dict)
    seconds_to_stop: float = 10.0  # after SIGINT
    respawns: bool = False  # is started again when it crashed
    cpus: tuple[int, ...] = ()  # cores it may run on; none: all


def processes_of(settings: Settings) -> list[NodeProcess]:
    """Return the processes of a mode in the order in which they start."""
    clock = _own_clock(settings)
    return [replace(process, remappings={**process.remappings, **clock}) for process in _of_mode(settings)]


def _of_mode(settings: Settings) -> list[NodeProcess]:
    simulated = [sim_bridge(settings)] if settings.sim else []
    if settings.mode == "trials":
        return [*simulated, trials(settings)]
    learning = [learner(settings)] if settings.mode == "train" else []
    return [monitor(settings), *learning, *simulated, actor(settings)]


def _own_clock(settings: Settings) -> dict[str, str]:
    """Return the remapping of /clock into the namespace of a simulated arm.

    Two simulations have two times. Besides, a process of Fast DDS 2.14 crashes at its end if one of
    two publishers that it heard has left before.
    """
    namespace = settings.namespace.strip("/")
    return {"/clock": f"/{namespace}/clock"} if settings.sim and namespace else {}


def monitor(settings: Settings) -> NodeProcess:
    """Return the process that watches, evaluates and reports."""
    parameters = {
        **_shared(settings),
        "mode": settings.mode,
        "run_dir": str(settings.run_dir),
        "seed": settings.seed,
        "policy": str(settings.policy or ""),
        "most_transitions": settings.most_transitions,
        "real_arm": not settings.sim and not settings.uses_sim_time,
        "command": launch_command(settings),
        "session": settings.session,
    }
    return NodeProcess("monitor", parameters, seconds_to_stop=30.0)


def launch_command(settings: Settings) -> str:
    """Return the `ros2 launch` command of this start; `sql-ros up` puts its own in its place."""
    return shlex.join(["ros2", "launch", "sql_ros", "sawyer_stack.launch.py", *repeating(settings)])


def learner(settings: Settings) -> NodeProcess:
    """Return the process that trains."""
    parameters = {
        **_shared(settings),
        **_managed(settings),
        "seed": settings.seed,
        "run_dir": str(settings.run_dir),
        "resume": settings.resume,
    }
    return NodeProcess("learner", parameters, seconds_to_stop=30.0)


def sim_bridge(settings: Settings) -> NodeProcess:
    """Return the process of the simulated arm, which makes the time that the others take."""
    parameters = {
        "task": settings.task_name,
        "use_sim_time": False,
        "seed": settings.seed,
        **_managed(settings),
        **_prefix(settings),
    }
    return NodeProcess("sim_bridge", parameters)


def actor(settings: Settings) -> NodeProcess:
    """Return the process that moves the arm."""
    parameters = {
        **_acting(settings),
        "most_transitions": settings.most_transitions,
        "targets": settings.args["targets"],
    }
    return NodeProcess("actor", parameters, settings.topics)


def trials(settings: Settings) -> NodeProcess:
    """Return the process that moves the arm and has it perturbed."""
    parameters = {
        **_acting(settings),
        "mode": "play",
        "protocol": settings.args["protocol"],
        "repeats": whole_number(settings.args, "repeats"),
        "by_hand": settings.by_hand,
        "csv": str(settings.run_dir / "trials.csv"),
    }
    return NodeProcess("trials", parameters, {**settings.topics, "disturb": "sim_bridge/disturb"})


def _shared(settings: Settings) -> dict[str, Any]:
    """Return the parameters of every process but the simulated arm."""
    return {
        "use_sim_time": settings.uses_sim_time,
        "task": settings.task_name,
        "key_file": settings.key_file,
    }


def _prefix(settings: Settings) -> dict[str, Any]:
    """Return the prefix of joints and frames on topics, where an argument sets one."""
    prefix = settings.args["joint_prefix"]
    return {"joint_prefix": prefix} if prefix else {}


def _managed(settings: Settings) -> dict[str, Any]:
    """Return the parameters of every managed node."""
    return {
        "realtime_factor": settings.realtime_factor,
        "autostart": settings.args["autostart"] == "true",
        "session": settings.session,
    }


def _acting(settings: Settings) -> dict[str, Any]:
    """Return the parameters of an actor."""
    parameters = {
        **_shared(settings),
        **_managed(settings),
        "mode": settings.mode,
        "policy": str(settings.policy or ""),
        "seed": settings.seed,
        "dry_run": settings.dry_run,
        "real_arm": not settings.sim,
        "switch_controllers": settings.args["switch_controllers"] == "true",
        **_prefix(settings),
        "follows_clock": not settings.sim,
    }
    if settings.other_cpus:
        parameters["cpu"] = settings.cpu
    return parameters
