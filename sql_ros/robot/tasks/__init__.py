"""Tasks: observation, reward, start and end of an episode, as pure functions of the robot's state.

A task consists of a class that extends `robot.task.Task`, a scene, and a file whose `kind` names
the class (`robot/task_kind.py`). Those of this package have a module here, a scene in sim/scenes/
and a file in config/tasks/; those of users are anywhere (docs/your_task.md).
"""

from __future__ import annotations

import pkgutil
from copy import deepcopy
from dataclasses import replace
from typing import Any

from sql_ros.common.config import config_from_mapping, read_yaml
from sql_ros.common.data_files import find_file, resolve_beside
from sql_ros.robot.code_hash import code_hash
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.kept_scene import check_keeps_scene
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.task import Task
from sql_ros.robot.task_check import check_task, report_exceptions
from sql_ros.robot.task_kind import (
    config_class_of,
    find_task_class,
    is_shipped,
    reporting,
)

FLOOR = "sim/scenes/floor.xml"  # scene where neither task nor robot file names one


def load_task(
    name: str, joint_prefix: str = "", *, people_in_reach: bool = False, **options: Any
) -> Task:
    """Build a task from its file and its robot file. A task of a user's own code is checked.

    Args:
        name: Name of a file in config/tasks/, or the path of a YAML file.
        joint_prefix: Prefix of the arm's joints on topics; empty: that of the robot file.
        people_in_reach: Limit tool and links to the reduced speed; False: as the robot file says.
        options: Values that replace those of the task file.

    Raises:
        ConfigError: There is no such file, a kind or a key is unknown, a value is out of range, the
            task does not fit the arm, or its code fails a check of `check_task`.
    """
    path = find_file(name, "config/tasks")
    values = read_yaml(path)
    resolve_beside(values, ("robot", "scene"), path)
    values |= options
    kinds = [module.name for module in pkgutil.iter_modules(__path__)]
    task_class = find_task_class(values.pop("kind", None), kinds, path)
    config_class = config_class_of(task_class, path)
    with reporting(task_class, path):
        config = config_from_mapping(config_class, values, str(path))
    robot = load_robot(config.robot)
    if config.scene:
        with reporting(task_class, path):
            check_keeps_scene(config.scene, robot.scene, robot.model)
    else:
        config = replace(config, scene=robot.scene or FLOOR)
    if joint_prefix:
        robot = replace(robot, joint_prefix=joint_prefix)
    if people_in_reach:
        robot = replace(robot, people_in_reach=True)
    with reporting(task_class, path):
        task = task_class(path.stem, config, deepcopy(robot))  # its code may alter what it gets
        if not is_shipped(task_class):
            check_task(task, config, robot)
            report_exceptions(task, path)
    task.spec = replace(task.spec, task_code=code_hash(task_class))
    return task


def described_robot(task: Task) -> RobotConfig:
    """Return the arm of a task as a driver describes it: with the tool of the robot file.

    The tool of the task may be on an object in the hand, which no description has.
    """
    robot = load_robot(task.config.robot)
    return replace(robot, joint_prefix=task.robot.joint_prefix)
