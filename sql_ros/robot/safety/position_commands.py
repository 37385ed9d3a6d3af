"""The command model of position mode."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.command_models import TRACKING_S, UNSEEN_RAD_S, CommandModel, within
from sql_ros.robot.safety.period_start import PeriodStart

# an arm that is slower and far from its last position command is not on its way there
STANDS_RAD_S = 0.1
# a servo smooths gaps of this length between position commands: `servoj` of a UR looks ahead at
# least 0.03 s
SMOOTHS_S = 0.005
SETTLES_S = 0.05  # time in which a servo comes to rest at its last position command


class SentPosition(NamedTuple):
    """A position command as it was sent.

    Attributes:
        position: Joint positions (N,) [rad].
        velocity: Joint velocities that it stands for (N,) [rad/s].
    """

    position: Vector
    velocity: Vector


class PositionCommands(CommandModel):
    """Model of position commands. Each ends by itself after a period, and the next one starts
    from it.
    """

    def __init__(self, config: RobotConfig, period_s: float, lateness_s: float) -> None:
        super().__init__(config, period_s, lateness_s)
        self.longest_s = period_s

    def _remembered_commands(self) -> int:
        """Return 0: the effects of position commands are not needed."""
        return 0

    def expect_delay(self, seconds: float) -> None:
        """Ignore the delay, because commands start from the last command sent, whatever the
        states say.
        """

    def forget(self) -> None:
        """Forget the commands sent so far: the next period starts as measured."""
        super().forget()
        # start of the next command, where the last one or the controller leads the arm
        self._sent_position: Vector | None = None
        # last command as it was sent, and the one before it
        self._as_sent: SentPosition | None = None
        self._sent_before: SentPosition | None = None

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Start the next command from measured velocities, and near the measured positions.

        A joint that is ahead of its command, in the direction of its motion, keeps the start at its
        command.

        Args:
            state: The measured state.
            lead_rad: Largest distance of the start from the measured position [rad].
        """
        super().trust(state, lead_rad)
        if self._sent_position is not None:
            asked = self.asked
            lowest = np.where(asked > UNSEEN_RAD_S, -np.inf, state.position - lead_rad)
            highest = np.where(asked < -UNSEEN_RAD_S, np.inf, state.position + lead_rad)
            self._sent_position = within(self._sent_position, lowest, highest)

    def sent(self, velocity: Vector, command: Vector, start: PeriodStart) -> None:
        """Remember a command that was sent, with its positions.

        Args:
            velocity: Joint velocities that it stands for (N,) [rad/s].
            command: Joint positions (N,) [rad].
            start: The start of its period.
        """
        super().sent(velocity, command, start)
        self._sent_position = command
        self._sent_before = self._as_sent
        self._as_sent = SentPosition(command, velocity)

    def was_dropped(self) -> None:
        """Take that the last command was not sent: the next one continues the one before it."""
        if self._sent_before is None:
            self.forget()
            return
        self._as_sent = self._sent_before
        self._asked_velocity = self._as_sent.velocity
        self._start_at(*self._as_sent)

    def follow_brake(self, elapsed_s: float) -> None:
        """Set the start of the next command to where the controller's braking motion has led from
        the last command, see `SafetyFilter.follow_brake`.

        Args:
            elapsed_s: Time since the last command was sent [s]; one period where the control loop
                is punctual.
        """
        if self._as_sent is None:
            return
        position, velocity = self._as_sent
        late_s = max(elapsed_s, 0.0) - self._period
        time_s = self.stop_time(velocity)
        if late_s <= 0.0:
            self._start_at(position + late_s * velocity, velocity)
            return
        share = min(late_s / time_s, 1.0) if time_s > 0.0 else 1.0
        self._start_at(
            position + share * time_s * (1.0 - 0.5 * share) * velocity, velocity * (1.0 - share)
        )

    def follow_rest(self, elapsed_s: float) -> None:
        """Set the start of the next command for a controller that stops at the last position.

        The start stays at the last position, see `SafetyFilter.follow_rest`.

        Args:
            elapsed_s: Time since the last command was sent [s]; one period where the control loop
                is punctual.
        """
        if self._as_sent is None:
            return
        position, velocity = self._as_sent
        late_s = max(elapsed_s - self._period - SMOOTHS_S, 0.0)
        settles_s = max(self._period, SETTLES_S) - SMOOTHS_S
        self._start_at(position, max(1.0 - late_s / settles_s, 0.0) * velocity)

    def _start_at(self, position: Vector, velocity: Vector) -> None:
        """Set the start of the next command, also for the case that the same state comes again.

        Args:
            position: Joint positions of the start (N,) [rad].
            velocity: Joint velocities of the start (N,) [rad/s].
        """
        self._sent_position = position
        self._sent_velocity = velocity
        if self._last_start is not None:
            self._last_start = self._last_start._replace(
                position=position - self._period * velocity
            )

    def _start_from_state(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period from a new state: the positions and velocities sent
        last, the velocities clipped to what the servo can follow (`_within_tracking`).

        The start is at the measured positions if there is no last command, or if the arm was moved
        while it was at rest. `is_behind` is set if the arm is farther from the last command than
        its servo can lag.

        Args:
            state: State that arrived after the last command was computed.
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
        """Return the start one period after the last one, at the positions sent in between.

        Args:
            last: The start of the last period.
            sent: Joint velocities that were sent in it (N,) [rad/s].
        """
        return PeriodStart(last.position + self._period * sent, sent, last.state, last.is_behind)

    def _held_position(self, state: RobotState) -> Vector:
        """Return the positions sent last (N,) [rad]; without a command, those of the state."""
        return state.position if self._sent_position is None else self._sent_position

    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the joint velocities (N,) [rad/s] that lead to commanded positions (N,)
        [rad] in a period.
        """
        return (command - start.position) / self._period

    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the positions (N,) [rad] to which joint velocities (N,) [rad/s] lead in a
        period.
        """
        return start.position + velocity * self._period
