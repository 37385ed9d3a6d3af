"""The command model of position commands."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.command_models import TRACKING_S, UNSEEN_RAD_S, CommandModel, within
from sql_ros.robot.safety.period_start import PeriodStart

# a slower arm that is far from its last position command is not on its way there
STANDS_RAD_S = 0.1
# a servo smooths gaps of this length between position commands: `servoj` of a UR looks ahead at
# least 0.03 s
SMOOTHS_S = 0.005
SETTLES_S = 0.05  # time in which a servo comes to rest at its last position command


class PositionCommands(CommandModel):
    """Position commands: each ends by itself after a period, and the next starts from it."""

    def __init__(self, config: RobotConfig, period_s: float, lateness_s: float) -> None:
        super().__init__(config, period_s, lateness_s)
        self.longest_s = period_s

    def _remembered_commands(self) -> int:
        """Return 0: the effects of position commands are not needed."""
        return 0

    def expect_delay(self, seconds: float) -> None:
        """Ignore the delay: commands start from the last one sent, whatever the states say."""

    def forget(self) -> None:
        """Forget the commands sent so far: the next period starts as measured."""
        super().forget()
        self._sent_position: Vector | None = None

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Start the next command at most a lead [rad] from the measured positions.

        A joint that goes ahead of its command is not followed.
        """
        super().trust(state, lead_rad)
        if self._sent_position is not None:
            asked = self.asked
            lowest = np.where(asked > UNSEEN_RAD_S, -np.inf, state.position - lead_rad)
            highest = np.where(asked < -UNSEEN_RAD_S, np.inf, state.position + lead_rad)
            self._sent_position = within(self._sent_position, lowest, highest)

    def sent(self, velocity: Vector, command: Vector, start: PeriodStart) -> None:
        """Remember a command that was sent, and its positions."""
        super().sent(velocity, command, start)
        self._sent_position = command

    def follow_brake(self, elapsed_s: float) -> None:
        """Start the next command where the controller's braking has led the arm."""
        if self._sent_position is None or self._sent_velocity is None:
            return
        late_s = max(elapsed_s, 0.0) - self._period
        time_s = self.stop_time(self._sent_velocity)
        if late_s <= 0.0:
            self._sent_position = self._sent_position + late_s * self._sent_velocity
        elif time_s > 0.0:
            share = min(late_s / time_s, 1.0)
            self._sent_position = (
                self._sent_position + share * time_s * (1.0 - 0.5 * share) * self._sent_velocity
            )
            self._sent_velocity = self._sent_velocity * (1.0 - share)
        self._expect_at(self._sent_position, self._sent_velocity)

    def follow_rest(self, elapsed_s: float) -> None:
        """Start the next command from the last position, slower by the controller's rest."""
        if self._sent_position is None or self._sent_velocity is None:
            return
        late_s = max(elapsed_s - self._period - SMOOTHS_S, 0.0)
        settles_s = max(self._period, SETTLES_S) - SMOOTHS_S
        self._sent_velocity = max(1.0 - late_s / settles_s, 0.0) * self._sent_velocity
        self._expect_at(self._sent_position, self._sent_velocity)

    def _expect_at(self, position: Vector, velocity: Vector) -> None:
        """Let the next period start at a position (N,) [rad] where the same state comes again."""
        if self._last_start is not None:
            self._last_start = self._last_start._replace(
                position=position - self._period * velocity
            )

    def _measured(self, state: RobotState) -> PeriodStart:
        """Return a start at the last command, within the tracking limits of the arm.

        The start is the state where an arm at rest was moved, and where there is no last command.
        """
        measured = within(state.velocity, self._reverse_speed, self._speed)
        last = self._within_tracking(measured)
        sent = self._sent_position
        if sent is None:
            return PeriodStart(state.position, last, state)
        lead = (TRACKING_S + self._latency) * (self._tracking + np.abs(last))
        is_behind = bool((np.abs(sent - state.position) > lead).any())
        # the arm was moved while it rested
        if is_behind and self.is_at_rest and np.abs(measured).max() < STANDS_RAD_S:
            return PeriodStart(state.position, last, state)
        return PeriodStart(sent, last, state, is_behind)

    def _predicted(self, last: PeriodStart, sent: Vector) -> PeriodStart:
        """Return the start one period after `last`, at the positions sent."""
        return PeriodStart(last.position + self._period * sent, sent, last.state, last.is_behind)

    def _held_position(self, state: RobotState) -> Vector:
        """Return the positions sent last (N,) [rad], otherwise those of a state."""
        return state.position if self._sent_position is None else self._sent_position

    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the joint velocities (N,) [rad/s] that lead to positions (N,) [rad]."""
        return (command - start.position) / self._period

    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the positions (N,) [rad] after a period at joint velocities (N,) [rad/s]."""
        return start.position + velocity * self._period
