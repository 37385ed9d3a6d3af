"""The one filter before the arm: whatever a policy says, only what passes here is sent."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

BRAKING_PER_S = 10.0  # torque mode: deceleration per speed, stable at 20 Hz with the command held in between


class SafetyFilter:
    """Sends the nearest command that keeps every joint inside its limits, and counts what it had to change.

    Position limits are kept by braking distance: towards a limit a joint may be only so fast that, after one more control period at this
    speed, it still stops before the margin at its acceleration limit: v T + v^2 / (2 a) <= d. In torque mode the torque is bounded so that
    the speed predicted from the joint's own inertia stays in that range; coupling between joints makes this approximate. A command
    with a non-finite value becomes a hold.

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
        self._inertia = np.array(config.joint_inertia)
        self.interventions: Counter[str] = Counter()

    def hold(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """The safest command of the mode, (N,): stay here (position), stop (velocity), brake (torque).

        Args:
            state: of the arm, the last known.
            fresh: measured just now, and another one will follow. Otherwise braking would be a constant torque of the velocity that
                once was: no torque then, beside the arm's own gravity compensation.
        """
        if self._mode == "position":
            return state.position.copy()
        if self._mode == "velocity" or not fresh:
            return np.zeros_like(state.velocity)
        return np.clip(-BRAKING_PER_S * self._inertia * state.velocity, -self._effort, self._effort)

    def admit(self, command: Vector, state: RobotState) -> Vector:
        """The nearest admissible command, (N,) in the unit of the mode."""
        if not np.isfinite(command).all():
            self.interventions["non_finite"] += 1
            return self.hold(state)
        slowest, fastest = self._velocity_range(state)
        if self._mode == "velocity":
            return self._clip("velocity", command, slowest, fastest)
        if self._mode == "position":
            inside = self._clip("position", command, self._lower, self._upper)
            return self._clip("velocity", inside, state.position + slowest * self._period, state.position + fastest * self._period)
        push, pull = (self._inertia * (limit - state.velocity) / self._period for limit in (slowest, fastest))
        return self._clip("effort", self._clip("velocity", command, push, pull), -self._effort, self._effort)

    def _velocity_range(self, state: RobotState) -> tuple[Vector, Vector]:
        """Velocities (N,) from which every joint can still stop before its position limit."""
        return -self._fastest_towards(state.position - self._lower), self._fastest_towards(self._upper - state.position)

    def _fastest_towards(self, room: Vector) -> Vector:
        """The positive root of v T + v^2 / (2 a) = room, at most the velocity limit; 0 where there is no room."""
        a, period = self._acceleration, self._period
        stoppable: Vector = a * (np.sqrt(period**2 + 2 * np.maximum(room, 0.0) / a) - period)
        return np.asarray(np.minimum(self._speed, stoppable))

    def _clip(self, kind: str, command: Vector, lowest: Vector, highest: Vector) -> Vector:
        clipped = np.clip(command, lowest, highest)
        if (clipped != command).any():
            self.interventions[kind] += 1
        return clipped
