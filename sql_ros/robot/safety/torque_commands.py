"""The command model of torque mode."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import FASTEST, RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.command_models import ROUNDING_S, CommandModel, within
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.safety.payload import PayloadObserver, check_payload
from sql_ros.robot.safety.period_start import PeriodStart
from sql_ros.robot.velocity import late_shares

# a payload whose estimate is less certain than this reduces the acceleration that is used
DOUBT_KG = 0.01
LEAST_CHANGE = 0.2  # smallest share of the acceleration that remains then
# Share of the acceleration that is used where a command may act for longer than a period, where
# states may come sooner than `latency_s` says, or where the load is not known exactly. The rest is
# kept for an arm that accelerates by more than predicted.
UNSURE_SHARE = 0.92


class TorqueCommands(CommandModel):
    """Model of torque commands. Each changes the velocity evenly, by the arm's dynamics.

    Args:
        config: The arm and its limits.
        period_s: Control period T [s].
        lateness_s: Time by which a command may come later than a period after the last one [s].
        scene: MJCF with the arm, relative to the share folder.

    Attributes:
        dynamics: Dynamics of the arm over `longest_s`, with the estimated load.

    Raises:
        ConfigError: The scene does not fit the arm.
    """

    changes_evenly = True
    needs_state_to_brake = True

    def __init__(self, config: RobotConfig, period_s: float, lateness_s: float, scene: str) -> None:
        super().__init__(config, period_s, lateness_s)
        self._effort = np.array(config.effort_limit)
        self._fastest_measured = FASTEST * self._speed
        self._is_unsure = bool(lateness_s or config.payload_kg)
        # time by which the line to rest is longer because of an uncertain load
        self._load_doubt_s = 0.5 * period_s if config.payload_kg else 0.0
        self._declared_kg = config.payload_kg
        self._late_shares = late_shares(period_s) if config.velocity_from_position else []
        self.dynamics = Dynamics(config, scene, self.longest_s)
        self._payload = PayloadObserver(config, self.dynamics, period_s)
        self.payload = self._payload

    def _usable_acceleration(self) -> Vector:
        """Return the largest acceleration that commands may ask for (N,) [rad/s^2].

        It is `UNSURE_SHARE` of the limit if commands may be late, a latency is known, or a payload
        is declared.
        """
        if self._is_unsure or self._latency:
            return UNSURE_SHARE * self._full_acceleration
        return self._full_acceleration

    def _change_time_s(self) -> float:
        """Return the longest time [s] for which a torque may act."""
        return self.longest_s

    def _remembered_commands(self) -> int:
        """Return the number of torques whose effect a state may not show yet."""
        return max(super()._remembered_commands(), len(self._late_shares))

    def _known_reaction_s(self) -> float:
        """Return the part of `reaction_s` that is due to the latency and to the uncertain
        load [s].
        """
        return self._latency + self._load_doubt_s

    def check_payload(self, config: RobotConfig) -> None:
        """Check that a declared payload is safe before it is estimated, see
        `payload.check_payload`.

        Raises:
            ConfigError: The payload is too heavy.
        """
        check_payload(config, self.dynamics, self.acceleration)

    def was_braked(self, velocity: Vector) -> None:
        """Remember that another thread sent zero torques last. Only the shape of `velocity`
        (N,) is used.
        """
        self.send_zeros(velocity)
        self._last_start = None

    def _effect_of(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the change of velocity that a torque causes in the longest time (N,) [rad/s]."""
        return velocity - start.velocity

    def braked_as_sent(self, velocity: Vector) -> Vector:
        """Return velocities after one command that brakes from the given velocities (N,) [rad/s].

        Unlike in the other modes, the velocities may exceed those sent last.
        """
        return self.braked(velocity)

    def braking_line(self, start: PeriodStart) -> tuple[Vector, float]:
        """Return the line along which the arm moves with its next velocity and then brakes.

        The velocity changes evenly during the command. So half of the way in this time is that of
        the velocity before, and belongs to the begin of the line.

        Args:
            start: The start of the period.

        Returns:
            Joint positions at which the line begins (N,) [rad]; and the time for which the arm
            moves along it with its next velocity before it can brake [s].
        """
        half = 0.5 * self.longest_s
        return start.position + half * start.velocity, half + self.reaction_s

    def velocity_bounds(self, start: PeriodStart) -> tuple[Vector, Vector]:
        """Return the range of joint velocities that one command can reach from the start of the
        period.

        It comes from the acceleration limit, less the part that the weight of an uncertain load may
        take. Limits of speed, position and torque are not included.

        Args:
            start: The start of the period.

        Returns:
            Smallest and largest joint velocities (N,) [rad/s].
        """
        change = self._change
        if self._declared_kg and self._payload.doubt_kg > DOUBT_KG:
            unknown = self._payload.doubt_kg * np.abs(self.dynamics.sag(start.position))
            change = np.maximum(change - unknown, LEAST_CHANGE * change)
        return start.velocity - change, start.velocity + change

    def _start_from_state(self, state: RobotState) -> PeriodStart:
        """Update the estimated load, and return the start of the next period from a new state.

        Args:
            state: The new state. With a latency, the start is where the torques sent before lead
                from there.
        """
        self._estimate_load(state)
        measured = within(
            self._up_to_date(state.velocity), -self._fastest_measured, self._fastest_measured
        )
        if self._latency:
            return self._after_latency(state, measured)
        return PeriodStart(state.position, measured, state)

    def _estimate_load(self, state: RobotState) -> None:
        """Update `dynamics.load_kg` by the last motion, within 0 and the declared mass."""
        if not self.observes_payload:
            return
        self._payload.take(state)
        self.dynamics.load_kg = min(max(self._payload.mass_kg, 0.0), self._declared_kg)

    def _up_to_date(self, velocity: Vector) -> Vector:
        """Return present velocities (N,) [rad/s] from velocities that were differentiated from
        positions.

        The changes by recent torques that these lack are added. Velocities that the driver measures
        are returned unchanged.
        """
        for share, effect in zip(self._late_shares, reversed(self._effects)):
            velocity = velocity + share * (effect.lasted_s / self.longest_s) * effect.velocity
        return velocity

    def _after_latency(self, state: RobotState, velocity: Vector) -> PeriodStart:
        """Return where the arm is when a torque that is sent now takes effect.

        Until then the torques sent before act, whose effect the state does not show yet.

        Args:
            state: The last state.
            velocity: Its velocities, brought up to date (N,) [rad/s].
        """
        under_way = []  # time [s] and change of velocity (N,), the newest first
        remaining_s = self._latency
        for effect in reversed(self._effects):
            duration_s = min(effect.lasted_s, remaining_s)
            under_way.append((duration_s, effect.velocity))
            remaining_s -= duration_s
            if remaining_s < ROUNDING_S:
                break
        position = state.position + remaining_s * velocity
        for duration_s, change in reversed(under_way):
            before = velocity
            velocity = velocity + duration_s / self.longest_s * change
            position = position + 0.5 * duration_s * (before + velocity)
        return PeriodStart(position, velocity, state)

    def _predicted(self, last: PeriodStart, sent: Vector) -> PeriodStart:
        """Return the start of the period after the last one, by the torque sent for as long as it
        has acted.

        Args:
            last: The start of the last period.
            sent: Joint velocities to which the torque would lead in `longest_s` (N,) [rad/s].
        """
        lasted = self._lasted_s
        after = (
            sent
            if lasted == self.longest_s
            else last.velocity + lasted / self.longest_s * (sent - last.velocity)
        )
        position = last.position + lasted * (0.5 * (last.velocity + after))
        return PeriodStart(position, after, last.state)

    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the joint velocities (N,) [rad/s] to which torques (N,) [N m] lead in `longest_s`.

        Torques that are not finite are returned unchanged.
        """
        if not np.isfinite(command).all():
            return command
        return self.dynamics.velocity_after(command, start.position, start.velocity)

    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the torques (N,) [N m] that lead to joint velocities (N,) [rad/s] in
        `longest_s`.
        """
        return self.dynamics.torque_for(velocity, start.position, start.velocity)

    def within_effort(self, command: Vector, start: PeriodStart) -> Vector:
        """Return torques (N,) [N m] clipped to what the motors can give in addition to
        gravity compensation.
        """
        gravity = self.dynamics.gravity(start.position)
        return within(command, -self._effort - gravity, self._effort - gravity)
