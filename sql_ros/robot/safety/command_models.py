"""Motion of an arm by the commands of one mode: by those that were sent, and by the next one.

Each command stands for joint velocities v that are reached within the next period T:

==========  ==================================================================================
mode        the joint velocities that a command stands for
==========  ==================================================================================
`position`  those that lead from the last position command to the next
`velocity`  the command itself
`torque`    those that a torque leads to by the arm's mass matrix
==========  ==================================================================================

A model remembers the commands that were sent, predicts where the next period starts, and says by
how much a command may change the velocities and how the arm brakes.
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

# the arm may lag behind its commands by the speed that it gains in this time, and by this speed;
# beyond that the measured velocity counts
TRACKING_S = 0.1
TRACKING_RAD_S = 0.2
UNSEEN_RAD_S = 1e-3  # a slower motion is invisible
ROUNDING_S = 1e-9
# longest time by which one velocity command brakes after a longer silence
LONGEST_BRAKE_S = 0.1


@dataclass
class Effect:
    """The effect of a command that was sent.

    Attributes:
        velocity: Velocity mode: the commanded velocities (N,) [rad/s]. Torque mode: the change of
            velocity (N,) [rad/s] that the torque causes if it acts for the longest time.
        lasted_s: Time for which it acted, or has acted by now [s].
    """

    velocity: Vector
    lasted_s: float


class Brake(NamedTuple):
    """A straight motion to rest behind a command, every joint slowed by the same share.

    Attributes:
        velocity: Joint velocities at the end of the command's period (N,) [rad/s].
        time_s: Time from then until rest [s].
    """

    velocity: Vector
    time_s: float


class CommandModel(ABC):
    """Memory and prediction that all command modes share.

    Args:
        config: The arm and its limits.
        period_s: Control period T [s].
        lateness_s: Time by which a command may come later than a period after the last one [s].

    Attributes:
        longest_s: Longest time D for which a command may act [s].
        reaction_s: Time for which the arm may move on before it brakes, beyond the time for which a
            command acts [s].
        acceleration: Largest acceleration that is used (N,) [rad/s^2].
        payload: Estimator of the load in the hand; None but in torque mode.
        observes_payload: The load is estimated.
        changes_evenly: The velocity changes evenly during the period (torque mode), not at its
            beginning.
        needs_state_to_brake: Without a current state the arm is left to its gravity compensation
            (torque mode).
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
        """Set the latency of commands [s] and forget the commands sent so far.

        Raises:
            ConfigError: The latency is too long for this mode.
        """
        self._latency = seconds
        self.reaction_s = self._known_reaction_s() + self._expected_delay_s
        self.acceleration = self._usable_acceleration()
        self._change = self.acceleration * self._change_time_s()
        self._tracking = self.acceleration * TRACKING_S + TRACKING_RAD_S
        # what is measured is older by the latency
        self._lag = self._tracking + self.acceleration * seconds
        # the effects of the last commands, the newest at the end
        self._effects: deque[Effect] = deque(maxlen=self._remembered_commands())
        if self.payload is not None:
            self.payload.reckon_with_latency(seconds)
        self.forget()

    def _usable_acceleration(self) -> Vector:
        """Return the acceleration (N,) [rad/s^2] that commands may ask for."""
        return self._full_acceleration

    def _change_time_s(self) -> float:
        """Return the time [s] for which a command may accelerate the arm."""
        return self._period

    def _remembered_commands(self) -> int:
        """Return the number of commands whose effects are kept."""
        return math.ceil(self._latency / self._period)

    def _known_reaction_s(self) -> float:
        """Return the part of `reaction_s` [s] that is known without `expect_delay`."""
        return 0.0

    def expect_delay(self, seconds: float) -> None:
        """Add a time [s] by which states may be later than the latency says."""
        self._expected_delay_s += seconds
        self.reaction_s = self._known_reaction_s() + self._expected_delay_s

    def forget(self) -> None:
        """Forget the commands sent so far: the next period starts as measured."""
        self._sent_velocity: Vector | None = None
        # as `_sent_velocity`, whatever the arm was seen to do
        self._asked_velocity: Vector | None = None
        self._last_start: PeriodStart | None = None  # start of the period of the last command
        self._effects.clear()
        if self.payload is not None:
            self.payload.forget()
        self._lasted_s = self._period  # time for which the last command has acted

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Start the next command from a measured state, see `SafetyFilter.trust`."""
        self._sent_velocity = within(state.velocity, self._reverse_speed, self._speed)

    def elapsed(self, seconds: float, *, is_early: bool = False) -> None:
        """Take the time [s] for which the last command has acted, see `SafetyFilter.elapsed`."""
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
            command: In the unit of the mode (N,).
            start: The start of its period.
        """
        self._sent_velocity = self._asked_velocity = velocity
        self._last_start = start
        self._act(self._effect_of(velocity, start), command)

    def was_braked(self, velocity: Vector) -> None:
        """Remember that another thread sent these velocities (N,) [rad/s] last."""
        self._last_start = None
        self._sent_velocity = self._asked_velocity = velocity
        self._act(velocity, np.zeros_like(velocity))

    def _act(self, effect: Vector, command: Vector) -> None:
        """Remember that a command acts from now on, for one period unless `elapsed` differs."""
        if self.payload is not None and self.observes_payload:
            self.payload.sent(command)
        self._lasted_s = self._period
        if self._effects.maxlen:
            self._effects.append(Effect(effect, self._period))

    def _effect_of(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return what `Effect.velocity` is for a command (N,) [rad/s]."""
        return velocity

    def follow_brake(self, elapsed_s: float) -> None:
        """Take the time since the last command, see `SafetyFilter.follow_brake`.

        It concerns position commands alone.
        """
        return

    def follow_rest(self, elapsed_s: float) -> None:
        """Take the time since the last command, see `SafetyFilter.follow_rest`.

        It concerns position commands alone.
        """
        return

    # --- what was asked for ---

    @property
    def asked(self) -> Vector:
        """Return the joint velocities (N,) [rad/s] of the last command; zeros if there is none."""
        asked = self._asked_velocity
        return np.zeros_like(self._speed) if asked is None else asked

    @property
    def is_at_rest(self) -> bool:
        """Return whether the last command asks for no motion."""
        return self._sent_velocity is None or not self._sent_velocity.any()

    @property
    def is_nearly_at_rest(self) -> bool:
        """Return whether the last command asks for no visible motion."""
        asked = self._asked_velocity
        return asked is None or bool(np.abs(asked).max() < UNSEEN_RAD_S)

    # --- braking ---

    @property
    def brake(self) -> Brake:
        """Return the admitted motion to rest behind the last command."""
        velocity = self._last_velocity
        return Brake(velocity, self.stop_time(velocity))

    @property
    def _last_velocity(self) -> Vector:
        """Return the joint velocities (N,) [rad/s] sent last; zeros if there are none."""
        sent = self._sent_velocity
        return np.zeros_like(self._speed) if sent is None else sent

    def stop_time(self, velocity: Vector) -> float:
        """Return the time [s] until the slowest joint has stopped, all slowed by the same share."""
        return float((np.abs(velocity) / self.acceleration).max())

    def _braking_step_s(self) -> float:
        """Return the time [s] by which one command brakes."""
        return self.longest_s

    def braked(self, velocity: Vector) -> Vector:
        """Return joint velocities (N,) [rad/s] after one command that brakes along their line."""
        time_s = self.stop_time(velocity)
        step_s = self._braking_step_s()
        return velocity * (1.0 - step_s / time_s) if time_s > step_s else np.zeros_like(velocity)

    def braked_as_sent(self, velocity: Vector) -> Vector:
        """Return velocities (N,) [rad/s] after braking from no more than was sent last.

        A servo that overtakes its commands is not followed.
        """
        sent = self._sent_velocity
        if sent is not None:
            velocity = within(velocity, np.minimum(sent, 0.0), np.maximum(sent, 0.0))
        return self.braked(velocity)

    def reach_s(self, velocity: Vector) -> float:
        """Return the time [s] for which the arm at a constant velocity (N,) [rad/s] would go as far
        as it goes until it has braked.
        """
        return self.longest_s + self.reaction_s + 0.5 * self.stop_time(velocity)

    def braking_line(self, start: PeriodStart) -> tuple[Vector, float]:
        """Return where the line begins along which the arm moves with its next velocity and brakes.

        Returns:
            Joint positions (N,) [rad]; and the time [s] for which the arm moves from there with its
            next velocity before it can brake.
        """
        return start.position, self.longest_s + self.reaction_s

    def velocity_bounds(self, start: PeriodStart) -> tuple[Vector, Vector]:
        """Return the smallest and the largest velocities (N,) [rad/s] that one command may ask for.

        A command that acted for longer brakes by more, and a servo that overtakes is braked, too.
        """
        last = start.velocity
        braked = self.braked_as_sent(last)
        return np.minimum(last - self._change, braked), np.maximum(last + self._change, braked)

    # --- the start of the next period ---

    def start(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period.

        Args:
            state: The last state. If it is the one of the last command, the start is predicted by
                that command.
        """
        last = self._last_start
        if last is not None and last.state is state and self._sent_velocity is not None:
            return self._predicted(last, self._sent_velocity)
        return self._measured(state)

    @abstractmethod
    def _measured(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period by a new state."""

    @abstractmethod
    def _predicted(self, last: PeriodStart, sent: Vector) -> PeriodStart:
        """Return the start of the period after `last`, by the velocities (N,) [rad/s] sent."""

    def start_from_memory(self, state: RobotState) -> PeriodStart:
        """Return the start of the next period by the commands sent alone, at an old state."""
        return PeriodStart(self._held_position(state), self._last_velocity, state)

    def _held_position(self, state: RobotState) -> Vector:
        """Return the joint positions (N,) [rad] at which commands hold the arm."""
        return state.position

    # --- commands ---

    def send_zeros(self, like: Vector) -> Vector:
        """Return a command of zeros with the shape of `like` (N,), and take it as sent."""
        zeros = np.zeros_like(like)
        self._sent_velocity = self._asked_velocity = None
        self._act(zeros, zeros)
        return zeros

    @abstractmethod
    def velocity_of(self, command: Vector, start: PeriodStart) -> Vector:
        """Return the joint velocities (N,) [rad/s] that a command (N,) stands for."""

    @abstractmethod
    def command_for(self, velocity: Vector, start: PeriodStart) -> Vector:
        """Return the command (N,) that stands for joint velocities (N,) [rad/s]."""

    def within_effort(self, command: Vector, start: PeriodStart) -> Vector:
        """Return a command (N,) within the torque limits of the arm; unchanged if no torque."""
        return command

    def _within_tracking(self, measured: Vector) -> Vector:
        """Return the velocities (N,) [rad/s] sent last, as far as the arm follows them."""
        sent = self._sent_velocity
        if sent is None:
            return measured
        return within(sent, measured - self._lag, measured + self._lag)


def within(values: Vector, lowest: Vector, highest: Vector) -> Vector:
    """Return values (N,) clipped to bounds (N,), as np.clip but three times as fast for few."""
    clipped: Vector = np.minimum(np.maximum(values, lowest), highest)
    return clipped
