"""Follow continuous joints over several turns.

Drivers may report a joint without position limits from -pi to pi, whatever its turn. Then its
position leaps by a turn while it moves through pi, and two positions of one pose differ by a turn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import TURN_RAD, UNLIMITED, RobotConfig


class Turns:
    """Put the positions of continuous joints on the turn nearest to the last ones.

    Args:
        is_continuous: Which joints are continuous (N,).
        first: Positions to which the first ones are put nearest (N,) [rad].
    """

    def __init__(self, is_continuous: npt.NDArray[np.bool_], first: Vector) -> None:
        self._joints = np.flatnonzero(is_continuous)
        self._first = first[self._joints]
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next positions are put nearest to the first ones."""
        self._last = self._first

    def nearest(self, position: Vector) -> Vector:
        """Return joint positions, with continuous joints on the turn nearest to the last ones.

        Args:
            position: Reported positions (N,) [rad].

        Returns:
            A new array (N,) [rad].
        """
        reported = position[self._joints]
        self._last = reported + TURN_RAD * np.round((self._last - reported) / TURN_RAD)
        unwrapped: Vector = position.copy()
        unwrapped[self._joints] = self._last
        return unwrapped


def continuous_turns(robot: RobotConfig, is_hinge: npt.NDArray[np.bool_]) -> Turns | None:
    """Return what follows the turns of an arm's continuous joints; None if it has none.

    A joint that turns is continuous if the robot file has neither a lower nor an upper position
    limit for it.

    Args:
        robot: The arm.
        is_hinge: Which of its joints turn (N,).
    """
    lower = np.array(robot.position_lower)
    upper = np.array(robot.position_upper)
    is_continuous = is_hinge & (lower <= -UNLIMITED) & (upper >= UNLIMITED)
    return Turns(is_continuous, np.array(robot.neutral_position)) if is_continuous.any() else None
