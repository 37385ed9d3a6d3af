"""A planar arm that pushes a puck along x, y or both: skills to compose, [C18] Fig. 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.errors import ConfigError
from sql_ros.envs.body_env import BodyEnv, Vector

GOAL = np.array([-1.0, -1.0])  # place of the puck's goal (x, y) [m]
# weights of the distances along x and y in the reward of a task; the mean of the rewards of "x" and
# "y" is the reward of "both"
AXES = {"x": (1.0, 0.0), "y": (0.0, 1.0), "both": (0.5, 0.5)}
ACTION_COST = 0.1  # cost per |a|^2
PUCK_LOW, PUCK_HIGH = np.array([0.3, -1.0]), np.array([1.0, -0.4])
CORNER, CLEAR_OF_CORNER = (
    np.array([1.0, -1.0]),
    0.45,
)  # nearer, the arm cannot reach behind the puck
VELOCITY_SCALE = 3.0  # scale of joint velocities in the observation [rad/s]


class PusherEnv(BodyEnv):
    """A planar arm with three joints, and a puck; one control step per 5 physics steps.

    The observation (12,) has the joint angles [rad], the scaled joint velocities, and the places
    (x, y, z) of the tip and of the puck [m]. The reward is minus the distance of the puck to `GOAL`
    along the axes of the task, minus the cost of the action. Episodes do not terminate. `info` has
    "distance": the distance of the puck to the goal along the axes "x" and "y" [m].

    Args:
        task: Axes along which the distance of the puck counts: "x", "y" or "both" (the mean).
        render_mode: "rgb_array" for pictures; None: no pictures.

    Raises:
        ConfigError: There is no such task.
    """

    def __init__(self, task: str = "both", render_mode: str | None = None) -> None:
        if task not in AXES:
            raise ConfigError(f"pusher: task is '{task}', expected one of: {', '.join(AXES)}")
        self._weights = np.array(AXES[task])
        super().__init__("pusher", 5, render_mode)

    def observe(self) -> Vector:
        """Return the observation (12,): joint angles and velocities, places of tip and puck."""
        joints, speeds = self.data.qpos[:3], self.data.qvel[:3] / VELOCITY_SCALE
        return np.concatenate(
            [joints, speeds, self.data.site("tip").xpos, self.data.body("puck").xpos]
        ).astype(np.float32)

    def set_start(self) -> None:
        """Draw joint angles within 0.1 rad, and a place of the puck on the lower right."""
        self.data.qpos[:3] = self.np_random.uniform(-0.1, 0.1, 3)
        puck = self.np_random.uniform(PUCK_LOW, PUCK_HIGH)
        while np.linalg.norm(puck - CORNER) < CLEAR_OF_CORNER:
            puck = self.np_random.uniform(PUCK_LOW, PUCK_HIGH)
        self.data.qpos[3:5] = puck

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Compute the outcome of a control step.

        Args:
            action: Action (A,), clipped to [-1, 1].

        Returns:
            The reward: minus the weighted distance of the puck to the goal, minus `ACTION_COST`
            |a|^2. False: episodes do not terminate. Info with "distance" along "x" and "y" [m].
        """
        distance = np.abs(self.data.body("puck").xpos[:2] - GOAL)
        reward = -ACTION_COST * float(np.square(action).sum()) - float(self._weights @ distance)
        return reward, False, {"distance": {"x": float(distance[0]), "y": float(distance[1])}}
