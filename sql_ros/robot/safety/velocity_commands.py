"""The command model of velocity mode."""

from __future__ import annotations

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.safety.command_models import ROUNDING_S, CommandModel, within
from sql_ros.robot.safety.period_start import PeriodStart

# longest latency with which the limits are known to be kept, see `sql-ros verify safety`
LONGEST_LATENCY_S = 0.3


class VelocityCommands(CommandModel):
    """Model of velocity commands. Each acts until the next one."""

    def reckon_with_latency(self, seconds: float) -> None:
        """Set the latency of commands, and forget the commands sent so far.

        Args:
            seconds: Latency [s]; 0: none.

        Raises:
            ConfigError: The latency is longer than `LONGEST_LATENCY_S`.
        """
        self._latency = seconds
        if seconds > LONGEST_LATENCY_S:
            raise ConfigError(
                f"the latency of the arm is {seconds:g} s, expected at most {LONGEST_LATENCY_S:g} s"
                " for velocity commands: use position commands, or a driver and a controller that"
                " answer sooner"
            )
        super().reckon_with_latency(seconds)

    def _braking_step_s(self) -> float:
        """Return the time for which the last command has acted, by which the next one brakes
        [s].
        """
        return self._lasted_s

    def _start_from_state(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period from a new state.

        Args:
            state: The new state. With a latency, the start is where the velocities sent before lead
                from there.
        """
        measured = within(state.velocity, self._reverse_speed, self._speed)
        last = self._within_tracking(measured)
        if self._latency:
            return self._after_latency(state, measured, last)
        return PeriodStart(state.position, last, state)

    def _after_latency(self, state: RobotState, measured: Vector, last: Vector) -> PeriodStart:
        """Return where the arm may be when a velocity that is sent now takes effect.

        Commands are under way that the state does not show yet. After a dead time of `latency_s`
        the arm has moved as all of these say; after a shorter dead time, as the newest of them say.
        A servo that follows its commands as a first-order lag moves on as measured, for `latency_s`
        at most. The range from `lowest` to `highest` of the returned start covers all of these.

        Args:
            state: The last state.
            measured: Its velocities within the limits (N,) [rad/s].
            last: Velocities of the returned start (N,) [rad/s].
        """
        velocities = [measured]
        durations = [0.0]
        remaining_s = self._latency
        for effect in reversed(self._effects):
            duration_s = min(effect.lasted_s, remaining_s)
            velocities.append(effect.velocity)
            durations.append(duration_s)
            remaining_s -= duration_s
            if remaining_s < ROUNDING_S:
                break
        else:
            velocities.append(measured)
            durations.append(remaining_s)
        times = np.array(durations)[:, None]
        path = np.cumsum(np.array(velocities) * times, axis=0)
        # after a dead time of a part of the latency
        lagging = path + (self._latency - np.cumsum(times, axis=0)) * measured
        return PeriodStart(
            position=state.position + path[-1],
            velocity=last,
            state=state,
            alternatives=(state.position, state.position + lagging[0]),
            lowest=state.position + np.minimum(path.min(axis=0), lagging.min(axis=0)),
            highest=state.position + np.maximum(path.max(axis=0), lagging.max(axis=0)),
        )

    def _predicted(self, last: PeriodStart, sent: Vector) -> PeriodStart:
        """Return the last start, shifted by the way of the velocities sent for as long as they have
        acted.

        Args:
            last: The start of the last period.
            sent: Joint velocities that were sent in it (N,) [rad/s].
        """
        return last.shifted(self._lasted_s * sent)._replace(velocity=sent)

    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the command itself (N,) [rad/s]."""
        return command

    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the velocities themselves (N,) [rad/s]."""
        return velocity
