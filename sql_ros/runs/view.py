"""The live view of a run: a panel on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
from typing import Any

from sql_ros.runs.progress import RECENT, RunProgress

LINE_EVERY_S = 10.0  # time between two lines [s]


def rows(progress: RunProgress) -> list[tuple[str, str]]:
    """Return name and value, as text, of each row of the view.

    The rows are: state of the actor, number of episodes, return of the last one, success of the
    last `RECENT`, last evaluation, robot time, transitions, updates, policy in use, control period,
    missed deadlines, and faults. A value that is not known yet is "-".
    """
    last = progress.episodes[-1] if progress.episodes else None
    control = progress.control
    evaluation = progress.evaluating or "none yet"
    if not progress.evaluating and progress.evaluations:
        _, _, version, result = progress.evaluations[-1]
        evaluation = (
            f"version {version}: {sum(result.successes)} of {len(result.successes)} reached"
        )
    period = "-"  # the actor reports it only while it is active
    if control.keys() >= {"period_p50_ms", "period_p99_ms"}:
        period = f"{control['period_p50_ms']} / {control['period_p99_ms']} ms (p50 / p99)"
    return [
        ("actor", progress.acting),
        ("real episode" if progress.real_arm else "episode", str(len(progress.episodes))),
        ("return", f"{last.undiscounted_return:.1f}" if last else "-"),
        (f"success, last {RECENT}", f"{100 * progress.recent_success:.0f} %"),
        ("simulated evaluation" if progress.real_arm else "evaluation", evaluation),
        ("robot time", f"{progress.robot_minutes:.1f} min in {progress.wall_s:.0f} s"),
        ("transitions", f"{progress.transitions}"),
        ("updates", f"{progress.updates} ({progress.updates_per_s:.0f}/s)"),
        (
            "policy in use",
            control.get("policy_version", "0") + f" (newest {progress.policy_version})",
        ),
        ("control period", period),
        ("missed deadlines", control.get("missed_deadlines", "0")),
        (
            "faults",
            ", ".join(f"{kind} {count}" for kind, count in sorted(progress.faults.items()))
            or "none",
        ),
    ]


class View:
    """Shows progress on stdout.

    On a terminal, if `rich` is installed, it is a panel that is updated in place. Otherwise a line
    is printed every `LINE_EVERY_S` seconds.

    Args:
        title: Title of the panel.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._next_line = 0.0
        self._panel = _panel() if sys.stdout.isatty() else None

    def show(self, progress: RunProgress) -> None:
        """Update the panel, or print a line if one is due."""
        if self._panel is not None:
            self._panel.show(self._title, rows(progress))
        elif progress.wall_s >= self._next_line:
            self._next_line = progress.wall_s + LINE_EVERY_S
            print(" | ".join(f"{name} {value}" for name, value in rows(progress)), flush=True)

    def close(self) -> None:
        """Stop updating; the last content stays on the terminal."""
        if self._panel is not None:
            self._panel.close()


def _panel() -> Any:
    """Return a new panel on this terminal; None if `rich` is not installed."""
    try:
        from sql_ros.runs.panel import Panel
    except ImportError:
        return None
    return Panel()
