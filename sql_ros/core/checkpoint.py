"""Checkpoints that survive a crash: safetensors and a JSON manifest with SHA-256, written beside, synced, then renamed.

A folder `checkpoints/` holds `step-000001000/` (`state.safetensors`, `manifest.json`) and so on, the last `KEPT` of them. Nothing is
pickled. A damaged one is skipped with a warning and the one before is used. One that is written anew, since updates, policies or sequence
numbers came without transitions, stays as `step-000001000.before` until the new one has its name.
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

from sql_ros.core.errors import CheckpointError
from sql_ros.core.manifest import BEFORE, FORMAT, MANIFEST, STATE, checkpoints, newest_sound, read_manifest, sha256

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], manifest: dict[str, Any]) -> Path:
    """Writes `folder/step-<step>` so that it is there whole or not at all, then removes the oldest beyond `KEPT`.

    Args:
        folder: where checkpoints of one run live.
        step: transitions so far, names the checkpoint.
        state: nested dicts and lists of tensors and plain JSON values.
        manifest: plain JSON values kept beside.

    Raises:
        CheckpointError: the folder cannot be written; checkpoints that were there still are.
    """
    tensors: dict[str, Tensor] = {}
    tree = _split(state, "", tensors)
    final = folder / f"step-{step:09d}"
    before = final.with_suffix(BEFORE)
    draft = folder / f".draft-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".draft-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir()
        save_file(tensors, draft / STATE)
        digest = sha256(draft / STATE)
        text = json.dumps({"format": FORMAT, "sha256": digest, "tree": tree, **manifest})
        (draft / MANIFEST).write_text(json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text}))
        for path in (draft / STATE, draft / MANIFEST, draft):
            _sync(path)
        if final.exists():
            shutil.rmtree(before, ignore_errors=True)
            final.rename(before)
        draft.rename(final)
        _sync(folder)
        shutil.rmtree(before, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(f"cannot write a checkpoint to {folder}: {error}") from None
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the newest sound checkpoint in `folder`: its state and its manifest.

    Raises:
        CheckpointError: There is none; says what is wrong with each.
    """
    return newest_sound(folder, _read)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = read_manifest(path)
    try:
        tensors = load_file(path / STATE)
    except SafetensorError as error:
        raise ValueError(f"{STATE}: {error}") from None
    return _join(manifest.pop("tree"), tensors), manifest


def _split(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Moves tensors out of a tree into `tensors` and leaves their names."""
    if isinstance(node, Tensor):
        tensors[name] = node.detach().contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"items": [[key, _split(value, f"{name}.{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"list": [_split(value, f"{name}.{index}", tensors) for index, value in enumerate(node)]}
    return {"value": node}


def _join(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    (kind, content) = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _join(value, tensors) for key, value in content}
    if kind == "list":
        return [_join(value, tensors) for value in content]
    return content


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
