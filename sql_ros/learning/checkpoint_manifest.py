"""What can be read of a checkpoint without torch: step, integrity, options of its run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sql_ros.common.errors import CheckpointError
from sql_ros.learning.algorithm import NETWORK_OPTIONS, AlgorithmConfig
from sql_ros.policy.task_spec import TaskSpec

FORMAT = "sql_ros.checkpoint/2"  # in format 1 every matrix of a network was a tensor of its own
REPLACED_SUFFIX = ".before"  # name of a checkpoint while a newer one of the same step is written
STATE = "state.safetensors"
MANIFEST = "manifest.json"
# raised where the content of a file has another structure than expected
DECODE_ERRORS = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    StopIteration,
)
LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def checkpoints(folder: Path) -> list[Path]:
    """Return the folders of the checkpoints in a folder, oldest first; empty if it has none.

    A checkpoint that was being replaced (`REPLACED_SUFFIX`) comes before its newer one.
    """
    return sorted(
        folder.glob("step-*"), key=lambda path: (path.stem, path.suffix != REPLACED_SUFFIX)
    )


def step_of(checkpoint: Path) -> int:
    """Return the number in a checkpoint's name: the transitions added when it was written."""
    return int(checkpoint.stem.removeprefix("step-"))


def newest_sound(folder: Path, read: Callable[[Path], T]) -> T:
    """Read the newest sound checkpoint in a folder; damaged ones are skipped with a warning.

    Args:
        folder: Folder of the checkpoints of one run.
        read: Function that reads one checkpoint, given its folder. The function raises OSError or
            one of `DECODE_ERRORS` if the checkpoint is damaged.

    Returns:
        The result of `read` for the newest checkpoint that is not damaged.

    Raises:
        CheckpointError: The folder has no sound checkpoint. The message names the fault of each.
    """
    faults: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            content = read(path)
        except (OSError, *DECODE_ERRORS) as error:
            faults.append(f"{path.name}: {error}")
            continue
        if faults:
            _logger.warning("damaged checkpoints in %s are skipped: %s", folder, "; ".join(faults))
        return content
    why = "; ".join(faults) or "the folder has none"
    raise CheckpointError(f"no sound checkpoint in {folder}: {why}")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a checkpoint, after a check that both its files match their SHA-256.

    Args:
        path: Folder of the checkpoint.

    Returns:
        The manifest: the values that `Trainer.save` gives, with "format", "sha256" (of the state)
        and "tree" (structure of the state).

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged, or of another format.
        KeyError: An entry of the manifest is missing.
    """
    file = json.loads((path / MANIFEST).read_text())
    if hashlib.sha256(file["content"].encode()).hexdigest() != file["sha256"]:
        raise ValueError(f"{MANIFEST} does not match its SHA-256")
    manifest: dict[str, Any] = json.loads(file["content"])
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']!r}, expected {FORMAT!r}")
    if sha256(path / STATE) != manifest["sha256"]:
        raise ValueError(f"{STATE} does not match its SHA-256")
    return manifest


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def stored_transitions(checkpoint: Path) -> int:
    """Return the number of transitions in a checkpoint, as the header of its state has it.

    Args:
        checkpoint: Folder of the checkpoint.

    Raises:
        OSError: The file of the state cannot be read.
        ValueError: The header is too long or not JSON.
        KeyError: The checkpoint has no replay buffer.
    """
    with (checkpoint / STATE).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError(f"{STATE} has a header of {length} bytes")
        header = json.loads(file.read(length))
    return int(header[".replay.reward"]["shape"][0])


def check_interface(manifest: dict[str, Any], spec: TaskSpec, folder: Path) -> None:
    """Check that a checkpoint belongs to a task. Other code of the same task is a warning.

    Args:
        manifest: Manifest of the checkpoint.
        spec: Interface of the task.
        folder: Folder named in the error.

    Raises:
        CheckpointError: The checkpoint belongs to another task, or to other settings of this one.
    """
    if manifest["spec"] != spec.to_json():
        differences = spec.differences(json.loads(manifest["spec"]))
        raise CheckpointError(f"{folder} is of another task: {differences}")
    if complaint := spec.code_complaint(str(manifest.get("task_code", ""))):
        _logger.warning("%s was made %s", folder, complaint)


def changed_options(
    manifest: dict[str, Any], algorithm: AlgorithmConfig, folder: Path
) -> list[str]:
    """Compare the options with those of a checkpoint.

    Args:
        manifest: Manifest of the checkpoint.
        algorithm: Options of this start.
        folder: Folder named in the error.

    Returns:
        One text for each option that has another value than in the checkpoint, or that the
        checkpoint does not have; empty if all are equal, or if the checkpoint has no options.

    Raises:
        CheckpointError: An option of `NETWORK_OPTIONS` differs. Shapes alone would not tell, since
            parameters also fit into some other networks.
    """
    before = dict(manifest.get("algorithm", {}))
    now = algorithm.as_dict()
    changed = {
        name: f"{name} was {was}, is {now[name]}"
        for name, was in before.items()
        if name in now and was != now[name]
    }
    misfits = [text for name, text in changed.items() if name in NETWORK_OPTIONS]
    if misfits:
        raise CheckpointError(
            f"{folder} does not fit the configured networks: {', '.join(misfits)}; give the params"
            " file of that run"
        )
    new = [
        f"{name} is new since, is {value}"
        for name, value in now.items()
        if before and name not in before
    ]
    return [*changed.values(), *new]


def check_capacity(stored: int, capacity: int, folder: Path) -> None:
    """Check that the transitions of a checkpoint fit into the replay buffer.

    Args:
        stored: Number of transitions in the checkpoint.
        capacity: Capacity of the replay buffer, in transitions.
        folder: Folder named in the error.

    Raises:
        CheckpointError: The checkpoint has more transitions than the capacity.
    """
    if stored > capacity:
        raise CheckpointError(
            f"{folder} holds {stored} transitions, more than trainer.replay_capacity, {capacity}"
        )
