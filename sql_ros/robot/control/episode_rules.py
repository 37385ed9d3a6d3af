"""The rules of an actor's episodes: which episodes there are, when one may begin and when it
ends.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.step import EpisodeSummary, Step
from sql_ros.robot.task import Episode, Task


class EpisodeRules(Protocol):
    """The rules of an actor's episodes. The actor calls these methods in its control step.

    `DrawnEpisodes` has the rules of a training, `goals.py` those of goals, and
    `trials/trial_runner.py` those of trials.
    """

    def begin_step(self, state: RobotState) -> bool:
        """Return whether the arm may move in the control step that begins; if not, it is held.

        The rules may call `Actor.switch_episode` here.

        Args:
            state: State of the arm now.
        """

    def end_hold(self, state: RobotState) -> None:
        """Note that the control step was a hold because `begin_step` returned False.

        Args:
            state: State that the hold was computed from.
        """

    def end_step(self, state: RobotState, step: Step) -> None:
        """Note that a control step was made.

        Args:
            state: State that the command was computed from.
            step: Result of the step.
        """

    def begins_here(self) -> bool:
        """Return whether the episode begins where the arm is, not at its start pose."""

    def may_approach(self, state: RobotState) -> bool:
        """Return whether the arm may move on towards the start pose; if not, it is held.

        Args:
            state: The last state of the arm.
        """

    def may_begin(self) -> bool:
        """Return whether the episode may begin, now that the arm has reached its start pose or the
        time for the way is up.

        If not, the arm is held.
        """

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the episode is truncated because its time is up.

        Args:
            steps: Number of control steps of the episode so far.
            state: The last state.
        """

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Return the episode that follows a finished one.

        Args:
            summary: Summary of the finished episode.
            rng: Generator of the actor's draws.
        """

    def on_begin(self) -> None:
        """Note that `Actor.begin` has set `Actor.episode`. The rules may set another episode
        here.
        """

    def on_give_up(self) -> None:
        """Note that the actor has given up the episode under way."""

    def on_jump(self) -> None:
        """Note that the arm cannot have moved to the new state. After this call the actor
        gives up the episode.
        """

    def on_interrupt(self, *, fresh: bool) -> None:
        """Note that `Actor.interrupt` was called. After this call the actor gives up the episode.

        Args:
            fresh: Whether the last state was measured just now.
        """


class DrawnEpisodes:
    """Rules of a training: episodes of the same length, drawn from the task one after the other.

    Nothing but the task decides when the arm moves and an episode begins.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def begin_step(self, state: RobotState) -> bool:
        """Return True: the arm may always move."""
        return True

    def end_hold(self, state: RobotState) -> None:
        """Do nothing: these rules never hold the arm."""

    def end_step(self, state: RobotState, step: Step) -> None:
        """Do nothing: these rules measure nothing."""

    def begins_here(self) -> bool:
        """Return False: the arm first moves to the start pose."""
        return False

    def may_approach(self, state: RobotState) -> bool:
        """Return True: the arm may always move to its start pose."""
        return True

    def may_begin(self) -> bool:
        """Return True: the episode may begin at once."""
        return True

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the episode has the task's number of control steps."""
        return steps >= self._task.episode_steps

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Draw an episode of the task. The finished one has no influence."""
        return self._task.begin(rng)

    def on_begin(self) -> None:
        """Do nothing: the episode that was given is kept."""

    def on_give_up(self) -> None:
        """Do nothing: the same episode is tried again."""

    def on_jump(self) -> None:
        """Do nothing: a jump has no further effect."""

    def on_interrupt(self, *, fresh: bool) -> None:
        """Do nothing: an interruption has no further effect."""
