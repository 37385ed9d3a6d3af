"""Find the launch arguments that start a run again, for its report."""

from __future__ import annotations

import os
from pathlib import Path

from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS
from sql_ros.stack.settings import Settings


def repeat_arguments(settings: Settings) -> tuple[str, ...]:
    """Return the launch arguments, as name:=value, that start the same stack again in the same
    working folder.

    Returned are the given arguments, and the task. The folder of a new run is left out, because a
    second run in it would be refused. Links in the path of the policy are resolved, because the
    target of `runs/latest` changes.

    Args:
        settings: Settings of the stack.
    """
    repeated = {*settings.given, "task"}
    names = [argument.name for argument in SAWYER_STACK_ARGUMENTS if argument.name in repeated]
    values = {name: settings.args[name] for name in names}
    if settings.resume:
        values["run_dir"] = _shown(settings.run_dir)
    else:
        values.pop("run_dir", None)
    if settings.policies:
        values["policy"] = ",".join(_shown(path) for path in settings.policies)
    return tuple(f"{name}:={value}" for name, value in values.items())


def _shown(path: Path) -> str:
    """Return a path relative to the working folder if it is inside it, otherwise as it is."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
