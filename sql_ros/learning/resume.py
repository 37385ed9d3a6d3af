"""Checks before a run is resumed. They need no torch and change nothing."""

from __future__ import annotations

import json
import logging
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sql_ros.common.errors import CheckpointError, ConfigError
from sql_ros.common.run_folder import LEDGER, ledger_ends, read_run
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.checkpoint_manifest import (
    DECODE_ERRORS,
    changed_options,
    check_capacity,
    check_interface,
    checkpoints,
    newest_sound,
    read_manifest,
    stored_transitions,
)
from sql_ros.policy.task_spec import TaskSpec

ARM_KINDS = {False: "a simulated arm", True: "a real arm"}  # by `real_arm` of run.json
_logger = logging.getLogger(__name__)


def check_has_run(folder: Path) -> None:
    """Check that a run folder has a training that can be resumed.

    A training without a checkpoint can be resumed if its ledger has all transitions from the first.

    Args:
        folder: Folder of the run.

    Raises:
        ConfigError: The folder does not exist, or has neither checkpoints nor such a ledger.
    """
    if not folder.is_dir():
        others = folder.parent.iterdir() if folder.parent.is_dir() else ()
        near = get_close_matches(folder.name, [path.name for path in others if path.is_dir()], 1)
        hint = f", but {folder.parent / near[0]} does" if near else ""
        raise ConfigError(f"cannot resume {folder}: it does not exist{hint}")
    if not checkpoints(folder / "checkpoints") and ledger_ends(folder / LEDGER)[0] != 1:
        raise ConfigError(
            f"cannot resume {folder}: it has neither checkpoints nor transitions of a training"
        )


def check_resume(folder: Path, spec: TaskSpec, algorithm: AlgorithmConfig, capacity: int) -> None:
    """Check everything that a learner checks when it resumes a run.

    A run without checkpoints passes if its ledger has all transitions. Damaged checkpoints beside a
    sound one are named in a warning.

    Args:
        folder: Folder of the run.
        spec: Interface of the task.
        algorithm: Options of this start.
        capacity: Capacity of the replay buffer in this start, in transitions.

    Raises:
        ConfigError: The folder does not exist, or has no training that can be resumed.
        CheckpointError: There are checkpoints but none is sound, or the newest sound one is of
            another task or of other networks, or has more transitions than the capacity.
    """
    check_has_run(folder)
    saved = folder / "checkpoints"
    if not checkpoints(saved):
        return
    path, manifest = newest_sound(saved, _read_path_and_manifest)
    try:
        check_interface(manifest, spec, saved)
        changed_options(manifest, algorithm, saved)
        check_capacity(stored_transitions(path), capacity, saved)
    except DECODE_ERRORS as error:
        raise CheckpointError(f"{saved} does not fit the configuration: {error!r}") from None


def arm_of_run(folder: Path) -> bool | None:
    """Return whether a run is of a real arm, as run.json says; None if it does not say."""
    real_arm = read_run(folder).get("real_arm")
    return real_arm if isinstance(real_arm, bool) else None


def check_arm(folder: Path, *, real_arm: bool) -> None:
    """Check that a run is not continued with the other kind of arm, real or simulated.

    Robot minutes and transitions of both would be mixed. A run whose run.json does not name the
    kind of arm is accepted with a warning.

    Args:
        folder: Folder of the run to resume.
        real_arm: Whether the arm of this start is real.

    Raises:
        ConfigError: The run is of the other kind of arm.
    """
    recorded = arm_of_run(folder)
    if recorded is None:
        _logger.warning(
            "%s does not say whether its arm was real: it is treated as a run of %s, and recorded"
            " as such from now on",
            folder,
            ARM_KINDS[real_arm],
        )
    elif recorded is not real_arm:
        raise ConfigError(
            f"{folder} is a run of {ARM_KINDS[recorded]}, but this start is for"
            f" {ARM_KINDS[real_arm]}, and the two are never mixed: give sim:= and use_sim_time:= as"
            " that run had them, or begin a new run, which may act by the old policy until it has"
            " its own: another run_dir:= (or none), without resume, and"
            f" policy:={folder}/policy.onnx"
        )


def task_of_run(folder: Path) -> str:
    """Return the task of a run.

    Args:
        folder: Folder of the run.

    Returns:
        The task as it was given to the stack (name or path), from run.json; otherwise the name of
        the task of the newest sound checkpoint; "" if there is no checkpoint either.

    Raises:
        CheckpointError: There are checkpoints but none is sound, or the newest sound one does not
            name its task.
    """
    task = read_run(folder).get("task")
    if isinstance(task, str) and task:
        return task
    saved = folder / "checkpoints"
    if not checkpoints(saved):
        return ""
    _, manifest = newest_sound(saved, _read_path_and_manifest)
    try:
        return str(json.loads(manifest["spec"])["task"])
    except DECODE_ERRORS as error:
        raise CheckpointError(f"{saved} does not say its task: {error!r}") from None


def _read_path_and_manifest(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a checkpoint and its manifest, for `newest_sound`."""
    return path, read_manifest(path)
