"""The style of the papers' figures: a colour for each algorithm, medians with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.plotting import pyplot

plt = pyplot()
COLOURS = {"sql": "#1f4e79", "sac": "#e08e0b", "ddpg": "#3c8d5a", "random": "#8a8f98"}
# "random": training that starts without a pretrained policy
LABELS = {"sql": "soft Q-learning", "sac": "SAC", "ddpg": "DDPG", "random": "from nothing"}


def panels(
    columns: int, rows: int = 1, *, size: tuple[float, float] = (4.2, 3.6)
) -> tuple[Any, Any]:
    """Create a figure with panels.

    Args:
        columns: Number of columns of panels.
        rows: Number of rows of panels.
        size: Width and height of a panel [in].

    Returns:
        The figure, and the axes of its panels, an array (rows, columns).
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
        axes: Axes to draw into.
        steps: Horizontal coordinates, numbers of transitions, (points,).
        lines: Values of each run, (runs, points).
        contender: Key of `COLOURS`, which decides the colour.
        label: Label of the median in the legend; None: the contender and the number of runs.
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
