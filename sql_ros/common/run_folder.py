"""The folder of a run: files of an earlier run in it, its file run.json, and its lock.

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

# its content: task of the run, hash of the task's code, mode, whether the arm is real, and the
# process with the lock; the lock is on this file
RUN_FILE = "run.json"
REPORTS = ("report.md", "figures.json", "trials.csv")
METRICS = "metrics.jsonl"
LEDGER = "transitions.sqlite"  # the learner's transition log, see `transition_log`
SESSION = "session"  # file with the session id of the last start that had a learner
ENDS = "SELECT MIN(number), MAX(number) FROM records"


def traces(folder: Path) -> list[str]:
    """Return the names of files and folders of an earlier run in a folder; empty without one.

    They are "checkpoints/", a ledger that has records or is damaged, and `REPORTS`.
    metrics.jsonl is left out, because the monitor of a stack opens it before the learner checks the
    folder.
    """
    found = ["checkpoints/"] if (folder / "checkpoints").is_dir() else []
    found += [LEDGER] if has_transitions(folder / LEDGER) else []
    return found + [name for name in REPORTS if (folder / name).exists()]


def check_is_unused(folder: Path, advice: str) -> None:
    """Check that a folder has no earlier run, which a new one would mix with or overwrite.

    An earlier run has left files of `traces`, or a metrics.jsonl that is not empty.

    Args:
        folder: Folder of the new run; it need not exist.
        advice: What the user can do instead, the end of the error.

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
    """Return whether a ledger has records; False if there is no file, True if it is damaged."""
    return ledger_ends(path) != (0, 0)


def ledger_ends(path: Path) -> tuple[int, int]:
    """Return the smallest and largest number of a ledger's records, without changing its folder.

    A write-ahead log that a killed process left is read from a copy.

    Args:
        path: Path of the ledger.

    Returns:
        The two numbers; (0, 0) without records or without a file, (-1, -1) if the ledger is
        damaged.
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
    """Return the smallest and largest number of the records in a database; see `ledger_ends`.

    Args:
        uri: URI of the SQLite file.
    """
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
    """Check that no running process has the lock of a folder; nothing is changed.

    A lock ends with its process, however the process ended. A folder without a readable run.json
    counts as unlocked.

    Raises:
        ConfigError: A running process has the lock.
    """
    try:
        file = (folder / RUN_FILE).open("rb")
    except OSError:
        return
    with file:
        _lock(file, folder, fcntl.LOCK_SH)


def check_can_be_made(folder: Path, name: str) -> None:
    """Check that the folder of a run exists or can be made, and can be written to.

    Args:
        folder: Folder of the run.
        name: Name of the option that gave the folder, for the error.

    Raises:
        ConfigError: A file is in the place of the folder or of one above it, or this process may
            not write there.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"{name} {folder} cannot be made: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{name} {folder} cannot be written to: {there} is read-only")


def missing_folders(folder: Path) -> tuple[Path, ...]:
    """Return those of a folder and its parents that do not exist, outermost first."""
    return tuple(path for path in (*reversed(folder.parents), folder) if not path.exists())


def lock_run_folder(folder: Path, content: dict[str, Any]) -> IO[bytes]:
    """Lock the folder of a run for this process, and write run.json.

    Args:
        folder: Folder of the run, which must exist.
        content: Plain JSON values for run.json; the process id is added as "pid". "holder" says in
            errors of other processes who has the lock; without it they name a running stack.

    Returns:
        The open file run.json. The lock lasts until the file is closed or the process ends. Child
        processes do not inherit the file.

    Raises:
        ConfigError: Another process has the lock, or the folder cannot be written to.
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
    """Replace the content of an open file, which stays locked.

    The file is truncated last, because a full disk still takes bytes in the place of others.

    Args:
        file: The file, opened for writing without a buffer, at its beginning.
        content: The new content.

    Raises:
        OSError: The content was not written completely.
    """
    written = file.write(content)
    if written != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.truncate(len(content))


def _lock(file: IO[bytes], folder: Path, kind: int) -> None:
    """Lock run.json without waiting; do nothing on a file system without locks.

    Args:
        file: The open file run.json.
        folder: Folder of the file, for the error.
        kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.

    Raises:
        ConfigError: Another process has the lock.
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
        pass  # a file system without locks; SQLite still locks the ledger
