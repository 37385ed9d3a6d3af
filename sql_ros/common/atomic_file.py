"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a draft beside a file, sync the draft to disk, and rename it to the file.

    An earlier file stays if the disk has no room for the new one, or if the process is killed.

    Args:
        path: Path of the file, in a folder that exists.
        content: Content of the file; text is encoded as UTF-8.

    Raises:
        OSError: The file cannot be written; the draft is removed.
    """
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
