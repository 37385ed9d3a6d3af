"""Figures files: flat numbers with the command, the seed and the versions behind them, for scripts to read."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Iterable, Mapping

from sql_ros import __version__

PACKAGES = ("numpy", "mujoco", "onnxruntime", "torch", "gymnasium", "onnx", "safetensors", "ros-rclpy", "stable-baselines3")


def versions() -> dict[str, str]:
    """Versions of what a result may depend on; those not installed are left out."""
    found = {"sql_ros": __version__, "python": platform.python_version(), "machine": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def joined(runs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Versions behind several runs as one: where they differ, each that occurs."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(each) for name, each in found.items()}


def write_figures(path: Path, figures: Mapping[str, float], seed: int, command: str | None = None) -> None:
    """Writes {"command", "seed", "versions", "figures"}.

    Args:
        path: the file; its folder is made.
        figures: name to number.
        seed: of the run.
        command: that gave them; None: that of this process.
    """
    content = {"command": command or command_line(), "seed": seed, "versions": versions(), "figures": dict(figures)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def command_line() -> str:
    """The command of this process as a person would type it into a shell."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
