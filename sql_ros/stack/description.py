"""The stacks: which processes, with which parameters and remappings. `ros2 launch` and `sql-ros up` both read this and nothing else.

Knows no ROS: it is data and a few rules. What is checked before anything starts stands in `preflight.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from sql_ros.core.errors import ConfigError
from sql_ros.core.run_folder import claim
from sql_ros.robot.arm import Arm
from sql_ros.sim.simulation import Simulation
from sql_ros.stack.params_file import read_params
from sql_ros.stack.processes import NodeProcess, processes_of
from sql_ros.stack.repeat import repeating
from sql_ros.stack.settings import Settings, read_settings

ACTORS = ("actor", "trials")  # they move the arm
OF_FOLDER = ("run_dir", "csv")  # parameters with the path of the run's folder


@dataclass(frozen=True)
class Stack:
    """Processes to start in order; when one ends that is not to be started again, all are to end.

    `sql-ros up` stops them in reverse, so that the arm is held first and the report is written last; `ros2 launch` stops all at once.
    Where the monitor ends by itself because the task is learned, the arm goes on until its report is written.
    """

    processes: tuple[NodeProcess, ...]
    namespace: str
    log_level: str
    run_dir: Path
    enclaves: str = ""  # of DDS Security; each process has its own in there
    task: str = ""  # as its nodes find it: a name, or an absolute path
    mode: str = "train"
    repeats: tuple[str, ...] = ()  # launch arguments that repeat the run
    has_own_folder: bool = True  # run_dir was asked for; otherwise its name is made of the time

    def parameters_of(self, executable: str) -> dict[str, Any]:
        """Return the parameters of one of the processes; none where the stack has no such process."""
        return next((dict(process.parameters) for process in self.processes if process.executable == executable), {})

    def own_arguments(self, process: NodeProcess) -> list[str]:
        """What a process is told beside name, namespace, parameters and remappings."""
        enclave = ["--enclave", f"/{self.enclaves.strip('/')}/{process.executable}"] if self.enclaves else []
        return ["--ros-args", "--log-level", self.log_level, *enclave]

    def log(self, process: NodeProcess) -> Path:
        """Return the file that holds what a process said."""
        return self.run_dir / "log" / f"{process.executable}.log"

    def marker(self, process: NodeProcess) -> Path:
        """Return the file that a process makes when it becomes active."""
        return self.run_dir / "log" / f".{process.executable}.active"


def sawyer_stack(given: Mapping[str, str]) -> Stack:
    """Describe the learner, the actor, the simulated arm (or none) and the monitor; for trials the simulated arm (or none) and their node.

    Args:
        given: launch arguments by name; those not given take their defaults.

    Raises:
        ConfigError: An unknown argument, a value that is not allowed, or a combination that cannot work.
    """
    return describe(read_settings(given))


def describe(settings: Settings) -> Stack:
    """Return the processes for settings, with the parameters of the params file.

    Raises:
        ConfigError: The params file, the arm or the scene is wrong.
    """
    args = settings.args
    defaults = read_params(args["params_file"], Path(args["task"]).stem, settings.namespace)
    defaults["trials"] = {**defaults["actor"], **defaults["trials"]}  # it is an actor
    processes = tuple(_with_defaults(process, defaults, settings) for process in processes_of(settings))
    Arm(settings.task.robot)  # what is wrong with arm or scene is said here, too
    if settings.sim:
        Simulation(settings.task.config.scene, settings.task.robot, goal=True)
    return Stack(
        processes,
        settings.namespace,
        args["log_level"],
        settings.run_dir,
        args["enclaves"],
        settings.task_name,
        settings.mode,
        repeating(settings),
        bool(args["run_dir"]),
    )


def _with_defaults(process: NodeProcess, defaults: Mapping[str, Mapping[str, Any]], settings: Settings) -> NodeProcess:
    """Return a process with the params file's values where no argument sets them, its restarts and its cores."""
    again = ("learner", "sim_bridge", "actor") if settings.sim else ("learner",)  # no arm begins to move again without anybody asking
    respawns = settings.args["respawn"] == "true" and settings.mode == "train" and process.executable in again
    parameters = {**defaults[process.executable], **process.parameters}
    cpus = () if process.executable in ACTORS else settings.other_cpus
    return replace(process, parameters=parameters, respawns=respawns, cpus=cpus)


def claim_run_dir(stack: Stack) -> tuple[Stack, IO[bytes]]:
    """Make the folder that all processes write to, with one for their logs, and lock it for this process.

    Returns:
        The stack, whose folder has another name if two start in the same second and none was asked for.
        What holds the lock: it lasts until this is closed, or the process ends.

    Raises:
        ConfigError: The folder cannot be made, cannot be written to, or is in use by a running stack.
    """
    try:
        stack = _with_folder(stack)
    except OSError as error:
        raise ConfigError(f"run_dir {stack.run_dir} cannot be made: {error.strerror}") from None
    lock = claim(stack.run_dir, {"task": stack.task, "mode": stack.mode})
    (stack.run_dir / "log").mkdir(exist_ok=True)
    return stack, lock


def _with_folder(stack: Stack) -> Stack:
    """Make the folder; one that nobody asked for must be new."""
    if stack.has_own_folder:
        stack.run_dir.mkdir(parents=True, exist_ok=True)
        return stack
    for number in count(1):
        folder = stack.run_dir if number == 1 else stack.run_dir.with_name(f"{stack.run_dir.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return _moved(stack, folder)
        except FileExistsError:
            continue
    raise AssertionError("count does not end")


def _moved(stack: Stack, folder: Path) -> Stack:
    """Return the stack with another folder."""
    processes = []
    for process in stack.processes:
        paths = {name: value for name, value in process.parameters.items() if name in OF_FOLDER}
        moved = {name: value.replace(str(stack.run_dir), str(folder), 1) for name, value in paths.items()}
        processes.append(replace(process, parameters={**process.parameters, **moved}))
    return replace(stack, processes=tuple(processes), run_dir=folder)


def ros_arguments(process: NodeProcess, stack: Stack) -> list[str]:
    """Return command-line arguments for a process, as `ros2 run` takes them; its log holds what rcl would write to another file."""
    arguments = [*stack.own_arguments(process), "-r", f"__node:={process.executable}", "--disable-external-lib-logs"]
    if stack.namespace:
        arguments += ["-r", f"__ns:=/{stack.namespace.strip('/')}"]
    for origin, target in process.remappings.items():
        arguments += ["-r", f"{origin}:={target}"]
    for name, value in process.parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    return arguments


def _yaml(value: Any) -> str:
    """A value as rcl parses it: strings quoted, so that "" and "007" stay strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
