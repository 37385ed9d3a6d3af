"""The way to a start pose, on a real arm as in simulation: joint velocities that the safety filter turns into the mode of the task."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

APPROACH_PER_S = 3.0  # speed per distance: slows down exponentially
SPEED_FRACTION = 0.5  # of the velocity limit
ARRIVED_RAD, AT_REST_RAD_S = 0.05, 0.1
STIFFNESS_NM_RAD, DAMPING_NM_S_RAD = 30.0, 5.0  # where torques are commanded: as the real arm of the seeds was reset
WAYS = ("all", "back", "near", "far")  # joints that go to the start pose, or back along the trail; the next where one leads nowhere
STUCK_S = 0.5  # at rest on the way for so long: the next is tried
TRAIL_RAD, TRAIL_POINTS = 0.15, 2000  # between two points of a trail, and the most of them
LONGEST_S = 20.0  # then the episode starts from wherever the arm is


def approach(pose: Vector, state: RobotState, robot: RobotConfig) -> Vector:
    """Joint velocities (N,) [rad/s] that bring the joints closer to a pose [rad] (N,)."""
    fastest = SPEED_FRACTION * np.array(robot.velocity_limit)
    return np.asarray(np.clip(APPROACH_PER_S * (pose - state.position), -fastest, fastest))


def spring(pose: Vector, state: RobotState) -> Vector:
    """Torques (N,) [N m] that pull the joints to a pose [rad] (N,)."""
    return np.asarray(STIFFNESS_NM_RAD * (pose - state.position) - DAMPING_NM_S_RAD * state.velocity)


def has_arrived(pose: Vector, state: RobotState) -> bool:
    """At the pose and nearly at rest."""
    return bool(np.abs(pose - state.position).max() < ARRIVED_RAD and np.abs(state.velocity).max() < AT_REST_RAD_S)


class Trail:
    """Where the arm came from since it was at a start pose: a way back that is free, however narrow."""

    def __init__(self) -> None:
        self._points: list[Vector] = []

    def clear(self) -> bool:
        """The arm is at a start pose, or was put somewhere; says whether it had gone anywhere."""
        went, self._points = len(self._points) > 1, []
        return went

    def add(self, position: Vector) -> None:
        """The arm is at a pose [rad] (N,)."""
        points = self._points
        if not points or (len(points) < TRAIL_POINTS and np.abs(position - points[-1]).max() > TRAIL_RAD):
            points.append(position)

    def before(self, position: Vector) -> Vector | None:
        """The pose (N,) before the earliest that is close to where the arm is now; loops are left out. None: this is where it began."""
        if not self._points:
            return None
        away = np.abs(np.array(self._points) - position).max(1)
        close = np.flatnonzero(away < 1.5 * TRAIL_RAD)
        earliest = int(close[0]) if len(close) else len(self._points)
        return self._points[earliest - 1] if earliest else None
