"""A pool of worker processes that end with the process that made them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from sql_ros.common.child_process import ending_with_this_process


def worker_pool(
    jobs: int, *, spawns: bool = False, initialize: Callable[[], None] | None = None
) -> ProcessPoolExecutor:
    """Return a pool of worker processes, each of which gets SIGTERM when this process ends.

    Args:
        jobs: Number of worker processes.
        spawns: Whether each worker is started as a new interpreter. Otherwise the start method is
            the platform's; a forked worker inherits the modules, and the state of DDS, of this
            process.
        initialize: Function called in each worker at its start; it must be picklable. None: no
            function.

    Returns:
        The pool, which a `with` block shuts down.
    """
    context = multiprocessing.get_context("spawn" if spawns else None)
    start = partial(_start_worker, ending_with_this_process(), initialize)
    return ProcessPoolExecutor(jobs, context, initializer=start)


def _start_worker(
    end_with_parent: Callable[[], None], initialize: Callable[[], None] | None
) -> None:
    """Arrange that this worker ends with its parent, then initialise it.

    Args:
        end_with_parent: Result of `ending_with_this_process`.
        initialize: Function to call; None: no function.
    """
    end_with_parent()
    if initialize is not None:
        initialize()
