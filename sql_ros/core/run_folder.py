"""The folder of a run: what an earlier run left, its task, and the lock of the stack that uses it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from sql_ros.core.errors import ConfigError

RUN_FILE = "run.json"  # task and mode of the run, and the process that has it locked
REPORTS = ("report.md", "figures.json", "trials.csv")
METRICS = "metrics.jsonl"
LEDGER = "transitions.sqlite"
ENDS = "SELECT MIN(number), MAX(number) FROM records"


def traces(folder: Path) -> list[str]:
    """Return the names of what an earlier run left in a folder.

    The metrics are not among them: the monitor of a stack opens them before the learner looks.
    """
    found = ["checkpoints/"] if (folder / "checkpoints").is_dir() else []
    found += [LEDGER] if has_transitions(folder / LEDGER) else []
    return found + [name for name in REPORTS if (folder / name).exists()]


def check_is_unused(folder: Path, advice: str) -> None:
    """Check that no earlier run would be mixed with a new one, or lose its report to it.

    Args:
        folder: of the new run; it need not be there.
        advice: what else to do, for the error.

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
    """Return whether a ledger has records; a damaged one may have."""
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
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            (ends,) = database.execute(ENDS)
    except sqlite3.OperationalError as error:
        return (0, 0) if "no such table" in str(error) else (-1, -1)
    except sqlite3.Error:
        return -1, -1
    return ends[0] or 0, ends[1] or 0


def read_run(folder: Path) -> dict[str, Any]:
    """Return what a run says of itself; empty where it says nothing."""
    try:
        content = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_is_unlocked(folder: Path) -> None:
    """Check that no running stack uses a folder; a lock ends with its process, however that ended.

    Raises:
        ConfigError: One does.
    """
    try:
        file = (folder / RUN_FILE).open("rb")
    except OSError:
        return
    with file:
        _lock(file, folder, fcntl.LOCK_SH)


def claim(folder: Path, content: dict[str, Any]) -> IO[bytes]:
    """Lock the folder of a run for this process, and note what run it is.

    Args:
        folder: of the run, which is there.
        content: plain JSON values.

    Returns:
        The open file: the lock lasts until it is closed, or the process ends. Children do not
        inherit it.

    Raises:
        ConfigError: A running stack uses the folder, or it cannot be written.
    """
    try:
        descriptor = os.open(folder / RUN_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"run_dir {folder} cannot be written to: {error.strerror}") from None
    file = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        _lock(file, folder, fcntl.LOCK_EX)
        file.truncate(0)
        file.write((json.dumps({**content, "pid": os.getpid()}) + "\n").encode())
    except OSError as error:
        file.close()
        raise ConfigError(f"run_dir {folder} cannot be written to: {error.strerror}") from None
    except ConfigError:
        file.close()
        raise
    return file


def _lock(file: IO[bytes], folder: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = read_run(folder).get("pid", "unknown")
        raise ConfigError(f"{folder} is in use by a running stack (process {pid}): give another run_dir, or end that one") from None
    except OSError:
        pass  # a file system without locks: the ledger's own lock remains
