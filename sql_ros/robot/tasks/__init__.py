"""Tasks: observation, reward, start and end of an episode, as pure functions of the robot's state.

A task consists of a module in this package with `TaskConfig` and `Task`, which extend those of
`robot.task`; a scene in sim/scenes/; and a file in config/tasks/ whose `kind` names the module.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from sql_ros.common.config import config_from_mapping, read_yaml, shown
from sql_ros.common.data_files import find_file, resolve_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.task import Task

FLOOR = "sim/scenes/floor.xml"  # scene where neither task nor robot file names one


def _import_kind(kind: Any, kinds: list[str], path: Path) -> ModuleType:
    """Return the module of a kind of task.

    Args:
        kind: One of `kinds`, or the name of a module that is installed, in the folder of the task
            file or in the working folder.
        kinds: Names of the modules here.
        path: The task file.

    Raises:
        ConfigError: There is no such module, or it lacks `Task` or `TaskConfig`.
    """
    if kind in kinds:
        return importlib.import_module(f"{__name__}.{kind}")
    known = f"one of: {', '.join(kinds)} (modules in sql_ros/robot/tasks/)"
    if not isinstance(kind, str) or not all(part.isidentifier() for part in kind.split(".")):
        raise ConfigError(f"{path}: kind {shown(kind)} is not {known}, nor the name of a module")
    folders = [str(path.resolve().parent), str(Path.cwd())]
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    try:
        module = importlib.import_module(kind)
    except ImportError as error:
        raise ConfigError(
            f"{path}: kind {shown(kind)} is not {known}, nor a module beside the task file, in the"
            f" working folder or installed ({error})"
        ) from None
    missing = [name for name in ("Task", "TaskConfig") if not hasattr(module, name)]
    if missing:
        raise ConfigError(
            f"{path}: module {kind} ({module.__file__}) lacks {' and '.join(missing)}, which extend"
            " those of sql_ros.robot.task"
        )
    return module


def load_task(
    name: str, joint_prefix: str = "", *, people_in_reach: bool = False, **options: Any
) -> Task:
    """Build a task from its file and its robot file.

    Args:
        name: Name of a file in config/tasks/, or the path of a YAML file.
        joint_prefix: Prefix of the arm's joints on topics; empty: that of the robot file.
        people_in_reach: Limit tool and links to the reduced speed; False: as the robot file says.
        options: Values that replace those of the task file.

    Raises:
        ConfigError: There is no such file, a kind or a key is unknown, a value is out of range, or
            the task does not fit the arm.
    """
    path = find_file(name, "config/tasks")
    values = read_yaml(path)
    resolve_beside(values, ("robot", "scene"), path)
    values |= options
    kinds = [module.name for module in pkgutil.iter_modules(__path__)]
    kind = values.pop("kind", None)
    module = _import_kind(kind, kinds, path)
    config = config_from_mapping(module.TaskConfig, values, str(path))
    robot = load_robot(config.robot)
    if not config.scene:
        config = replace(config, scene=robot.scene or FLOOR)
    if joint_prefix:
        robot = replace(robot, joint_prefix=joint_prefix)
    if people_in_reach:
        robot = replace(robot, people_in_reach=True)
    try:
        task: Task = module.Task(path.stem, config, robot)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return task


def described_robot(task: Task) -> RobotConfig:
    """Return the arm of a task as a driver describes it: with the tool of the robot file.

    The tool of the task may be on an object in the hand, which no description has.
    """
    robot = load_robot(task.config.robot)
    return replace(robot, joint_prefix=task.robot.joint_prefix)
