"""The motion of an arm that follows from the commands of one mode: those sent, and the next one.

Each command stands for joint velocities v that are reached within the next period T:

==========  ==================================================================================
mode        the joint velocities that a command stands for
==========  ==================================================================================
`position`  those that lead from the last position command to the next
`velocity`  the command itself
`torque`    those that a torque leads to by the arm's mass matrix
==========  ==================================================================================

A model remembers the commands that were sent, and predicts where the next period starts. It gives
the range of velocities that one command can reach, and the motion with which the arm brakes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.payload import PayloadObserver
from sql_ros.robot.safety.period_start import PeriodStart

# largest lag of the arm's velocity behind its commands: the speed that the arm gains in TRACKING_S,
# plus TRACKING_RAD_S; beyond that the measured velocity counts
TRACKING_S = 0.1
TRACKING_RAD_S = 0.2
UNSEEN_RAD_S = 1e-3  # a slower motion is invisible
ROUNDING_S = 1e-9
# longest time for which one command brakes after a silence of the control loop
LONGEST_BRAKE_S = 0.1


@dataclass
class Effect:
    """The effect of a command that was sent.

    Attributes:
        velocity: Velocity mode: the commanded velocities (N,) [rad/s]. Torque mode: the change of
            velocity (N,) [rad/s] that the torque causes if it acts for `longest_s`.
        lasted_s: Time for which the command acted, or has acted so far [s].
    """

    velocity: Vector
    lasted_s: float


class Brake(NamedTuple):
    """A straight motion to rest after a command, in which every joint slows down by the same share.

    Attributes:
        velocity: Joint velocities at the end of the command's period (N,) [rad/s].
        time_s: Time from then until rest [s].
    """

    velocity: Vector
    time_s: float


class CommandModel(ABC):
    """Memory and prediction that all command modes share.

    "The latency" is the time from the measurement of a state to the effect of its command, beyond
    one period. Call `reckon_with_latency` before any other method.

    Args:
        config: The arm and its limits.
        period_s: Control period T [s].
        lateness_s: Time by which a command may come later than a period after the last one [s].

    Attributes:
        longest_s: Longest time D for which a command may act [s].
        reaction_s: Time for which the arm may still move with its present velocity before it
            brakes, beyond the time for which a command acts [s].
        acceleration: Largest acceleration that is used (N,) [rad/s^2].
        payload: Estimator of the load in the hand; None except in torque mode.
        observes_payload: Whether the load is estimated.
        changes_evenly: Whether the velocity changes evenly during the period (torque mode), or at
            its beginning.
        needs_state_to_brake: Whether the arm, without a current state, is left to its gravity
            compensation instead of being braked (torque mode).
    """

    changes_evenly = False
    needs_state_to_brake = False

    def __init__(self, config: RobotConfig, period_s: float, lateness_s: float) -> None:
        self._period = period_s
        self.longest_s = period_s + lateness_s
        self._speed = config.limit_fraction * np.array(config.velocity_limit)
        self._reverse_speed = -self._speed
        self._full_acceleration = config.limit_fraction * np.array(config.acceleration_limit)
        self._expected_delay_s = 0.0
        self.payload: PayloadObserver | None = None
        self.observes_payload = config.payload_kg > 0.0

    # --- latency and memory ---

    def reckon_with_latency(self, seconds: float) -> None:
        """Set the latency of commands, `reaction_s` and `acceleration`, and forget the commands
        sent so far.

        Args:
            seconds: Latency [s]; 0: none.

        Raises:
            ConfigError: The latency is too long for this mode.
        """
        self._latency = seconds
        self.reaction_s = self._known_reaction_s() + self._expected_delay_s
        self.acceleration = self._usable_acceleration()
        self._change = self.acceleration * self._change_time_s()
        self._tracking = self.acceleration * TRACKING_S + TRACKING_RAD_S
        # a measured velocity is older than the commands by the latency
        self._lag = self._tracking + self.acceleration * seconds
        # the effects of the last commands, the newest at the end
        self._effects: deque[Effect] = deque(maxlen=self._remembered_commands())
        if self.payload is not None:
            self.payload.reckon_with_latency(seconds)
        self.forget()

    @property
    def latency_s(self) -> float:
        """Return the latency of commands that was set last [s]."""
        return self._latency

    def _usable_acceleration(self) -> Vector:
        """Return the largest acceleration that commands may ask for (N,) [rad/s^2]."""
        return self._full_acceleration

    def _change_time_s(self) -> float:
        """Return the time [s] for which a command may accelerate the arm."""
        return self._period

    def _remembered_commands(self) -> int:
        """Return the number of commands whose effects are kept."""
        return math.ceil(self._latency / self._period)

    def _known_reaction_s(self) -> float:
        """Return the part of `reaction_s` [s] that `expect_delay` does not add."""
        return 0.0

    def expect_delay(self, seconds: float) -> None:
        """Add a time by which states may be later than the latency says. Several calls add up.

        Args:
            seconds: The time [s].
        """
        self._expected_delay_s += seconds
        self.reaction_s = self._known_reaction_s() + self._expected_delay_s

    def forget(self) -> None:
        """Forget the commands sent so far: the next period starts at the measured state.

        `asked` becomes zeros, and the estimate of the load begins anew.
        """
        self._sent_velocity: Vector | None = None
        # as `_sent_velocity`, but not changed by `trust` or where the controller has led the arm
        self._asked_velocity: Vector | None = None
        self._last_start: PeriodStart | None = None  # start of the period of the last command
        self._effects.clear()
        if self.payload is not None:
            self.payload.forget()
        self._lasted_s = self._period  # time for which the last command has acted

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Start the next command from measured velocities instead of those sent last.

        Position commands also start near the measured positions.

        Args:
            state: The state.
            lead_rad: Position mode: largest distance of the start of a command from the measured
                position [rad].
        """
        self._sent_velocity = within(state.velocity, self._reverse_speed, self._speed)

    def elapsed(self, seconds: float, *, is_early: bool = False) -> None:
        """Take the time for which the last command has acted, before the next command is computed.

        The time counts as one period at least, and at most as the longer one of `longest_s` and
        `LONGEST_BRAKE_S`.

        Args:
            seconds: Time since the last command was sent [s].
            is_early: A time of less than a period counts as it is.
        """
        longest = max(self.longest_s, LONGEST_BRAKE_S)
        least = 0.0 if is_early else self._period
        self._lasted_s = min(max(seconds, least), longest)
        if self._effects:
            self._effects[-1].lasted_s = self._lasted_s
        if self.payload is not None and self.observes_payload:
            self.payload.lasted(self._lasted_s)

    def sent(self, velocity: Vector, command: Vector, start: PeriodStart) -> None:
        """Remember a command that was sent.

        Args:
            velocity: Joint velocities that it stands for (N,) [rad/s].
            command: Command in the unit of the mode (N,).
            start: The start of its period.
        """
        self._sent_velocity = self._asked_velocity = velocity
        self._last_start = start
        self._remember_effect(self._effect_of(velocity, start), command)

    def was_braked(self, velocity: Vector) -> None:
        """Remember joint velocities (N,) [rad/s] that another thread sent last to brake the arm."""
        self._last_start = None
        self._sent_velocity = self._asked_velocity = velocity
        self._remember_effect(velocity, np.zeros_like(velocity))

    def _remember_effect(self, effect: Vector, command: Vector) -> None:
        """Remember the effect of a command that acts from now on, for one period unless `elapsed`
        says otherwise.

        Args:
            effect: Effect of the command, see `Effect.velocity`.
            command: Command in the unit of the mode (N,); the payload estimator takes torques.
        """
        if self.payload is not None and self.observes_payload:
            self.payload.sent(command)
        self._lasted_s = self._period
        if self._effects.maxlen:
            self._effects.append(Effect(effect, self._period))

    def _effect_of(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the effect of a command, see `Effect.velocity`.

        Args:
            velocity: Joint velocities that the command stands for (N,) [rad/s].
            start: The start of its period.
        """
        return velocity

    def was_dropped(self) -> None:
        """Do nothing: only position commands need this, see `PositionCommands.was_dropped`."""
        return

    def follow_brake(self, elapsed_s: float) -> None:
        """Do nothing: only position commands need this, see `PositionCommands.follow_brake`."""
        return

    def follow_rest(self, elapsed_s: float) -> None:
        """Do nothing: only position commands need this, see `PositionCommands.follow_rest`."""
        return

    # --- what was asked for ---

    @property
    def asked(self) -> Vector:
        """Return the joint velocities that the last command stands for (N,) [rad/s]; zeros if there
        is none.

        They are those that were sent last, after the filter's limits, also by another thread
        (`was_braked`). They stay as they were sent where `trust`, `follow_brake` or `follow_rest`
        change the start of the next command.
        """
        asked = self._asked_velocity
        return np.zeros_like(self._speed) if asked is None else asked

    @property
    def is_at_rest(self) -> bool:
        """Return whether the last command asks for no motion at all, or there is none."""
        return self._sent_velocity is None or not self._sent_velocity.any()

    @property
    def is_nearly_at_rest(self) -> bool:
        """Return whether the last command asks for less than `UNSEEN_RAD_S` of every joint,
        or there is none.
        """
        asked = self._asked_velocity
        return asked is None or bool(np.abs(asked).max() < UNSEEN_RAD_S)

    # --- braking ---

    @property
    def brake(self) -> Brake:
        """Return the admitted motion to rest after the last command; at rest if there is none."""
        velocity = self._last_velocity
        return Brake(velocity, self.stop_time(velocity))

    @property
    def _last_velocity(self) -> Vector:
        """Return the joint velocities sent last, or those set by `trust` (N,) [rad/s]; zeros
        if there are none.
        """
        sent = self._sent_velocity
        return np.zeros_like(self._speed) if sent is None else sent

    def stop_time(self, velocity: Vector) -> float:
        """Return the time until the arm has stopped from joint velocities (N,) [rad/s], in [s].

        All joints slow down by the same share, as fast as the slowest one allows.
        """
        return float((np.abs(velocity) / self.acceleration).max())

    def _braking_step_s(self) -> float:
        """Return the time for which one command brakes [s]."""
        return self.longest_s

    def braked(self, velocity: Vector) -> Vector:
        """Return joint velocities (N,) [rad/s] after one command that brakes along their
        direction.
        """
        time_s = self.stop_time(velocity)
        step_s = self._braking_step_s()
        return velocity * (1.0 - step_s / time_s) if time_s > step_s else np.zeros_like(velocity)

    def braked_as_sent(self, velocity: Vector) -> Vector:
        """Return joint velocities after one command that brakes, from no more than was sent last.

        A servo that is faster than its commands so is braked by more.

        Args:
            velocity: Velocities at the start of the period (N,) [rad/s].

        Returns:
            Joint velocities (N,) [rad/s].
        """
        sent = self._sent_velocity
        if sent is not None:
            velocity = within(velocity, np.minimum(sent, 0.0), np.maximum(sent, 0.0))
        return self.braked(velocity)

    def reach_s(self, velocity: Vector) -> float:
        """Return the time in which the arm, at constant velocity, moves as far as it does until it
        has braked [s].

        The way consists of the command, the reaction time, and braking.

        Args:
            velocity: Joint velocities (N,) [rad/s].
        """
        return self.longest_s + self.reaction_s + 0.5 * self.stop_time(velocity)

    def braking_line(self, start: PeriodStart) -> tuple[Vector, float]:
        """Return the line along which the arm moves with its next velocity and then brakes.

        Args:
            start: The start of the period.

        Returns:
            Joint positions at which the line begins (N,) [rad]; and the time for which the arm
            moves along it with its next velocity before it can brake [s].
        """
        return start.position, self.longest_s + self.reaction_s

    def velocity_bounds(self, start: PeriodStart) -> tuple[Vector, Vector]:
        """Return the range of joint velocities that one command can reach from the start of the
        period.

        It comes from the acceleration limit alone. Limits of speed and position are not included.
        The range always includes `braked_as_sent`, because a command that acted for longer brakes
        by more.

        Args:
            start: The start of the period.

        Returns:
            Smallest and largest joint velocities (N,) [rad/s].
        """
        last = start.velocity
        braked = self.braked_as_sent(last)
        return np.minimum(last - self._change, braked), np.maximum(last + self._change, braked)

    # --- the start of the next period ---

    def start(self, state: RobotState) -> PeriodStart:
        """Return the predicted start of the next period.

        Args:
            state: The last state. If it is the same object as for the last command, the start is
                predicted from that command instead of measured.
        """
        last = self._last_start
        if last is not None and last.state is state and self._sent_velocity is not None:
            return self._predicted(last, self._sent_velocity)
        return self._start_from_state(state)

    @abstractmethod
    def _start_from_state(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period from a new state.

        Args:
            state: State that arrived after the last command was computed.
        """

    @abstractmethod
    def _predicted(self, last: PeriodStart, sent: Vector) -> PeriodStart:
        """Return the start of the period after the last one, without a new state.

        Args:
            last: The start of the last period.
            sent: Joint velocities that were sent in it (N,) [rad/s].
        """

    def start_from_memory(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period from the commands sent alone.

        Args:
            state: An old state. Its positions are used, except in position mode after a command.
        """
        return PeriodStart(self._held_position(state), self._last_velocity, state)

    def _held_position(self, state: RobotState) -> Vector:
        """Return the joint positions (N,) [rad] at which a hold keeps the arm."""
        return state.position

    # --- commands ---

    def send_zeros(self, like: Vector) -> Vector:
        """Return a command of zeros (N,), and remember that it was sent. `asked` becomes zeros.

        Args:
            like: Array with the shape of a command (N,).
        """
        zeros = np.zeros_like(like)
        self._sent_velocity = self._asked_velocity = None
        self._remember_effect(zeros, zeros)
        return zeros

    @abstractmethod
    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the joint velocities that a command stands for (N,) [rad/s].

        Args:
            command: Command in the unit of the mode (N,).
            start: The start of its period.
        """

    @abstractmethod
    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the command that stands for joint velocities, in the unit of the mode (N,).

        Args:
            velocity: Joint velocities (N,) [rad/s].
            start: The start of its period.
        """

    def within_effort(self, command: Vector, start: PeriodStart) -> Vector:
        """Return a command (N,) within the torque limits of the arm; the same object unless
        in torque mode.
        """
        return command

    def _within_tracking(self, measured: Vector) -> Vector:
        """Return the velocities that the arm has in all likelihood, those sent last (N,) [rad/s].

        They are clipped to the measured velocities plus or minus the lag that a servo may have.
        Without a command they are the measured ones.

        Args:
            measured: Measured joint velocities (N,) [rad/s].
        """
        sent = self._sent_velocity
        if sent is None:
            return measured
        return within(sent, measured - self._lag, measured + self._lag)


def within(values: Vector, lowest: Vector, highest: Vector) -> Vector:
    """Return values (N,) clipped to bounds (N,). For few values this is three times as fast
    as np.clip.
    """
    clipped: Vector = np.minimum(np.maximum(values, lowest), highest)
    return clipped
