"""A planar arm that pushes a puck along x, y or both: skills to compose, [C18] Fig. 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.envs.body_env import BodyEnv, Vector

GOAL = np.array([-1.0, -1.0])
# the mean of the two skills' rewards is that of "both"
AXES = {"x": (1.0, 0.0), "y": (0.0, 1.0), "both": (0.5, 0.5)}
ACTION_COST = 0.1
PUCK_LOW, PUCK_HIGH = np.array([0.3, -1.0]), np.array([1.0, -0.4])
CORNER, CLEAR_OF_CORNER = (
    np.array([1.0, -1.0]),
    0.45,
)  # nearer, the arm cannot reach behind the puck
RATE = 3.0  # of the joints [rad/s], near 1 for the networks


class PusherEnv(BodyEnv):
    """A planar arm with three joints and a puck.

    The observation (12,) has the angles and speeds of the joints, the tip, and the puck.

    Args:
        task: "x", "y" or "both": the axes along which the distance of the puck to (-1, -1) counts.
        render_mode: See `BodyEnv`.

    `info` holds the puck's "distance" along each of the axes [m], {"x", "y"}.

    Raises:
        ConfigError: There is no such task.
    """

    def __init__(self, task: str = "both", render_mode: str | None = None) -> None:
        if task not in AXES:
            raise ConfigError(f"pusher: task is '{task}', expected one of: {', '.join(AXES)}")
        self._weights = np.array(AXES[task])
        super().__init__("pusher", 5, render_mode)

    def observe(self) -> Vector:
        """Return the observation (12,); see the class."""
        joints, speeds = self.data.qpos[:3], self.data.qvel[:3] / RATE
        return np.concatenate(
            [joints, speeds, self.data.site("tip").xpos, self.data.body("puck").xpos]
        ).astype(np.float32)

    def set_start(self) -> None:
        """Draw angles near 0, and a place of the puck on the lower right."""
        self.data.qpos[:3] = self.np_random.uniform(-0.1, 0.1, 3)
        puck = self.np_random.uniform(PUCK_LOW, PUCK_HIGH)
        while np.linalg.norm(puck - CORNER) < CLEAR_OF_CORNER:
            puck = self.np_random.uniform(PUCK_LOW, PUCK_HIGH)
        self.data.qpos[3:5] = puck

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Return the weighted distances of the puck as reward, less the cost of the action."""
        distance = np.abs(self.data.body("puck").xpos[:2] - GOAL)
        reward = -ACTION_COST * float(np.square(action).sum()) - float(self._weights @ distance)
        return reward, False, {"distance": {"x": float(distance[0]), "y": float(distance[1])}}
