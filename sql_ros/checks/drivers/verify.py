"""All rows of the table, some at a time, and their figures."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from sql_ros.checks.drivers.arms import ARMS
from sql_ros.checks.drivers.row import Outcome, play_row
from sql_ros.checks.drivers.table import Row
from sql_ros.core.parent import ending_with_this_process
from sql_ros.robot.tasks import load_task
from sql_ros.share import share_folder

FIRST_DOMAIN, DOMAINS = 51, 50  # tests take those below
PRIORITY = 20  # of the double, as a controller_manager has one
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
    """Export an untrained policy for each arm that ships none; return a file per arm.

    Imports torch.
    """
    from sql_ros.core.export import export_policy
    from sql_ros.core.learner import AlgorithmConfig, Learner
    from sql_ros.core.networks import Scaling

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
    rows: Sequence[Row],
    policies: dict[str, Path],
    folder: Path,
    jobs: int,
    show: Callable[[Outcome], None],
) -> list[Outcome]:
    """Play rows, `jobs` at a time, each in a domain of its own; return their outcomes in order."""
    domains = _domains()
    context = multiprocessing.get_context("spawn")
    done: dict[str, Outcome] = {}
    start = partial(_start_worker, ending_with_this_process())
    with ProcessPoolExecutor(jobs, context, initializer=start) as pool:
        waiting = [pool.submit(play_row, row, policies, folder / str(row), next(domains)) for row in rows]
        for future in as_completed(waiting):
            outcome = future.result()
            done[outcome.row] = outcome
            show(outcome)
    return [done[str(row)] for row in rows]


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return counts, and the largest of each figure over all rows that ran."""
    states = [outcome.state for outcome in outcomes]
    figures = {
        "driver_cases": float(len(states) - states.count("not run")),
        "driver_cases_failed": float(states.count("failed")),
        "driver_cases_not_run": float(states.count("not run")),
    }
    for name in MAXIMA:
        values = [outcome.figures[name] for outcome in outcomes if name in outcome.figures]
        figures[f"driver_largest_{name}"] = max(values, default=0.0)
    return figures


def line(outcome: Outcome) -> str:
    """Return a row of the table as text."""
    why = f"  {outcome.why}" if outcome.why else ""
    return f"{outcome.state:8s} {outcome.row:50s} {outcome.wall_s:5.1f} s{why}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return all rows as a Markdown table."""
    head = "| arm / mode / case | outcome | largest step | tool [m/s] | why |\n|---|---|---|---|---|"
    lines = [
        f"| {outcome.row} | {outcome.state} | "
        f"{max(outcome.figures.get('first_step', 0.0), outcome.figures.get('step', 0.0)):.2f} | "
        f"{outcome.figures.get('tool_speed_m_s', 0.0):.2f} | {outcome.why} |"
        for outcome in outcomes
    ]
    return "\n".join([head, *lines, ""])


def _start_worker(end_with_parent: Callable[[], None]) -> None:
    """Give the double the priority of a real driver, where this user may."""
    end_with_parent()
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # the stack does not inherit it
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))


def _domains() -> Iterator[int]:
    number = os.getpid()
    while True:
        yield FIRST_DOMAIN + number % DOMAINS
        number += 1
