"""How the papers' figures are drawn here: one colour per algorithm, medians with bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")

from matplotlib import pyplot as plt

COLOURS = {"sql": "#1f4e79", "sac": "#e08e0b", "ddpg": "#3c8d5a", "random": "#8a8f98"}
LABELS = {"sql": "soft Q-learning", "sac": "SAC", "ddpg": "DDPG", "random": "from nothing"}


def panels(columns: int, rows: int = 1, *, size: tuple[float, float] = (4.2, 3.6)) -> tuple[Any, Any]:
    """A figure and its axes (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), constrained_layout=True, squeeze=False)


def bands(axes: Any, steps: Sequence[float], lines: npt.ArrayLike, contender: str, label: str | None = None) -> None:
    """Every run thin, their median thick, the band from worst to best: lines (runs, points)."""
    values = np.asarray(lines, np.float64)
    colour = COLOURS[contender]
    axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
    axes.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.5)
    axes.plot(steps, np.median(values, 0), color=colour, linewidth=2.2, label=label or f"{LABELS[contender]}, {len(values)} seeds")


def tidy(axes: Any) -> None:
    """Of curves."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: Path) -> str:
    """Writes a picture; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path.name
