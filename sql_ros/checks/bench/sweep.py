"""Cost of an update of the learner as a function of the number of value particles and of the batch
size.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sql_ros.checks.bench.implementations import UpdateProblem, ours
from sql_ros.checks.bench.learner import torch_threads
from sql_ros.common.markdown import padded_table

VALUE_PARTICLES = (8, 16, 32, 64)
BATCHES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Line:
    """Cost of an update along one size, with all other sizes fixed.

    Attributes:
        name: The field of `UpdateProblem` that varies.
        sizes: Values of that field, in the order measured.
        seconds: Median time of an update at each value [s].
        doubling: Cost at each value over the cost at the value before: median of the ratios within
            the repeats. One element fewer than `sizes`.
    """

    name: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    doubling: tuple[float, ...]

    @property
    def fit(self) -> tuple[float, float, float]:
        """Fit seconds = intercept + slope x size by least squares.

        Returns:
            Intercept [s], slope [s per unit of the size], and the coefficient of determination R^2.
        """
        x = np.array(self.sizes, float)
        y = np.array(self.seconds)
        slope, intercept = np.polyfit(x, y, 1)
        residual = np.square(y - intercept - slope * x).sum()
        return float(intercept), float(slope), float(1.0 - residual / np.square(y - y.mean()).sum())


def sweep(
    problem: UpdateProblem | None = None,
    value_particles: Sequence[int] = VALUE_PARTICLES,
    batches: Sequence[int] = BATCHES,
    settings: Mapping[str, Any] | None = None,
    threads: int = 2,
    repeats: int = 5,
    seconds_per_repeat: float = 0.3,
) -> list[Line]:
    """Measure updates of the learner of this package along the value particles, then along the
    batch.

    Args:
        problem: All other sizes; None: the defaults of `UpdateProblem`.
        value_particles: Numbers of value particles, ascending.
        batches: Batch sizes, ascending.
        settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes; None: no
            changes.
        threads: Threads of torch during the measurement.
        repeats: Rounds in which each size has one turn.
        seconds_per_repeat: Length of one turn [s].

    Returns:
        The line of the value particles, then the line of the batch.
    """
    problem = problem or UpdateProblem()
    rhythm = (settings or {}, repeats, seconds_per_repeat)
    with torch_threads(threads):
        return [
            _measure_line(problem, "value_particles", value_particles, *rhythm),
            _measure_line(problem, "batch", batches, *rhythm),
        ]


def sweep_table(lines: Sequence[Line]) -> str:
    """Return a padded Markdown table with one row per size, and the linear fit of each line below
    the table.

    Args:
        lines: Result of `sweep`.
    """
    rows = []
    fits = []
    for line in lines:
        growth = ["-", *(f"{value:.2f}" for value in line.doubling)]
        rows += [
            [line.name, str(size), f"{1e3 * cost:.2f}", more]
            for size, cost, more in zip(line.sizes, line.seconds, growth)
        ]
        intercept, slope, r_squared = line.fit
        fits.append(
            f"{line.name}: {1e3 * intercept:.2f} ms + {1e3 * slope:.4f} ms each, R^2"
            f" {r_squared:.4f}"
        )
    return (
        padded_table(["size", "value", "update [ms]", "x the one before"], rows)
        + "\n\n"
        + "\n".join(fits)
    )


def sweep_figures(lines: Sequence[Line]) -> dict[str, float]:
    """Return the measurements as figures by name.

    Args:
        lines: Result of `sweep`.

    Returns:
        `update_s_<field>_<size>`: time of an update [s]. `r_squared_<field>`: quality of the linear
        fit. `largest_doubling_<field>`: largest ratio of a size to the size before.
    """
    values: dict[str, float] = {}
    for line in lines:
        values |= {
            f"update_s_{line.name}_{size}": cost for size, cost in zip(line.sizes, line.seconds)
        }
        values |= {
            f"r_squared_{line.name}": line.fit[2],
            f"largest_doubling_{line.name}": max(line.doubling),
        }
    return values


def _measure_line(
    problem: UpdateProblem,
    name: str,
    sizes: Sequence[int],
    settings: Mapping[str, Any],
    repeats: int,
    seconds: float,
) -> Line:
    """Measure updates along one size; all sizes have one turn in each round.

    Args:
        problem: All other sizes.
        name: The field of `UpdateProblem` that varies.
        sizes: Values of that field.
        settings: Fields of `AlgorithmConfig` that replace the defaults and the sizes.
        repeats: Rounds in which each size has one turn.
        seconds: Length of one turn [s].
    """
    implementations = [
        ours(dataclasses.replace(problem, **{name: size}), str(size), settings) for size in sizes
    ]
    for each in implementations:
        each.run(3)
    counts = [max(1, round(seconds / each.seconds(3))) for each in implementations]
    costs = np.array(
        [
            [
                implementation.seconds(count)
                for implementation, count in zip(implementations, counts)
            ]
            for _ in range(repeats)
        ]
    )
    growth = np.median(costs[:, 1:] / costs[:, :-1], axis=0)
    medians = [statistics.median(column) for column in costs.T.tolist()]
    return Line(name, tuple(sizes), tuple(medians), tuple(growth.tolist()))
