"""Play the rows of the table, several at a time, and summarise them in figures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from sql_ros.checks.drivers.arms import ARMS
from sql_ros.checks.drivers.row import RowResult, play_row
from sql_ros.checks.drivers.table import DriverRow
from sql_ros.checks.processes import DOMAINS, FIRST_DOMAIN
from sql_ros.common.data_files import share_folder
from sql_ros.common.markdown import markdown_table
from sql_ros.common.worker_pool import worker_pool
from sql_ros.robot.tasks import load_task

PRIORITY = 20  # SCHED_FIFO priority of the double, as of a controller_manager
MAXIMA = (
    "first_step",
    "step",
    "commanded_speed",
    "commanded_tool_speed_m_s",
    "speed",
    "acceleration",
    "tool_speed_m_s",
    "beyond_limits_rad",
    "late_steps",
)


def write_policies(folder: Path) -> dict[str, Path]:
    """Export an untrained policy for each arm without a shipped one. Imports torch.

    Args:
        folder: Folder for the written policies, created if it does not exist.

    Returns:
        ONNX file by name of the arm double, shipped or written.
    """
    from sql_ros.learning.algorithm import AlgorithmConfig
    from sql_ros.learning.export import export_policy
    from sql_ros.learning.learner import Learner
    from sql_ros.learning.networks import Scaling

    folder.mkdir(parents=True, exist_ok=True)
    policies = {}
    for name, arm in ARMS.items():
        if arm.policy:
            policies[name] = share_folder() / arm.policy
            continue
        spec = load_task(arm.task).spec
        scaling = Scaling(spec.observation_offset, spec.observation_scale)
        learner = Learner(AlgorithmConfig(hidden_sizes=(16, 16)), scaling, spec.action_size, 0)
        policies[name] = folder / f"{name}.onnx"
        policies[name].write_bytes(export_policy(learner, spec, 1, "")[0])
    return policies


def play_rows(
    rows: Sequence[DriverRow],
    policies: dict[str, Path],
    folder: Path,
    jobs: int,
    show: Callable[[RowResult], None],
) -> list[RowResult]:
    """Play rows in worker processes, each row in a DDS domain of its own.

    The workers take the real-time priority of a driver if the user may.

    Args:
        rows: Rows of the table.
        policies: ONNX file by name of the arm double.
        folder: Folder for the files of the rows, each in a folder named after its row.
        jobs: Rows at a time.
        show: Called with each result as it comes.

    Returns:
        The results in the order of the rows.
    """
    domains = _domains()
    done: dict[str, RowResult] = {}
    with worker_pool(jobs, spawns=True, initialize=_raise_priority) as pool:
        waiting = [
            pool.submit(play_row, row, policies, folder / str(row), next(domains)) for row in rows
        ]
        for future in as_completed(waiting):
            result = future.result()
            done[result.row] = result
            show(result)
    return [done[str(row)] for row in rows]


def figures_of(results: Sequence[RowResult]) -> dict[str, float]:
    """Return the counts of rows, and the largest value of each figure in `MAXIMA` over all rows
    that ran.

    Args:
        results: Results of the rows.

    Returns:
        Figures by name: `driver_cases`, `driver_cases_failed`, `driver_cases_not_run` and
        `driver_largest_<figure>`, which is 0 without a row.
    """
    states = [result.state for result in results]
    figures = {
        "driver_cases": float(len(states) - states.count("not run")),
        "driver_cases_failed": float(states.count("failed")),
        "driver_cases_not_run": float(states.count("not run")),
    }
    for name in MAXIMA:
        values = [result.figures[name] for result in results if name in result.figures]
        figures[f"driver_largest_{name}"] = max(values, default=0.0)
    return figures


def line(result: RowResult) -> str:
    """Return state, name, duration and reason of a row as one line of text."""
    reason = f"  {result.reason}" if result.reason else ""
    return f"{result.state:8s} {result.row:50s} {result.wall_s:5.1f} s{reason}"


def table(results: Sequence[RowResult]) -> str:
    """Return all rows as a Markdown table with a newline at its end.

    Args:
        results: Results of the rows.
    """
    header = ["arm / mode / case", "outcome", "largest step", "tool [m/s]", "why"]
    cells = []
    for result in results:
        figures = result.figures
        step = max(figures.get("first_step", 0.0), figures.get("step", 0.0))
        tool_speed = figures.get("tool_speed_m_s", 0.0)
        cells.append([result.row, result.state, f"{step:.2f}", f"{tool_speed:.2f}", result.reason])
    return markdown_table(header, cells) + "\n"


def _raise_priority() -> None:
    """Give this process the real-time priority of a driver if the user may; child processes do not
    inherit it.
    """
    with contextlib.suppress(PermissionError):
        policy = (
            os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        )  # the stack, a child process, does not inherit the priority
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))


def _domains() -> Iterator[int]:
    """Yield DDS domains of checks without end, in turn, beginning at one that depends on the
    process id.
    """
    number = os.getpid()
    while True:
        yield FIRST_DOMAIN + number % DOMAINS
        number += 1
