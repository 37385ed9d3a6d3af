"""Write the report of trials: success rates with intervals, recovery times, breaking sizes, and
comparisons of policies on the same trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from sql_ros.common.figures_json import write_figures
from sql_ros.common.html_report import write_html
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import pyplot, save_figure, tidy, try_plot
from sql_ros.trials.protocol import UNITS
from sql_ros.trials.session import BROKEN_BELOW
from sql_ros.trials.trial import TrialResult

Z95 = 1.959964  # quantile of the normal distribution
COLOURS = ("#1f4e79", "#c0392b", "#2e8b57", "#8e6bbf")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a success rate after Wilson (1927).

    The interval is also valid for rates near 0 and 1, and for few trials.

    Args:
        successes: Number of successes.
        trials: Number of trials; 0: the interval is 0 to 1.

    Returns:
        Lower and upper bound of the success rate.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    z2 = Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def sign_test(better: int, worse: int) -> float:
    """Return the exact two-sided p-value of a sign test (McNemar) on pairs of trials.

    The p-value is the probability that pairs with different results split at least as unevenly if
    both policies are equally good.

    Args:
        better: Number of pairs in which only the first policy succeeds.
        worse: Number of pairs in which only the second policy succeeds.
    """
    n = better + worse
    tail: float = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(2.0 * tail, 1.0)


def reference(rows: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the results of the smallest size of every kind (the reference sizes), from which a
    policy is expected to recover.

    Args:
        rows: Results of one policy.
    """
    smallest: dict[str, float] = {}
    for row in rows:
        smallest[row.kind] = min(row.size, smallest.get(row.kind, math.inf))
    return [row for row in rows if row.size == smallest[row.kind]]


def breaking_sizes(rows: Sequence[TrialResult]) -> dict[str, float]:
    """Return the smallest size of each kind of which fewer than half of the trials succeeded.

    Args:
        rows: Results of one policy.

    Returns:
        Kind to size in its unit; infinite if there is no such size.
    """
    broken: dict[str, float] = {}
    for (kind, size), group in _groups(rows).items():
        broken.setdefault(kind, math.inf)
        if np.mean([row.success for row in group]) < BROKEN_BELOW:
            broken[kind] = min(broken[kind], size)
    return broken


def figures_of(rows: Sequence[TrialResult]) -> dict[str, float]:
    """Return the figures of one policy, for figures.json.

    Args:
        rows: Results of the policy, at least one.

    Returns:
        Name to value: `trials`, `reference_trials`, `success_rate`, `all_success_rate`,
        `recovery_p50_s`, `recovery_p95_s`, and `success_<kind>` and `breaks_at_<kind>` of each
        kind. Success rates and the quantiles of recovery times are of the reference sizes only,
        except `all_success_rate`. Recovery times are omitted if no trial succeeded, and
        `breaks_at_<kind>` if the kind has no breaking size.
    """
    chosen = reference(rows)
    times = [row.recovery_s for row in chosen if row.success]
    recovery = (
        {f"recovery_p{q}_s": float(np.quantile(times, q / 100)) for q in (50, 95)} if times else {}
    )  # JSON has no NaN
    by_kind = {
        f"success_{kind}": float(np.mean([r.success for r in chosen if r.kind == kind]))
        for kind in dict.fromkeys(r.kind for r in chosen)
    }
    broken = {
        f"breaks_at_{kind}": size
        for kind, size in breaking_sizes(rows).items()
        if math.isfinite(size)
    }
    return {
        "trials": float(len(rows)),
        "reference_trials": float(len(chosen)),
        "success_rate": float(np.mean([row.success for row in chosen])),
        "all_success_rate": float(np.mean([row.success for row in rows])),
        **recovery,
        **by_kind,
        **broken,
    }


def write_trial_report(
    folder: Path,
    results: Mapping[str, Sequence[TrialResult]],
    *,
    task: str,
    command: str,
    seed: int,
) -> dict[str, float]:
    """Write report.md, report.html, figures.json and, with matplotlib, success.png, recovery.png.

    Args:
        folder: Folder to write to; it is created if it is missing.
        results: Name of the policy to its results, at least one each.
        task: Name of the task.
        command: Command that repeats the trials.
        seed: Seed of the session.

    Returns:
        The figures of all policies, see `figures_of`. Names of the second and further policies
        begin with "<policy>/".
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(results))
    figures = figures_of(results[first])
    for name in list(results)[1:]:
        figures |= {f"{name}/{key}": value for key, value in figures_of(results[name]).items()}
    write_figures(folder / "figures.json", figures, seed, command)
    pictures = [
        _shown("success by size", folder / "success.png", partial(_plot_success, results)),
        _shown("recovery times", folder / "recovery.png", partial(_plot_recovery, results)),
    ]
    (folder / "report.md").write_text(_text(results, task, command, seed, pictures))
    write_html(folder / "report.md")
    return figures


def _shown(title: str, path: Path, work: Callable[[Path], None]) -> str:
    """Draw a picture, and return the line that shows it in the report.

    Args:
        title: Title of the picture.
        path: Path of the picture.
        work: Function that draws to a path.

    Returns:
        Markdown of the picture; a sentence with the reason if it could not be drawn.
    """
    is_drawn, reason = try_plot(lambda: work(path))
    return f"![{title}]({path.name})" if is_drawn else f"No picture of the {title}: {reason}."


def _text(
    results: Mapping[str, Sequence[TrialResult]],
    task: str,
    command: str,
    seed: int,
    pictures: list[str],
) -> str:
    """Return the Markdown text of the report.

    Args:
        results: Name of the policy to its results.
        task: Name of the task.
        command: Command that repeats the trials.
        seed: Seed of the session.
        pictures: Markdown lines that show the pictures.
    """
    parts = [f"# Perturbation trials: {task}, seed {seed}", f"    {command}", *pictures]
    for name, rows in results.items():
        chosen = reference(rows)
        successes = sum(row.success for row in chosen)
        total = len(chosen)
        low, high = wilson(successes, total)
        sha256 = rows[0].policy_sha256
        parts.append(
            f"## {name}\n\nRecovered from **{successes} of {total}** perturbations of the reference"
            f" sizes ({_percent(low)} to {_percent(high)}).\nPolicy SHA-256"
            f" `{sha256}`.\n\n{_table(rows)}\n\n{_breaks(rows)}{_detection(rows)}"
        )
    if len(results) > 1:
        parts.append(_pairs(results))
    parts.append(
        "Success is that of the task, in its own terms, at the end of the episode. Intervals are"
        " Wilson's, 95 %. Recovery counts from the\nend of a push or move, else from the beginning"
        " of the episode, until the arm is at the goal for good; the largest deviation is\nfrom the"
        " target, from the disturbance on. Interventions are those of the safety filter, per trial."
    )
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[TrialResult]) -> str:
    """Return a Markdown table of the results of one policy, with a row for each kind and size:
    successes with their interval, recovery times of successful trials, largest deviations, and the
    mean number of interventions.
    """
    header = [
        "kind",
        "size",
        "success",
        "95 % interval",
        "recovery p50 / p95 [s]",
        "deviation p50 / max [mm]",
        "interventions",
    ]
    cells = []
    for (kind, size), group in _groups(rows).items():
        successes = sum(row.success for row in group)
        low, high = wilson(successes, len(group))
        times = [row.recovery_s for row in group if row.success]
        p50, p95 = np.quantile(times, (0.5, 0.95)) if times else (math.nan, math.nan)
        away = 1e3 * np.array([row.deviation_m for row in group])
        label = f"{size:g} {UNITS[kind]}" if UNITS[kind] else "-"
        cells.append(
            [
                kind,
                label,
                f"{successes} of {len(group)}",
                f"{_percent(low)} to {_percent(high)}",
                f"{_seconds(p50)} / {_seconds(p95)}",
                f"{np.median(away):.0f} / {away.max():.0f}",
                f"{np.mean([row.interventions for row in group]):.1f}",
            ]
        )
    return markdown_table(header, cells)


def _breaks(rows: Sequence[TrialResult]) -> str:
    """Return a sentence with the breaking size of each kind, given the results of one policy; for a
    kind without one "not up to" its largest size. "undisturbed" is left out unless it breaks.
    """
    words = []
    for kind, size in breaking_sizes(rows).items():
        largest = max(row.size for row in rows if row.kind == kind)
        unit = UNITS[kind]
        if kind != "undisturbed" or math.isfinite(size):
            words.append(
                f"{kind}:"
                f" {f'at {size:g}' if math.isfinite(size) else f'not up to {largest:g}'} {unit}"
            )
    return "Breaks (fewer than half succeed): " + "; ".join(words) + "."


def _detection(rows: Sequence[TrialResult]) -> str:
    """Return a paragraph that says how pushes by hand were detected; empty if there were none."""
    pushes = [row for row in rows if row.push_seen_by]
    by_motion = sum(row.push_seen_by == "motion" for row in pushes)
    if not pushes:
        return ""
    if by_motion:
        return (
            f"\n\nOf {len(pushes)} pushes by hand {by_motion} were detected by motion alone: the"
            " arm reports no joint torques, so a push that moves it little goes unnoticed."
        )
    return f"\n\nAll {len(pushes)} pushes by hand were detected by motion and joint torques."


def _pairs(results: Mapping[str, Sequence[TrialResult]]) -> str:
    """Return a Markdown section that compares the first policy with each other one, on the trials
    that both made.

    Args:
        results: Name of the policy to its results.
    """
    first, *others = results
    first_success = {(r.kind, r.size, r.repeat, r.seed): r.success for r in results[first]}
    header = [
        f"{first} against",
        "both made",
        f"only {first} recovers",
        "only the other",
        "chance alone (sign test)",
    ]
    rows = []
    for name in others:
        other_success = {(r.kind, r.size, r.repeat, r.seed): r.success for r in results[name]}
        common = first_success.keys() & other_success.keys()
        better = sum(first_success[key] and not other_success[key] for key in common)
        worse = sum(other_success[key] and not first_success[key] for key in common)
        rows.append([name, len(common), better, worse, f"{sign_test(better, worse):.3g}"])
    return f"## In pairs\n\n{markdown_table(header, rows)}"


def _plot_success(results: Mapping[str, Sequence[TrialResult]], path: Path) -> None:
    """Draw success rates with intervals against size, one panel for each kind.

    Args:
        results: Name of the policy to its results.
        path: File to write.
    """
    kinds = [
        kind
        for kind in UNITS
        if kind != "undisturbed"
        and any(row.kind == kind for rows in results.values() for row in rows)
    ]
    columns = min(len(kinds), 4) or 1
    lines = max(math.ceil(len(kinds) / columns), 1)
    plt = pyplot()
    figure, axes = plt.subplots(
        lines, columns, figsize=(3.4 * columns, 2.8 * lines), squeeze=False, constrained_layout=True
    )
    for panel, kind in zip(axes.flat, kinds):
        for colour, (name, rows) in zip(cycle(COLOURS), results.items()):
            groups = {size: group for (k, size), group in _groups(rows).items() if k == kind}
            shares = np.array(
                [np.mean([row.success for row in group]) for group in groups.values()]
            )
            bounds = np.array(
                [wilson(sum(row.success for row in group), len(group)) for group in groups.values()]
            ).reshape(-1, 2)
            panel.fill_between(
                list(groups), bounds[:, 0], bounds[:, 1], color=colour, alpha=0.15, linewidth=0
            )
            panel.plot(list(groups), shares, "o-", color=colour, markersize=4, label=name)
        panel.axhline(BROKEN_BELOW, color="#999999", linewidth=0.8, linestyle=":")
        panel.set(title=kind.replace("_", " "), xlabel=f"size [{UNITS[kind]}]", ylim=(-0.03, 1.03))
        tidy(panel)
    for panel in axes.flat[len(kinds) :]:
        panel.axis("off")
    axes[0, 0].set_ylabel("success")
    if len(results) > 1:
        axes[0, 0].legend(frameon=False)
    save_figure(figure, path)


def _plot_recovery(results: Mapping[str, Sequence[TrialResult]], path: Path) -> None:
    """Draw recovery times by kind: a dot for each successful trial, a line for the median.

    Args:
        results: Name of the policy to its results.
        path: File to write.
    """
    kinds = [
        kind for kind in UNITS if any(row.kind == kind for rows in results.values() for row in rows)
    ]
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(1.2 + 1.1 * len(kinds), 3.4), constrained_layout=True)
    width = 0.8 / len(results)
    rng = np.random.default_rng(0)
    for index, (colour, (name, rows)) in enumerate(zip(cycle(COLOURS), results.items())):
        for column, kind in enumerate(kinds):
            times = np.array([row.recovery_s for row in rows if row.kind == kind and row.success])
            left_x = column - 0.4 + index * width
            axes.plot(
                left_x + width * (0.2 + 0.6 * rng.random(len(times))),
                times,
                ".",
                color=colour,
                alpha=0.4,
                markersize=4,
                label=name if column == 0 else None,
            )
            if len(times):
                axes.plot(
                    [left_x + 0.1 * width, left_x + 0.9 * width],
                    [np.median(times)] * 2,
                    color=colour,
                    linewidth=2,
                )
    axes.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
    axes.set_ylabel("recovery [s]")
    tidy(axes, "y")
    if len(results) > 1:
        axes.legend(frameon=False)
    save_figure(figure, path)


def _groups(rows: Sequence[TrialResult]) -> dict[tuple[str, float], list[TrialResult]]:
    """Return (kind, size) to the results of that kind and size."""
    groups: dict[tuple[str, float], list[TrialResult]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.size), []).append(row)
    return groups


def _percent(share: float) -> str:
    """Return a share (0 to 1) as text in percent."""
    return f"{100 * share:.0f} %"


def _seconds(value: float) -> str:
    """Return a time [s] as text; NaN as "-"."""
    return "-" if math.isnan(value) else f"{value:.1f}"
