"""How the cost of an update grows with the particles and with the batch."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sql_ros.bench.contenders import Problem, ours
from sql_ros.bench.learner import torch_threads
from sql_ros.bench.report import aligned

VALUE_PARTICLES = (8, 16, 32, 64)
BATCHES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Line:
    """Cost along one size.

    Attributes:
        name: the field of `Problem` that varies.
        sizes: its values.
        seconds: median time of an update at each [s].
        doubling: cost of each size over the cost of the one before; median of the ratios within the repeats.
    """

    name: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    doubling: tuple[float, ...]

    @property
    def fit(self) -> tuple[float, float, float]:
        """Least squares, seconds = intercept + slope x size: intercept [s], slope [s], R^2."""
        x, y = np.array(self.sizes, float), np.array(self.seconds)
        slope, intercept = np.polyfit(x, y, 1)
        residual = np.square(y - intercept - slope * x).sum()
        return float(intercept), float(slope), float(1.0 - residual / np.square(y - y.mean()).sum())


def sweep(
    problem: Problem | None = None,
    value_particles: Sequence[int] = VALUE_PARTICLES,
    batches: Sequence[int] = BATCHES,
    settings: Mapping[str, Any] | None = None,
    threads: int = 2,
    repeats: int = 5,
    seconds_per_repeat: float = 0.3,
) -> list[Line]:
    """Times updates of our learner along value particles, then along the batch, all else as in `problem`; sizes in turn."""
    problem = problem or Problem()
    rhythm = (settings or {}, repeats, seconds_per_repeat)
    with torch_threads(threads):
        return [_line(problem, "value_particles", value_particles, *rhythm), _line(problem, "batch", batches, *rhythm)]


def sweep_table(lines: Sequence[Line]) -> str:
    """Markdown: one row per size, one fit per line."""
    rows, fits = [], []
    for line in lines:
        growth = ["-", *(f"{value:.2f}" for value in line.doubling)]
        rows += [[line.name, str(size), f"{1e3 * cost:.2f}", more] for size, cost, more in zip(line.sizes, line.seconds, growth)]
        intercept, slope, r_squared = line.fit
        fits.append(f"{line.name}: {1e3 * intercept:.2f} ms + {1e3 * slope:.4f} ms each, R^2 {r_squared:.4f}")
    return aligned(["size", "value", "update [ms]", "x the one before"], rows) + "\n\n" + "\n".join(fits)


def sweep_figures(lines: Sequence[Line]) -> dict[str, float]:
    """Flat numbers: seconds at each size, R^2 and the largest ratio between neighbours."""
    values: dict[str, float] = {}
    for line in lines:
        values |= {f"update_s_{line.name}_{size}": cost for size, cost in zip(line.sizes, line.seconds)}
        values |= {f"r_squared_{line.name}": line.fit[2], f"largest_doubling_{line.name}": max(line.doubling)}
    return values


def _line(problem: Problem, name: str, sizes: Sequence[int], settings: Mapping[str, Any], repeats: int, seconds: float) -> Line:
    crowd = [ours(dataclasses.replace(problem, **{name: size}), str(size), settings) for size in sizes]
    for contender in crowd:
        contender.run(3)
    counts = [max(1, round(seconds / contender.seconds(3))) for contender in crowd]
    costs = np.array([[contender.seconds(count) for contender, count in zip(crowd, counts)] for _ in range(repeats)])
    growth = np.median(costs[:, 1:] / costs[:, :-1], axis=0)
    medians = [statistics.median(column) for column in costs.T.tolist()]
    return Line(name, tuple(sizes), tuple(medians), tuple(growth.tolist()))
