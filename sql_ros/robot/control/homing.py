"""The way to a start pose: joint velocities or torques that lead there, and the trail that leads
back.
"""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

APPROACH_PER_S = 3.0  # speed per distance to the pose [1/s]
SPEED_FRACTION = 0.5  # largest speed on the way, as a share of the velocity limit
ARRIVED_RAD = 0.05  # largest distance of a joint from a pose where the arm has arrived
AT_REST_RAD_S = 0.1  # largest speed of a joint of an arm that has arrived
STIFFNESS_NM_RAD = 30.0  # stiffness of the joint springs in torque mode
DAMPING_NM_S_RAD = 5.0  # damping of these springs
TRAIL_RAD = 0.15  # smallest distance of a joint between two poses of a trail
TRAIL_POINTS = 2000  # largest number of poses of a trail
LONGEST_S = 20.0  # time on the way after which the episode begins wherever the arm is


def approach(pose: Vector, state: RobotState, robot: RobotConfig) -> Vector:
    """Return joint velocities (N,) [rad/s] that bring the joints closer to a pose.

    They are `APPROACH_PER_S` times the distance, at most `SPEED_FRACTION` of the velocity limits.

    Args:
        pose: Wanted joint positions (N,) [rad].
        state: The last state of the arm.
        robot: The arm.
    """
    fastest = SPEED_FRACTION * np.array(robot.velocity_limit)
    return np.asarray(np.clip(APPROACH_PER_S * (pose - state.position), -fastest, fastest))


def spring(pose: Vector, state: RobotState) -> Vector:
    """Return torques (N,) [N m] of damped springs that pull the joints to a pose (N,) [rad].

    The torques are not limited here; the safety filter limits them.
    """
    return np.asarray(
        STIFFNESS_NM_RAD * (pose - state.position) - DAMPING_NM_S_RAD * state.velocity
    )


def has_arrived(pose: Vector, state: RobotState) -> bool:
    """Return whether the arm is at a pose (N,) [rad], and nearly at rest.

    Every joint is within `ARRIVED_RAD` of the pose and slower than `AT_REST_RAD_S`.
    """
    return bool(
        np.abs(pose - state.position).max() < ARRIVED_RAD
        and np.abs(state.velocity).max() < AT_REST_RAD_S
    )


class Trail:
    """Poses that the arm has passed since it was at a start pose, which make a free way back.

    At most `TRAIL_POINTS` poses are kept, each more than `TRAIL_RAD` from the one before.
    """

    def __init__(self) -> None:
        self._points: list[Vector] = []

    def clear(self) -> bool:
        """Forget all poses, because the arm is at a start pose or was moved by something else.

        Returns:
            Whether the trail had more than one pose.
        """
        led_away = len(self._points) > 1
        self._points = []
        return led_away

    def add(self, position: Vector) -> None:
        """Append a pose (N,) [rad], if a joint is more than `TRAIL_RAD` from the last pose.

        A full trail takes no more poses.
        """
        points = self._points
        if not points or (
            len(points) < TRAIL_POINTS and np.abs(position - points[-1]).max() > TRAIL_RAD
        ):
            points.append(position)

    def before(self, position: Vector) -> Vector | None:
        """Return the next pose (N,) [rad] on the way back along the trail.

        It is the pose before the earliest one that is close to the arm. So loops of the trail are
        cut short. If no pose is close, it is the last pose of the trail.

        Args:
            position: Joint positions of the arm (N,) [rad].

        Returns:
            None if the trail is empty, or if the arm is close to the pose where the trail began.
        """
        if not self._points:
            return None
        away = np.abs(np.array(self._points) - position).max(1)
        close = np.flatnonzero(away < 1.5 * TRAIL_RAD)
        earliest = int(close[0]) if len(close) else len(self._points)
        return self._points[earliest - 1] if earliest else None
