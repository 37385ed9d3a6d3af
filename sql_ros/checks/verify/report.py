"""Files of `sql-ros verify`: checks as JSON and Markdown, the densities as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sql_ros.checks.verify.checks import Check
from sql_ros.checks.verify.suite import VerifyResults
from sql_ros.checks.verify.tabular import FloatArray
from sql_ros.checks.verify.value_checks import table
from sql_ros.common.figures_json import command_line, versions
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import pyplot, save_figure


def failed(checks: Sequence[Check]) -> list[Check]:
    """Return the judged checks that do not keep their limits."""
    return [check for check in checks if check.judged and not check.passed]


def row(check: Check) -> str:
    """Return a check as one line of text: verdict (blank if it is not judged), value, limit, group
    and name.
    """
    word = ("ok  " if check.passed else "FAIL") if check.judged else "    "
    sign = "<=" if check.kind == "at most" else ">="
    return f"{word} {check.value:10.3g} {sign} {check.limit:<8.3g} {check.group}: {check.name}"


def write(results: VerifyResults, folder: Path, seed: int, wall_s: float) -> None:
    """Write verify.json, verify.md and, if there are densities, samplers.png; replace older files.

    Args:
        results: Results of the suites.
        folder: Folder for the files, created if it does not exist.
        seed: Seed of the suites.
        wall_s: Duration of the suites [s].
    """
    folder.mkdir(parents=True, exist_ok=True)
    checks = results.checks
    judged = [check for check in checks if check.judged]
    figures = {"checks": float(len(judged)), "failed": float(len(failed(checks))), "wall_s": wall_s}
    content = {
        "command": command_line(),
        "seed": seed,
        "versions": versions(),
        "figures": figures,
        "checks": [{**asdict(check), "passed": check.passed} for check in checks],
        "estimates": [asdict(item) for item in results.estimates],
    }
    (folder / "verify.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "verify.md").write_text(_markdown(results, seed))
    if results.densities:
        _plot(results.densities, folder / "samplers.png")


def _markdown(results: VerifyResults, seed: int) -> str:
    """Return the text of verify.md: the command, the worst check of each kind, and the estimates of
    V.

    Args:
        results: Results of the suites.
        seed: Seed of the suites.
    """
    judged = [check for check in results.checks if check.judged]
    holding = len(judged) - len(failed(results.checks))
    parts = [
        f"`{command_line()}`, seed {seed}: {holding} of {len(judged)} checks hold.",
        (
            "The worst check of each kind, by how much of its limit it takes. Rows without a"
            " verdict stand beside for comparison."
        ),
        markdown_table(["", "group", "checks", "worst", "value", "limit"], _worst(results.checks)),
    ]
    if results.estimates:
        parts += [
            "Bias ± standard deviation of one estimate of V [nat] by proposal and evaluations of"
            " Q:",
            table(results.estimates),
        ]
    return "\n\n".join(parts) + "\n"


def _worst(checks: Sequence[Check]) -> list[list[str]]:
    """Return the rows of the table of worst checks: one per group, quantity, and judged or not.

    Args:
        checks: All checks.

    Returns:
        Texts of verdict over all checks of the row (empty: not judged), group, number of checks and
        quantity, situation of the worst check, its value, and its limit. Within a group judged rows
        come first.
    """
    kinds: dict[tuple[str, bool, str], list[Check]] = {}
    for group in dict.fromkeys(check.group for check in checks):
        for judged in (True, False):
            for check in checks:
                if check.group == group and check.judged == judged:
                    kinds.setdefault((group, judged, _quantity(check)), []).append(check)
    rows = []
    for (group, judged, quantity), same in kinds.items():
        worst = max(same, key=_used_share)
        verdict = "holds" if all(check.passed for check in same) else "**fails**"
        situation = worst.name.removesuffix(quantity).removesuffix(": ")
        rows.append(
            [
                verdict if judged else "",
                group,
                f"{len(same)} x {quantity}",
                situation,
                f"{worst.value:.3g}",
                f"{worst.limit:.3g}",
            ]
        )
    return rows


def _quantity(check: Check) -> str:
    """Return the name of a check without its situation, which ends with ": "."""
    return check.name.rsplit(": ", 1)[-1]


def _used_share(check: Check) -> float:
    """Return the share of its limit that a check uses; above 1 the check fails.

    For "at least" the share is limit / value. nan, and a value on the wrong side of 0, give
    infinity; so does every value but 0 if it may be at most 0.
    """
    if check.kind == "at least":
        return check.limit / check.value if check.value > 0 else np.inf
    if check.limit == 0.0:
        return np.inf if check.value else 0.0
    return check.value / check.limit if check.value == check.value else np.inf


def _plot(
    densities: dict[float, dict[str, dict[str, tuple[FloatArray, FloatArray]]]], path: Path
) -> None:
    """Draw the densities as images in a PNG file.

    One column per energy. For every temperature there is a row with the exact density, then a row
    per sampler.

    Args:
        densities: Exact masses and histogram, (BINS, BINS) each, by temperature, kind of sampler
            and name of the energy.
        path: PNG file to write.
    """
    plt = pyplot()
    blocks = []  # pairs of a row's label and its images by name of the energy
    for temperature, samplers in densities.items():
        first = next(iter(samplers.values()))
        blocks.append(
            (f"exact\nalpha {temperature:g}", {name: pair[0] for name, pair in first.items()})
        )
        blocks += [
            (kind.replace(", ", "\n"), {name: pair[1] for name, pair in pairs.items()})
            for kind, pairs in samplers.items()
        ]
    names = list(blocks[0][1])
    figure, grid = plt.subplots(
        len(blocks), len(names), figsize=(1.45 * len(names), 1.42 * len(blocks)), squeeze=False
    )
    for row_axes, (label, images) in zip(grid, blocks):
        for axes, name in zip(row_axes, names):
            axes.imshow(
                images[name].T,
                origin="lower",
                cmap="magma",
                extent=(-1, 1, -1, 1),
                vmin=0.0,
                vmax=np.quantile(images[name], 0.999),
            )
            axes.set_xticks([])
            axes.set_yticks([])
        row_axes[0].set_ylabel(label, fontsize=8)
    for axes, name in zip(grid[0], names):
        axes.set_title(name.replace(" of ", "\nof ").replace(" at ", "\nat "), fontsize=8)
    figure.tight_layout(pad=0.3)
    save_figure(figure, path)
