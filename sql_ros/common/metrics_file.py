"""metrics.jsonl: one JSON object a line, read whatever the file has become."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sql_ros.common.atomic_file import write_atomically


class MetricsFile:
    """Appends lines, each flushed at once.

    Args:
        path: Path of the file. Its content stays; a last line that is torn is ended before the
            next.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # no buffer: what a full disk did not take would come later, behind a torn line
        self._file = path.open("ab+", buffering=0)

    def write(self, kind: str, wall_s: float, **values: Any) -> None:
        """Append a line with "kind", "wall_s" [s] and other values.

        Raises:
            OSError: Not all of the line is in the file.
        """
        self.append({"kind": kind, "wall_s": round(wall_s, 3), **values})

    def append(self, values: Mapping[str, Any]) -> None:
        """Append a line. A number that is not finite becomes null: JSON has none.

        Raises:
            OSError: Not all of the line is in the file.
        """
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        line = json.dumps(finite) + "\n"
        rest = (line if self._is_whole() else f"\n{line}").encode()
        while rest:
            rest = rest[self._file.write(rest) :]

    def _is_whole(self) -> bool:
        """Return whether the last line has an end."""
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return not size or os.pread(descriptor, 1, size - 1) == b"\n"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file that are JSON objects, in order.

    Other lines are passed over: a full disk or a power cut tears one.

    Raises:
        OSError: The file is there, but cannot be read.
    """
    return [values for _, values in _lines(path) if values is not None]


def drop_metrics_after(path: Path, steps: int) -> int:
    """Remove the lines that are of more transitions than a checkpoint, which a resumed run repeats.

    Args:
        path: Path of the file; it need not be there.
        steps: Transitions of the checkpoint. Lines without a number "steps" stay.

    Returns:
        How many lines were removed. Without any the file is not touched.

    Raises:
        OSError: The file cannot be read or written.
    """
    lines = _lines(path)
    kept = [line for line, values in lines if values is None or not _is_after(values, steps)]
    if len(kept) < len(lines):
        write_atomically(path, b"".join(line + b"\n" for line in kept))
    return len(lines) - len(kept)


def _is_after(values: Mapping[str, Any], steps: int) -> bool:
    """Return whether a line is of more transitions than these."""
    made = values.get("steps")
    return isinstance(made, (int, float)) and made > steps


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Return every line of a file, and what it holds; None if it is no JSON object."""
    # a device, such as /dev/full, has no end
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return [(line, _object(line)) for line in lines if line]


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, or None if it is none."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return values if isinstance(values, dict) else None
