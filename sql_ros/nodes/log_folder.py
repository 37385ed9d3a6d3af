"""Where rcl writes its log files: without a home that can be written to, no node would start."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def choose_log_folder() -> str:
    """Set ROS_LOG_DIR to a temporary folder where the default one cannot be written to.

    Returns:
        Why, and where log files go now; empty if nothing was changed.
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


def _default_folder() -> Path | None:
    """Return the folder that rcl takes by itself; None without a home."""
    if home := os.environ.get("ROS_HOME"):
        return Path(home) / "log"
    if home := os.environ.get("HOME"):
        return Path(home) / ".ros" / "log"
    return None


def _unwritable(folder: Path | None) -> str:
    """Return why a folder cannot be written to, after an attempt to create it."""
    if folder is None:
        return "HOME is not set"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be created ({error.strerror})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written to"
