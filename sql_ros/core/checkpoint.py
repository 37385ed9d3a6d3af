"""Checkpoints that survive a crash: safetensors and a JSON manifest with SHA-256, written beside, synced, then renamed.

A folder `checkpoints/` holds `step-000001000/` (`state.safetensors`, `manifest.json`) and so on, the last `KEPT` of them. Nothing is
pickled. A damaged one is skipped with a warning and the one before is used. One that is written anew, since updates, policies or sequence
numbers came without transitions, stays as `step-000001000.before` until the new one has its name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sql_ros.core.errors import CheckpointError

FORMAT = "sql_ros.checkpoint/2"  # in 1 every matrix of a network was a tensor of its own
KEPT = 2
BEFORE = ".before"
MALFORMED = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, StopIteration)  # a tree of another shape
_logger = logging.getLogger(__name__)


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
        save_file(tensors, draft / "state.safetensors")
        digest = _sha256(draft / "state.safetensors")
        text = json.dumps({"format": FORMAT, "sha256": digest, "tree": tree, **manifest})
        (draft / "manifest.json").write_text(json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text}))
        for path in (draft / "state.safetensors", draft / "manifest.json", draft):
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
    """Reads the newest sound checkpoint in `folder`: its state and its manifest.

    Raises:
        CheckpointError: there is none; says what is wrong with each.
    """
    faults = []
    for path in reversed(checkpoints(folder)):
        try:
            return _read(path)
        except (OSError, *MALFORMED, SafetensorError) as error:
            faults.append(f"{path.name}: {error}")
            _logger.warning("damaged checkpoint %s is skipped: %s", path, error)
    raise CheckpointError(f"no sound checkpoint in {folder}: {'; '.join(faults) or 'the folder has none'}")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*"), key=lambda path: (path.stem, path.suffix != BEFORE))


def step_of(checkpoint: Path) -> int:
    """The transitions that were added when it was written."""
    return int(checkpoint.stem.removeprefix("step-"))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    sealed = json.loads((path / "manifest.json").read_text())
    if hashlib.sha256(sealed["content"].encode()).hexdigest() != sealed["sha256"]:
        raise ValueError("manifest.json does not match its SHA-256")
    manifest = json.loads(sealed["content"])
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']!r}, expected {FORMAT!r}")
    if _sha256(path / "state.safetensors") != manifest["sha256"]:
        raise ValueError("state.safetensors does not match its SHA-256")
    return _join(manifest.pop("tree"), load_file(path / "state.safetensors")), manifest


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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
