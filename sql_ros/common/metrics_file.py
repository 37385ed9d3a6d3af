"""The file metrics.jsonl, one JSON object per line. Damaged lines do not hinder the reader."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sql_ros.common.atomic_file import write_atomically


class MetricsFile:
    """Appends lines to a file, each written to the file at once.

    Args:
        path: Path of the file, made if it does not exist. Its content stays. If the last line has
            no end, a newline is added before the first new line.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # no buffer: a part that a full disk did not take would be written later, after a torn line
        self._file = path.open("ab+", buffering=0)

    def write(self, kind: str, wall_s: float, **values: Any) -> None:
        """Append a line with "kind", "wall_s" and other values.

        Args:
            kind: Kind of the line.
            wall_s: Wall time since the run began [s], rounded to milliseconds.
            values: Other plain JSON values by name; a number that is not finite becomes null.

        Raises:
            OSError: The line was not written completely.
        """
        self.append({"kind": kind, "wall_s": round(wall_s, 3), **values})

    def append(self, values: Mapping[str, Any]) -> None:
        """Append a line.

        Args:
            values: Plain JSON values by name. A number that is not finite becomes null, because
                JSON has no such numbers.

        Raises:
            OSError: The line was not written completely.
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
        """Return whether the file is empty or ends with a newline."""
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return not size or os.pread(descriptor, 1, size - 1) == b"\n"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects in a metrics file, in order.

    Other lines are skipped, such as one that a full disk or a power cut has torn.

    Args:
        path: Path of the file. If it is no regular file, or does not exist, there are no objects.

    Raises:
        OSError: The file exists, but cannot be read.
    """
    return [values for _, values in _lines(path) if values is not None]


def drop_metrics_after(path: Path, steps: int) -> int:
    """Remove the lines that were written after a checkpoint, because a resumed run repeats them.

    Args:
        path: Path of the file; it need not exist.
        steps: Number of transitions in the checkpoint. Lines with a larger "steps" are removed;
            lines without a number "steps" stay.

    Returns:
        Number of lines removed. If it is 0, the file is not written.

    Raises:
        OSError: The file cannot be read or written.
    """
    lines = _lines(path)
    kept = [line for line, values in lines if values is None or not _is_after(values, steps)]
    if len(kept) < len(lines):
        write_atomically(path, b"".join(line + b"\n" for line in kept))
    return len(lines) - len(kept)


def _is_after(values: Mapping[str, Any], steps: int) -> bool:
    """Return whether the values of a line have a "steps" above a number of transitions."""
    made = values.get("steps")
    return isinstance(made, (int, float)) and made > steps


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Return each line of a file that is not empty, with its JSON object, or None if it has none.

    There are no lines if the path is no regular file.
    """
    # only a regular file is read: a device such as /dev/full has no end
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return [(line, _object(line)) for line in lines if line]


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line; None if the line is something else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return values if isinstance(values, dict) else None
