"""Whether a run can be gone on with, without torch and without changing anything."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sql_ros.core.algorithm import AlgorithmConfig
from sql_ros.core.errors import CheckpointError, ConfigError
from sql_ros.core.manifest import (
    MALFORMED,
    changed_options,
    check_capacity,
    check_interface,
    checkpoints,
    newest_sound,
    read_manifest,
    stored_transitions,
)
from sql_ros.core.run_folder import LEDGER, ledger_ends, read_run
from sql_ros.core.spec import TaskSpec


def check_has_run(folder: Path) -> None:
    """Check that a run folder has something to go on from.

    Raises:
        ConfigError: There is no such folder, or no training in it.
    """
    if not folder.is_dir():
        others = folder.parent.iterdir() if folder.parent.is_dir() else ()
        near = get_close_matches(folder.name, [path.name for path in others if path.is_dir()], 1)
        hint = f", but {folder.parent / near[0]} is" if near else ""
        raise ConfigError(f"cannot resume {folder}: it is not there{hint}")
    if not checkpoints(folder / "checkpoints") and ledger_ends(folder / LEDGER)[0] != 1:
        raise ConfigError(f"cannot resume {folder}: it has neither checkpoints nor transitions of a training")


def check_resume(folder: Path, spec: TaskSpec, algorithm: AlgorithmConfig, capacity: int) -> None:
    """Check all that a learner refuses when it goes on with a run.

    Args:
        folder: of the run.
        spec: of the task.
        algorithm: the options now.
        capacity: of the replay buffer now, in transitions.

    Raises:
        ConfigError: There is no run.
        CheckpointError: No checkpoint is sound, or it is of another task, of other networks, or
            holds too many transitions.
    """
    check_has_run(folder)
    saved = folder / "checkpoints"
    if not checkpoints(saved):
        return
    path, manifest = newest_sound(saved, _with_manifest)
    try:
        check_interface(manifest, spec, saved)
        changed_options(manifest, algorithm, saved)
        check_capacity(stored_transitions(path), capacity, saved)
    except MALFORMED as error:
        raise CheckpointError(f"{saved} does not fit the configuration: {error!r}") from None


def task_of_run(folder: Path) -> str:
    """Return the task of a run: as given to its stack, or by its checkpoint; empty if unknown.

    Raises:
        CheckpointError: No checkpoint is sound.
    """
    task = read_run(folder).get("task")
    if isinstance(task, str) and task:
        return task
    saved = folder / "checkpoints"
    if not checkpoints(saved):
        return ""
    _, manifest = newest_sound(saved, _with_manifest)
    try:
        return str(json.loads(manifest["spec"])["task"])
    except MALFORMED as error:
        raise CheckpointError(f"{saved} does not say its task: {error!r}") from None


def _with_manifest(path: Path) -> tuple[Path, dict[str, Any]]:
    return path, read_manifest(path)
