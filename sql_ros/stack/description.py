"""Describe a stack: its processes with their parameters and remappings.

Both `ros2 launch` and `sql-ros up` start the processes that this module describes. It does not
import ROS. The checks before a start are in `preflight.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from sql_ros.common.errors import ConfigError
from sql_ros.common.run_folder import lock_run_folder, missing_folders
from sql_ros.robot.arm import Arm
from sql_ros.sim.simulation import Simulation
from sql_ros.stack.precedence import merge_parameters
from sql_ros.stack.processes import NodeProcess, processes_of
from sql_ros.stack.repeat import repeat_arguments
from sql_ros.stack.settings import Settings, read_settings

ACTORS = ("actor", "trials")  # executables that move the arm
FOLDER_PARAMETERS = ("run_dir", "csv")  # paths in the run folder


@dataclass(frozen=True)
class Stack:
    """Processes that start in order and end together.

    When a process ends and is not to be started again, all others are ended. `sql-ros up` ends them
    in reverse order, so that the arm is held first and the report is written last. `ros2 launch`
    ends all at once. If the monitor ends because the task is learned, the arm moves on until the
    report is written.

    Attributes:
        processes: Processes in the order of their start; the last one moves the arm.
        namespace: ROS namespace of all nodes; empty: the root.
        log_level: Log level of all nodes.
        run_dir: Absolute path of the run folder.
        enclaves: Folder of the DDS Security enclaves, one per process; empty: none.
        task: Name of the task, or absolute path of its file.
        mode: "train", "play" or "trials".
        repeats: Launch arguments, as name:=value, that start the same stack again.
        has_real_arm: Whether the arm is real, neither simulated here nor by another simulator.
        made_folders: Folders that `lock_run_dir` made, outermost first.
        has_own_folder: Whether the user gave the run folder. Otherwise its name contains the time.
        task_code: Hash of the code of the task (`robot/code_hash.py`).
    """

    processes: tuple[NodeProcess, ...]
    namespace: str
    log_level: str
    run_dir: Path
    enclaves: str = ""
    task: str = ""
    mode: str = "train"
    repeats: tuple[str, ...] = ()
    has_real_arm: bool = False
    made_folders: tuple[Path, ...] = ()
    has_own_folder: bool = True
    task_code: str = ""

    def parameters_of(self, executable: str) -> dict[str, Any]:
        """Return parameter name to value of the process with this executable; empty if the stack
        has none.
        """
        return next(
            (
                dict(process.parameters)
                for process in self.processes
                if process.executable == executable
            ),
            {},
        )

    def own_arguments(self, process: NodeProcess) -> list[str]:
        """Return the ROS arguments of a process that set log level and enclave."""
        enclave = (
            ["--enclave", f"/{self.enclaves.strip('/')}/{process.executable}"]
            if self.enclaves
            else []
        )
        return ["--ros-args", "--log-level", self.log_level, *enclave]

    def log(self, process: NodeProcess) -> Path:
        """Return the path of a process's log file."""
        return self.run_dir / "log" / f"{process.executable}.log"

    def marker(self, process: NodeProcess) -> Path:
        """Return the path of the marker, a file that a process makes when it becomes active."""
        return self.run_dir / "log" / f".{process.executable}.active"


def sawyer_stack(given: Mapping[str, str]) -> Stack:
    """Return the description of the stack for launch arguments.

    Which of learner, actor, sim_bridge, monitor and trials it has depends on the mode, see
    `processes.py`.

    Args:
        given: Name to value of launch arguments; the others take their defaults.

    Raises:
        ConfigError: An argument is unknown, a value is not allowed, or a combination cannot work.
    """
    return describe(read_settings(given))


def describe(settings: Settings) -> Stack:
    """Return the description of the stack for checked settings.

    Arm and, in simulation, scene are loaded once, to check them.

    Args:
        settings: The settings.

    Raises:
        ConfigError: The params file, the arm or the scene is wrong.
    """
    args = settings.args
    processes = tuple(_complete(process, settings) for process in processes_of(settings))
    Arm(settings.task.robot)  # raises an error if the arm is wrong, the next line if the scene is
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
        repeat_arguments(settings),
        has_real_arm=settings.has_real_arm,
        has_own_folder=bool(args["run_dir"]),
        task_code=settings.task.spec.task_code,
    )


def _complete(process: NodeProcess, settings: Settings) -> NodeProcess:
    """Return a process with its parameters of the params file, its restarts and its cores added.

    Restarts are made in mode train only: in simulation of learner, sim_bridge and actor, on a real
    arm of the learner only, so that the arm does not move again without a request. The process that
    moves the arm chooses its core by itself.

    Args:
        process: Process as described in `processes.py`.
        settings: Settings of the stack.

    Raises:
        ConfigError: The params file contradicts a parameter of the process.
    """
    restartable = ("learner", "sim_bridge", "actor") if settings.sim else ("learner",)
    respawns = settings.mode == "train" and process.executable in restartable
    of_file = settings.of_file[process.executable]
    parameters = merge_parameters(
        process.executable, process.parameters, of_file, settings.params_file
    )
    cpus = () if process.executable in ACTORS else settings.other_cpus
    return replace(process, parameters=parameters, respawns=respawns, cpus=cpus)


def lock_run_dir(stack: Stack) -> tuple[Stack, IO[bytes]]:
    """Make the run folder with its log folder, and lock it for this process.

    Args:
        stack: The stack.

    Returns:
        The stack, with `made_folders` filled in; if the user gave no folder and the name is taken,
        with another `run_dir`. And the open lock file: the lock lasts until the file is closed or
        this process ends.

    Raises:
        ConfigError: The folder cannot be made or written to, or a running stack uses it.
    """
    try:
        stack = _with_folder(stack)
    except OSError as error:
        raise ConfigError(f"run_dir {stack.run_dir} cannot be made: {error.strerror}") from None
    content = {
        "task": stack.task,
        "task_code": stack.task_code,
        "mode": stack.mode,
        "real_arm": stack.has_real_arm,
    }
    lock = lock_run_folder(stack.run_dir, content)
    (stack.run_dir / "log").mkdir(exist_ok=True)
    return stack, lock


def _with_folder(stack: Stack) -> Stack:
    """Make the run folder, and return the stack with its final `run_dir` and `made_folders`.

    A folder that the user gave may exist. Another must be new: a number is appended to its name
    until there is no such folder.

    Args:
        stack: The stack.

    Raises:
        OSError: The folder cannot be made.
    """
    if stack.has_own_folder:
        made = missing_folders(stack.run_dir)
        stack.run_dir.mkdir(parents=True, exist_ok=True)
        return replace(stack, made_folders=made)
    for number in count(1):
        folder = (
            stack.run_dir
            if number == 1
            else stack.run_dir.with_name(f"{stack.run_dir.name}-{number}")
        )
        made = missing_folders(folder)
        try:
            folder.mkdir(parents=True)
            return _with_run_dir(replace(stack, made_folders=made), folder)
        except FileExistsError:
            continue
    raise AssertionError("count does not end")


def _with_run_dir(stack: Stack, folder: Path) -> Stack:
    """Return a stack with another run folder, also in the parameters of its processes.

    Args:
        stack: The stack.
        folder: Absolute path of the other run folder.
    """
    processes = []
    for process in stack.processes:
        paths = {
            name: value for name, value in process.parameters.items() if name in FOLDER_PARAMETERS
        }
        moved = {
            name: value.replace(str(stack.run_dir), str(folder), 1) for name, value in paths.items()
        }
        processes.append(replace(process, parameters={**process.parameters, **moved}))
    return replace(stack, processes=tuple(processes), run_dir=folder)


def ros_arguments(process: NodeProcess, stack: Stack) -> list[str]:
    """Return the command-line arguments of a process, as `ros2 run` takes them.

    The arguments also disable the log file of rcl, because the log of the stack has the same lines.

    Args:
        process: The process; gives name, parameters and remappings.
        stack: Stack of the process; gives namespace, log level and enclave.
    """
    arguments = [
        *stack.own_arguments(process),
        "-r",
        f"__node:={process.executable}",
        "--disable-external-lib-logs",
    ]
    if stack.namespace:
        arguments += ["-r", f"__ns:=/{stack.namespace.strip('/')}"]
    for origin, target in process.remappings.items():
        arguments += ["-r", f"{origin}:={target}"]
    for name, value in process.parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    return arguments


def _yaml(value: Any) -> str:
    """Return a parameter value as YAML text for rcl. Strings are quoted, so that "" and "007" stay
    strings.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
