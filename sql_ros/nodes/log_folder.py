"""The folder of ROS log files. Without a writable one rcl would start no node."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path


def choose_log_folder() -> str:
    """Set ROS_LOG_DIR to a temporary folder if the default one cannot be written to.

    Returns:
        The reason and the folder chosen; empty if nothing was changed.
    """
    if os.environ.get("ROS_LOG_DIR"):
        return ""
    reason = _unwritable(_default_folder())
    if not reason:
        return ""
    folder = Path(tempfile.gettempdir()) / f"sql_ros_log_{os.getuid()}"
    if problem := _unwritable(folder):
        return f"{reason}, and {problem}: set ROS_LOG_DIR"
    os.environ["ROS_LOG_DIR"] = str(folder)
    return f"{reason}: log files of ROS go to {folder}"


def make_log_file(name: str) -> Path:
    """Create the log file of this process, named as rcl names it; return its path.

    Args:
        name: Name of the executable.

    Raises:
        OSError: It cannot be created.
    """
    given = os.environ.get("ROS_LOG_DIR")
    folder = Path(given).expanduser() if given else _default_folder()
    if folder is None:
        raise OSError("HOME is not set")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}_{os.getpid()}_{time.time_ns() // 1_000_000}.log"
    file.touch()
    return file


def _default_folder() -> Path | None:
    """Return the folder that rcl uses by default; None without a home."""
    if home := os.environ.get("ROS_HOME"):
        return Path(home) / "log"
    if home := os.environ.get("HOME"):
        return Path(home) / ".ros" / "log"
    return None


def _unwritable(folder: Path | None) -> str:
    """Return why a folder cannot be written to, empty if it can; create it if it is missing."""
    if folder is None:
        return "HOME is not set"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be created ({error.strerror})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written to"
