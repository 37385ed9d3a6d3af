"""The style of the papers' figures: a colour for each algorithm, medians with bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.plotting import pyplot

plt = pyplot()
COLOURS = {"sql": "#1f4e79", "sac": "#e08e0b", "ddpg": "#3c8d5a", "random": "#8a8f98"}
LABELS = {"sql": "soft Q-learning", "sac": "SAC", "ddpg": "DDPG", "random": "from nothing"}


def panels(
    columns: int, rows: int = 1, *, size: tuple[float, float] = (4.2, 3.6)
) -> tuple[Any, Any]:
    """Return a figure and its axes (rows, columns).

    Args:
        columns: Columns of panels.
        rows: Rows of panels.
        size: Size of a panel [in].
    """
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        constrained_layout=True,
        squeeze=False,
    )
    return figure, axes


def bands(
    axes: Any,
    steps: Sequence[float],
    lines: npt.ArrayLike,
    contender: str,
    label: str | None = None,
) -> None:
    """Draw every run as a thin line, the median as a thick one, and a band over all of them.

    Args:
        axes: To draw into.
        steps: (points,).
        lines: (runs, points).
        contender: Key of `COLOURS`.
        label: For the legend; None: the name of the contender and the number of runs.
    """
    values = np.asarray(lines, np.float64)
    colour = COLOURS[contender]
    axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
    axes.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.5)
    axes.plot(
        steps,
        np.median(values, 0),
        color=colour,
        linewidth=2.2,
        label=label or f"{LABELS[contender]}, {len(values)} seeds",
    )


def tidy(axes: Any) -> None:
    """Add a pale grid, and remove the upper and the right border."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: Path) -> str:
    """Write a figure to a file and close it; return the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path.name
