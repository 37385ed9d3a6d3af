"""Load the policy file that a user names, together with the task that it was trained for."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from sql_ros.common.data_files import find_policy, share_folder
from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.common.run_folder import read_run
from sql_ros.policy.blend import Blend, observed_components, parse_weights
from sql_ros.policy.runtime import Policy, read_spec, read_task_name
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task

_logger = logging.getLogger(__name__)
INFERENCE_SHARE = 0.5  # largest time of an inference, as a share of the control period


def task_of_policy(path: Path, task: str = "") -> str:
    """Return the name or path of the task that a policy is to be used with.

    Args:
        path: Path of the policy file.
        task: Name or path of the task that the user gave; empty: the task that the policy was
            trained for.

    Returns:
        `task` if given; otherwise the path of the task file of the policy's run, if the policy is
        in a run folder; otherwise the name of the trained task, which has a file in config/tasks/.

    Raises:
        ConfigError: The policy cannot be read; the name of `task` is not that of the trained task;
            or `task` is empty, and the trained task has no file in config/tasks/.
    """
    trained = _task_name(path)
    if task and Path(task).stem != trained:
        raise ConfigError(
            f"policy {path} was trained for task '{trained}', but task '{task}' is given: leave it"
            " out, or name another policy; a task file of your own with the same interface must be"
            f" called {trained}.yaml, in any folder: task:=PATH/{trained}.yaml"
        )
    if not task:
        task = _task_of_run(path, trained)
    if not task and not (share_folder() / "config" / "tasks" / f"{trained}.yaml").is_file():
        raise ConfigError(
            f"policy {path} was trained for task '{trained}', which is no file in config/tasks/: "
            f"give the path of its file, task:=PATH/{trained}.yaml (--task with eval and demo)"
        )
    return task or trained


def load_policy(name: str, task: str = "") -> tuple[Task, Policy]:
    """Load a policy and its task.

    Args:
        name: Name or path of the policy, see `common.data_files.find_policy`.
        task: Name or path of the task; empty: the one that the policy was trained for.

    Returns:
        The task, and the policy.

    Raises:
        ConfigError: See `find_policy`, `task_of_policy` and `load_task`; or the policy does not fit
            the task.
    """
    path = find_policy(name)
    loaded = load_task(task_of_policy(path, task))
    return loaded, read_policy(path, loaded)


def read_policy(path: Path | str, task: Task) -> Policy:
    """Read a policy file for acting in a task. A policy that was trained with other code of the
    task is a warning.

    Args:
        path: Path of the policy file.
        task: Task that the policy must have been trained for.

    Raises:
        ConfigError: The file cannot be read, or the policy does not fit the task.
    """
    try:
        policy = Policy(Path(path).read_bytes(), task.spec)
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None
    if complaint := task.spec.code_complaint(policy.info.task_code):
        _logger.warning("policy %s was trained %s", path, complaint)
    return policy


def read_blend(paths: Sequence[Path], weights: str, task: Task) -> Blend:
    """Read the policy files of skills that act together in a task.

    Args:
        paths: Paths of the policy files.
        weights: Weight of each skill, see `parse_weights`.
        task: Task of the actor.

    Raises:
        ConfigError: A file cannot be read, the skills do not fit together or not to the task, or
            the weights cannot be used.
    """
    skills: list[Policy] = []
    for path in paths:
        try:
            data = path.read_bytes()
            skills.append(Policy(data, read_spec(data), ranks=False))
            observed_components(skills[-1].spec, task.spec)
        except (OSError, PolicyError) as error:
            raise ConfigError(f"cannot use policy {path}: {error}") from None
    try:
        return Blend(skills, parse_weights(weights, len(skills)), task.spec)
    except PolicyError as error:
        raise ConfigError(f"cannot blend {', '.join(map(str, paths))}: {error}") from None


def check_speed(policy: Policy | Blend, period_s: float) -> None:
    """Check that a policy selects an action within `INFERENCE_SHARE` of the control period.

    Args:
        policy: The policy. It is run some thirty times, unless the period is infinite.
        period_s: Control period [s]; infinite: time waits for the policy, and every policy passes.

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


def _task_of_run(path: Path, trained: str) -> str:
    """Return the path of the task file of the run that a policy lies in.

    Args:
        path: Path of the policy file.
        trained: Name of the task that the policy was trained for.

    Returns:
        The path; empty if the policy is in no run folder, or the run is of no task file of this
        name that is still there.
    """
    task = read_run(path.parent).get("task")
    is_file = isinstance(task, str) and task.endswith(".yaml") and Path(task).is_file()
    return str(task) if is_file and Path(str(task)).stem == trained else ""


def _task_name(path: Path) -> str:
    """Return the name of the task that a policy file was trained for.

    Raises:
        ConfigError: The file cannot be read, or is no policy.
    """
    try:
        return read_task_name(path.read_bytes())
    except (OSError, PolicyError) as error:
        raise ConfigError(f"cannot use policy {path}: {error}") from None
