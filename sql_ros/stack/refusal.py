"""Remove the run folder that a start has made, if a node of the stack then refused to start.

A node refuses, for example, because another stack runs in its namespace. The preflight cannot find
that: it would need a node and a second of discovery at every start. The nodes find it at their
activation, when the folder already exists.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sql_ros.common.errors import CONFIG_EXIT_CODE
from sql_ros.common.run_folder import LEDGER, METRICS, RUN_FILE, SESSION, traces
from sql_ros.stack.description import Stack
from sql_ros.stack.restarts import Restarts

# files that every start writes, before a run has begun
START_FILES = {RUN_FILE, METRICS, SESSION, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", "log"}


def is_refusal(code: int, restarts: Restarts) -> bool:
    """Return whether a process ended because it refused to become active.

    Args:
        code: Exit code of the process.
        restarts: Restart rule of the process, which knows whether it has become active.
    """
    return code == CONFIG_EXIT_CODE and not restarts.was_active


def remove_run_dir(stack: Stack) -> bool:
    """Remove the run folder and the parent folders that this start has made.

    Call it after all processes have ended. Nothing is removed if the run folder existed before, or
    contains files of a run or of a user.

    Args:
        stack: The stack; gives `run_dir` and `made_folders`.

    Returns:
        Whether the run folder was removed.
    """
    folder = stack.run_dir
    if folder not in stack.made_folders or not _is_fresh(folder):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # a parent folder has another run by now
        for parent in reversed(stack.made_folders[:-1]):
            parent.rmdir()
    return not folder.exists()


def _is_fresh(folder: Path) -> bool:
    """Return whether a folder contains only files that every start writes, with no metrics yet;
    False if the folder cannot be read.
    """
    try:
        metrics = folder / METRICS
        has_metrics = metrics.exists() and metrics.stat().st_size > 0
        return (
            not has_metrics
            and not traces(folder)
            and {path.name for path in folder.iterdir()} <= START_FILES
        )
    except OSError:
        return False
