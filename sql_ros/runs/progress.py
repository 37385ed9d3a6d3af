"""What is known of a run while it goes on: filled by the monitor, shown by the view, written to metrics.jsonl, drawn at the end."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.robot.actor import EpisodeSummary
from sql_ros.runs.evaluation import Evaluation

RECENT = 20  # episodes in the running success rate


@dataclass
class RunProgress:
    """Counts and curves of one run.

    Attributes:
        started: steady time of the beginning [s].
        control_rate_hz: control steps per second of robot time.
        real_arm: Episodes are those of a real arm; evaluations are simulated all the same.
        episodes: finished episodes of this session, in order.
        robot_steps: control steps, those of earlier sessions included.
        earlier_steps: those of earlier sessions.
        later_steps: those of episodes that ended after this session did.
        evaluations: (robot minutes, updates, policy version, result) of each evaluation.
        acting: what the actor says of itself: exploring, acting, why it holds.
        transitions, updates, policy_version: of the learner.
        updates_per_s: over the last seconds.
        control: the actor's values from /diagnostics.
    """

    control_rate_hz: float
    real_arm: bool = False
    started: float = field(default_factory=time.monotonic)
    episodes: list[EpisodeSummary] = field(default_factory=list)
    robot_steps: int = 0
    earlier_steps: int = 0
    later_steps: int = 0
    evaluations: list[tuple[float, int, int, Evaluation]] = field(default_factory=list)
    acting: str = "waited for"
    evaluating: str = ""
    transitions: int = 0
    updates: int = 0
    first_updates: int | None = None  # of the learner when this session began
    policy_version: int = 0
    updates_per_s: float = 0.0
    control: dict[str, str] = field(default_factory=dict)
    training: dict[str, str] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    ended: float | None = None  # steady time of the end [s]

    @property
    def wall_s(self) -> float:
        """From the beginning of this session to its end, or to now [s]."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def robot_minutes(self) -> float:
        """Experience of the robot: every control step, the ways to the start poses included [min]."""
        return self.minutes(self.robot_steps)

    def minutes(self, steps: int) -> float:
        """What so many control steps take [min]."""
        return steps / self.control_rate_hz / 60.0

    @property
    def successes(self) -> int:
        """Return how many episodes of this session reached the goal."""
        return sum(episode.success for episode in self.episodes)

    @property
    def recent_success(self) -> float:
        """Success rate of the last `RECENT` training episodes; the policy samples in training."""
        recent = self.episodes[-RECENT:]
        return float(np.mean([episode.success for episode in recent])) if recent else 0.0

    def resume(self, metrics: Path) -> None:
        """Counts robot time on from the metrics of an earlier session, if there are any; what is no line of metrics is passed over.

        Raises:
            OSError: they cannot be read.
        """
        for line in metrics.read_bytes().splitlines() if metrics.is_file() else []:
            try:
                entry = json.loads(line)
                if entry["kind"] == "episode":
                    self.robot_steps = self.earlier_steps = round(entry["robot_minutes"] * 60.0 * self.control_rate_hz)
            except (ValueError, TypeError, KeyError, OverflowError):  # torn by a full disk or a power cut
                continue

    @property
    def mean_updates_per_s(self) -> float:
        """Over this session."""
        return (self.updates - (self.first_updates or 0)) / self.wall_s

    def add(self, episode: EpisodeSummary) -> None:
        """Counts a finished episode."""
        self.episodes.append(episode)
        self.robot_steps += episode.robot_steps


class MetricsFile:
    """metrics.jsonl: one JSON object a line, each with "kind" and "wall_s", flushed at once.

    Args:
        path: of the file; what is in it stays, and a last line that is torn is ended before the next.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab+", buffering=0)  # no buffer: what a full disk did not take would come later, behind a torn line

    def write(self, kind: str, wall_s: float, **values: Any) -> None:
        """Appends a line.

        Raises:
            OSError: it is not there, or not all of it.
        """
        line = json.dumps({"kind": kind, "wall_s": round(wall_s, 3), **values}) + "\n"
        rest = (line if self._is_whole() else f"\n{line}").encode()
        while rest:
            rest = rest[self._file.write(rest) :]

    def _is_whole(self) -> bool:
        """The last line has an end."""
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return not size or os.pread(descriptor, 1, size - 1) == b"\n"

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
