"""The experiments of the papers by name, and the page with all their results."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sql_ros.common.errors import ConfigError
from sql_ros.common.markdown import markdown_table
from sql_ros.experiments.paper import (
    finetune,
    maze,
    multigoal,
    pretrain,
    pusher,
    snake,
    soft_iteration,
    validation,
)
from sql_ros.experiments.study import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (multigoal, snake, maze, pretrain, finetune, pusher, soft_iteration, validation)
}
OTHERS = (  # subfolders with reports of other commands, and their titles
    ("sawyer_reach", "Reaching with a simulated Sawyer, `make run`"),
    ("stacking", "Stacking bricks by joint torques, against robot time"),
    ("ablation", "Settings of the learner, beside stable-baselines3"),
)


def write_index(folder: Path) -> Path:
    """Write `folder`/index.md: every experiment with the paper's result, a verdict and the command.

    The verdict of an experiment without a finding.json is "not run yet". Texts and pictures of the
    findings follow, then links to the subfolders `OTHERS` that exist.

    Args:
        folder: Folder with a subfolder for each experiment, by its name.

    Returns:
        The path of the page.

    Raises:
        ConfigError: No experiment has a finding.json.
    """
    findings = {name: _finding(folder / name) for name in EXPERIMENTS}
    there = {name: finding for name, finding in findings.items() if finding is not None}
    if not there:
        raise ConfigError(f"no finding.json in any of {folder}/{{{','.join(EXPERIMENTS)}}}")
    lines = [
        "# The papers' experiments, reproduced",
        "",
        (
            "Each verdict is earned by runs whose numbers, seeds and versions lie beside it; what"
            " did not come out is said, too."
        ),
        "",
    ]
    rows = [
        [
            f"[{name}]({name}/report.md)",
            finding["paper"],
            f"**{finding['verdict']}**",
            f"`sql-ros experiment {name}`",
        ]
        for name, finding in there.items()
    ]
    rows += [
        [name, EXPERIMENTS[name].paper, "not run yet", f"`sql-ros experiment {name}`"]
        for name in findings
        if name not in there
    ]
    lines.append(markdown_table(["experiment", "stands beside", "verdict", "command"], rows))
    for name, finding in there.items():
        pictures = [f"![{picture}]({name}/{picture})" for picture in finding["pictures"]]
        lines += [
            "",
            f"## {finding['title']}",
            "",
            f"*{finding['paper']}* Verdict: **{finding['verdict']}**.",
            "",
            _text(finding, name),
            "",
        ]
        lines += pictures
    beside = [f"[{title}]({name}/)" for name, title in OTHERS if (folder / name).is_dir()]
    lines += ["", f"Beside these: {'; '.join(beside)}." if beside else ""]
    path = folder / "index.md"
    path.write_text("\n".join(lines).rstrip() + "\n")
    return path


def _text(finding: dict[str, Any], name: str) -> str:
    """Return the text of a finding, with relative links made valid in the folder above.

    Args:
        finding: Content of finding.json.
        name: Name of the experiment's folder.
    """
    text: str = finding["text"]
    return re.sub(
        r"\]\((?![a-z]+:|[#/])([^)\s]+)",
        lambda link: f"]({posixpath.normpath(posixpath.join(name, link[1]))}",
        text,
    )


def _finding(folder: Path) -> dict[str, Any] | None:
    """Return the content of finding.json in an experiment's folder; None if there is no file."""
    path = folder / "finding.json"
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return content


def chosen(name: str) -> Sequence[Experiment]:
    """Return the experiment of a name, or all experiments for "all".

    Raises:
        KeyError: There is no experiment of this name.
    """
    return list(EXPERIMENTS.values()) if name == "all" else [EXPERIMENTS[name]]
