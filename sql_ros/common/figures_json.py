"""Figures files: the numbers of a result by name, with command, seed and versions, for scripts."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from sql_ros import __version__
from sql_ros.common.atomic_file import write_atomically

PACKAGES = (
    "numpy",
    "mujoco",
    "onnxruntime",
    "torch",
    "gymnasium",
    "onnx",
    "safetensors",
    "ros-rclpy",
    "stable-baselines3",
)


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on, by name.

    The names are "sql_ros", "python", "machine" (the platform), and those of `PACKAGES` that are
    installed.
    """
    found = {
        "sql_ros": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def merge_versions(runs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge the versions behind several runs.

    Args:
        runs: Versions of each run by name.

    Returns:
        Versions by name; several versions of one name are joined by commas.
    """
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(each) for name, each in found.items()}


def write_figures(
    path: Path, figures: Mapping[str, float], seed: int, command: str | None = None
) -> None:
    """Write a JSON file with "command", "seed", "versions" and "figures".

    Args:
        path: Path of the file; its folder is made.
        figures: Numbers by name.
        seed: Seed of the run.
        command: Command that made the figures; None: the command of this process.

    Raises:
        OSError: The file cannot be written.
    """
    content = {
        "command": command or command_line(),
        "seed": seed,
        "versions": versions(),
        "figures": dict(figures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def command_line() -> str:
    """Return the command of this process as a user would type it into a shell."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
