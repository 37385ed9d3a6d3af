"""A playing actor that goes where it is sent: one goal at a time, from wherever the arm is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sql_ros.common.errors import MessageError
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.control.episode_actor import Actor, EpisodeSummary, Step
from sql_ros.robot.task import Episode, Task

ROUNDING_M = 1e-6  # by which a transformed goal may be outside of the box
OLDEST_S = 10.0  # of a goal's stamp, before or after the present time


def shown(position: Vector) -> str:
    """Return a position [m] for people."""
    return f"({', '.join(f'{value:.3f}' for value in position)})"


def check_goal(position: Vector, task: Task, frame: str) -> Vector:
    """Return a goal (3,) [m] in the base frame, clipped to the box within rounding.

    Args:
        position: Wanted position of the task's tool.
        task: Has the box of targets that its policies were trained for.
        frame: Name of the base frame, for the message.

    Raises:
        MessageError: The goal is not finite or outside of the box.
    """
    lower, upper = np.array(task.config.target_lower), np.array(task.config.target_upper)
    if not np.isfinite(position).all():
        raise MessageError(f"goal {position} is not finite")
    if (position < lower - ROUNDING_M).any() or (position > upper + ROUNDING_M).any():
        raise MessageError(
            f"goal {shown(position)} is outside of the box that '{task.name}' is trained for: "
            f"{lower.tolist()} to {upper.tolist()} m in {frame}"
        )
    return np.clip(position, lower, upper)


def check_age(age_s: float) -> None:
    """Check the age of a goal's stamp [s].

    Raises:
        MessageError: It is too old, or of another clock.
    """
    if abs(age_s) > OLDEST_S:
        raise MessageError(
            f"goal has a stamp {abs(age_s):.1f} s {'old' if age_s > 0 else 'in the future'}, "
            f"expected at most {OLDEST_S:g} s by this node's clock, or 0"
        )


class GoalActor(Actor):
    """Draws episodes until a first goal comes; from then on goals alone move the arm.

    A goal is an episode that begins at once where the arm is and ends with the next goal. At the
    goal the policy goes on acting. It is reached once the task's condition has held for `hold_s`.

    Args:
        task: What to do.
        seed: Of drawn episodes and the policy's noise.
        waits: Hold until a first goal comes instead of drawing episodes.
        drive: Of the task; one of its own by default.

    Attributes:
        goal: Target (3,) [m] in force; None before the first and after `cancel`.
        is_reached: The goal in force was reached.
        pending: A newer goal that waits for its transform, for people; empty if none does.
        news: What happened to goals, for `~/goal_status`; taken by whoever publishes it.
    """

    def __init__(
        self, task: Task, seed: int, *, waits: bool = False, drive: Drive | None = None
    ) -> None:
        super().__init__(task, seed, deterministic=True, explores=False, drive=drive)
        self.goal: Vector | None = None
        self.is_reached = False
        self.pending = ""
        self.news: deque[str] = deque()
        self._waits = waits
        self._is_new = False  # the goal in force has no episode yet
        self._is_of_goal = False  # the episode is a goal's

    @property
    def waits(self) -> bool:
        """The arm is held until a goal comes."""
        return self.goal is None and self._waits

    def give(self, goal: Vector, note: str = "") -> None:
        """Take a goal (3,) [m] in place of the present one; the same goal again changes nothing.

        Args:
            goal: Checked by `check_goal`.
            note: Added to the answer.
        """
        self._end_pending(f"by goal {shown(goal)}")
        if self.goal is not None and np.array_equal(goal, self.goal):
            state = "reached" if self.is_reached else "accepted"
            self.news.append(f"{state} {shown(goal)}: it is the present goal")
            return
        if self.goal is not None and not self.is_reached:
            self.news.append(f"preempted {shown(self.goal)}: by goal {shown(goal)}")
        self.goal = goal
        self.is_reached = False
        self._is_new = self._waits = True
        self.news.append(f"accepted {shown(goal)}{note}")

    def cancel(self, why: str) -> None:
        """Give up the goal, and one that is pending: the arm is held until the next one comes."""
        self._end_pending(why)
        if self.goal is None:
            return
        if not self.is_reached:
            self.news.append(f"preempted {shown(self.goal)}: {why}")
        self.goal = None
        self._is_new = False
        self._give_up()

    def expect(self, goal: str) -> None:
        """Note a goal that is to be given once its transform is known.

        Args:
            goal: Described for people.
        """
        self._end_pending("by a newer goal")
        self.pending = goal

    def take_pending(self) -> bool:
        """Return whether the pending goal still counts; it is pending no more."""
        counts = bool(self.pending)
        self.pending = ""
        return counts

    def _end_pending(self, why: str) -> None:
        if self.pending:
            self.news.append(f"preempted {self.pending}: {why}")
        self.pending = ""

    def step(
        self, state: RobotState, send: Callable[[Vector], None] = lambda command: None
    ) -> Step:
        """As `Actor.step`; holds while a goal is waited for."""
        if self.waits:
            return self._stay(state, send)
        summary = self._turn_to_goal(state) if self._is_new else None
        step = super().step(state, send)
        self._note_arrival(state)
        return step if summary is None else replace(step, summary=summary)

    def _stay(self, state: RobotState, send: Callable[[Vector], None]) -> Step:
        if self._jumped(state):
            self.forget()
        self._last_state = state
        held = self.safety.hold(state)
        send(held)
        return Step(held)

    def _turn_to_goal(self, state: RobotState) -> EpisodeSummary | None:
        """End the episode under way; return its summary if it was one of a goal."""
        assert self.goal is not None
        summary = None
        if self._running is not None and self._is_of_goal:
            is_there = self._running.streak >= self.task.hold_steps
            summary = self._finish(self._running, state, is_there)
        self._give_up()
        self.episode = Episode(state.position, self.goal)
        self._is_new = False
        self._is_of_goal = True
        return summary

    def _note_arrival(self, state: RobotState) -> None:
        running = self._running
        if self.goal is None or self.is_reached or running is None:
            return
        if running.streak >= self.task.hold_steps:
            self.is_reached = True
            away = 1e3 * self.task.distance(state, self.episode)
            self.news.append(
                f"reached {shown(self.goal)}: {away:.1f} mm away, within the tolerance for"
                f" {self.task.config.hold_s:g} s"
            )

    def _approach(self, state: RobotState) -> Step:
        """As the actor; a goal has no start pose."""
        if self.goal is None or self.is_idle:
            return super()._approach(state)
        return self._begin_episode(state)

    def _is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether a goal's episode ends with the next goal only."""
        return self.goal is None and super()._is_over(steps, state)
