"""A snake that is rewarded for speed in either direction, and more beyond a line ahead.

It is the swimmer of [SQL17] Fig. 3 (left).
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.envs.body_env import BodyEnv, Vector

LINE_M = 1.0  # place of the line along x [m]; the paper does not state it
BEYOND = 3.0  # factor of the reward beyond the line
ACTION_COST = 0.001  # cost per |a|^2


class SnakeEnv(BodyEnv):
    """Three links in a viscous fluid with two motors; one control step per 10 physics steps.

    The observation (9,) has x of the centre of mass divided by `line_m`, the heading, both joint
    angles, and the velocities of the head (x, y), of the heading and of the joints. x is relative
    to the start of the episode. The reward is the speed |dx/dt| of the centre of mass, times
    `BEYOND` beyond the line, minus the cost of the action. Episodes do not terminate. `info` has
    "x" of the centre of mass [m], and "is_success": whether it is beyond the line.

    Args:
        line_m: Place of the line along x [m].
        render_mode: "rgb_array" for pictures; None: no pictures.
    """

    def __init__(self, line_m: float = LINE_M, render_mode: str | None = None) -> None:
        self._line_m, self._origin = line_m, 0.0
        super().__init__("snake", 10, render_mode)

    def observe(self) -> Vector:
        """Return the observation (9,): scaled x of the centre of mass, angles, and velocities."""
        return np.array(
            [
                (self._centre_of_mass_x() - self._origin) / self._line_m,
                *self.data.qpos[2:],
                *(self.data.qvel / [1.0, 1.0, 3.0, 3.0, 3.0]),
            ],
            np.float32,
        )

    def set_start(self) -> None:
        """Draw heading and joint angles within 0.1 rad, and make this place the origin of x."""
        self.data.qpos[2:] = self.np_random.uniform(-0.1, 0.1, 3)
        mujoco.mj_forward(self.model, self.data)
        self._origin, self._x = self._centre_of_mass_x(), 0.0

    def _centre_of_mass_x(self) -> float:
        """Return x of the centre of mass in the world [m].

        It changes little when the snake moves its head alone.
        """
        return float(self.data.subtree_com[1, 0])

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Compute the outcome of a control step.

        Args:
            action: Action (A,), clipped to [-1, 1].

        Returns:
            The reward: speed of the centre of mass along x in either direction [m/s], times
            `BEYOND` beyond the line, minus `ACTION_COST` |a|^2. False: episodes do not terminate.
            Info with "x" of the centre of mass [m] and "is_success": whether it is beyond the line.
        """
        mujoco.mj_comPos(self.model, self.data)
        x = self._centre_of_mass_x() - self._origin
        speed, self._x = (x - self._x) / self.dt, x
        beyond = x > self._line_m
        reward = abs(speed) * (BEYOND if beyond else 1.0) - ACTION_COST * float(
            np.square(action).sum()
        )
        return reward, False, {"x": x, "is_success": beyond}
