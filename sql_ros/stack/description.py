"""Description of a stack: its processes with their parameters and remappings.

`ros2 launch` and `sql-ros up` both start what this module describes. It imports no ROS. The checks
before a start are in `preflight.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from sql_ros.common.errors import ConfigError
from sql_ros.common.run_folder import claim, missing_folders
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
    in
    reverse order, so that the arm is held first and the report is written last; `ros2 launch` ends
    all
    at once. If the monitor ends because the task is learned, the arm goes on until the report is
    written.

    Attributes:
        processes: In the order of their start; the last one moves the arm.
        namespace: ROS namespace of all nodes.
        log_level: Of all nodes.
        run_dir: Run folder.
        enclaves: Folder of the DDS Security enclaves, one per process; empty: none.
        task: As the nodes find it: a name, or an absolute path.
        mode: "train", "play" or "trials".
        repeats: Launch arguments, as name:=value, that start the same stack again.
        has_real_arm: The arm is not simulated.
        made_folders: Folders that `claim_run_dir` made, outermost first.
        has_own_folder: The run folder was given; otherwise its name is made of the time.
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

    def parameters_of(self, executable: str) -> dict[str, Any]:
        """Return the parameters by name of the process with this executable; empty if there is
        none.
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
        """Return the ROS arguments of a process beside name, namespace, parameters and remappings:
        the log level and the enclave.
        """
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
        """Return the path of the file that a process makes when it becomes active."""
        return self.run_dir / "log" / f".{process.executable}.active"


def sawyer_stack(given: Mapping[str, str]) -> Stack:
    """Describe a stack of learner, actor, simulated arm and monitor, as the mode needs them.

    In mode trials, the trials node takes the place of actor, learner and monitor.

    Args:
        given: Launch arguments by name; the others take their defaults.

    Raises:
        ConfigError: An argument is unknown, a value is not allowed, or a combination cannot work.
    """
    return describe(read_settings(given))


def describe(settings: Settings) -> Stack:
    """Return the stack for checked settings, with the parameters of the params file.

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
    )


def _complete(process: NodeProcess, settings: Settings) -> NodeProcess:
    """Return a process with the parameters of the params file, its restarts and its cores.

    Without simulation only the learner is restarted: no arm begins to move again without a request.
    """
    restartable = ("learner", "sim_bridge", "actor") if settings.sim else ("learner",)
    respawns = (
        settings.args["respawn"] == "true"
        and settings.mode == "train"
        and process.executable in restartable
    )
    of_file = settings.of_file[process.executable]
    parameters = merge_parameters(
        process.executable, process.parameters, of_file, settings.params_file
    )
    cpus = () if process.executable in ACTORS else settings.other_cpus
    return replace(process, parameters=parameters, respawns=respawns, cpus=cpus)


def claim_run_dir(stack: Stack) -> tuple[Stack, IO[bytes]]:
    """Make the run folder with its log folder, and lock it for this process.

    Returns:
        The stack, with another folder name if two stacks start in the same second and no folder was
        given. The open lock file: the lock lasts until it is closed or the process ends.

    Raises:
        ConfigError: The folder cannot be made or written to, or a running stack uses it.
    """
    try:
        stack = _with_folder(stack)
    except OSError as error:
        raise ConfigError(f"run_dir {stack.run_dir} cannot be made: {error.strerror}") from None
    lock = claim(
        stack.run_dir, {"task": stack.task, "mode": stack.mode, "real_arm": stack.has_real_arm}
    )
    (stack.run_dir / "log").mkdir(exist_ok=True)
    return stack, lock


def _with_folder(stack: Stack) -> Stack:
    """Make the run folder, and return the stack with its final name.

    A folder that was not given must be new: its name gets a number until there is no such folder.
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
    """Return the stack with another run folder, also in the parameters of its processes."""
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

    They switch off the log files of rcl: the log of the stack has the same lines.

    Args:
        process: What is started.
        stack: Gives namespace, log level and enclave.
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
    """Return a parameter value in YAML as rcl parses it.

    Strings are quoted, so that "" and "007" stay strings.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
