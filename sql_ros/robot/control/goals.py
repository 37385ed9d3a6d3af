"""Send an actor to goals: one target at a time, from wherever the arm is."""

from __future__ import annotations

from collections import deque

import numpy as np

from sql_ros.common.errors import MessageError
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.episode_rules import DrawnEpisodes
from sql_ros.robot.control.step import Step
from sql_ros.robot.task import Episode, Task

ROUNDING_M = 1e-6  # largest distance by which a transformed goal may be outside of the box
OLDEST_S = 10.0  # largest difference between a goal's stamp and the present time


def shown(position: Vector) -> str:
    """Return a position (3,) [m] as text for people, such as "(0.600, 0.000, 0.200)"."""
    return f"({', '.join(f'{value:.3f}' for value in position)})"


def check_goal(position: Vector, task: Task, frame: str) -> Vector:
    """Return a goal that a task may be given, clipped to its box of targets.

    Args:
        position: Wanted position of the task's tool in the base frame (3,) [m].
        task: The task. Its box of targets is the one that policies were trained for.
        frame: Name of the base frame, for the error message.

    Returns:
        The goal in the base frame (3,) [m]. It differs from `position` by `ROUNDING_M` at most.

    Raises:
        MessageError: The goal is not finite, or is outside of the box by more than `ROUNDING_M`.
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
    """Check the age of a goal's stamp.

    Args:
        age_s: Present time less the stamp [s]; negative: the stamp is in the future.

    Raises:
        MessageError: The stamp is more than `OLDEST_S` old or in the future.
    """
    if abs(age_s) > OLDEST_S:
        raise MessageError(
            f"goal has a stamp {abs(age_s):.1f} s {'old' if age_s > 0 else 'in the future'}, "
            f"expected at most {OLDEST_S:g} s by this node's clock, or 0"
        )


class GoalFollower(DrawnEpisodes):
    """Rules of an actor that follows goals. Until the first goal its episodes are drawn.

    A goal is an episode that begins at once where the arm is, and ends with the next goal. A goal
    counts as reached once the tool has been at it for the task's `hold_s`. After that the policy
    continues to act. Without a policy the arm is held.

    Args:
        task: The task.
        seed: Seed of drawn episodes and of the policy's noise.
        waits: Hold the arm until the first goal comes, instead of drawing episodes.
        mapper: Maps actions to commands; None: a new one for the task.

    Attributes:
        actor: Actor that makes the control steps, with these rules. Call its `step`, and give it a
            policy.
        goal: Target in force (3,) [m]; None before the first and after `cancel`.
        is_reached: Whether the goal in force was reached.
        pending: A newer goal that waits for its transform, as text for people; empty without one.
        news: Texts about what happened to goals, oldest first. The publisher of `~/goal_status`
            removes them.
    """

    def __init__(
        self, task: Task, seed: int, *, waits: bool = False, mapper: ActionMapper | None = None
    ) -> None:
        super().__init__(task)
        self.actor = Actor(
            task, seed, deterministic=True, explores=False, mapper=mapper, rules=self
        )
        self.goal: Vector | None = None
        self.is_reached = False
        self.pending = ""
        self.news: deque[str] = deque()
        self._waits = waits
        self._is_new = False  # the goal in force has no episode yet
        self._is_of_goal = False  # the episode under way is one of a goal, not a drawn one

    @property
    def waits(self) -> bool:
        """Return whether the arm is held until a goal comes."""
        return self.goal is None and self._waits

    def give(self, goal: Vector, note: str = "") -> None:
        """Take a goal in place of the present one and of a pending one.

        The goal's episode begins with the next step, and `is_reached` becomes false. Adds "accepted
        ..." to `news`, and "preempted ..." for a pending goal and for a goal in force that was not
        reached. If the goal is the one in force already, it stays as it is, and only `news` gets
        "accepted ..." or "reached ...: it is the present goal".

        Args:
            goal: Target (3,) [m], as returned by `check_goal`.
            note: Text that is appended to "accepted ...".
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
        """Give up the goal in force and a pending one; the arm is held until the next goal comes.

        Adds "preempted ..." to `news` for each that was not reached. An episode under way counts as
        given up. Without a goal in force only a pending one is given up, and nothing else changes.

        Args:
            why: Reason, for `news`.
        """
        self._end_pending(why)
        if self.goal is None:
            return
        if not self.is_reached:
            self.news.append(f"preempted {shown(self.goal)}: {why}")
        self.goal = None
        self._is_new = False
        self.actor.give_up()

    def expect(self, goal: str) -> None:
        """Note a goal that will be given once its transform is known. An older pending one is
        preempted, which is added to `news`.

        Args:
            goal: Text for people that describes the goal.
        """
        self._end_pending("by a newer goal")
        self.pending = goal

    def take_pending(self) -> bool:
        """Clear `pending`, and return whether there was a pending goal: it was not cancelled or
        replaced.
        """
        counts = bool(self.pending)
        self.pending = ""
        return counts

    def _end_pending(self, why: str) -> None:
        """Clear `pending`. If there was a pending goal, add "preempted ..." with a reason to
        `news`.
        """
        if self.pending:
            self.news.append(f"preempted {self.pending}: {why}")
        self.pending = ""

    # --- rules of the actor's episodes, see `EpisodeRules` ---

    def begin_step(self, state: RobotState) -> bool:
        """Begin the episode of a new goal, and return whether the arm may move: not while `waits`
        is true.

        The episode starts in the present pose. An episode of the last goal is finished, a drawn one
        is given up.

        Args:
            state: State of the arm now.
        """
        if self.waits:
            return False
        if self._is_new and self.goal is not None:
            episode = Episode(state.position, self.goal)
            self.actor.switch_episode(episode, state, finishes_present=self._is_of_goal)
            self._is_new = False
            self._is_of_goal = True
        return True

    def end_step(self, state: RobotState, step: Step) -> None:
        """Set `is_reached` and add "reached ..." to `news`, once the tool has been at the goal for
        `hold_steps`.

        Args:
            state: State of the arm now, for the distance in the text.
            step: Not used.
        """
        if self.goal is None or self.is_reached or not self.actor.is_at_goal:
            return
        self.is_reached = True
        away = 1e3 * self._task.distance(state, self.actor.episode)
        self.news.append(
            f"reached {shown(self.goal)}: {away:.1f} mm away, within the tolerance for"
            f" {self._task.config.hold_s:g} s"
        )

    def begins_here(self) -> bool:
        """Return whether there is a goal: a goal has no start pose."""
        return self.goal is not None

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the time of a drawn episode is up. An episode of a goal has no end of its
        own.
        """
        return self.goal is None and super().is_over(steps, state)
