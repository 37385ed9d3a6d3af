"""The folder of a run: the files of an earlier run, run.json, and the lock.

A stack and `sql-ros train` use the same functions.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from sql_ros.common.errors import ConfigError

# task and mode of the run, whether its arm is real, and the process that holds the lock
RUN_FILE = "run.json"
REPORTS = ("report.md", "figures.json", "trials.csv")
METRICS = "metrics.jsonl"
LEDGER = "transitions.sqlite"
SESSION = "session"  # of the last start that had a learner
ENDS = "SELECT MIN(number), MAX(number) FROM records"


def traces(folder: Path) -> list[str]:
    """Return the names of the files and folders of an earlier run, empty without one.

    The metrics are left out: the monitor of a stack opens them before the learner checks the
    folder.
    """
    found = ["checkpoints/"] if (folder / "checkpoints").is_dir() else []
    found += [LEDGER] if has_transitions(folder / LEDGER) else []
    return found + [name for name in REPORTS if (folder / name).exists()]


def check_is_unused(folder: Path, advice: str) -> None:
    """Check that a folder has no earlier run, which a new one would mix with or overwrite.

    Args:
        folder: Folder of the new run; it need not be there.
        advice: The end of the error: what the user can do instead.

    Raises:
        ConfigError: The folder has an earlier run.
    """
    found = traces(folder)
    metrics = folder / METRICS
    if metrics.is_file() and metrics.stat().st_size:
        found.append(METRICS)
    if found:
        raise ConfigError(f"{folder} has an earlier run ({', '.join(found)}): {advice}")


def has_transitions(path: Path) -> bool:
    """Return whether a ledger has records; True for a damaged one."""
    return ledger_ends(path) != (0, 0)


def ledger_ends(path: Path) -> tuple[int, int]:
    """Return the smallest and largest number of a ledger's records.

    The file and its folder stay as they are. What a killed process left in a write-ahead log is
    read from a copy. The answer is (0, 0) without records, (-1, -1) if the ledger is damaged.
    """
    if not path.exists():
        return 0, 0
    log = path.with_name(path.name + "-wal")
    if not log.exists() or not log.stat().st_size:
        return _ends(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
    with TemporaryDirectory() as folder:
        copied = shutil.copy(path, folder)
        shutil.copy(log, folder)
        return _ends(Path(copied).as_uri())


def _ends(uri: str) -> tuple[int, int]:
    """Return the smallest and largest number of the records of a database; see `ledger_ends`."""
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            (ends,) = database.execute(ENDS)
    except sqlite3.OperationalError as error:
        return (0, 0) if "no such table" in str(error) else (-1, -1)
    except sqlite3.Error:
        return -1, -1
    return ends[0] or 0, ends[1] or 0


def read_run(folder: Path) -> dict[str, Any]:
    """Return the content of run.json; empty if it cannot be read or is no JSON object."""
    try:
        content = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_is_unlocked(folder: Path) -> None:
    """Check that no running process holds the lock of a folder; nothing is changed.

    A lock ends with its process, however that ended.

    Raises:
        ConfigError: One does.
    """
    try:
        file = (folder / RUN_FILE).open("rb")
    except OSError:
        return
    with file:
        _lock(file, folder, fcntl.LOCK_SH)


def check_can_be_made(folder: Path, name: str) -> None:
    """Check that the folder of a run is there, or can be made, and can be written to.

    Args:
        folder: Folder of the run.
        name: Name of the option, for the error.

    Raises:
        ConfigError: A file is in its place, or the file system does not let this process write.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"{name} {folder} cannot be made: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{name} {folder} cannot be written to: {there} is read-only")


def missing_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders that `mkdir` would make for a folder, outermost first."""
    return tuple(path for path in (*reversed(folder.parents), folder) if not path.exists())


def claim(folder: Path, content: dict[str, Any]) -> IO[bytes]:
    """Lock the folder of a run for this process, and write run.json.

    Args:
        folder: Folder of the run, which is there.
        content: Plain JSON values. "holder" says who has the lock; without it, a running stack.

    Returns:
        The open file: the lock lasts until it is closed, or the process ends. Children do not
        inherit it.

    Raises:
        ConfigError: Another process uses the folder, or it cannot be written.
    """
    try:
        descriptor = os.open(folder / RUN_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"run_dir {folder} cannot be written to: {error.strerror}") from None
    file = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        _lock(file, folder, fcntl.LOCK_EX)
        _overwrite(file, (json.dumps({**content, "pid": os.getpid()}) + "\n").encode())
    except OSError as error:
        file.close()
        raise ConfigError(f"run_dir {folder} cannot be written to: {error.strerror}") from None
    except ConfigError:
        file.close()
        raise
    return file


def _overwrite(file: IO[bytes], content: bytes) -> None:
    """Replace the content of a file that stays open and locked.

    It is truncated last: a full disk still takes bytes in the place of others.

    Raises:
        OSError: Not all of the content is written.
    """
    written = file.write(content)
    if written != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.truncate(len(content))


def _lock(file: IO[bytes], folder: Path, kind: int) -> None:
    """Lock an open file without waiting.

    Args:
        file: run.json.
        folder: That it is in, for the error.
        kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.

    Raises:
        ConfigError: Another process holds the lock.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        content = read_run(folder)
        holder = content.get("holder", "a running stack")
        raise ConfigError(
            f"{folder} is in use by {holder} (process {content.get('pid', 'unknown')}): give"
            " another folder, or end that one"
        ) from None
    except OSError:
        pass  # a file system without locks: the ledger's own lock remains
