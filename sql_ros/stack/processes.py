"""The processes of a stack. One function per process returns its parameters and remappings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sql_ros.stack.repeat import repeat_arguments
from sql_ros.stack.settings import Settings


@dataclass(frozen=True)
class NodeProcess:
    """One process: `ros2 run sql_ros <executable>` with its parameters and remappings.

    Attributes:
        executable: Name of the executable, and of the node.
        parameters: ROS parameter name to value.
        remappings: Topic name to its new name.
        seconds_to_stop: Longest time from SIGINT to the end of the process [s].
        respawns: Whether the process is started again after a crash.
        is_vital: Whether the stack ends when the process ends and is not started again.
        cpus: Cores on which the process may run; empty: all.
    """

    executable: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str] = field(default_factory=dict)
    seconds_to_stop: float = 10.0
    respawns: bool = False
    is_vital: bool = True
    cpus: tuple[int, ...] = ()


def processes_of(settings: Settings) -> list[NodeProcess]:
    """Return the processes of a stack in the order of their start, with /clock remapped where the
    stack has its own (`_own_clock`). The first one is the page, if it is asked for; the last one
    moves the arm.
    """
    clock = _own_clock(settings)
    shown = [page(settings)] if settings.args["page"] == "true" else []
    return [
        replace(process, remappings={**process.remappings, **clock})
        for process in [*shown, *_of_mode(settings)]
    ]


def _of_mode(settings: Settings) -> list[NodeProcess]:
    """Return the processes of the stack's mode and arm, without the remapping of /clock.

    In mode train these are monitor, learner, sim_bridge and actor; in mode play the same without
    the learner; in mode trials sim_bridge and trials. Without a simulated arm there is no
    sim_bridge.
    """
    simulated = [sim_bridge(settings)] if settings.sim else []
    if settings.mode == "trials":
        return [*simulated, trials(settings)]
    learning = [learner(settings)] if settings.mode == "train" else []
    return [monitor(settings), *learning, *simulated, actor(settings)]


def _own_clock(settings: Settings) -> dict[str, str]:
    """Return the remapping of /clock into the namespace of a simulated stack.

    Two simulations have two clocks. Also, a process with Fast DDS 2.14 crashes at its end if it has
    discovered two publishers of a topic and one of them has left.

    Returns:
        Topic name to its new name; empty for a real arm and without a namespace.
    """
    namespace = settings.namespace.strip("/")
    return {"/clock": f"/{namespace}/clock"} if settings.sim and namespace else {}


def monitor(settings: Settings) -> NodeProcess:
    """Return the process of the monitor node, which evaluates policies, shows progress and writes
    the report.

    Args:
        settings: Settings of the stack.
    """
    parameters = {
        **_shared(settings),
        "mode": settings.mode,
        **settings.given_parameters("seed", "most_transitions"),
        "run_dir": str(settings.run_dir),
        "policy": str(settings.policy or ""),
        "real_arm": settings.has_real_arm,
        "command": launch_command(settings),
        "session": settings.session,
    }
    return NodeProcess("monitor", parameters, seconds_to_stop=30.0)


def launch_command(settings: Settings) -> str:
    """Return the `ros2 launch` command that starts this stack again, for the report. `sql-ros up`
    replaces it by its own command.
    """
    return shlex.join(
        ["ros2", "launch", "sql_ros", "sawyer_stack.launch.py", *repeat_arguments(settings)]
    )


def learner(settings: Settings) -> NodeProcess:
    """Return the process of the learner node, which trains the policy.

    Args:
        settings: Settings of the stack.
    """
    parameters = {
        **_shared(settings),
        **_managed(settings),
        **settings.given_parameters("seed"),
        "run_dir": str(settings.run_dir),
        "resume": settings.resume,
    }
    return NodeProcess("learner", parameters, seconds_to_stop=30.0)


def sim_bridge(settings: Settings) -> NodeProcess:
    """Return the process of the sim_bridge node, which simulates the arm and publishes simulated
    time on /clock.

    Args:
        settings: Settings of the stack.
    """
    parameters = {
        "task": settings.task_name,
        "use_sim_time": False,
        **_managed(settings),
        **settings.given_parameters("seed", "joint_prefix"),
    }
    return NodeProcess("sim_bridge", parameters)


def actor(settings: Settings) -> NodeProcess:
    """Return the process of the actor node, which moves the arm in the modes train and play.

    Args:
        settings: Settings of the stack.
    """
    parameters = {
        **_acting(settings),
        "mode": settings.mode,
        **settings.given_parameters("most_transitions", "targets", "weights"),
    }
    return NodeProcess("actor", parameters, settings.topics)


def page(settings: Settings) -> NodeProcess:
    """Return the process of the page node, which shows the stack in a browser.

    Args:
        settings: Settings of the stack.
    """
    parameters = {"task": settings.task_name, **settings.given_parameters("joint_prefix")}
    return NodeProcess("page", parameters, is_vital=False)


def trials(settings: Settings) -> NodeProcess:
    """Return the process of the trials node, which moves the arm in the mode trials.

    Args:
        settings: Settings of the stack.
    """
    parameters = {
        **_acting(settings),
        **settings.given_parameters("protocol", "repeats"),
        "by_hand": settings.by_hand,
        "csv": str(settings.run_dir / "trials.csv"),
    }
    return NodeProcess("trials", parameters, {**settings.topics, "disturb": "sim_bridge/disturb"})


def _shared(settings: Settings) -> dict[str, Any]:
    """Return the parameters of every process but the sim_bridge: `use_sim_time`, `task`, and
    `key_file` if it was given.
    """
    return {
        "use_sim_time": settings.uses_sim_time,
        "task": settings.task_name,
        **settings.given_parameters("key_file"),
    }


def _managed(settings: Settings) -> dict[str, Any]:
    """Return the parameters of every managed node, that is of every process but the monitor:
    `realtime_factor`, `session`, and `autostart` if it was given.
    """
    return {
        "realtime_factor": settings.realtime_factor,
        **settings.given_parameters("autostart"),
        "session": settings.session,
    }


def _acting(settings: Settings) -> dict[str, Any]:
    """Return the parameters that actor and trials have in common: the shared and the managed ones,
    policy, dry run, people in reach, kind of arm and clock, those that were given, and `cpu` if a
    core is reserved.
    """
    parameters = {
        **_shared(settings),
        **_managed(settings),
        "policy": ",".join(map(str, settings.policies)),
        **settings.given_parameters(
            "seed", "switch_controllers", "compares_description", "joint_prefix", "identify"
        ),
        "dry_run": settings.dry_run,
        "people_in_reach": settings.args["people_in_reach"] == "true",
        "real_arm": not settings.sim,
        "follows_clock": not settings.sim,
    }
    if settings.other_cpus:
        parameters["cpu"] = settings.cpu
    return parameters
