"""Checkpoints that survive a crash: safetensors and a JSON manifest with SHA-256.

Each is written to a draft folder, synced to disk, then renamed. A folder `checkpoints/` holds
`step-000001000/` (`state.safetensors`, `manifest.json`) and so on, the newest `KEPT_CHECKPOINTS` of
them. Nothing is pickled. A damaged checkpoint is skipped with a warning, and the one before it is
used. A checkpoint may be written again at the same step, because updates, policies or sequence
numbers were added without transitions. The old one is then named `step-000001000.before` until the
new one has its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sql_ros.common.errors import CheckpointError
from sql_ros.learning.checkpoint_manifest import (
    FORMAT,
    MANIFEST,
    REPLACED_SUFFIX,
    STATE,
    checkpoints,
    newest_sound,
    read_manifest,
    sha256,
)

KEPT_CHECKPOINTS = 2


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], manifest: dict[str, Any]
) -> Path:
    """Write the checkpoint `folder/step-<step>` atomically, then remove the oldest ones.

    `KEPT_CHECKPOINTS` remain.

    Args:
        folder: Folder of the checkpoints of one run; it is created if it is missing.
        step: Transitions so far, the name of the checkpoint.
        state: Nested dicts and lists of tensors and plain JSON values.
        manifest: Plain JSON values kept beside the state.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: The folder cannot be written; the older checkpoints are still there.
    """
    tensors: dict[str, Tensor] = {}
    tree = _extract_tensors(state, "", tensors)
    final = folder / f"step-{step:09d}"
    replaced = final.with_suffix(REPLACED_SUFFIX)
    draft = folder / f".draft-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.glob(".draft-*"):  # of processes that were killed
            shutil.rmtree(abandoned, ignore_errors=True)
        draft.mkdir()
        save_file(tensors, draft / STATE)
        digest = sha256(draft / STATE)
        text = json.dumps({"format": FORMAT, "sha256": digest, "tree": tree, **manifest})
        (draft / MANIFEST).write_text(
            json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text})
        )
        for path in (draft / STATE, draft / MANIFEST, draft):
            _sync(path)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        draft.rename(final)
        _sync(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(f"cannot write a checkpoint to {folder}: {error}") from None
    for old in checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the newest sound checkpoint in `folder`.

    Returns:
        Its state and its manifest, as they were given to `save_checkpoint`.

    Raises:
        CheckpointError: No checkpoint is sound; the message names the fault of each.
    """
    return newest_sound(folder, _read_checkpoint)


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read state and manifest of the checkpoint in a folder.

    Raises:
        OSError: a file is missing.
        ValueError: a file is damaged, or of another format.
    """
    manifest = read_manifest(path)
    try:
        tensors = load_file(path / STATE)
    except SafetensorError as error:
        raise ValueError(f"{STATE}: {error}") from None
    return _insert_tensors(manifest.pop("tree"), tensors), manifest


def _extract_tensors(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Convert a tree with tensors to JSON values, and collect the tensors.

    Args:
        node: Nested dicts, lists and tuples of tensors and plain JSON values.
        name: Name of the node: the keys from the root to it, joined by dots.
        tensors: The tensors are added here, under their names.

    Returns:
        Nested dicts, each with one key that names the type of its node: "tensor" (its name),
        "items" (pairs of a dict), "list" or "value".
    """
    if isinstance(node, Tensor):
        tensors[name] = node.detach().contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        return {
            "items": [
                [key, _extract_tensors(value, f"{name}.{key}", tensors)]
                for key, value in node.items()
            ]
        }
    if isinstance(node, (list, tuple)):
        return {
            "list": [
                _extract_tensors(value, f"{name}.{index}", tensors)
                for index, value in enumerate(node)
            ]
        }
    return {"value": node}


def _insert_tensors(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Return the tree of which `_extract_tensors` made this node; tuples have become lists."""
    kind, content = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _insert_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_insert_tensors(value, tensors) for value in content]
    return content


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
