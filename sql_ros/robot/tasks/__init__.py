"""Tasks: what is observed, what is rewarded, when an episode begins and ends, as pure functions of the robot's state.

A task is one module here with `TaskConfig` and `Task`, made from those of `robot.task`, one scene under sim/scenes/ and one file under
config/tasks/ whose `kind` names the module.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from typing import Any

from sql_ros.core.config import config_from_mapping, read_yaml, shown
from sql_ros.core.errors import ConfigError
from sql_ros.robot.config import load_robot
from sql_ros.robot.task import Task
from sql_ros.share import find_file


def load_task(name: str, joint_prefix: str = "", **options: Any) -> Task:
    """Build the task of config/tasks/<name>.yaml, or of the YAML file at the path given.

    Args:
        name: Of a file in config/tasks/, or a path.
        joint_prefix: Of the arm's joints on topics; empty: as its robot file says.
        options: Replace what the file of the task says.

    Raises:
        ConfigError: no such file, unknown kind, unknown key, a value out of range, or one that does not fit the arm.
    """
    path = find_file(name, "config/tasks")
    values = {**read_yaml(path), **options}
    kinds = [module.name for module in pkgutil.iter_modules(__path__)]
    kind = values.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"{path}: kind {shown(kind)} is not one of: {', '.join(kinds)} (modules in sql_ros/robot/tasks/)")
    module = importlib.import_module(f"{__name__}.{kind}")
    config = config_from_mapping(module.TaskConfig, values, str(path))
    robot = load_robot(config.robot)
    if joint_prefix:
        robot = replace(robot, joint_prefix=joint_prefix)
    try:
        task: Task = module.Task(path.stem, config, robot)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return task
