"""What `sql-ros verify` leaves behind: checks as JSON and Markdown, the densities as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy as np

from sql_ros.runs.figures import command_line, versions
from sql_ros.verify.checks import Check
from sql_ros.verify.suite import Findings
from sql_ros.verify.tabular import Array
from sql_ros.verify.value_checks import table

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def failed(checks: Sequence[Check]) -> list[Check]:
    """Those judged that do not keep their limit."""
    return [check for check in checks if check.judged and not check.passed]


def row(check: Check) -> str:
    """A check as one line of text."""
    word = ("ok  " if check.passed else "FAIL") if check.judged else "    "
    sign = "<=" if check.kind == "at most" else ">="
    return f"{word} {check.value:10.3g} {sign} {check.limit:<8.3g} {check.group}: {check.name}"


def write(findings: Findings, folder: Path, seed: int, wall_s: float) -> None:
    """Writes verify.json, verify.md and, if there are densities, samplers.png."""
    folder.mkdir(parents=True, exist_ok=True)
    checks = findings.checks
    judged = [check for check in checks if check.judged]
    figures = {"checks": float(len(judged)), "failed": float(len(failed(checks))), "wall_s": wall_s}
    content = {
        "command": command_line(), "seed": seed, "versions": versions(), "figures": figures,
        "checks": [{**asdict(check), "passed": check.passed} for check in checks],
        "estimates": [asdict(item) for item in findings.estimates],
    }  # fmt: skip
    (folder / "verify.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "verify.md").write_text(_markdown(findings, seed))
    if findings.densities:
        _draw(findings.densities, folder / "samplers.png")


def _markdown(findings: Findings, seed: int) -> str:
    checks = findings.checks
    bad = failed(checks)
    lines = [
        f"`{command_line()}`, seed {seed}: {sum(c.judged for c in checks) - len(bad)} of {sum(c.judged for c in checks)} checks hold.",
        "",
    ]
    lines += ["The worst check of each kind, by how much of its limit it takes. Rows without a verdict stand beside for comparison.", ""]
    lines += ["| | group | checks | worst | value | limit |", "|---|---|---|---|---|---|"]
    for group in dict.fromkeys(check.group for check in checks):
        for judged in (True, False):
            members = [check for check in checks if check.group == group and check.judged == judged]
            for kind in dict.fromkeys(_quantity(check) for check in members):
                same = [check for check in members if _quantity(check) == kind]
                worst = max(same, key=_strain)
                verdict = ("holds" if all(check.passed for check in same) else "**fails**") if judged else ""
                where = worst.name.removesuffix(kind).removesuffix(": ")
                lines.append(f"| {verdict} | {group} | {len(same)} x {kind} | {where} | {worst.value:.3g} | {worst.limit:.3g} |")
    if findings.estimates:
        lines += [
            "",
            "Bias ± standard deviation of one estimate of V [nat] by proposal and evaluations of Q:",
            "",
            table(findings.estimates),
        ]
    return "\n".join(lines) + "\n"


def _quantity(check: Check) -> str:
    """The name without the situation."""
    return check.name.rsplit(": ", 1)[-1]


def _strain(check: Check) -> float:
    """How near the limit: above 1 it fails."""
    if check.kind == "at least":
        return check.limit / check.value if check.value > 0 else np.inf
    if check.limit == 0.0:
        return np.inf if check.value else 0.0
    return check.value / check.limit if check.value == check.value else np.inf


def _draw(densities: dict[float, dict[str, dict[str, tuple[Array, Array]]]], path: Path) -> None:
    """A column per energy; rows: the exact density, then each sampler, at every temperature."""
    blocks = []  # (label, name -> image)
    for temperature, samplers in densities.items():
        first = next(iter(samplers.values()))
        blocks.append((f"exact\nalpha {temperature:g}", {name: pair[0] for name, pair in first.items()}))
        blocks += [(kind.replace(", ", "\n"), {name: pair[1] for name, pair in pairs.items()}) for kind, pairs in samplers.items()]
    names = list(blocks[0][1])
    figure, grid = plt.subplots(len(blocks), len(names), figsize=(1.45 * len(names), 1.42 * len(blocks)), squeeze=False)
    for row_axes, (label, images) in zip(grid, blocks):
        for axes, name in zip(row_axes, names):
            axes.imshow(
                images[name].T, origin="lower", cmap="magma", extent=(-1, 1, -1, 1), vmin=0.0, vmax=np.quantile(images[name], 0.999)
            )
            axes.set_xticks([])
            axes.set_yticks([])
        row_axes[0].set_ylabel(label, fontsize=8)
    for axes, name in zip(grid[0], names):
        axes.set_title(name.replace(" of ", "\nof ").replace(" at ", "\nat "), fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80)
    plt.close(figure)
