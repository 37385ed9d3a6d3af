"""A snake that is paid for swimming in either direction, and more once it has passed a line ahead: [SQL17] Fig. 3."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.envs.body_env import BodyEnv, Vector

LINE_M = 1.0  # ahead, along x; the paper does not say where
BEYOND = 3.0  # how many times the speed is paid beyond it
ACTION_COST = 0.001


class SnakeEnv(BodyEnv):
    """Three links in a viscous fluid, two joints with motors; observes the x of its middle, its heading, both joints and all their speeds.

    Args:
        line_m: where more is paid, along x [m].
        render_mode: see `BodyEnv`.

    `info` holds "x" [m], of the middle of its mass, and "is_success", past the line.
    """

    def __init__(self, line_m: float = LINE_M, render_mode: str | None = None) -> None:
        self._line_m, self._origin = line_m, 0.0
        super().__init__("snake", 10, render_mode)

    def observe(self) -> Vector:
        """See the class; (9,)."""
        return np.array(
            [(self._middle() - self._origin) / self._line_m, *self.data.qpos[2:], *(self.data.qvel / [1.0, 1.0, 3.0, 3.0, 3.0])], np.float32
        )

    def place(self) -> None:
        """Nearly straight, at rest."""
        self.data.qpos[2:] = self.np_random.uniform(-0.1, 0.1, 3)
        mujoco.mj_forward(self.model, self.data)
        self._origin, self._x = self._middle(), 0.0

    def _middle(self) -> float:
        """Of its mass, along x [m]: a head that wags goes nowhere."""
        return float(self.data.subtree_com[1, 0])

    def judge(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Speed along x, whichever way."""
        mujoco.mj_comPos(self.model, self.data)
        x = self._middle() - self._origin
        speed, self._x = (x - self._x) / self.dt, x
        beyond = x > self._line_m
        reward = abs(speed) * (BEYOND if beyond else 1.0) - ACTION_COST * float(np.square(action).sum())
        return reward, False, {"x": x, "is_success": beyond}
