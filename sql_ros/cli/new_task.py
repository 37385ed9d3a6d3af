"""`sql-ros new-task`: write the files of a task of one's own."""

from __future__ import annotations

import argparse
import json
import keyword
import re
import shutil
from pathlib import Path
from typing import Any

# keys of the task file that are those of the task that the new one begins with
TAKEN = (
    "robot",
    "control_rate_hz",
    "command_mode",
    "action_scale",
    "start_spread_rad",
    "target_lower",
    "target_upper",
)
COLUMN = 36  # of the comments in the task file
NEXT = """
Next:
  1. python -m pytest {folder}
  2. Change observation, reward and success in {code}: docs/your_task.md
  3. sql-ros check-robot {task} --picture {name}.png
  4. sql-ros up task:={task}
  5. sql-ros eval --policy runs/latest/policy.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="NAME", help="name of the task, or a path that ends with it"
    )
    parser.add_argument(
        "--like",
        default="ur5e_reach",
        metavar="TASK",
        help="task whose arm, rate, command mode and target box are taken: a name in config/tasks/,"
        " or a path (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write module, task file, scene and test into a new folder, and print what to do next.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: The name cannot be that of a task, there is such a folder or such a shipped
            task, or the task to begin with cannot be loaded.
    """
    from sql_ros.robot.tasks import load_task

    folder: Path = args.folder
    name = folder.name
    check_name(name, folder)
    like = load_task(args.like)
    values = {key: getattr(like.config, key) for key in TAKEN}
    if like.config.twist:
        values["twist"] = like.config.twist.as_dict()
    try:
        task = write_task(folder, values)
        load_task(str(task))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for path in sorted(folder.iterdir()):
        print(path)
    print(NEXT.format(folder=folder, code=folder / f"{name}.py", task=task, name=name), end="")
    return 0


def check_name(name: str, folder: Path) -> None:
    """Check that a task may have a name, and that its folder does not exist.

    Args:
        name: Name of the task.
        folder: Folder for its files.

    Raises:
        ConfigError: The name is no lower-case identifier or that of a shipped task, or the folder
            exists.
    """
    from sql_ros.common.data_files import share_folder
    from sql_ros.common.errors import ConfigError

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"the name of the task is {name!r}, expected lower-case letters, digits and _, a letter"
            " first, such as push_puck"
        )
    if (share_folder() / "config/tasks" / f"{name}.yaml").is_file():
        raise ConfigError(f"there is a shipped task {name!r}: choose another name")
    if folder.exists():
        raise ConfigError(f"{folder} exists, expected a new folder")


def write_task(folder: Path, values: dict[str, Any]) -> Path:
    """Write the files of a task from the templates in config/new_task/.

    Args:
        folder: The new folder. Its name is that of the task.
        values: Values of the task file by key, in place of those of the template.

    Returns:
        Path of the task file.

    Raises:
        ConfigError: A file cannot be written.
    """
    from sql_ros.common.data_files import share_folder
    from sql_ros.common.errors import ConfigError
    from sql_ros.robot.tasks import FLOOR

    name = folder.name
    class_name = "".join(part.capitalize() for part in name.split("_")) + "Task"
    try:
        folder.mkdir(parents=True)
        for template in sorted((share_folder() / "config/new_task").iterdir()):
            text = template.read_text().replace("new_task", name).replace("NewTask", class_name)
            if template.suffix == ".yaml":
                text = with_values(text, values)
            (folder / template.name.replace("new_task", name)).write_text(text)
        shutil.copyfile(share_folder() / FLOOR, folder / "scene.xml")
    except OSError as error:
        raise ConfigError(f"the files of {folder} cannot be written: {error}") from None
    return folder / f"{name}.yaml"


def with_values(text: str, values: dict[str, Any]) -> str:
    """Return the text of a YAML file with other values of some keys. Comments are kept.

    Args:
        text: The file, one key a line.
        values: Value by key. A `twist` takes the place of `action_scale`.
    """
    lines = []
    for line in text.splitlines():
        key = line.partition(":")[0]
        if key == "action_scale" and "twist" in values:
            line = f"twist: {_as_yaml(values['twist'])}"
        elif key in values:
            setting = f"{key}: {_as_yaml(values[key])}"
            comment = line.partition("#")[2]
            line = f"{setting + ' ':{COLUMN}s}#{comment}" if comment else setting
        lines.append(line)
    return "\n".join(lines) + "\n"


def _as_yaml(value: Any) -> str:
    """Return a value as YAML in one line."""
    is_plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./-]*", value)
    return str(value) if is_plain else json.dumps(value)
