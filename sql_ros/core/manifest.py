"""Checkpoints without torch: where they lie, whether they are sound, what they were written with."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sql_ros.core.algorithm import SHAPING, AlgorithmConfig
from sql_ros.core.errors import CheckpointError
from sql_ros.core.spec import TaskSpec

FORMAT = "sql_ros.checkpoint/2"  # in 1 every matrix of a network was a tensor of its own
BEFORE = ".before"
STATE, MANIFEST = "state.safetensors", "manifest.json"
MALFORMED = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    StopIteration,
)  # a tree of another shape
LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*"), key=lambda path: (path.stem, path.suffix != BEFORE))


def step_of(checkpoint: Path) -> int:
    """Return the number of transitions that were added when a checkpoint was written."""
    return int(checkpoint.stem.removeprefix("step-"))


def newest_sound(folder: Path, read: Callable[[Path], T]) -> T:
    """Read the newest sound checkpoint in a folder; damaged ones are skipped with a warning.

    Args:
        folder: `checkpoints/` of a run.
        read: reads one, and raises OSError or one of `MALFORMED` where it is damaged.

    Raises:
        CheckpointError: There is none; says what is wrong with each.
    """
    faults: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            content = read(path)
        except (OSError, *MALFORMED) as error:
            faults.append(f"{path.name}: {error}")
            continue
        if faults:
            _logger.warning("damaged checkpoints in %s are skipped: %s", folder, "; ".join(faults))
        return content
    why = "; ".join(faults) or "the folder has none"
    raise CheckpointError(f"no sound checkpoint in {folder}: {why}")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a checkpoint, after comparing manifest and state with their SHA-256.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged, or of another format.
    """
    sealed = json.loads((path / MANIFEST).read_text())
    if hashlib.sha256(sealed["content"].encode()).hexdigest() != sealed["sha256"]:
        raise ValueError(f"{MANIFEST} does not match its SHA-256")
    manifest: dict[str, Any] = json.loads(sealed["content"])
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']!r}, expected {FORMAT!r}")
    if sha256(path / STATE) != manifest["sha256"]:
        raise ValueError(f"{STATE} does not match its SHA-256")
    return manifest


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def stored_transitions(checkpoint: Path) -> int:
    """Return how many transitions a checkpoint holds, by the header of its state.

    Raises:
        OSError, ValueError, KeyError: The header cannot be read.
    """
    with (checkpoint / STATE).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError(f"{STATE} has a header of {length} bytes")
        header = json.loads(file.read(length))
    return int(header[".replay.reward"]["shape"][0])


def check_interface(manifest: dict[str, Any], spec: TaskSpec, folder: Path) -> None:
    """Check that a checkpoint belongs to a task.

    Raises:
        CheckpointError: It belongs to another task, or to another form of this one.
    """
    if manifest["spec"] != spec.to_json():
        differences = spec.differences(json.loads(manifest["spec"]))
        raise CheckpointError(f"{folder} is of another task: {differences}")


def changed_options(manifest: dict[str, Any], algorithm: AlgorithmConfig, folder: Path) -> list[str]:
    """Return a line about each option that is another now than in the checkpoint.

    Raises:
        CheckpointError: One of them decides which networks there are. Parameters would fit into
            some other networks, too.
    """
    before = dict(manifest.get("algorithm", {}))
    now = algorithm.as_dict()
    changed = {name: f"{name} was {was}, is {now[name]}" for name, was in before.items() if name in now and was != now[name]}
    shaping = [text for name, text in changed.items() if name in SHAPING]
    if shaping:
        raise CheckpointError(f"{folder} does not fit the configured networks: {', '.join(shaping)}; give the params file of that run")
    new = [f"{name} is new since, is {value}" for name, value in now.items() if before and name not in before]
    return [*changed.values(), *new]


def check_capacity(stored: int, capacity: int, folder: Path) -> None:
    """Check that the transitions of a checkpoint fit into the replay buffer.

    Raises:
        CheckpointError: They do not.
    """
    if stored > capacity:
        raise CheckpointError(f"{folder} holds {stored} transitions, more than trainer.replay_capacity, {capacity}")
