"""What trials show: success with its uncertainty by kind and size, recovery times, where a policy breaks, and policies side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from sql_ros.robot.trials import BROKEN_BELOW, UNITS, Row
from sql_ros.runs.figures import write_figures
from sql_ros.runs.plots import draw, pyplot

Z95 = 1.959964  # of the normal distribution
COLOURS = ("#1f4e79", "#c0392b", "#2e8b57", "#8e6bbf")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share after Wilson (1927): right also near 0 and 1, and for few trials."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def sign_test(better: int, worse: int) -> float:
    """How probable it is that chance alone splits pairs that differ at least so unevenly (exact, two-sided; McNemar)."""
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(2.0 * tail, 1.0)


def reference(rows: Sequence[Row]) -> list[Row]:
    """The trials of the first size of every kind: what a policy is expected to recover from."""
    smallest: dict[str, float] = {}
    for row in rows:
        smallest[row.kind] = min(row.size, smallest.get(row.kind, math.inf))
    return [row for row in rows if row.size == smallest[row.kind]]


def breaking_sizes(rows: Sequence[Row]) -> dict[str, float]:
    """By kind the smallest size of which fewer than half succeeded; inf where none did."""
    broken: dict[str, float] = {}
    for (kind, size), group in _groups(rows).items():
        broken.setdefault(kind, math.inf)
        if np.mean([row.success for row in group]) < BROKEN_BELOW:
            broken[kind] = min(broken[kind], size)
    return broken


def figures_of(rows: Sequence[Row]) -> dict[str, float]:
    """Flat numbers; success and recovery (if there was any) are those of the reference sizes, `all_success_rate` is that of every trial."""
    chosen = reference(rows)
    times = [row.recovery_s for row in chosen if row.success]
    recovery = {f"recovery_p{q}_s": float(np.quantile(times, q / 100)) for q in (50, 95)} if times else {}  # nan would be no JSON
    by_kind = {f"success_{kind}": float(np.mean([r.success for r in chosen if r.kind == kind])) for kind in dict.fromkeys(r.kind for r in chosen)}
    broken = {f"breaks_at_{kind}": size for kind, size in breaking_sizes(rows).items() if math.isfinite(size)}
    return {
        "trials": float(len(rows)),
        "reference_trials": float(len(chosen)),
        "success_rate": float(np.mean([row.success for row in chosen])),
        "all_success_rate": float(np.mean([row.success for row in rows])),
        **recovery,
        **by_kind,
        **broken,
    }


def write_trial_report(folder: Path, results: Mapping[str, Sequence[Row]], *, task: str, command: str, seed: int) -> dict[str, float]:
    """Writes report.md, success.png, recovery.png and figures.json.

    Args:
        folder: where.
        results: rows by the name of the policy; figures are those of the first.
        task: its name.
        command: to repeat it.
        seed: of the session.

    Returns:
        The figures; those of further policies are prefixed by their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(results))
    figures = figures_of(results[first])
    for name in list(results)[1:]:
        figures |= {f"{name}/{key}": value for key, value in figures_of(results[name]).items()}
    write_figures(folder / "figures.json", figures, seed, command)
    pictures = [
        _shown("success by size", folder / "success.png", partial(_draw_success, results)),
        _shown("recovery times", folder / "recovery.png", partial(_draw_recovery, results)),
    ]
    (folder / "report.md").write_text(_text(results, task, command, seed, pictures))
    return figures


def _shown(title: str, path: Path, work: Callable[[Path], None]) -> str:
    """Draw a picture and return its line in the report."""
    is_drawn, why = draw(lambda: work(path))
    return f"![{title}]({path.name})" if is_drawn else f"No picture of the {title}: {why}."


def _text(
    results: Mapping[str, Sequence[Row]], task: str, command: str, seed: int, pictures: list[str]
) -> str:
    parts = [f"# Perturbation trials: {task}, seed {seed}", f"    {command}", *pictures]
    for name, rows in results.items():
        chosen = reference(rows)
        made, total = sum(row.success for row in chosen), len(chosen)
        low, high = wilson(made, total)
        sha256 = rows[0].policy_sha256
        parts.append(
            f"## {name}\n\nRecovered from **{made} of {total}** perturbations of the reference sizes ({_percent(low)} to {_percent(high)}).\n"
            f"Policy SHA-256 `{sha256}`.\n\n{_table(rows)}\n\n{_breaks(rows)}{_detection(rows)}"
        )
    if len(results) > 1:
        parts.append(_pairs(results))
    parts.append(
        "Success is that of the task, in its own terms, at the end of the episode. Intervals are Wilson's, 95 %. Recovery counts from the\n"
        "end of a push or move, else from the beginning of the episode, until the arm is at the goal for good; the largest deviation is\n"
        "from the target, from the disturbance on. Interventions are those of the safety filter, per trial."
    )
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| kind | size | success | 95 % interval | recovery p50 / p95 [s] | deviation p50 / max [mm] | interventions |",
        "|---|---|---|---|---|---|---|",
    ]
    for (kind, size), group in _groups(rows).items():
        made = sum(row.success for row in group)
        low, high = wilson(made, len(group))
        times = [row.recovery_s for row in group if row.success]
        p50, p95 = np.quantile(times, (0.5, 0.95)) if times else (math.nan, math.nan)
        away = 1e3 * np.array([row.deviation_m for row in group])
        label = f"{size:g} {UNITS[kind]}" if UNITS[kind] else "-"
        lines.append(
            f"| {kind} | {label} | {made} of {len(group)} | {_percent(low)} to {_percent(high)} | {_seconds(p50)} / {_seconds(p95)} "
            f"| {np.median(away):.0f} / {away.max():.0f} | {np.mean([row.interventions for row in group]):.1f} |"
        )
    return "\n".join(lines)


def _breaks(rows: Sequence[Row]) -> str:
    words = []
    for kind, size in breaking_sizes(rows).items():
        largest = max(row.size for row in rows if row.kind == kind)
        unit = UNITS[kind]
        if kind != "undisturbed" or math.isfinite(size):
            words.append(f"{kind}: {f'at {size:g} {unit}' if math.isfinite(size) else f'not up to {largest:g} {unit}'}")
    return "Breaks (fewer than half succeed): " + "; ".join(words) + "."


def _detection(rows: Sequence[Row]) -> str:
    """Return a sentence about how pushes by hand were detected; empty where there were none."""
    pushes = [row for row in rows if row.push_seen_by]
    by_motion = sum(row.push_seen_by == "motion" for row in pushes)
    if not pushes:
        return ""
    if by_motion:
        return (
            f"\n\nOf {len(pushes)} pushes by hand {by_motion} were detected by motion alone: the arm "
            "reports no joint torques, so a push that moves it little goes unnoticed."
        )
    return f"\n\nAll {len(pushes)} pushes by hand were detected by motion and joint torques."


def _pairs(results: Mapping[str, Sequence[Row]]) -> str:
    """The first policy against each other one, on the trials that both made."""
    first, *others = results
    mine = {(r.kind, r.size, r.repeat, r.seed): r.success for r in results[first]}
    lines = ["## In pairs", "", f"| {first} against | both made | only {first} recovers | only the other | chance alone (sign test) |", "|---|---|---|---|---|"]
    for name in others:
        theirs = {(r.kind, r.size, r.repeat, r.seed): r.success for r in results[name]}
        common = mine.keys() & theirs.keys()
        better = sum(mine[key] and not theirs[key] for key in common)
        worse = sum(theirs[key] and not mine[key] for key in common)
        lines.append(f"| {name} | {len(common)} | {better} | {worse} | {sign_test(better, worse):.3g} |")
    return "\n".join(lines)


def _draw_success(results: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Success against size, a panel per kind."""
    kinds = [kind for kind in UNITS if kind != "undisturbed" and any(row.kind == kind for rows in results.values() for row in rows)]
    columns = min(len(kinds), 4) or 1
    lines = max(math.ceil(len(kinds) / columns), 1)
    plt = pyplot()
    figure, axes = plt.subplots(lines, columns, figsize=(3.4 * columns, 2.8 * lines), squeeze=False, constrained_layout=True)
    for panel, kind in zip(axes.flat, kinds):
        for colour, (name, rows) in zip(cycle(COLOURS), results.items()):
            groups = {size: group for (k, size), group in _groups(rows).items() if k == kind}
            shares = np.array([np.mean([row.success for row in group]) for group in groups.values()])
            bounds = np.array([wilson(sum(row.success for row in group), len(group)) for group in groups.values()]).reshape(-1, 2)
            panel.fill_between(list(groups), bounds[:, 0], bounds[:, 1], color=colour, alpha=0.15, linewidth=0)
            panel.plot(list(groups), shares, "o-", color=colour, markersize=4, label=name)
        panel.axhline(BROKEN_BELOW, color="#999999", linewidth=0.8, linestyle=":")
        panel.set(title=kind.replace("_", " "), xlabel=f"size [{UNITS[kind]}]", ylim=(-0.03, 1.03))
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes.flat[len(kinds) :]:
        panel.axis("off")
    axes[0, 0].set_ylabel("success")
    if len(results) > 1:
        axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_recovery(results: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Recovery times by kind, every trial a dot, the median a line."""
    kinds = [kind for kind in UNITS if any(row.kind == kind for rows in results.values() for row in rows)]
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(1.2 + 1.1 * len(kinds), 3.4), constrained_layout=True)
    width = 0.8 / len(results)
    rng = np.random.default_rng(0)
    for index, (colour, (name, rows)) in enumerate(zip(cycle(COLOURS), results.items())):
        for at, kind in enumerate(kinds):
            times = np.array([row.recovery_s for row in rows if row.kind == kind and row.success])
            left = at - 0.4 + index * width
            axes.plot(left + width * (0.2 + 0.6 * rng.random(len(times))), times, ".", color=colour, alpha=0.4, markersize=4, label=name if at == 0 else None)
            if len(times):
                axes.plot([left + 0.1 * width, left + 0.9 * width], [np.median(times)] * 2, color=colour, linewidth=2)
    axes.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
    axes.set_ylabel("recovery [s]")
    axes.grid(alpha=0.25, axis="y")
    axes.spines[["top", "right"]].set_visible(False)
    if len(results) > 1:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _groups(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.size), []).append(row)
    return groups


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
