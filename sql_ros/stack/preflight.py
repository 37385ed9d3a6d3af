"""Checks before any process of a stack starts.

They are the same for `sql-ros up`, `ros2 launch` and `sql-ros trials`. A start that is refused has written and changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.config import config_from_mapping
from sql_ros.core.errors import ConfigError
from sql_ros.core.keys import read_key
from sql_ros.core.resources import (
    SESSION_BYTES,
    check_disk,
    check_memory,
    disk_needed,
    memory_available,
)
from sql_ros.core.resume import check_has_run, check_resume, task_of_run
from sql_ros.core.run_folder import check_is_unlocked, check_is_unused
from sql_ros.share import find_policy
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_arguments, whole_number
from sql_ros.stack.description import Stack, describe
from sql_ros.stack.params_file import check_parameters
from sql_ros.stack.settings import Settings, read_settings

OF_LEARNER = ("torch", "safetensors")
PARAMETERS = "parameters of the learner"
ADVICE = {"train": "give resume:=true to continue it, or another run_dir"}


def preflight(given: Mapping[str, str]) -> Stack:
    """Describe a stack after checking all that can be checked without starting it.

    Args:
        given: launch arguments by name; those not given take their defaults. The task is that of
            the run to resume or of the policy, where none is given.

    Raises:
        SqlRosError: A reason not to start, in one line.
    """
    settings = read_settings(with_task(given))
    stack = describe(settings)
    _check_run_folder(settings)
    if settings.policy is not None:
        _check_policy(settings.policy, settings)
    if settings.key_file:
        read_key(Path(settings.key_file))
    if settings.args["params_file"]:
        check_parameters({process.executable: process.parameters for process in stack.processes})
    if settings.mode == "train":
        _check_learner(settings, stack.parameters_of("learner"))
    else:
        check_disk(settings.run_dir, SESSION_BYTES)
    return stack


def with_task(given: Mapping[str, str]) -> dict[str, str]:
    """Return launch arguments with the task of the run or the policy, where none is given.

    Raises:
        SqlRosError: There is no such run or policy, or it is of another task than the one given.
    """
    args = check_arguments(given)
    if args["resume"] == "true" and args["run_dir"]:
        return {**given, "task": _task_of_run(Path(args["run_dir"]).resolve(), args["task"])}
    if args["policy"]:
        from sql_ros.robot.policy_file import (
            task_of_policy,
        )  # ONNX Runtime is loaded only for a policy

        return {**given, "task": task_of_policy(find_policy(args["policy"]), args["task"])}
    return dict(given)


def _task_of_run(folder: Path, task: str) -> str:
    check_has_run(folder)
    of_run = task_of_run(folder)
    if not (task or of_run):
        raise ConfigError(f"{folder} does not say which task it is of: give task:=")
    if task and of_run and Path(task).stem != Path(of_run).stem:
        raise ConfigError(
            f"{folder} is a run of task '{Path(of_run).stem}', but task:={task} is given: leave it out, or resume another run"
        )
    return task or of_run


def _check_run_folder(settings: Settings) -> None:
    """Check that no running stack uses the folder, and that no earlier run would be overwritten."""
    folder = settings.run_dir
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"run_dir {folder} cannot be made: {there} is no folder")
    if not settings.args["run_dir"]:  # its name is made of the time, and changes where it is taken
        return
    check_is_unlocked(folder)
    if not settings.resume:
        check_is_unused(folder, ADVICE.get(settings.mode, "give another run_dir, or none"))


def _check_policy(path: Path, settings: Settings) -> None:
    """Check the policy and the protocol of its trials; without a policy no ONNX Runtime is loaded."""
    from sql_ros.robot.policy_file import read_policy
    from sql_ros.robot.trials import load_protocol

    read_policy(path, settings.task)
    if settings.mode == "trials":
        repeats = whole_number(settings.args, "repeats")
        load_protocol(settings.args["protocol"], settings.task, repeats)


def _check_learner(settings: Settings, parameters: Mapping[str, Any]) -> None:
    """Check what the learner would refuse, and what it would die of."""
    missing = [name for name in OF_LEARNER if find_spec(name) is None]
    if missing:
        raise ConfigError(f"mode:=train needs {' and '.join(missing)}, not installed here: pip install 'sql_ros[learner]'")
    algorithm = algorithm_of(parameters)
    trainer = config_from_mapping(TrainerConfig, _section(parameters, "trainer."), PARAMETERS)
    spec, capacity = settings.task.spec, trainer.replay_capacity
    check_memory(spec, capacity, memory_available())
    check_disk(settings.run_dir, disk_needed(spec, capacity, settings.most_transitions))
    if settings.resume:
        check_resume(settings.run_dir, spec, algorithm, capacity)


def algorithm_of(parameters: Mapping[str, Any]) -> AlgorithmConfig:
    """Return the options of the algorithm by the parameters of a learner.

    Raises:
        ConfigError: One is unknown, of the wrong type or out of range.
    """
    return config_from_mapping(AlgorithmConfig, _section(parameters, "algorithm."), PARAMETERS)


def _section(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the parameters of a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}


STACKS = {"sawyer_stack": (SAWYER_STACK_ARGUMENTS, preflight)}
