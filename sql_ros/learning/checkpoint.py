"""Checkpoints that survive a crash: safetensors and a JSON manifest with SHA-256.

The folder `checkpoints/` of a run has one folder per checkpoint, e.g. `step-000001000/` after 1000
transitions, with `state.safetensors` and `manifest.json`. The newest `KEPT_CHECKPOINTS` are kept.
Nothing is pickled.

A checkpoint is written to a draft folder, synced to disk, then renamed. When a checkpoint is read,
damaged ones are skipped with a warning.

A checkpoint may be written again at the same step, because updates, policies or sequence numbers
were added without transitions. The old one is then named `step-000001000.before` until the new one
has its name.
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

    The newest `KEPT_CHECKPOINTS` remain. A checkpoint of the same step is replaced. Drafts of other
    processes, which were killed, are removed.

    Args:
        folder: Folder of the checkpoints of one run, created if it is missing.
        step: Number of transitions added so far, the name of the checkpoint.
        state: Nested dicts and lists of tensors and plain JSON values.
        manifest: Plain JSON values by name, without the names "format", "sha256" and "tree".

    Returns:
        The folder of the new checkpoint.

    Raises:
        CheckpointError: The folder cannot be written. The older checkpoints are still there.
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
    """Read the newest sound checkpoint in a folder; damaged ones are skipped with a warning.

    Args:
        folder: Folder of the checkpoints of one run.

    Returns:
        The state, as it was given to `save_checkpoint` (tuples have become lists), and the
        manifest, which has "format" and "sha256" besides the values given to `save_checkpoint`.

    Raises:
        CheckpointError: No checkpoint is sound. The message names the fault of each.
    """
    return newest_sound(folder, _read_checkpoint)


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read state and manifest of one checkpoint.

    Args:
        path: Folder of the checkpoint.

    Returns:
        The state, as it was given to `save_checkpoint` (tuples have become lists), and the
        manifest.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged, or of another format.
        KeyError: A tensor or an entry of the manifest is missing.
    """
    manifest = read_manifest(path)
    try:
        tensors = load_file(path / STATE)
    except SafetensorError as error:
        raise ValueError(f"{STATE}: {error}") from None
    return _insert_tensors(manifest.pop("tree"), tensors), manifest


def _extract_tensors(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Convert a tree with tensors to a tree of JSON values, and collect the tensors by name.

    Args:
        node: The tree: nested dicts, lists and tuples of tensors and plain JSON values.
        name: Name of this node: the keys from the root to the node, joined by dots.
        tensors: Dict to which the tensors are added, by the names of their nodes.

    Returns:
        Nested dicts, one per node, each with one key that names the type of the node: "tensor" (the
        value is its name), "items" (pairs of key and node), "list" (nodes) or "value".
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
    """Return the tree that `_extract_tensors` converted; tuples have become lists.

    Args:
        node: Result of `_extract_tensors`.
        tensors: Tensors by name.

    Raises:
        KeyError: A tensor is missing.
    """
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
