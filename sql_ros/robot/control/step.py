"""The results of a control step and of a finished episode."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.policy.transition import Transition
from sql_ros.robot.arm import Vector


@dataclass(frozen=True)
class EpisodeSummary:
    """A finished episode.

    Attributes:
        index: Number of the episode of this actor, from 0.
        steps: Number of control steps. Each makes a transition, except those counted in
            `Actor.skipped`.
        robot_steps: Number of control steps, with the way to the start pose, the release and
            attempts that were given up.
        undiscounted_return: Sum of rewards.
        success: At the end of the episode the tool had been at the goal for the task's `hold_s`. If
            the episode was truncated and the task has a `release_s`, the tool was still at the goal
            after the release.
        distance: Distance to the goal in the last state [m].
        policy_version: Version of the policy that selected the last action; 0 for uniform
            exploration.
        terminated: The task ended the episode (`Task.is_terminated`) before its time was up.
    """

    index: int
    steps: int
    robot_steps: int
    undiscounted_return: float
    success: bool
    distance: float
    policy_version: int
    terminated: bool = False

    @property
    def outcome(self) -> str:
        """Return how the episode ended, see `outcome_of`."""
        return outcome_of(success=self.success, terminated=self.terminated)


def outcome_of(*, success: bool, terminated: bool) -> str:
    """Return how an episode ended: "success", "failure" or "time-out".

    Args:
        success: Whether the episode succeeded.
        terminated: Whether the task ended it. Without success that is a failure.
    """
    if success:
        return "success"
    return "failure" if terminated else "time-out"


@dataclass(frozen=True)
class Step:
    """Result of one control step.

    Attributes:
        command: Command of this step (N,), in the unit of the command mode. `Actor.step` has
            already given it to `send`.
        transition: Transition that ended in this state; None outside of episodes, at the first
            action, and where the step was counted in `Actor.skipped`.
        summary: Summary of the episode that ended with this state; None if none ended.
        target: Target of the episode that begins with this step (3,) [m]; None if none begins.
        episode_index: Number of the episode of the transition; 0 without a transition.
        step_index: Number of the transition in its episode, from 0.
        policy_version: Version of the policy that selected the transition's action; 0 for uniform
            exploration.
        fault: Why the command is a hold instead of the policy's action: "policy_non_finite" or
            "policy_late". Empty without a fault.
        inference_s: Time that the policy took for its first candidate [s]; 0 where no policy was
            used.
    """

    command: Vector
    transition: Transition | None = None
    summary: EpisodeSummary | None = None
    target: Vector | None = None
    episode_index: int = 0
    step_index: int = 0
    policy_version: int = 0
    fault: str = ""
    inference_s: float = 0.0
