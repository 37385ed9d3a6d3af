"""The one filter before the arm: whatever a policy says, only what passes here is sent."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig


class SafetyFilter:
    """Sends the nearest command that keeps every joint inside its limits, and counts what it had to change.

    Position limits are kept by braking distance: towards a limit a joint may be only so fast that it still stops before the margin
    at its acceleration limit, v <= sqrt(2 a d). A command with a non-finite value becomes a hold.

    Attributes:
        interventions: how often, by kind: "non_finite", "velocity", "position", "effort".
    """

    def __init__(self, config: RobotConfig, command_mode: str, period_s: float) -> None:
        self._mode, self._period = command_mode, period_s
        self._lower = np.array(config.position_lower) + config.position_margin_rad
        self._upper = np.array(config.position_upper) - config.position_margin_rad
        self._speed = np.array(config.velocity_limit)
        self._acceleration = np.array(config.acceleration_limit)
        self._effort = np.array(config.effort_limit)
        self._braking = np.array(config.torque_damping)
        self.interventions: Counter[str] = Counter()

    def hold(self, state: RobotState) -> Vector:
        """The safest command of the mode, (N,): stay here (position), stop (velocity), brake (torque)."""
        if self._mode == "position":
            return np.clip(state.position, self._lower, self._upper)
        if self._mode == "velocity":
            return np.zeros_like(state.velocity)
        return np.clip(-self._braking * state.velocity, -self._effort, self._effort)

    def admit(self, command: Vector, state: RobotState) -> Vector:
        """The nearest admissible command, (N,) in the unit of the mode."""
        if not np.isfinite(command).all():
            self.interventions["non_finite"] += 1
            return self.hold(state)
        if self._mode == "torque":
            return self._admit_torque(command, state)
        lowest, highest = self._velocity_range(state)
        if self._mode == "velocity":
            return self._clip("velocity", command, lowest, highest)
        reachable = self._clip("velocity", command, state.position + lowest * self._period, state.position + highest * self._period)
        return self._clip("position", reachable, self._lower, self._upper)

    def _velocity_range(self, state: RobotState) -> tuple[Vector, Vector]:
        """Velocities (N,) from which every joint can still stop before its position limit."""
        room_below, room_above = state.position - self._lower, self._upper - state.position
        slowest = -np.minimum(self._speed, np.sqrt(2 * self._acceleration * np.maximum(room_below, 0.0)))
        fastest = np.minimum(self._speed, np.sqrt(2 * self._acceleration * np.maximum(room_above, 0.0)))
        return slowest, fastest

    def _admit_torque(self, command: Vector, state: RobotState) -> Vector:
        """Torques within the effort limit; a joint too fast for what is left of its range is braked instead."""
        slowest, fastest = self._velocity_range(state)
        excess = state.velocity - np.clip(state.velocity, slowest, fastest)
        pushes = (excess != 0.0) & (command * excess >= 0.0)
        if pushes.any():
            self.interventions["position"] += 1
            command = np.where(pushes, -self._braking * excess, command)
        return self._clip("effort", command, -self._effort, self._effort)

    def _clip(self, kind: str, command: Vector, lowest: Vector, highest: Vector) -> Vector:
        clipped = np.clip(command, lowest, highest)
        if (clipped != command).any():
            self.interventions[kind] += 1
        return clipped
