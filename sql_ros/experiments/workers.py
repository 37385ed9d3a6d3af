"""Long runs side by side in worker processes, each leaving a file: what stopped goes on with those that are missing."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import torch

from sql_ros.core.errors import ConfigError
from sql_ros.core.memory import keep_freed_memory
from sql_ros.core.parent import ending_with_this_process

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
    """Makes the runs that are not made yet, and prints a line for each as it is.

    Args:
        make: one run, from nothing to its file; returns what its line says. A worker calls it: picklable.
        runs: all of them.
        is_made: whether its file is there.
        jobs: worker processes of one thread each, which live to the end.
        name_of: what the line begins with.
        steps_of: how long it is, to guess the time left.
        imports: modules that every worker imports at its start, so that no run's time has them.

    Returns:
        What went wrong, a line for each failed run; the others are not disturbed by it.

    Raises:
        ConfigError: no worker.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} worker processes, expected 1 or more")
    missing = [run for run in runs if not is_made(run)]
    print(f"{len(missing)} of {len(runs)} runs to make, {jobs} at a time", flush=True)
    failures: list[str] = []
    if not missing:
        return failures
    began, done, total = time.monotonic(), 0, sum(map(steps_of, missing))
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(ending_with_this_process(), tuple(imports))
    ) as pool:
        futures = {pool.submit(make, run): run for run in missing}
        for count, future in enumerate(as_completed(futures), start=1):
            run, error = futures[future], future.exception()
            if error:
                failures.append(f"{name_of(run)}: {error!r}")
            done += steps_of(run)
            left = (time.monotonic() - began) / done * (total - done) / 60.0
            text = f"failed: {error!r}" if error else future.result()
            print(f"{count}/{len(missing)} {name_of(run)} | {text} | {left:.0f} min left", flush=True)
    return failures


def _prepare(end_with_parent: Callable[[], None], imports: Sequence[str]) -> None:
    """Start of a worker."""
    end_with_parent()
    keep_freed_memory()
    torch.set_num_threads(1)
    os.nice(5)
    for name in imports:
        __import__(name)


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Writes a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(content, indent=indent) + "\n")
    partial.replace(path)
