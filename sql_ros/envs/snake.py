"""A snake that is rewarded for speed in either direction, and more beyond a line ahead.

It is the swimmer of [SQL17] Fig. 3.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.envs.body_env import BodyEnv, Vector

LINE_M = 1.0  # ahead, along x; the paper does not state it
BEYOND = 3.0  # factor of the reward beyond the line
ACTION_COST = 0.001


class SnakeEnv(BodyEnv):
    """Three links in a viscous fluid, two joints with motors.

    The observation (9,) has x of the centre of mass, the heading, both joints and all speeds.

    Args:
        line_m: Place of the line along x [m].
        render_mode: See `BodyEnv`.

    `info` holds "x" of the centre of mass [m], and "is_success": whether it is beyond the line.
    """

    def __init__(self, line_m: float = LINE_M, render_mode: str | None = None) -> None:
        self._line_m, self._origin = line_m, 0.0
        super().__init__("snake", 10, render_mode)

    def observe(self) -> Vector:
        """Return the observation (9,); see the class."""
        return np.array(
            [
                (self._middle() - self._origin) / self._line_m,
                *self.data.qpos[2:],
                *(self.data.qvel / [1.0, 1.0, 3.0, 3.0, 3.0]),
            ],
            np.float32,
        )

    def set_start(self) -> None:
        """Draw joint angles near 0; all speeds are 0."""
        self.data.qpos[2:] = self.np_random.uniform(-0.1, 0.1, 3)
        mujoco.mj_forward(self.model, self.data)
        self._origin, self._x = self._middle(), 0.0

    def _middle(self) -> float:
        """Return x of the centre of mass [m]: moving the head alone does not change it."""
        return float(self.data.subtree_com[1, 0])

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Return the speed along x as reward, times `BEYOND` beyond the line."""
        mujoco.mj_comPos(self.model, self.data)
        x = self._middle() - self._origin
        speed, self._x = (x - self._x) / self.dt, x
        beyond = x > self._line_m
        reward = abs(speed) * (BEYOND if beyond else 1.0) - ACTION_COST * float(
            np.square(action).sum()
        )
        return reward, False, {"x": x, "is_success": beyond}
