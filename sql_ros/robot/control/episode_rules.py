"""The rules of an actor's episodes: which there are, when one may begin and when it ends."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.step import EpisodeSummary, Step
from sql_ros.robot.task import Episode, Task


class EpisodeRules(Protocol):
    """The rules of an actor's episodes. The actor calls them from its control step.

    `DrawnEpisodes` are the rules of a training. `trials/trial_runner.py` has those of trials.
    """

    def begin_step(self) -> bool:
        """Return whether the arm may move in the step that begins; otherwise it is held."""

    def end_hold(self, state: RobotState) -> None:
        """Note that the arm was held in this step, in answer to a state."""

    def end_step(self, state: RobotState, step: Step) -> None:
        """Note a finished step, in answer to a state."""

    def may_approach(self, state: RobotState) -> bool:
        """Return whether the arm moves on to the start pose; otherwise it is held."""

    def may_begin(self) -> bool:
        """Return whether the episode may begin at its start pose; otherwise the arm is held."""

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the time of an episode is up.

        Args:
            steps: Control steps of the episode so far.
            state: The last one.
        """

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Return the episode that follows a finished one.

        Args:
            summary: Of the finished episode.
            rng: Source of the draws of the actor.
        """

    def on_begin(self) -> None:
        """Note that `Actor.begin` has set an episode; the rules may replace it."""

    def on_give_up(self) -> None:
        """Note that the actor has given up the episode under way."""

    def on_jump(self) -> None:
        """Note that the arm has jumped; the actor gives up the episode next."""

    def on_interrupt(self, *, fresh: bool) -> None:
        """Note an interruption; the actor gives up the episode next.

        Args:
            fresh: The last state was measured just now.
        """


class DrawnEpisodes:
    """Rules of episodes that are drawn from the task, one after the other, of the same length.

    Args:
        task: Draws the episodes.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def begin_step(self) -> bool:
        """Let the arm move. See `EpisodeRules`."""
        return True

    def end_hold(self, state: RobotState) -> None:
        """Do nothing. See `EpisodeRules`."""

    def end_step(self, state: RobotState, step: Step) -> None:
        """Do nothing. See `EpisodeRules`."""

    def may_approach(self, state: RobotState) -> bool:
        """Let the arm move to its start pose. See `EpisodeRules`."""
        return True

    def may_begin(self) -> bool:
        """Let the episode begin. See `EpisodeRules`."""
        return True

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the task's number of steps is made. See `EpisodeRules`."""
        return steps >= self._task.episode_steps

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Draw an episode. See `EpisodeRules`."""
        return self._task.begin(rng)

    def on_begin(self) -> None:
        """Do nothing. See `EpisodeRules`."""

    def on_give_up(self) -> None:
        """Do nothing. See `EpisodeRules`."""

    def on_jump(self) -> None:
        """Do nothing. See `EpisodeRules`."""

    def on_interrupt(self, *, fresh: bool) -> None:
        """Do nothing. See `EpisodeRules`."""
