"""Removal of the run folder that a start made, when its own nodes refused that start.

The preflight does not search the network for another stack: that takes a node and a second of
discovery at every start. The nodes search at their activation, when the folder already exists.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sql_ros.common.errors import CONFIG_EXIT_CODE
from sql_ros.common.run_folder import LEDGER, METRICS, RUN_FILE, SESSION, traces
from sql_ros.stack.description import Stack
from sql_ros.stack.restarts import Restarts

# files of a run that has not begun
START_FILES = {RUN_FILE, METRICS, SESSION, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", "log"}


def is_refusal(code: int, restarts: Restarts) -> bool:
    """Return whether a process ended because it refused to become active.

    Args:
        code: Its exit code.
        restarts: Knows whether it became active.
    """
    return code == CONFIG_EXIT_CODE and not restarts.was_active


def remove_run_dir(stack: Stack) -> bool:
    """Remove the folders that a start made; call it after all its processes have ended.

    A folder that existed before stays. A folder with files of a run, or of a user, stays too.

    Returns:
        Whether the run folder is gone.
    """
    folder = stack.run_dir
    if folder not in stack.made_folders or not _is_fresh(folder):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another run has been made in it
        for parent in reversed(stack.made_folders[:-1]):
            parent.rmdir()
    return not folder.exists()


def _is_fresh(folder: Path) -> bool:
    """Return whether a folder has only the files that every start writes."""
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
