"""The way to a start pose, on a real arm as in simulation: joint velocities that the safety filter
turns into the mode of the task.
"""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

APPROACH_PER_S = 3.0  # speed per distance: slows down exponentially
SPEED_FRACTION = 0.5  # of the velocity limit
ARRIVED_RAD = 0.05  # largest distance of a joint from a pose where the arm has arrived
AT_REST_RAD_S = 0.1  # largest speed of a joint of an arm that has arrived
STIFFNESS_NM_RAD = 30.0  # of the joint springs in torque mode
DAMPING_NM_S_RAD = 5.0
TRAIL_RAD = 0.15  # distance of two points of a trail
TRAIL_POINTS = 2000  # the most points of a trail
LONGEST_S = 20.0  # time on the way after which the episode starts from wherever the arm is


def approach(pose: Vector, state: RobotState, robot: RobotConfig) -> Vector:
    """Return joint velocities (N,) [rad/s] that bring the joints closer to a pose [rad] (N,)."""
    fastest = SPEED_FRACTION * np.array(robot.velocity_limit)
    return np.asarray(np.clip(APPROACH_PER_S * (pose - state.position), -fastest, fastest))


def spring(pose: Vector, state: RobotState) -> Vector:
    """Return torques (N,) [N m] that pull the joints to a pose [rad] (N,)."""
    return np.asarray(
        STIFFNESS_NM_RAD * (pose - state.position) - DAMPING_NM_S_RAD * state.velocity
    )


def has_arrived(pose: Vector, state: RobotState) -> bool:
    """Return whether the arm is at a pose [rad] (N,) and nearly at rest."""
    return bool(
        np.abs(pose - state.position).max() < ARRIVED_RAD
        and np.abs(state.velocity).max() < AT_REST_RAD_S
    )


class Trail:
    """Poses that the arm has passed since it was at a start pose: a free way back."""

    def __init__(self) -> None:
        self._points: list[Vector] = []

    def clear(self) -> bool:
        """Forget the trail: the arm is at a start pose, or was put somewhere.

        Returns:
            Whether the trail led anywhere.
        """
        led_away = len(self._points) > 1
        self._points = []
        return led_away

    def add(self, position: Vector) -> None:
        """Append a pose [rad] (N,), if it is far enough from the last one."""
        points = self._points
        if not points or (
            len(points) < TRAIL_POINTS and np.abs(position - points[-1]).max() > TRAIL_RAD
        ):
            points.append(position)

    def before(self, position: Vector) -> Vector | None:
        """Return the pose (N,) before the earliest one that is close to a position (N,) [rad].

        Loops of the trail are left out. None: the position is where the trail began.
        """
        if not self._points:
            return None
        away = np.abs(np.array(self._points) - position).max(1)
        close = np.flatnonzero(away < 1.5 * TRAIL_RAD)
        earliest = int(close[0]) if len(close) else len(self._points)
        return self._points[earliest - 1] if earliest else None
