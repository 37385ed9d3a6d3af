"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file beside its place, sync it, and rename it.

    The file that was there stays if the disk does not take all of the new one, or the process is
    killed.

    Args:
        path: Path of the file, in a folder that is there.
        content: Text is encoded as UTF-8.

    Raises:
        OSError: It cannot be written; the draft is removed.
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
