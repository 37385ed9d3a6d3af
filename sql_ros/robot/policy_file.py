"""Load policy files as commands name them, with the tasks that they were trained for."""

from __future__ import annotations

import math
from pathlib import Path

from sql_ros.common.data_files import find_policy, share_folder
from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.policy.runtime import Policy, read_task_name
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task

INFERENCE_SHARE = 0.5  # largest share of the control period


def task_of_policy(path: Path, task: str = "") -> str:
    """Return the name or path of the task that a policy is used with.

    Args:
        path: Path of the policy.
        task: Name or path of the task; empty: the one that the policy was trained for.

    Raises:
        ConfigError: The policy cannot be read, or it was trained for another task.
    """
    trained = _task_name(path)
    if task and Path(task).stem != trained:
        raise ConfigError(
            f"policy {path} was trained for task '{trained}', but task '{task}' is given: leave it"
            " out, or name another policy; a task file of your own with the same interface must be"
            f" called {trained}.yaml, in any folder: task:=PATH/{trained}.yaml"
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
        name: Name of the policy, see `common.data_files.find_policy`.
        task: Name or path of the task; empty: the one that the policy was trained for.

    Raises:
        ConfigError: See `find_policy` and `task_of_policy`; or the policy does not fit the task.
    """
    path = find_policy(name)
    loaded = load_task(task_of_policy(path, task))
    return loaded, read_policy(path, loaded)


def read_policy(path: Path | str, task: Task) -> Policy:
    """Read a policy file, ready to act in a task.

    Args:
        path: Path of the policy.
        task: The task.

    Raises:
        ConfigError: The file cannot be read, or the policy does not fit the task.
    """
    try:
        return Policy(Path(path).read_bytes(), task.spec)
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None


def check_speed(policy: Policy, period_s: float) -> None:
    """Check that a policy answers within `INFERENCE_SHARE` of the control period.

    Args:
        policy: The policy, which is run some thirty times.
        period_s: Control period [s]; infinite: time waits for the policy.

    Raises:
        PolicyError: The policy takes longer.
    """
    if math.isinf(period_s):
        return
    duration_s = policy.inference_s()
    most = INFERENCE_SHARE * period_s
    if duration_s > most:
        raise PolicyError(
            f"policy takes {1e3 * duration_s:.2f} ms for an action, expected at most"
            f" {1e3 * most:.2f} ms, half a control period"
        )


def _task_name(path: Path) -> str:
    """Return the name of the task that a policy file was trained for.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return read_task_name(path.read_bytes())
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None
