"""Evaluates a policy in simulation, without ROS: fixed episodes, the deterministic mode, the same actor and safety filter as on the arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from sql_ros.core.errors import PolicyError
from sql_ros.core.policy import Policy
from sql_ros.robot.actor import Actor
from sql_ros.robot.drive import Drive
from sql_ros.robot.task import Task
from sql_ros.runs.rollout import SimulatedArm


@dataclass(frozen=True)
class Evaluation:
    """Results of some episodes, in order."""

    successes: list[bool]
    returns: list[float]
    distances: list[float]  # to the goal in the last state [m]

    @property
    def success_rate(self) -> float:
        """Share of episodes at whose end the goal had been held as long as the task asks."""
        return float(np.mean(self.successes))

    def figures(self) -> dict[str, float]:
        """Flat numbers for a figures file."""
        return {
            "success_rate": self.success_rate,
            "episodes": float(len(self.successes)),
            "mean_return": float(np.mean(self.returns)),
            "median_final_distance_m": float(np.median(self.distances)),
            "worst_final_distance_m": float(np.max(self.distances)),
        }


class Evaluator:
    """Keeps one scene loaded, so that it can evaluate often.

    Args:
        task: the task.
        seed: episode i begins as `default_rng([seed, i])` draws it: the same start poses and targets for every policy.
        deterministic: the mean of its samples or the best of them (`Policy.ranked`), or one sample.
    """

    def __init__(self, task: Task, seed: int, *, deterministic: bool = True) -> None:
        self._task, self._seed, self._deterministic = task, seed, deterministic
        self._arm, self._drive = SimulatedArm(task), Drive(task)

    def evaluate(self, policy: Policy, episodes: int, goes_on: Callable[[Evaluation], bool] = lambda so_far: True) -> Evaluation:
        """Runs the episodes to their end.

        Args:
            policy: of the task.
            episodes: how many.
            goes_on: called after each with the results so far; returning False ends the evaluation early.

        Raises:
            PolicyError: an action is not finite; on the arm that is a hold, which may last for ever.
        """
        result = Evaluation([], [], [])
        for index in range(episodes):
            self._episode(policy, index, result)
            if not goes_on(result):
                break
        return result

    def _episode(self, policy: Policy, index: int, result: Evaluation) -> None:
        actor = Actor(self._task, seed=self._seed + index, deterministic=self._deterministic, explores=False, drive=self._drive)
        actor.policy = policy
        self._arm.begin(actor, self._task.begin(np.random.default_rng([self._seed, index])), self._seed + index)
        while (summary := (step := self._arm.follow(actor)).summary) is None:
            if step.fault:
                raise PolicyError(f"policy version {policy.info.version} cannot be evaluated: {step.fault} in episode {index}")
        result.successes.append(summary.success)
        result.returns.append(summary.undiscounted_return)
        result.distances.append(summary.distance)
