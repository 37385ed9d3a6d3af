"""The report of an ablation: ablation.json, ablation.png and ablation.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sql_ros.common.figures_json import command_line
from sql_ros.common.markdown import markdown_table
from sql_ros.experiments.ablation_figure import plot_ablation
from sql_ros.experiments.ablation_results import read_runs, summarise

CONDITIONS = """\
Means over the seeds; same seeds and transitions for all. Return and success: deterministic mode,
fixed evaluation seeds. Area: mean of the evaluations over the training; normalised so that
uniform actions are 0 and SAC of stable-baselines3 is 1 (-: SAC is no better than uniform actions
there). Training time leaves evaluation out; the runs shared two cores, so compare updates per CPU
second.

SAC and DDPG have our widths, batch, discount, warm-up and one update per step, and our learning
rate 1e-3 for both networks (their own: 3e-4 for SAC, 1e-3 for DDPG). Where a task scales its
observations, they see them scaled. DDPG explores with normal noise of 0.1.

"paper": published settings, cut to two cores: widths 128 instead of 200, 16 value particles
instead of 50, 8 + 8 instead of 32 + 32 in the kernel, warm-up 1000 instead of 10000; temperature
and discount as everyone here, no noise added to the actions."""
HEADER = (
    "contender",
    "seeds",
    "final return (min ... max)",
    "area",
    "area, SAC = 1",
    "success",
    "training [s]",
    "updates/s",
    "per CPU s",
)


def write_report(out: Path, command: str | None = None) -> dict[str, Any]:
    """Write ablation.json, ablation.png and ablation.md from the files in `out`/runs.

    The text of `out`/readings.md, which a person may have written, begins ablation.md.

    Args:
        out: Folder of the ablation.
        command: Command named in the report; None: the command of this process.

    Returns:
        The content of ablation.json.

    Raises:
        ConfigError: There is no finished run.
    """
    runs = read_runs(out)
    summary = {"command": command or command_line(), **summarise(runs)}
    (out / "ablation.json").write_text(json.dumps(summary, indent=2) + "\n")
    plot_ablation(runs, out / "ablation.png")
    readings = out / "readings.md"
    (out / "ablation.md").write_text(
        markdown(summary, readings.read_text() if readings.is_file() else "")
    )
    return summary


def markdown(summary: dict[str, Any], readings: str = "") -> str:
    """Return the text of ablation.md, which has a table for each environment.

    Args:
        summary: Result of `summarise`, and "command".
        readings: Text for the beginning; empty: none.
    """
    lines = [
        "# Ablation",
        "",
        *([readings.strip(), ""] if readings else []),
        "![curves and areas](ablation.png)",
        "",
        *_conditions(summary),
    ]
    for env, contenders in summary["environments"].items():
        steps = max(numbers["steps"] for numbers in contenders.values())
        lines += ["", f"## {env}, {steps} transitions", ""]
        rows = [_row(name, numbers) for name, numbers in contenders.items()]
        lines.append(markdown_table(HEADER, rows, right=range(1, len(HEADER))))
    return "\n".join(lines) + "\n"


def _conditions(summary: dict[str, Any]) -> list[str]:
    """Return Markdown lines on the settings, the command, the learner's code and the versions."""
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    mixed = (
        "" if len(summary["core_sha256"]) == 1 else " **Runs of different code are mixed here.**"
    )
    code = f"Learner's code: {', '.join(summary['core_sha256'])}.{mixed} {versions}."
    return [CONDITIONS, "", f"Command: `{summary['command']}`. {code}"]


def _row(name: str, numbers: dict[str, Any]) -> list[str]:
    """Return the table cells of a contender, in the order of `HEADER`.

    Args:
        name: Name of the contender.
        numbers: Numbers of the contender, from `summarise`. Training times are "-" if nothing was
            learned.
    """
    finals, learns = numbers["final_returns"], numbers["updates_per_s"] > 0.0
    return [
        name,
        str(len(numbers["seeds"])),
        f"{numbers['final_return']:.1f} ({min(finals):.1f} ... {max(finals):.1f})",
        f"{numbers['auc']:.1f}",
        _optional(numbers["normalised_auc"], ".2f"),
        _optional(numbers["final_success"], ".0%"),
        _optional(numbers["train_s"] if learns else None, ".0f"),
        _optional(numbers["updates_per_s"] if learns else None, ".0f"),
        _optional(numbers["updates_per_cpu_s"] if learns else None, ".0f"),
    ]


def _optional(value: float | None, form: str) -> str:
    """Return a number in a format; "-" for None."""
    return "-" if value is None else format(value, form)
