"""Four equally good goals around a point, [SQL17] Fig. 1 and 2."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

GOALS = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
HALF_WIDTH = 7.0  # of the world, a square around the origin; lengths have no unit
START_STD = 0.1  # standard deviation of the start
ACTION_COST = 30.0  # cost per |a|^2
BONUS = 10.0  # reward at a goal
RADIUS = 1.0  # distance within which a goal is reached

Vector = npt.NDArray[np.float32]


class MultiGoalEnv(gymnasium.Env[Vector, Vector]):
    """A point that moves by its action (2,) in [-1, 1], with its place (2,) as observation.

    The reward is minus the squared distance to the nearest goal, minus `ACTION_COST` |a|^2, plus
    `BONUS` at a goal, where the episode terminates. `info` has "goal", the index of the goal that
    is reached in `GOALS` (-1: none), and "is_success": whether a goal is reached.
    """

    observation_space = gymnasium.spaces.Box(-HALF_WIDTH, HALF_WIDTH, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Put the point near the origin.

        Args:
            seed: Seed of the draw; None: the generator of earlier episodes goes on.
            options: "state": place (2,) of the point instead of the drawn one. None: no options.

        Returns:
            Observation (2,): the place; info with "goal" -1 and "is_success" False.
        """
        super().reset(seed=seed)
        drawn = self.np_random.normal(0.0, START_STD, 2)
        self._place = np.asarray((options or {}).get("state", drawn), np.float64)
        return self._place.astype(np.float32), {"goal": -1, "is_success": False}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Move the point, which stays inside the world.

        Args:
            action: Action (2,), clipped to [-1, 1].

        Returns:
            Observation (2,): the place; reward, which falls with the squared distance to the
            nearest goal and with |a|^2; terminated: whether a goal is reached; truncated: False;
            info with "goal", its index (-1: none), and "is_success".
        """
        moved = np.clip(action, -1.0, 1.0)
        self._place = np.clip(self._place + moved, -HALF_WIDTH, HALF_WIDTH)
        squared = np.square(self._place - GOALS).sum(1)
        nearest = int(squared.argmin())
        there = bool(squared[nearest] < RADIUS**2)
        reward = (
            -ACTION_COST * float(np.square(moved).sum()) - float(squared[nearest]) + BONUS * there
        )
        return (
            self._place.astype(np.float32),
            reward,
            there,
            False,
            {"goal": nearest if there else -1, "is_success": there},
        )
