"""Policy files as commands name them, with the tasks that they were trained for."""

from __future__ import annotations

from pathlib import Path

from sql_ros.core.errors import ConfigError, PolicyError
from sql_ros.core.policy import Policy, read_task_name
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task
from sql_ros.share import find_policy, share_folder


def task_of_policy(path: Path, task: str = "") -> str:
    """Return the task that a policy is used with: the one given, or the one it was trained for.

    Args:
        path: of the policy.
        task: as given, a name or a path; empty: not given.

    Raises:
        ConfigError: The policy cannot be read, or it was trained for another task.
    """
    trained = _task_name(path)
    if task and Path(task).stem != trained:
        raise ConfigError(
            f"policy {path} was trained for task '{trained}', but task '{task}' is given: leave it out, or name another policy; "
            f"a task file of your own with the same interface must be called {trained}.yaml, in any folder: task:=PATH/{trained}.yaml"
        )
    if not task and not (share_folder() / "config" / "tasks" / f"{trained}.yaml").is_file():
        raise ConfigError(
            f"policy {path} was trained for task '{trained}', which is no file in config/tasks/: "
            f"give the path of its file, task:=PATH/{trained}.yaml (--task with eval and demo)"
        )
    return task or trained


def load_policy(name: str, task: str = "") -> tuple[Task, Policy]:
    """Load a policy and its task.

    Args:
        name: of the policy, see `share.find_policy`.
        task: as given, a name or a path; empty: the one that the policy was trained for.

    Raises:
        ConfigError: See `share.find_policy` and `task_of_policy`; or the policy does not fit.
    """
    path = find_policy(name)
    loaded = load_task(task_of_policy(path, task))
    return loaded, read_policy(path, loaded)


def read_policy(path: Path, task: Task) -> Policy:
    """Read a policy, ready to act in a task.

    Raises:
        ConfigError: It cannot be read, or must not be used with this task.
    """
    try:
        return Policy(path.read_bytes(), task.spec)
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None


def _task_name(path: Path) -> str:
    try:
        return read_task_name(path.read_bytes())
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None
