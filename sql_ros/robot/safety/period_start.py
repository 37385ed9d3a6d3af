"""The state of the arm at the beginning of the period for which a command is computed."""

from __future__ import annotations

from typing import NamedTuple

from sql_ros.robot.arm import RobotState, Vector


class PeriodStart(NamedTuple):
    """Predicted positions and velocities of the arm when the next command takes effect.

    Attributes:
        position: Joint positions (N,) [rad].
        velocity: Joint velocities (N,) [rad/s]: those commanded last, clipped to what the arm can
            follow.
        state: Measured state that the prediction is made from.
        is_behind: Position mode: the arm is farther from the last command than its servo can lag.
        alternatives: Other joint positions at which the period may begin (N,) [rad]: the measured
            positions, then those of a servo that lags. Empty except in velocity mode with a
            latency.
        lowest: Smallest position of each joint at which the period may begin (N,) [rad]; None where
            `position` is the only one.
        highest: Largest position of each joint at which the period may begin (N,) [rad]; None where
            `position` is the only one.
    """

    position: Vector
    velocity: Vector
    state: RobotState
    is_behind: bool = False
    alternatives: tuple[Vector, ...] = ()
    lowest: Vector | None = None
    highest: Vector | None = None

    def shifted(self, offset: Vector) -> PeriodStart:
        """Return a copy of this start with an offset (N,) [rad] added to `position`,
        `alternatives`, `lowest` and `highest`.
        """
        if self.lowest is None or self.highest is None:
            return self._replace(position=self.position + offset)
        alternatives = tuple(position + offset for position in self.alternatives)
        return self._replace(
            position=self.position + offset,
            alternatives=alternatives,
            lowest=self.lowest + offset,
            highest=self.highest + offset,
        )
