"""The way to a start pose, on a real arm as in simulation: joint velocities that the safety filter turns into the mode of the task."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

APPROACH_PER_S = 3.0  # speed per distance: slows down exponentially
SPEED_FRACTION = 0.5  # of the velocity limit
ARRIVED_RAD, AT_REST_RAD_S = 0.05, 0.1
STIFFNESS_NM_RAD, DAMPING_NM_S_RAD = 30.0, 5.0  # where torques are commanded: as the real arm of the seeds was reset
STUCK_S = 0.5  # at rest on the way for so long: another part of the joints is tried
LONGEST_S = 10.0  # then the episode starts from wherever the arm is


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
