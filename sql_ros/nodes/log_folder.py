"""Choose a writable folder for ROS log files; without one rcl starts no node."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path


def choose_log_folder() -> str:
    """Set ROS_LOG_DIR to a folder below the temporary folder, if the default folder cannot be
    written to and ROS_LOG_DIR is not set.

    Returns:
        Text for the user: the reason, and the folder chosen or why none was. Empty if nothing had
        to be changed.
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
    """Create the log file of this process with the name that rcl would choose; return its path.

    Args:
        name: Name of the executable.

    Raises:
        OSError: The folder or the file cannot be created, or there is no home folder.
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
    """Return the folder that rcl uses without ROS_LOG_DIR; None if ROS_HOME and HOME are not
    set.
    """
    if home := os.environ.get("ROS_HOME"):
        return Path(home) / "log"
    if home := os.environ.get("HOME"):
        return Path(home) / ".ros" / "log"
    return None


def _unwritable(folder: Path | None) -> str:
    """Create a folder if it is missing, and check that it can be written to.

    Args:
        folder: The folder; None: there is no home folder.

    Returns:
        Why it cannot be written to, in words; empty if it can.
    """
    if folder is None:
        return "HOME is not set"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be created ({error.strerror})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written to"
