"""The stacks: which processes, with which parameters and remappings. `ros2 launch` and `sql-ros up` both read this and nothing else.

Knows no ROS: it is data and a few rules, checked before anything starts.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sql_ros.core.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_arguments, check_domain, number, whole_number
from sql_ros.stack.params_file import read_params

ROS_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


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


def sawyer_stack(given: Mapping[str, str]) -> Stack:
    """The learner, the actor, the simulated arm (or none) and the monitor; for trials the simulated arm (or none) and their node.

    Args:
        given: launch arguments by name; those not given take their defaults.

    Raises:
        ConfigError: an unknown argument, a value that is not allowed, or a combination that cannot work.
    """
    args = check_arguments(given)
    sim, train = args["sim"] == "true", args["mode"] == "train"
    tries = args["mode"] == "trials"
    by_hand = args["by_hand"] == "true" if args["by_hand"] else not sim
    args["realtime_factor"] = args["realtime_factor"] or ("0" if sim and (train or tries) and not by_hand else "1")
    factor, seed = number(args, "realtime_factor"), whole_number(args, "seed")
    most = whole_number(args, "most_transitions")
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
        trying = {
            "protocol": args["protocol"],
            "repeats": whole_number(args, "repeats"),
            "by_hand": by_hand,
            "csv": str(run_dir / "trials.csv"),
        }
        processes.append(NodeProcess("trials", {**acting, **trying, "mode": "play"}, {**topics, "disturb": "sim_bridge/disturb"}))
    else:
        processes.append(NodeProcess("actor", acting, topics))
    defaults = read_params(args["params_file"], Path(args["task"]).stem)
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


def _yaml(value: Any) -> str:
    """A value as rcl parses it: strings quoted, so that "" and "007" stay strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
