"""The way to a start pose, on a real arm as in simulation: a bounded joint-space motion in the command mode of the task."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

APPROACH_PER_S = 3.0  # speed per distance: slows down exponentially
TORQUE_BANDWIDTH_PER_S = 5.0  # stable at 20 Hz with the command held in between; the facts' 30 N m/rad, 5 N m s/rad shake the wrists
SPEED_FRACTION = 0.5  # of the velocity limit
ARRIVED_RAD, AT_REST_RAD_S = 0.05, 0.1
LONGEST_S = 10.0  # then the episode starts from wherever the arm is


def command_towards(pose: Vector, state: RobotState, mode: str, robot: RobotConfig, period_s: float) -> Vector:
    """The command (N,) that brings the joints closer to a pose [rad] (N,), in the unit of the mode."""
    away = pose - state.position
    if mode == "torque":
        effort = np.array(robot.effort_limit)
        acceleration = TORQUE_BANDWIDTH_PER_S**2 * away - 2 * TORQUE_BANDWIDTH_PER_S * state.velocity  # critically damped
        return np.clip(np.array(robot.joint_inertia) * acceleration, -effort, effort)
    fastest = SPEED_FRACTION * np.array(robot.velocity_limit)
    velocity = np.clip(APPROACH_PER_S * away, -fastest, fastest)
    return velocity if mode == "velocity" else state.position + velocity * period_s


def has_arrived(pose: Vector, state: RobotState) -> bool:
    """At the pose and nearly at rest."""
    return bool(np.abs(pose - state.position).max() < ARRIVED_RAD and np.abs(state.velocity).max() < AT_REST_RAD_S)
