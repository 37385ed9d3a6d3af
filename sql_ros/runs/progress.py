"""The progress of a run.

The monitor fills it and writes it to metrics.jsonl, the view shows it, the report draws it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sql_ros.common.metrics_file import read_metrics
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.runs.evaluation import Evaluation

RECENT = 20  # episodes in the running success rate


@dataclass
class RunProgress:
    """Counts and curves of one run.

    Attributes:
        control_rate_hz: Control steps per second of robot time [Hz].
        real_arm: Whether the episodes are those of a real arm; evaluations are always simulated.
        started: Steady time of the beginning of this session [s].
        episodes: Finished episodes of this session, in order.
        robot_steps: Control steps, including those of earlier sessions.
        earlier_steps: Control steps of earlier sessions.
        later_steps: Control steps of episodes that ended after this session did.
        evaluations: Robot time [min], updates, policy version and result of each evaluation.
        acting: State of the actor in words: exploring, acting, or why it holds the arm.
        evaluating: State of the running evaluation in words; empty: none is running.
        transitions: Transitions in the learner's buffer.
        updates: Gradient steps of the learner.
        first_updates: Gradient steps of the learner when this session began; None: not known yet.
        policy_version: Version of the newest policy of the learner; 0: none yet.
        updates_per_s: Gradient steps per second over the last seconds.
        control: Values of the actor's control loop from /diagnostics, by name.
        training: Values of the learner from /diagnostics, by name.
        faults: Number of faults that the nodes counted, by kind.
        ended: Steady time of the end [s]; None: the session goes on.
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
    first_updates: int | None = None
    policy_version: int = 0
    updates_per_s: float = 0.0
    control: dict[str, str] = field(default_factory=dict)
    training: dict[str, str] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    ended: float | None = None

    @property
    def wall_s(self) -> float:
        """Return the time from the beginning of this session to its end, or to now [s]."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def robot_minutes(self) -> float:
        """Return the time of all control steps, including the ways to the start poses [min]."""
        return self.minutes(self.robot_steps)

    def minutes(self, steps: int) -> float:
        """Return the time that a number of control steps takes [min]."""
        return steps / self.control_rate_hz / 60.0

    @property
    def successes(self) -> int:
        """Return the number of episodes of this session that reached the goal."""
        return sum(episode.success for episode in self.episodes)

    @property
    def recent_success(self) -> float:
        """Return the success rate of the last `RECENT` training episodes, 0.0 without episodes.

        In training the policy samples its actions.
        """
        recent = self.episodes[-RECENT:]
        return float(np.mean([episode.success for episode in recent])) if recent else 0.0

    def resume(self, metrics: Path) -> None:
        """Set the robot time to that of earlier sessions, from the last episode in metrics.jsonl.

        That time becomes `earlier_steps` and `robot_steps`. Without an episode nothing changes.
        Lines that are no episode are skipped.

        Args:
            metrics: Path of metrics.jsonl; it need not exist.

        Raises:
            OSError: The file cannot be read.
        """
        for entry in read_metrics(metrics):
            try:
                if entry["kind"] == "episode":
                    self.robot_steps = self.earlier_steps = round(
                        entry["robot_minutes"] * 60.0 * self.control_rate_hz
                    )
            except (ValueError, TypeError, KeyError, OverflowError):  # not a line of the monitor
                continue

    @property
    def mean_updates_per_s(self) -> float:
        """Return the mean number of updates per second of this session."""
        return (self.updates - (self.first_updates or 0)) / self.wall_s

    def add(self, episode: EpisodeSummary) -> None:
        """Append a finished episode, and add its control steps to the robot time."""
        self.episodes.append(episode)
        self.robot_steps += episode.robot_steps
