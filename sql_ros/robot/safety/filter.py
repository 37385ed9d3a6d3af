"""The safety filter: it sends only commands after which the arm can still stop."""

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

STANDSTILL_RAD_S = 1e-6  # smallest speed limit by which joint velocities are divided
# kinds of limits that only delay a motion
DELAYING_KINDS = frozenset({"velocity", "acceleration", "effort", "tracking"})


class Admission(NamedTuple):
    """The filter's answer to a command: what it would send instead.

    Attributes:
        command: Command that would be sent (N,), in the unit of the mode.
        velocity: Joint velocities that this command stands for (N,) [rad/s].
        kinds: Kinds of limits that changed the command; empty where it passed unchanged.
        wish: Joint velocities that were asked for (N,) [rad/s].
        limit: Full speed limits of the joints (N,) [rad/s].
        start: Start of the period that the command is for.
    """

    command: Vector
    velocity: Vector
    kinds: frozenset[str]
    wish: Vector
    limit: Vector
    start: PeriodStart

    @property
    def correction(self) -> float:
        """Return the largest change of a joint velocity by the filter, as a share of the
        joint's limit.
        """
        return float((np.abs(self.velocity - self.wish) / self.limit).max())

    @property
    def is_elsewhere(self) -> bool:
        """Return whether a limit on where the arm may be, or on the speed of tool and links,
        changed the command.

        False if only `DELAYING_KINDS` did: limits of speed and acceleration of joints only delay a
        motion.
        """
        return bool(self.kinds - DELAYING_KINDS)


class SafetyFilter:
    """Send the nearest command after which the arm can still stop without breaking any limit.

    Every command stands for joint velocities v during the next period T (`command_models.py`). From
    v the arm can brake along a straight line in joint space. Every joint then slows down by the
    same share, as fast as the slowest joint allows, in the time t(v) = max |v| / a, where a is the
    acceleration limit. A command acts until the next one, for D = T + `lateness_s` at most. A
    position command ends by itself after T (D = T). The velocities v are admitted if

    - no joint is faster than its limit or changes its speed by more than a T; with torques, by more
      than a D;
    - the line q + v (D + t(v) / 2) from the joint positions q ends before every position margin.
      Torques change the velocity evenly from u to v during D; their line is q + (u + v) D / 2 + v
      t(v) / 2;
    - along this line nothing comes nearer than the clearance: shapes of the arm to each other and
      to the scene, guarded points to the walls of the workspace and to keep-out boxes
      (`Clearance.conflict`). What is nearer already may only move away;
    - no point of tool and links is faster than the speed limit of the tool (`LinkSpeeds`).

    Braking as decided one period before is always admitted, so there is always a command to send.
    By the limits of speed, acceleration and position, the nearest v is a clip. Where v approaches
    something, a small quadratic programme finds the nearest v that slides along it. If that v is
    not admitted either, it is mixed with braking (`nearest_velocity.py`). A command with a value
    that is not finite, or that leads to one, becomes a hold.

    Call the filter once per period. Pass the same state again if no newer one came: the arm is then
    assumed to be where the last command should have led it. The share `limit_fraction` of the
    robot's limits is used.

    A control loop that may be late calls `elapsed` before each command. Velocity commands then
    brake by a times that time. So from every v that was admitted the arm stops before the end of
    the line, whatever the times between two commands are, if none is longer than D. Torques are
    those that lead to v after D; within a shorter time they lead only a part of the way.

    After `expect_delay` the line is longer by v times that delay. In torque mode the line is longer
    by v U as well, where U is `latency_s`, and half a period more with a declared payload. The
    reason is that states may come sooner than `latency_s` says, and that a load may be estimated
    wrongly, so that the arm brakes later than predicted.

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
            only braking was admitted. `ActionMapper` adds "resampled".

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
        """Return the estimator of the load in the hand; None except in torque mode."""
        return self._commands.payload

    @property
    def observes_payload(self) -> bool:
        """Return whether the load is estimated: at first only if a payload is declared.

        The actor sets it on a real arm.
        """
        return self._commands.observes_payload

    @observes_payload.setter
    def observes_payload(self, is_observed: bool) -> None:
        self._commands.observes_payload = is_observed

    # --- the arm and its limits ---

    def reckon_with_latency(self, seconds: float) -> None:
        """Set the latency of commands, and forget the commands sent so far. The arm must be at
        rest.

        Args:
            seconds: Latency, see `RobotConfig.latency_s` [s].

        Raises:
            ConfigError: The latency is too long for the command mode.
        """
        self._commands.reckon_with_latency(seconds)

    @property
    def latency_s(self) -> float:
        """Return the latency of commands that the filter reckons with [s]."""
        return self._commands.latency_s

    def expect_delay(self, seconds: float) -> None:
        """Add a time by which states may be later than `latency_s` says. Several calls add up.

        The arm may continue its motion for so long before the filter sees it. Position commands
        ignore the delay, because they start from the last command sent, whatever the states say.

        Args:
            seconds: The time [s].
        """
        self._commands.expect_delay(seconds)

    def forget(self) -> None:
        """Forget the commands sent so far, so that the next command starts from the measured state.

        The estimate of the load begins anew, too; speed limits and counts stay. Call this when the
        arm was put elsewhere, or was not commanded for a while.
        """
        self._commands.forget()

    def trust(self, state: RobotState, lead_rad: float) -> None:
        """Let the next command start from the measured state, because the arm was not seen to obey.

        Args:
            state: State of the arm now.
            lead_rad: Position mode: largest distance of the start of a command from the measured
                position [rad]. A start right at the measured position would let an arm that sags
                below its command down, step by step.
        """
        self._commands.trust(state, lead_rad)

    def reduce_speed(self, is_reduced: bool) -> None:
        """Limit tool and links to the reduced speed of 0.25 m/s from now on, or end this limit.

        Args:
            is_reduced: Whether the limit is in force, as while people are in reach.
        """
        self.limits.reduce(is_reduced)

    def limit_speed(self, share: float) -> None:
        """Use a share of the speed limits of joints, tool and links from now on.

        A faster arm brakes as before: limits of acceleration and the measured speed that is
        believed do not change.

        Args:
            share: Share of the limits, above 0; 1: the full limits.
        """
        self.limits.use_share(share)

    def slow(self, speeds: Vector | None) -> None:
        """Set further speed limits of the joints from now on, in place of those set before.

        Args:
            speeds: Limits (N,) [rad/s], infinite for a joint without one; None: no joint has one.
        """
        self.limits.cap_joints(speeds)

    # --- how the last command went on ---

    def elapsed(self, seconds: float, *, is_early: bool = False) -> None:
        """Take the time for which the last command has acted, before the next one is computed.

        Without a call that time is one period.

        Args:
            seconds: Time since the last command was sent [s]. Less than a period counts as a
                period. More than the longest time for which a command may act, or 0.1 s if that is
                longer, counts as that time.
            is_early: A time of less than a period counts as it is, because the next command is a
                hold that does not wait for the end of the period.
        """
        self._commands.elapsed(seconds, is_early=is_early)

    def was_dropped(self) -> None:
        """Take that the last command was not sent. Position mode: call `follow_brake` or
        `follow_rest` before the next one, which continues the command before it. In the other modes
        nothing changes.
        """
        self._commands.was_dropped()

    def follow_brake(self, elapsed_s: float) -> None:
        """Set the start of the next position command to a point along `brake` of the last one, for
        a controller that brakes after it.

        The start so is where the controller has led the arm by now. It follows from the last
        command as it was sent, however often this is called. If less than a period has
        passed, it is before the last position. If more has passed, it is behind the last position,
        at a lower speed.

        Args:
            elapsed_s: Time since the last command was sent [s]; one period where the control loop
                is punctual.
        """
        self._commands.follow_brake(elapsed_s)

    def follow_rest(self, elapsed_s: float) -> None:
        """Set the start of the next position command, for a controller that stops at the last
        position.

        The start follows from the last command as it was sent, however often this is called. The
        next command starts from the last position. It starts at the speed of the last command
        if it is late by up to `SMOOTHS_S`, and from rest if it is late by a period or `SETTLES_S`,
        whichever is longer. In between the speed falls linearly.

        Args:
            elapsed_s: Time since the last command was sent [s]; one period where the control loop
                is punctual.
        """
        self._commands.follow_rest(elapsed_s)

    def was_braked(self, velocity: Vector) -> None:
        """Take that another thread has braked the arm meanwhile (`robot/safety/standby.py`).

        Args:
            velocity: Joint velocities that it sent last (N,) [rad/s]; in torque mode zeros, for
                zero torques.
        """
        self._commands.was_braked(velocity)

    @property
    def brake(self) -> Brake:
        """Return the admitted motion to rest after the last command, if no other command
        follows.
        """
        return self._commands.brake

    @property
    def asked(self) -> Vector:
        """Return the joint velocities that the last command stands for, as sent, after the
        filter's limits (N,) [rad/s]; zeros without a command. `trust` does not change them.
        """
        return self._commands.asked

    @property
    def is_at_rest(self) -> bool:
        """Return whether the last command asks for no motion, or there is none."""
        return self._commands.is_at_rest

    @property
    def is_nearly_at_rest(self) -> bool:
        """Return whether the last command asks for no visible motion, or there is none."""
        return self._commands.is_nearly_at_rest

    # --- commands ---

    def admit(self, command: Vector, state: RobotState) -> Vector:
        """Return the nearest admissible command, count its changes, and remember it as sent.

        Args:
            command: Command that is asked for (N,), in the unit of the mode.
            state: The last state of the arm.

        Returns:
            Command to send (N,), in the unit of the mode.
        """
        return self.send(self.consider(command, state))

    def steer(self, velocity: Vector, state: RobotState) -> Vector:
        """Return the admissible command nearest to joint velocities, count its changes, and
        remember it as sent.

        Args:
            velocity: Joint velocities that are asked for, in every mode (N,) [rad/s].
            state: The last state of the arm.

        Returns:
            Command to send (N,), in the unit of the mode.
        """
        start = self._commands.start(state)
        return self.send(self._considered(velocity, start))

    def consider(self, command: Vector, state: RobotState) -> Admission:
        """Return what would be sent for a command, without counting it and without remembering it
        as sent.

        For a command that is not finite, or that leads to velocities that are not, this is a
        command that brakes, with the kind "non_finite".

        Args:
            command: Command that is asked for (N,), in the unit of the mode.
            state: The last state of the arm.
        """
        start = self._commands.start(state)
        return self._considered(self._commands.velocity_of(command, start), start, command)

    def consider_direction(self, velocity: Vector, state: RobotState) -> Admission:
        """Return what would be sent for joint velocities whose direction matters, as `consider`
        does for a command.

        Joint velocities beyond the limits of speed are shortened as a whole. The arm then changes
        its velocity along a straight line in joint space, as fast as the slowest joint allows. So
        the tool neither leaves its direction nor turns while it accelerates.

        Args:
            velocity: Joint velocities that are asked for, in every mode (N,) [rad/s].
            state: The last state of the arm.
        """
        start = self._commands.start(state)
        excess = float((np.abs(velocity) / np.maximum(self.limits.highest, STANDSTILL_RAD_S)).max())
        velocity = velocity / max(1.0, excess)
        change = velocity - start.velocity
        lowest, highest = self._commands.velocity_bounds(start)
        most = np.where(change > 0.0, highest, lowest) - start.velocity
        excess = float((change / most).max())
        return self._considered(start.velocity + change / max(1.0, excess), start)

    def _considered(
        self, wish: Vector, start: PeriodStart, command: Vector | None = None
    ) -> Admission:
        """Return what would be sent for joint velocities; braking if they are not finite.

        Args:
            wish: Joint velocities that are asked for (N,) [rad/s].
            start: The start of the period.
            command: Command that was asked for (N,); None: velocities were asked for.
        """
        # the command is not finite, or so large that the velocities are not
        if not all(map(math.isfinite, wish.tolist())):
            braked = self._commands.braked(start.velocity)
            return self._admission(braked, start.velocity, start, frozenset({"non_finite"}))
        nearest, kinds = self._admissible(wish, start)
        return self._admission(nearest, wish, start, kinds, command)

    def send(self, admission: Admission) -> Vector:
        """Count the changes of an admission, remember it as sent, and return its command (N,)."""
        for kind in admission.kinds:
            self.interventions[kind] += 1
        self._commands.sent(admission.velocity, admission.command, admission.start)
        return admission.command

    def hold(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Return the safest command of the mode, and remember it as sent: brake along the line last
        admitted, then stay.

        An arm that is pushed is not followed. Nothing is counted in `interventions`, except a
        reduced torque ("effort").

        Args:
            state: The last state of the arm.
            fresh: The state was measured just now, and another one will follow. If false, velocity
                and position commands brake by what was sent last, and torques are zero. Braking
                torques would be constant, for a velocity that the arm once had. Zero torques leave
                the arm to its own gravity compensation.

        Returns:
            Command to send (N,), in the unit of the mode.
        """
        commands = self._commands
        if not fresh and commands.needs_state_to_brake:
            return commands.send_zeros(state.position)
        start = commands.start(state) if fresh else commands.start_from_memory(state)
        braked = commands.braked_as_sent(start.velocity)
        return self.send(self._admission(braked, start.velocity, start, frozenset()))

    def is_stoppable(self, state: RobotState) -> bool:
        """Return whether the arm could brake now without breaking a limit of position, distance, or
        speed of tool and links.

        All distances are measured, as the last measurement of `clearance`. Nothing is counted or
        remembered as sent.

        Args:
            state: State from which the arm brakes, with the measured velocities.
        """
        distance = self.clearance.measure_all(state.position)
        required = np.full(self.clearance.count, self.clearance.margin)
        broken = self._nearest.broken_limit(state.velocity, state.position, required, distance)
        return broken == ""

    def _admissible(self, wish: Vector, start: PeriodStart) -> tuple[Vector, frozenset[str]]:
        """Return the admissible velocities nearest to those asked for.

        An arm that is behind its position commands is waited for: the commands brake to rest
        ("tracking"). Commands that went back to the arm would throw a moving arm about.

        Args:
            wish: Joint velocities that are asked for (N,) [rad/s].
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
        """Return the admission of joint velocities, with a command within the torque limits.

        If the torque limits change the command, "effort" is added to the kinds. Nothing is counted
        or remembered as sent.

        Args:
            velocity: Admitted joint velocities (N,) [rad/s].
            wish: Joint velocities that were asked for (N,) [rad/s].
            start: The start of the period.
            kinds: Kinds of the limits that changed them.
            command: Command that was asked for (N,), which is kept if `kinds` is empty; None:
                velocities were asked for.
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
    """Return a new model of the commands of a mode. The arguments are those of `SafetyFilter`."""
    if command_mode == "torque":
        return TorqueCommands(config, period_s, lateness_s, scene)
    if command_mode == "velocity":
        return VelocityCommands(config, period_s, lateness_s)
    return PositionCommands(config, period_s, lateness_s)
