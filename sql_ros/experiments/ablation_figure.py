"""The picture of an ablation: a column for each environment, with curves above areas under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.plotting import pyplot, save_figure, tidy
from sql_ros.experiments.ablation_results import ZERO, Runs, area
from sql_ros.experiments.contenders import CONTENDERS

plt = pyplot()
COLOURS = {"ours": "#1f4e79", "paper": "#c0392b", "sb3 sac": "#e08e0b", "sb3 ddpg": "#3c8d5a"}
PALE, DARK = "#b8c4d0", "#5d6d7e"  # ablations, uniform actions


def plot_ablation(runs: Runs, path: Path) -> None:
    """Draw a column for each environment that has a run: above the learning curves, below a bar for
    the area under the curve of each contender. Write the figure to a PNG file.

    Args:
        runs: Result of `read_runs`.
        path: Path of the PNG.
    """
    figure, grid = plt.subplots(
        2, len(runs), figsize=(4.2 * len(runs) + 1.5, 8.5), constrained_layout=True, squeeze=False
    )
    for column, (env, contenders) in enumerate(runs.items()):
        _curves(grid[0, column], contenders)
        _areas(grid[1, column], contenders, named=column == 0)
        grid[0, column].set_title(env)
    grid[0, 0].set_ylabel("return of the deterministic mode")
    _legend(grid[0, 0])
    figure.suptitle("Lines: mean of the seeds; bands and dots: single seeds, smallest to largest")
    save_figure(figure, path)


def _curves(axes: Any, contenders: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the mean curve of every contender, and a band over the seeds of the main ones.

    Uniform actions are a horizontal line at their mean return.

    Args:
        axes: Axes to draw into.
        contenders: Contents of the files of the runs by contender.
    """
    for name, items in contenders.items():
        if name == ZERO:
            axes.axhline(
                np.mean([area(item["curve"]) for item in items]),
                color=DARK,
                linestyle=":",
                linewidth=1.2,
            )
            continue
        steps, returns = (
            items[0]["curve"]["steps"],
            np.array([item["curve"]["returns"] for item in items]),
        )  # (P,), (N, P)
        main = CONTENDERS[name].main
        style = {
            "color": COLOURS.get(name, PALE),
            "linewidth": 2.2 if main else 0.9,
            "zorder": 3 if main else 1,
        }
        axes.plot(steps, returns.mean(0), **style)
        if main:
            axes.fill_between(
                steps, returns.min(0), returns.max(0), color=style["color"], alpha=0.15, linewidth=0
            )
    axes.set_xlabel("transitions")
    tidy(axes)


def _areas(axes: Any, contenders: dict[str, list[dict[str, Any]]], *, named: bool) -> None:
    """Draw a bar for each contender, from the return of uniform actions to the area of its curve.

    Args:
        axes: Axes to draw into.
        contenders: Contents of the files of the runs by contender.
        named: Whether the rows are labelled with the contenders' names.
    """
    zero = float(np.mean([area(item["curve"]) for item in contenders.get(ZERO, [])] or [0.0]))
    # every column has the same rows; a row without a run is empty
    names = [name for name in CONTENDERS if name != ZERO]
    for row, name in enumerate(names):
        areas = [area(item["curve"]) for item in contenders.get(name, [])]
        if areas:
            axes.barh(
                row, np.mean(areas) - zero, left=zero, color=COLOURS.get(name, PALE), height=0.7
            )
            axes.plot(areas, [row] * len(areas), ".", color="black", markersize=4)
    axes.axvline(zero, color=DARK, linestyle=":", linewidth=1.2)
    axes.set_yticks(range(len(names)), names if named else [""] * len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("area under the curve (mean return)")
    tidy(axes)


def _legend(axes: Any) -> None:
    """Draw a legend of the contenders' colours."""
    for name, colour in COLOURS.items():
        axes.plot([], [], color=colour, linewidth=2.2, label=name)
    axes.plot([], [], color=PALE, linewidth=0.9, label="ours with one change")
    axes.plot([], [], color=DARK, linestyle=":", linewidth=1.2, label="uniform actions")
    axes.legend(frameon=False, fontsize=8)
