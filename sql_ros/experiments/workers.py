"""Long runs in several worker processes. Each run writes a file; runs with a file are skipped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from sql_ros.common.allocator import keep_freed_memory
from sql_ros.common.atomic_file import write_atomically
from sql_ros.common.errors import ConfigError
from sql_ros.common.worker_pool import worker_pool

Run = TypeVar("Run")


def make_side_by_side(
    make: Callable[[Run], str],
    runs: Sequence[Run],
    is_made: Callable[[Run], bool],
    jobs: int,
    *,
    name_of: Callable[[Run], str] = str,
    steps_of: Callable[[Run], int] = lambda run: 1,
    imports: Iterable[str] = (),
) -> list[str]:
    """Make the runs that have no file yet, and print a line for each one that ends.

    A failed run does not end the others. Workers end with this process.

    Args:
        make: Makes a run, writes its file and returns the text of its line. The function is called
            in a worker process and must be picklable.
        runs: All runs, also those that have a file.
        is_made: Returns whether a run has a file.
        jobs: Number of worker processes, of one thread each.
        name_of: Returns the name of a run, for its line.
        steps_of: Returns the length of a run in any unit, to estimate the time left.
        imports: Names of modules that every worker imports at its start, so that no run's training
            time includes the import.

    Returns:
        A text for each failed run, with its name and exception; empty if none failed.

    Raises:
        ConfigError: `jobs` is below 1.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} worker processes, expected 1 or more")
    missing = [run for run in runs if not is_made(run)]
    print(f"{len(missing)} of {len(runs)} runs to make, {jobs} at a time", flush=True)
    failures: list[str] = []
    if not missing:
        return failures
    began, done, total = time.monotonic(), 0, sum(map(steps_of, missing))
    with worker_pool(jobs, spawns=True, initialize=partial(_prepare, tuple(imports))) as pool:
        futures = {pool.submit(make, run): run for run in missing}
        for count, future in enumerate(as_completed(futures), start=1):
            run, error = futures[future], future.exception()
            if error:
                failures.append(f"{name_of(run)}: {error!r}")
            done += steps_of(run)
            left = (time.monotonic() - began) / done * (total - done) / 60.0
            text = f"failed: {error!r}" if error else future.result()
            print(
                f"{count}/{len(missing)} {name_of(run)} | {text} | {left:.0f} min left", flush=True
            )
    return failures


def _prepare(imports: Sequence[str]) -> None:
    """Prepare a worker: keep freed memory, use one thread, lower the priority, import modules."""
    keep_freed_memory()
    torch.set_num_threads(1)
    os.nice(5)
    for name in imports:
        __import__(name)


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Write a JSON file atomically, and make its folder.

    Args:
        path: Path of the file.
        content: Plain JSON values.
        indent: Spaces per level; None: everything on one line.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=indent) + "\n")
