"""Evaluation of a policy in simulation without ROS, in fixed episodes.

Actor and safety filter are those of the arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sql_ros.common.errors import PolicyError
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.task import Task
from sql_ros.runs.rollout import SimulatedArm


@dataclass(frozen=True)
class Evaluation:
    """Results of evaluation episodes, in the order of the episodes.

    Attributes:
        successes: Whether each episode held its goal at the end as long as the task asks.
        returns: Undiscounted return of each episode.
        distances: Distance to the goal in the last state of each episode [m].
        outcomes: How each episode ended, see `EpisodeSummary.outcome`.
    """

    successes: list[bool]
    returns: list[float]
    distances: list[float]
    outcomes: list[str] = field(default_factory=list)

    @property
    def success_rate(self) -> float:
        """Return the share of successful episodes; there must be one."""
        return float(np.mean(self.successes))

    @property
    def failures(self) -> int:
        """Return the number of episodes that the task ended without success."""
        return self.outcomes.count("failure")

    @property
    def timeouts(self) -> int:
        """Return the number of episodes whose time was up without success."""
        return self.outcomes.count("time-out")

    def figures(self) -> dict[str, float]:
        """Return the results as numbers by name, for a figures file; there must be an episode.

        The names are "success_rate", "episodes", "failed_episodes" and "timed_out_episodes" (their
        numbers), "mean_return", "median_final_distance_m" and "worst_final_distance_m".
        """
        return {
            "success_rate": self.success_rate,
            "episodes": float(len(self.successes)),
            "failed_episodes": float(self.failures),
            "timed_out_episodes": float(self.timeouts),
            "mean_return": float(np.mean(self.returns)),
            "median_final_distance_m": float(np.median(self.distances)),
            "worst_final_distance_m": float(np.max(self.distances)),
        }


class Evaluator:
    """Evaluates policies in their deterministic mode, in one scene, which stays loaded.

    Args:
        task: The task.
        seed: Seed of the episodes. Start pose and target of episode i are drawn by
            `default_rng([seed, i])`, so that they are the same for every policy.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._arm = SimulatedArm(task)
        self._mapper = ActionMapper(task)

    def evaluate(
        self,
        policy: Policy,
        episodes: int,
        goes_on: Callable[[Evaluation], bool] = lambda so_far: True,
    ) -> Evaluation:
        """Run episodes to their end.

        Args:
            policy: A policy of the task.
            episodes: Number of episodes.
            goes_on: Called after each episode with the results so far; its return value False ends
                the evaluation early.

        Returns:
            The results of the episodes that were run.

        Raises:
            PolicyError: The policy cannot act, e.g. an action is not finite. On the arm this would
                be a hold, which might last for ever.
        """
        result = Evaluation([], [], [])
        for index in range(episodes):
            self._episode(policy, index, result)
            if not goes_on(result):
                break
        return result

    def _episode(self, policy: Policy, index: int, result: Evaluation) -> None:
        """Run one episode and append its outcome to the results.

        Args:
            policy: A policy of the task.
            index: Number of the episode, from 0, part of its seed.
            result: Results so far; the outcome is appended to its lists.

        Raises:
            PolicyError: The policy cannot act, e.g. an action is not finite.
        """
        actor = Actor(
            self._task,
            seed=self._seed + index,
            deterministic=True,
            explores=False,
            mapper=self._mapper,
        )
        actor.policy = policy
        self._arm.begin(
            actor, self._task.begin(np.random.default_rng([self._seed, index])), self._seed + index
        )
        while (summary := (step := self._arm.follow(actor)).summary) is None:
            if step.fault:
                raise PolicyError(
                    f"policy version {policy.info.version} cannot be evaluated: {step.fault} in"
                    f" episode {index}"
                )
        result.successes.append(summary.success)
        result.returns.append(summary.undiscounted_return)
        result.distances.append(summary.distance)
        result.outcomes.append(summary.outcome)
