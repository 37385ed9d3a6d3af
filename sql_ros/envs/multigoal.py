"""Four equally good goals around a point, [SQL17] Fig. 1 and 2."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

GOALS = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
HALF_WIDTH = 7.0  # of the world
START_STD = 0.1
ACTION_COST, BONUS, RADIUS = 30.0, 10.0, 1.0  # of |a|^2; at a goal; within which one is there

Vector = npt.NDArray[np.float32]


class MultiGoalEnv(gymnasium.Env[Vector, Vector]):
    """A point (2,) that moves by its action (2,) in [-1, 1].

    The reward grows towards the nearest goal, where an episode terminates.

    `info` holds "goal", the index of the one that was reached, or -1, and "is_success".
    """

    observation_space = gymnasium.spaces.Box(-HALF_WIDTH, HALF_WIDTH, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Put the point near the origin.

        Args:
            seed: Seed of the draw.
            options: "state" (2,): the place of the point instead.

        Returns:
            Observation (2,) and info.
        """
        super().reset(seed=seed)
        drawn = self.np_random.normal(0.0, START_STD, 2)
        self._place = np.asarray((options or {}).get("state", drawn), np.float64)
        return self._place.astype(np.float32), {"goal": -1, "is_success": False}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Move the point by an action (2,); within `RADIUS` of a goal the episode terminates."""
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
