"""The safety filter: only commands after which the arm can still stop are sent."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.command_models import Brake, CommandModel
from sql_ros.robot.safety.nearest_velocity import NearestVelocity
from sql_ros.robot.safety.payload import PayloadObserver
from sql_ros.robot.safety.period_start import PeriodStart
from sql_ros.robot.safety.position_commands import PositionCommands
from sql_ros.robot.safety.speed_limits import SpeedLimits
from sql_ros.robot.safety.torque_commands import TorqueCommands
from sql_ros.robot.safety.velocity_commands import VelocityCommands

# limits that only delay a motion
DELAYING_KINDS = frozenset({"velocity", "acceleration", "effort", "tracking"})


class Admission(NamedTuple):
    """The command that the filter would send for the command that it was asked about.

    Attributes:
        command: To send (N,), in the unit of the mode.
        velocity: Joint velocities that it stands for (N,) [rad/s].
        kinds: Kinds of limits that changed it; empty where the command passed unchanged.
        wish: Joint velocities that were asked for (N,) [rad/s].
        limit: Speed limits of the joints (N,) [rad/s].
        start: The start of the period that the command is for.
    """

    command: Vector
    velocity: Vector
    kinds: frozenset[str]
    wish: Vector
    limit: Vector
    start: PeriodStart

    @property
    def correction(self) -> float:
        """Return the largest change of a joint velocity, as a share of its limit."""
        return float((np.abs(self.velocity - self.wish) / self.limit).max())

    @property
    def is_elsewhere(self) -> bool:
        """Return whether the command leads to a place that a limit forbids.

        Limits of speed and acceleration only delay a motion.
        """
        return bool(self.kinds - DELAYING_KINDS)


class SafetyFilter:
    """Sends the nearest command after which the arm can still stop without breaking any limit.

    Every command stands for joint velocities v during the next period T (`command_models.py`). From
    v the arm can brake along a straight line in joint space, every joint slowed by the same share,
    as fast as the slowest joint allows: t(v) = max |v| / a. A command acts until the next one, for
    D = T + `lateness_s` at most; a position command ends by itself after T (D = T). The velocities
    v are admitted if

    - no joint is faster than its limit or changes its speed by more than a T, with torques a D;
    - the line q + v (D + t(v) / 2) ends before every position margin; with torques, which change
      the velocity evenly from u during that time, q + (u + v) D / 2 + v t(v) / 2;
    - along this line nothing comes nearer than the clearance: shapes of the arm to each other and
      to the scene, guarded points to the walls of the workspace and to keep-out boxes
      (`Clearance.conflict`). What is nearer already may only move away;
    - no point of tool and links is faster than the limit of the tool (`LinkSpeeds`).

    Braking as decided one period before is always admitted, so there is always a command to send.
    By the limits of speed, acceleration and position, the nearest v is a clip. Where v approaches
    something, a small quadratic programme finds the nearest v that slides along it. A v that is not
    admitted even so is mixed with braking (`nearest_velocity.py`). A command with a value that is
    not finite, or that leads to one, is a hold.

    Call the filter once per period, with the same state again where no newer one came: the arm is
    then assumed to be where the last command should have led it. The share `limit_fraction` of the
    robot's limits is used.

    A control loop that may be late calls `elapsed` before each command. Velocity commands then
    brake by a times that time: from every v that was admitted the arm stops before the end of the
    line, whatever the times between two commands are, if none is longer than D. Torques are those
    that lead to v after D, and to much less before.

    After `expect_delay` the line is longer by v times that delay. In torque mode the line is longer
    by v U as well, where U is `latency_s`, and half a period more with a declared payload. States
    may come sooner than `latency_s` says, and a load may be estimated wrongly, so that the arm
    brakes later than predicted.

    Args:
        config: The arm and its limits.
        command_mode: "position", "velocity" or "torque".
        period_s: Control period T [s].
        scene: MJCF with the arm and its surroundings, relative to the share folder; empty: the
            arm's own.
        lateness_s: Time by which a command may come later than a period after the last one [s].

    Attributes:
        clearance: Distances of the arm to itself and to its surroundings.
        limits: Speed limits in force.
        interventions: Number of changed commands by the kind of limit: "non_finite", "velocity",
            "acceleration", "position", "link_speed", "self_collision", "collision", "workspace",
            "keep_out", "effort", "tracking" where commands waited for the arm, and "braking" where
            only braking was admitted.

    Raises:
        ConfigError: The scene does not fit the arm, the latency is too long for the command mode,
            or the payload is too heavy.
    """

    def __init__(
        self,
        config: RobotConfig,
        command_mode: str,
        period_s: float,
        scene: str = "",
        lateness_s: float = 0.0,
    ) -> None:
        scene = scene or config.model
        self.limits = SpeedLimits(config)
        self.clearance = Clearance(config, scene)
        self._commands = _command_model(config, command_mode, period_s, scene, lateness_s)
        self._nearest = NearestVelocity(config, self._commands, self.limits, self.clearance)
        self.interventions: Counter[str] = Counter()
        self.reckon_with_latency(config.reckoned_latency_s)
        if isinstance(self._commands, TorqueCommands):
            self._commands.check_payload(config)

    @property
    def payload(self) -> PayloadObserver | None:
        """Return the estimator of the load in the hand; None but in torque mode."""
        return self._commands.payload

    @property
    def observes_payload(self) -> bool:
        """Return whether the load is estimated: where one is declared, or on a real arm."""
        return self._commands.observes_payload

    @observes_payload.setter
    def observes_payload(self, is_observed: bool) -> None:
        self._commands.observes_payload = is_observed

    # --- the arm and its limits ---

    def reckon_with_latency(self, seconds: float) -> None:
        """Set the latency of commands [s] and forget the commands sent so far: the arm rests.

        Raises:
            ConfigError: The latency is too long for the command mode.
        """
        self._commands.reckon_with_latency(seconds)

    def expect_delay(self, seconds: float) -> None:
        """Add a time [s] by which states may be later than `latency_s` says.

        The arm may move on for so long. Position commands ignore it: they start from the last one
        sent, whatever the states say.
        """
        self._commands.expect_delay(seconds)

    def forget(self) -> None:
        """Start the next command from what is measured.

        To be called when the arm was put elsewhere, or was not commanded for a while.
        """
        self._commands.forget()

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Start the next command from what is measured, where the arm was not seen to obey.

        Args:
            state: The arm now.
            lead_rad: Largest distance of the start of a position command from the measured position
                [rad]. It does not start at the measured position: an arm that sags below its
                command would be let down step by step.
        """
        self._commands.trust(state, lead_rad)

    def reduce_speed(self, is_reduced: bool) -> None:
        """Set whether tool and links keep the reduced speed of 0.25 m/s from now on.

        It is meant for people in reach.
        """
        self.limits.reduce(is_reduced)

    def limit_speed(self, share: float) -> None:
        """Use a share of the speed limits of joints, tool and links from now on.

        A faster arm brakes as before: limits of acceleration, the room to stop and the largest
        measured speed stay as they are.

        Args:
            share: Of the limits, above 0; 1: all of them.
        """
        self.limits.use_share(share)

    def slow(self, speeds: Vector | None) -> None:
        """Ask for no more than some joint speeds (N,) [rad/s] from now on.

        Args:
            speeds: Infinite for a joint without such a limit; None: no joint has one.
        """
        self.limits.cap_joints(speeds)

    # --- how the last command went on ---

    def elapsed(self, seconds: float, *, is_early: bool = False) -> None:
        """Take the time for which the last command has acted, before the next one is computed.

        Without a call it is one period.

        Args:
            seconds: Time since it was sent [s]; less than a period counts as a period.
            is_early: A time below a period counts as it is: the next command is a hold that does
                not wait for the end of the period.
        """
        self._commands.elapsed(seconds, is_early=is_early)

    def follow_brake(self, elapsed_s: float) -> None:
        """Take the time since the last position command, for a controller that brakes behind it.

        The controller comes to rest along `brake`. The next command starts from where it has led
        the arm by now: before the last position, or behind it and slower.

        Args:
            elapsed_s: Time since it was sent [s]; a period where the control loop is punctual.
        """
        self._commands.follow_brake(elapsed_s)

    def follow_rest(self, elapsed_s: float) -> None:
        """Take the time since the last position command, for a controller that ends it at once.

        The next command starts from the last position: at the speed of the last command up to
        `SMOOTHS_S` late; from rest if it is late by a period or `SETTLES_S`, whichever is longer;
        and at a part of that speed in between.

        Args:
            elapsed_s: Time since it was sent [s]; a period where the control loop is punctual.
        """
        self._commands.follow_rest(elapsed_s)

    def was_braked(self, velocity: Vector) -> None:
        """Take that another thread has braked the arm (`robot/safety/standby.py`).

        Args:
            velocity: Joint velocities that it sent last (N,) [rad/s]; torque mode: zeros, for zero
                torques.
        """
        self._commands.was_braked(velocity)

    @property
    def brake(self) -> Brake:
        """Return the admitted motion to rest behind the last command, if no other one follows."""
        return self._commands.brake

    @property
    def asked(self) -> Vector:
        """Return the joint velocities (N,) [rad/s] that the last command stands for.

        They are zeros if there was no command.
        """
        return self._commands.asked

    @property
    def is_at_rest(self) -> bool:
        """Return whether the last command asks for no motion."""
        return self._commands.is_at_rest

    @property
    def is_nearly_at_rest(self) -> bool:
        """Return whether the last command asks for no visible motion."""
        return self._commands.is_nearly_at_rest

    # --- commands ---

    def admit(self, command: Vector, state: RobotState) -> Vector:
        """Return the nearest admissible command (N,) in the unit of the mode, and take it as sent.

        Args:
            command: Asked for (N,), in the unit of the mode.
            state: The last state of the arm.
        """
        return self.send(self.consider(command, state))

    def steer(self, velocity: Vector, state: RobotState) -> Vector:
        """Return the command (N,) of the mode nearest to joint velocities, and take it as sent.

        Args:
            velocity: Asked for (N,) [rad/s].
            state: The last state of the arm.
        """
        start = self._commands.start(state)
        nearest, kinds = self._admissible(velocity, start)
        return self.send(self._admission(nearest, velocity, start, kinds))

    def consider(self, command: Vector, state: RobotState) -> Admission:
        """Return what would be sent for a command, without counting it or taking it as sent.

        Args:
            command: Asked for (N,), in the unit of the mode.
            state: The last state of the arm.
        """
        start = self._commands.start(state)
        wish = self._commands.velocity_of(command, start)
        # the command is not finite, or so large that the velocities are not
        if not all(map(math.isfinite, wish.tolist())):
            braked = self._commands.braked(start.velocity)
            return self._admission(braked, start.velocity, start, frozenset({"non_finite"}))
        nearest, kinds = self._admissible(wish, start)
        return self._admission(nearest, wish, start, kinds, command)

    def send(self, admission: Admission) -> Vector:
        """Return an admission's command (N,), count its changes and take it as sent."""
        for kind in admission.kinds:
            self.interventions[kind] += 1
        self._commands.sent(admission.velocity, admission.command, admission.start)
        return admission.command

    def hold(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Return the safest command (N,) of the mode: brake along the line last admitted, then
        stay.

        An arm that is pushed is not followed.

        Args:
            state: The last state of the arm.
            fresh: The state was measured just now, and another one will follow. Otherwise velocity
                and position commands brake by what was sent last, and torques are zero: braking
                would be a constant torque for a velocity that the arm once had. Zero torques leave
                the arm to its own gravity compensation.
        """
        commands = self._commands
        if not fresh and commands.needs_state_to_brake:
            return commands.send_zeros(state.position)
        start = commands.start(state) if fresh else commands.start_from_memory(state)
        braked = commands.braked_as_sent(start.velocity)
        return self.send(self._admission(braked, start.velocity, start, frozenset()))

    def is_stoppable(self, state: RobotState) -> bool:
        """Return whether braking from a state, moving as measured, breaks no limit."""
        distance = self.clearance.measure_all(state.position)
        required = np.full(self.clearance.count, self.clearance.margin)
        broken = self._nearest.broken_limit(state.velocity, state.position, required, distance)
        return broken == ""

    def _admissible(self, wish: Vector, start: PeriodStart) -> tuple[Vector, frozenset[str]]:
        """Return the admissible velocities nearest to those asked for.

        An arm that is behind its position commands is waited for: commands that went back to it
        would throw a moving arm about.

        Args:
            wish: Joint velocities asked for (N,) [rad/s].
            start: The start of the period.

        Returns:
            Joint velocities (N,) [rad/s], and the kinds of the limits that changed them.
        """
        if start.is_behind:
            return self._commands.braked_as_sent(start.velocity), frozenset({"tracking"})
        return self._nearest.nearest(wish, start)

    def _admission(
        self,
        velocity: Vector,
        wish: Vector,
        start: PeriodStart,
        kinds: frozenset[str],
        command: Vector | None = None,
    ) -> Admission:
        """Return the admission of joint velocities.

        Args:
            velocity: Admitted (N,) [rad/s].
            wish: Asked for (N,) [rad/s].
            start: The start of the period.
            kinds: Kinds of the limits that changed them.
            command: The command asked for (N,), which is kept where nothing changed it.
        """
        if kinds or command is None:
            command = self._commands.command_for(velocity, start)
        limited = self._commands.within_effort(command, start)
        if limited is not command and (limited != command).any():
            kinds = kinds | {"effort"}
            command = limited
        return Admission(command, velocity, kinds, wish, self.limits.joints, start)


def _command_model(
    config: RobotConfig, command_mode: str, period_s: float, scene: str, lateness_s: float
) -> CommandModel:
    """Return the model of a command mode; the arguments are those of `SafetyFilter`."""
    if command_mode == "torque":
        return TorqueCommands(config, period_s, lateness_s, scene)
    if command_mode == "velocity":
        return VelocityCommands(config, period_s, lateness_s)
    return PositionCommands(config, period_s, lateness_s)
