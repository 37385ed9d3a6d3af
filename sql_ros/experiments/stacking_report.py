"""The report of the stacking runs: stacking.json, stacking.png and report.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.common.figures_json import command_line, merge_versions
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import pyplot, save_figure, tidy
from sql_ros.experiments.stacking import (
    EVALUATION_EPISODES,
    EVALUATION_FIRST,
    METHODS,
    RunResult,
    read_runs,
)

plt = pyplot()
COLOURS = {"sql": "#1f4e79", "sac": "#e08e0b", "ddpg": "#3c8d5a", "sql-late": "#7aa6d6"}
# robot minutes of the milestones (`RunResult.milestones`) on a real Sawyer in 2018, and our targets
REAL_ARM = {"first_success_min": 30.0, "consistent_min": 60.0, "converged_min": 120.0}
TARGETS = {"first_success_min": 10.0, "consistent_min": 30.0, "converged_min": 60.0}
WORDS = {
    "first_success_min": "first success during training",
    "consistent_min": "consistent (95 of 100)",
    "converged_min": "converged (100 of 100 twice in a row)",
}


def write_stacking_report(out: Path, command: str | None = None) -> dict[str, Any]:
    """Write stacking.json, stacking.png and report.md from the files in `out`/runs.

    Args:
        out: Folder of the experiment.
        command: Command named in the report; None: the command of this process.

    Returns:
        The content of stacking.json.

    Raises:
        ConfigError: There is no finished run.
    """
    runs = {method: [run for run in read_runs(out) if run.method == method] for method in METHODS}
    runs = {method: found for method, found in runs.items() if found}
    if not runs:
        raise ConfigError(f"no runs in {out / 'runs'}")
    summary = {
        "command": command or command_line(),
        "versions": merge_versions(run.versions for found in runs.values() for run in found),
        "overhead_s_per_episode": next(iter(runs.values()))[0].overhead_s,
        "methods": {method: _summary(found) for method, found in runs.items()},
    }
    (out / "stacking.json").write_text(json.dumps(summary, indent=2) + "\n")
    plot_stacking(runs, out / "stacking.png")
    (out / "report.md").write_text(_text(summary))
    return summary


def _summary(runs: Sequence[RunResult]) -> dict[str, Any]:
    """Compute the numbers of one method.

    Args:
        runs: Runs of the method.

    Returns:
        "median" and "seeds": milestones [robot min] as medians and by seed, None for a milestone
        that was not reached. "robot_minutes", "final_success", "final_return" and "updates_per_s":
        lists with a number for each run.
    """
    seeds = {
        str(run.seed): {key: _finite(value) for key, value in run.milestones().items()}
        for run in runs
    }
    medians = {
        key: _finite(float(np.median([run.milestones()[key] for run in runs]))) for key in TARGETS
    }
    return {
        "median": medians,
        "seeds": seeds,
        "robot_minutes": [run.minutes(run.curve["steps"][-1]) for run in runs],
        "final_success": [run.curve["successes"][-1] for run in runs],
        "final_return": [run.curve["returns"][-1] for run in runs],
        "updates_per_s": [
            run.curve["updates"][-1] / max(run.curve["train_s"][-1], 1e-9) for run in runs
        ],
    }


def plot_stacking(runs: Mapping[str, Sequence[RunResult]], path: Path) -> None:
    """Draw success and return against robot minutes, as medians and bands over the seeds.

    The curve of a run that ended early is continued with its last value.

    Args:
        runs: Runs by method.
        path: Path of the PNG.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for method, found in runs.items():
        every = min(run.minutes(run.curve["steps"][0]) for run in found)
        grid = (
            np.arange(
                1, round(max(run.minutes(run.curve["steps"][-1]) for run in found) / every) + 1
            )
            * every
        )
        for axes, key in ((left, "successes"), (right, "returns")):
            lines = np.array(
                [
                    np.interp(grid, [run.minutes(s) for s in run.curve["steps"]], run.curve[key])
                    for run in found
                ]
            )
            axes.plot(
                grid,
                np.median(lines, 0),
                color=COLOURS[method],
                linewidth=2.2,
                label=f"{METHODS[method]}, {_seeds(len(found))}",
            )
            axes.fill_between(
                grid, lines.min(0), lines.max(0), color=COLOURS[method], alpha=0.15, linewidth=0
            )
    left.axhline(0.95, color="#999999", linewidth=0.8, linestyle=":")
    left.set(ylabel="success, deterministic mode", ylim=(-0.03, 1.03))
    right.set_ylabel("return, deterministic mode")
    for axes in (left, right):
        axes.set_xlabel("robot time [min]")
        tidy(axes)
    right.legend(frameon=False, loc="lower right")
    figure.suptitle("Stacking: median of the seeds, band from the worst to the best")
    save_figure(figure, path)


def _text(summary: Mapping[str, Any]) -> str:
    """Return the text of report.md, from the content of stacking.json.

    It has the command, the picture, a table of the milestones of each method beside those of a real
    arm and the targets, and the versions.
    """
    methods = summary["methods"]
    lines = [
        "# Stacking: robot time to learn it",
        "",
        f"    {summary['command']}",
        "",
        "![success against robot minutes](stacking.png)",
        "",
        (
            "Robot minutes, median of the seeds (each seed in brackets; - not within the run)."
            f" Every control step counts, and {summary['overhead_s_per_episode']:.2f} s per episode"
            " for the way back, the rest and the release, as measured. Evaluations: deterministic"
            f" mode, the same {EVALUATION_EPISODES} start poses and targets each time; of an"
            f" evaluation whose first {EVALUATION_FIRST} episodes go badly the others are not made."
        ),
        "",
    ]
    header = ["", "real arm, 2018", "target", *(METHODS[method] for method in methods)]
    rows = []
    for key, words in WORDS.items():
        cells = [_cell(numbers, key) for numbers in methods.values()]
        rows.append([words, f"{REAL_ARM[key]:g}", f"{TARGETS[key]:g}", *cells])
    ends = [
        f"{np.median(numbers['final_success']):.2f} after"
        f" {np.median(numbers['robot_minutes']):.0f} min"
        for numbers in methods.values()
    ]
    rows.append(["success at the end, median", "", "", *ends])
    lines.append(markdown_table(header, rows))
    packages = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    return "\n".join([*lines, "", f"{packages}."]) + "\n"


def _cell(numbers: Mapping[str, Any], key: str) -> str:
    """Return the table cell of a milestone [robot min]: the median, and each seed in brackets.

    Args:
        numbers: Result of `_summary` for a method.
        key: Name of the milestone.
    """
    each = ", ".join(_minutes(values[key]) for values in numbers["seeds"].values())
    return f"**{_minutes(numbers['median'][key])}** ({each})"


def _minutes(value: float | None) -> str:
    """Return a number of minutes as text; "-" for None."""
    return "-" if value is None else f"{value:.1f}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


def _finite(value: float) -> float | None:
    """Return a number, or None if it is infinite or NaN, which JSON has not."""
    return value if np.isfinite(value) else None
