"""Identify a real arm before it acts for the first time: move each joint a little, there and back.

Each joint is moved by `AMPLITUDE_RAD` at `SPEED_RAD_S` towards the middle of its range. If the
safety filter has no room there, it is moved the other way. Each of the two motions of a joint is a
leg. For each leg these are measured:

- which joint moved, in which direction and how far: order, sign and scale. In torque mode the scale
  is not known, because the velocity is controlled and becomes the commanded one;
- the delay from command to motion. The largest one is the arm's latency;
- whether the arm rests within `STOP_S` of the end of the command.

The identification gets a state once per control step, and returns the joint velocities to ask the
safety filter for.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig

AMPLITUDE_RAD = 0.05  # motion of a joint in a leg
SPEED_RAD_S = 0.1  # speed of this motion
OBEYS = (0.7, 1.45)  # bounds of the ratio of measured to commanded motion
OTHERS = 0.3  # largest motion of another joint, as a share of the amplitude
# a motion that exceeds the command by more, or a larger one of another joint, is a failure at once
ASTRAY_RAD = 0.03
RESTS_RAD_S = 0.02  # a slower joint is at rest
RESTS_S = 0.2  # an arm at rest for this time has stopped
RUNS_RAD_S = 0.4  # torque mode: no command asks for such a speed
STOP_S = 1.0  # longest time from the last command of a leg to rest
LEG_S = 8.0  # the filter has no room for a leg that takes longer
BEGIN_S = 10.0  # longest time until the arm rests before a leg
LONGEST_DELAY_S = 0.3  # longest delay from command to motion
# torque mode: speed per distance from the commanded pose, against friction
STIFFNESS_PER_S = 2.0
FASTEST = 2.0  # largest speed with that addition, as a multiple of `SPEED_RAD_S`


class _Phase(Enum):
    """The phases of a leg: wait until the arm rests, move the joint, wait until it has stopped."""

    REST = "rest"
    MOVE = "move"
    STOP = "stop"


class Identification:
    """Move the joints one by one, and judge the motion. Call it once per control step while nothing
    holds the arm.

    In each control step call `step`, ask the safety filter for the velocities that it returns, and
    call `sent` with the filter's command.

    Args:
        robot: The arm.
        mode: Command mode.
        period_s: Control period [s].

    Attributes:
        failure: What a joint did wrong, in words; empty while nothing went wrong. It ends the
            identification.
        is_over: Whether every joint was seen to move as commanded.
        latency_s: Largest delay from command to motion so far [s].
        scales: For each joint that was judged so far, the smaller and the larger ratio of measured
            to commanded motion of its two legs.
    """

    def __init__(self, robot: RobotConfig, mode: str, period_s: float) -> None:
        self._names = robot.joints
        self._mode = mode
        self._period = period_s
        self._middle = 0.5 * (np.array(robot.position_lower) + np.array(robot.position_upper))
        self._size = len(robot.joints)
        self.failure = ""
        self.is_over = False
        self.latency_s = 0.0
        self.scales: list[tuple[float, float]] = []
        self._joint = 0
        self.interrupt()

    @property
    def activity(self) -> str:
        """Describe what the identification does now, as text for the user: the joint that is
        moved and its number.
        """
        return (
            f"moves {self._names[self._joint]} by {AMPLITUDE_RAD:g} rad there and back"
            f" ({self._joint + 1} of {self._size})"
        )

    def interrupt(self) -> None:
        """Discard the legs of the current joint, and start again with its first leg, because
        the arm was held.
        """
        self._leg = 0
        self._sign = 0.0
        self._leg_scales: list[float] = []
        self._tried_other_way = False
        self._begin_leg()

    def _begin_leg(self) -> None:
        """Start a leg: wait for rest, and clear what was measured of the last leg."""
        self._phase = _Phase.REST
        self._time_s = self._rested_s = 0.0
        self._leg_start: RobotState | None = None
        self._before: RobotState | None = None
        # motion of every joint since the leg began: the filter may move others (N,) [rad]
        self._all_commanded = np.zeros(self._size)
        self._sent: tuple[Vector, Vector] | None = None
        self._origin: Vector | None = None  # first position command of the leg (N,) [rad]
        self._track: list[
            tuple[float, float, float]
        ] = []  # time [s], commanded and measured motion [rad]

    def sent(self, command: Vector, velocity: Vector) -> None:
        """Take the command that the safety filter sent in this control step.

        Args:
            command: Command in the unit of the mode (N,).
            velocity: Joint velocities that it stands for (N,) [rad/s].
        """
        self._sent = command, velocity

    def step(self, state: RobotState) -> Vector:
        """Take a state, judge the motion so far, and return the joint velocities to ask the safety
        filter for.

        `failure` is set if a joint strays from its commanded motion, is faster than `RUNS_RAD_S` in
        torque mode, or if a leg fails. `is_over` is set after the last leg.

        Args:
            state: The last state of the arm.

        Returns:
            Joint velocities (N,) [rad/s]; zeros once `is_over` or `failure` is set.
        """
        before = self._before
        elapsed_s = (
            self._period if before is None else max(1e-9 * (state.stamp_ns - before.stamp_ns), 0.0)
        )
        self._time_s += elapsed_s
        self._advance(elapsed_s)
        self._before = state
        is_resting = bool(np.abs(state.velocity).max() < RESTS_RAD_S)
        self._rested_s = self._rested_s + elapsed_s if is_resting else 0.0
        if self.is_over or self.failure:
            return np.zeros(self._size)
        fastest = int(np.abs(state.velocity).argmax())
        if self._mode == "torque" and abs(state.velocity[fastest]) > RUNS_RAD_S:
            self.failure = (
                f"{self._names[fastest]} moves at {state.velocity[fastest]:+.2f} rad/s, which no"
                " command asks for"
            )
            return np.zeros(self._size)
        if self._phase is _Phase.REST:
            return self._await_rest(state)
        self._check_deviation(state)
        if self.failure:
            return np.zeros(self._size)
        return self._move(state) if self._phase is _Phase.MOVE else self._await_stop(state)

    def _advance(self, elapsed_s: float) -> None:
        """Update the joint positions to which the commands have led by now, since the leg began.

        In torque mode that is the motion that the leg asks for. In velocity mode it is the integral
        of the velocities sent, in position mode the command less the first one of the leg.

        Args:
            elapsed_s: Time since the last step [s].
        """
        if self._leg_start is None or self._sent is None:
            return
        command, velocity = self._sent
        if self._mode == "torque":
            if self._phase is _Phase.MOVE:
                advance = self._sign * min(SPEED_RAD_S * elapsed_s, self._remaining_rad)
                self._all_commanded[self._joint] += advance
        elif self._mode == "velocity":
            self._all_commanded = self._all_commanded + velocity * elapsed_s
        elif self._origin is not None:
            self._all_commanded = command - self._origin

    @property
    def _commanded(self) -> float:
        """Return the commanded motion of the joint under test since the leg began [rad]."""
        return float(self._all_commanded[self._joint])

    @property
    def _remaining_rad(self) -> float:
        """Return the part of the amplitude that is left to command [rad]."""
        return AMPLITUDE_RAD - self._sign * self._commanded

    def _await_rest(self, state: RobotState) -> Vector:
        """Make a step in phase `REST`: once the arm has rested for `RESTS_S`, begin the motion of
        the leg.

        The first leg of a joint leads towards the middle of its range. `failure` is set if the arm
        does not come to rest within `BEGIN_S`.

        Args:
            state: The last state of the arm.

        Returns:
            Joint velocities to ask for (N,) [rad/s].
        """
        if self._time_s > BEGIN_S:
            self.failure = (
                "the arm does not come to rest: a joint moves at"
                f" {np.abs(state.velocity).max():.2f} rad/s without a command"
            )
        if self._rested_s >= RESTS_S:
            if self._sign == 0.0:
                self._sign = (
                    1.0 if state.position[self._joint] < self._middle[self._joint] else -1.0
                )
            self._phase = _Phase.MOVE
            self._time_s = 0.0
            self._leg_start = state
            self._origin = (
                state.position if self._sent is None or self._mode != "position" else self._sent[0]
            )
            self._all_commanded = np.zeros(self._size)
            return self._moving_velocity(state)
        return self._holding_velocity(state)

    def _move(self, state: RobotState) -> Vector:
        """Make a step in phase `MOVE`: record the motion, and end it after the amplitude or
        `LEG_S`.

        Args:
            state: The last state of the arm.

        Returns:
            Joint velocities to ask for (N,) [rad/s].
        """
        self._record(state)
        if self._remaining_rad < 0.02 * AMPLITUDE_RAD or self._time_s > LEG_S:
            self._phase = _Phase.STOP
            self._time_s = 0.0
            self._rested_s = 0.0
            return self._holding_velocity(state)
        return self._moving_velocity(state)

    def _await_stop(self, state: RobotState) -> Vector:
        """Make a step in phase `STOP`: record the motion, and judge the leg once the arm rests.

        `failure` is set if the arm does not come to rest in time.

        Args:
            state: The last state of the arm.

        Returns:
            Joint velocities that keep the arm still (N,) [rad/s].
        """
        self._record(state)
        if self._rested_s >= RESTS_S:
            self._judge(state)
        elif self._time_s > STOP_S + RESTS_S:
            self.failure = (
                f"{self._name} did not come to rest within {STOP_S:g} s of its last command"
            )
        return self._holding_velocity(state)

    def _moving_velocity(self, state: RobotState) -> Vector:
        """Return the velocities that continue the motion of the joint (N,) [rad/s].

        They are limited to `FASTEST` times `SPEED_RAD_S`.
        """
        wish = self._holding_velocity(state)
        wish[self._joint] += self._sign * min(
            SPEED_RAD_S, max(self._remaining_rad, 0.0) / self._period
        )
        most = FASTEST * SPEED_RAD_S
        return np.clip(wish, -most, most)

    def _holding_velocity(self, state: RobotState) -> Vector:
        """Return the velocities that keep every joint where it is commanded to be (N,) [rad/s].

        They are zeros, except in torque mode during a leg, where they correct the error of the
        position.
        """
        if self._mode != "torque" or self._leg_start is None:
            return np.zeros(self._size)
        target = self._leg_start.position.copy()
        target[self._joint] += self._commanded
        return np.asarray(STIFFNESS_PER_S * (target - state.position))

    # --- the measured motion ---

    @property
    def _name(self) -> str:
        """Return the name of the joint under test."""
        return self._names[self._joint]

    def _motion_of(self, state: RobotState) -> Vector:
        """Return how far the joints have moved since the leg began (N,) [rad]."""
        assert self._leg_start is not None
        return state.position - self._leg_start.position

    def _record(self, state: RobotState) -> None:
        """Append a state to the track of the leg: time since its begin [s], commanded and measured
        motion of the joint [rad].

        Both motions are positive in the direction of the leg.
        """
        assert self._leg_start is not None
        seconds = 1e-9 * (state.stamp_ns - self._leg_start.stamp_ns)
        self._track.append(
            (
                seconds,
                self._sign * self._commanded,
                self._sign * float(self._motion_of(state)[self._joint]),
            )
        )

    def _check_deviation(self, state: RobotState) -> None:
        """Set `failure` if a joint is farther than `ASTRAY_RAD` from its commanded motion.

        The joint under test may lag behind its command. It must not move the wrong way or ahead.
        """
        moved = self._motion_of(state)
        others = self._deviations(moved)
        own_motion = self._sign * float(moved[self._joint])
        ahead = own_motion - self._sign * self._commanded
        if others.max() > ASTRAY_RAD or own_motion < -ASTRAY_RAD or ahead > ASTRAY_RAD:
            self.failure = self._describe_failure(moved)

    def _deviations(self, moved: Vector) -> Vector:
        """Return how far each joint but the one under test is from where it was commanded to be
        (N,) [rad].

        Args:
            moved: Measured motion of the joints since the leg began (N,) [rad].
        """
        others = np.abs(moved - self._all_commanded)
        others[self._joint] = 0.0
        return others

    def _judge(self, state: RobotState) -> None:
        """Judge a leg at whose end the arm rests: start the next leg or joint, or set `failure`.

        If less than 1 - `OTHERS` of the amplitude was commanded, because the filter has no room,
        the leg is reversed. A leg fails if its scale is not within `OBEYS`, another joint moved by
        more than `OTHERS` of the amplitude, or the delay is longer than `LONGEST_DELAY_S`. A leg
        that passes updates `latency_s`, and its scale is kept.

        Args:
            state: State of the arm at rest.
        """
        commanded = self._sign * self._commanded
        moved = self._motion_of(state)
        if commanded < (1.0 - OTHERS) * AMPLITUDE_RAD:
            self._reverse(float(moved[self._joint]))
            return
        scale = float(moved[self._joint]) / self._commanded
        others = self._deviations(moved)
        if not OBEYS[0] <= scale <= OBEYS[1] or others.max() > OTHERS * AMPLITUDE_RAD:
            self.failure = self._describe_failure(moved)
            return
        delay_s = self._delay_s()
        if not delay_s <= LONGEST_DELAY_S:
            self.failure = (
                f"{self._name} moved {delay_s:.2f} s after its command, expected at most"
                f" {LONGEST_DELAY_S:g} s: a speed slider below 100 %?"
            )
            return
        self.latency_s = max(self.latency_s, delay_s)
        self._leg_scales.append(scale)
        self._begin_next_leg()

    def _reverse(self, moved: float) -> None:
        """Start the first leg again in the other direction, because the filter has no room in this
        one.

        `failure` is set if both directions were tried, or on the way back. Position commands start
        from the measured position, so a joint that does not follow them gets no room either.

        Args:
            moved: Measured motion of the joint [rad].
        """
        if self._leg == 1 or self._tried_other_way:
            self.failure = (
                f"{self._name} has no room for {AMPLITUDE_RAD:g} rad, or does not follow its"
                f" commands (told {self._commanded:+.3f} rad, moved {moved:+.3f} rad): move the"
                " arm to where it is free, and compare sign and scale with the controller's"
            )
            return
        self._tried_other_way = True
        self._sign = -self._sign
        self._begin_leg()

    def _begin_next_leg(self) -> None:
        """Start the way back of the joint, or the first leg of the next joint.

        After the way back, the joint's scales are stored. After the last joint, `is_over` is set.
        """
        if self._leg == 0:
            self._leg = 1
            self._sign = -self._sign
            self._begin_leg()
            return
        self.scales.append((min(self._leg_scales), max(self._leg_scales)))
        self.is_over = self._joint == self._size - 1
        self._joint += not self.is_over
        self.interrupt()

    def _delay_s(self) -> float:
        """Return the time between the crossings of half the amplitude by command and by motion [s],
        at least 0.

        Infinite if the motion never crosses it.
        """
        times, commanded, moved = (np.array(column) for column in zip(*self._track))
        half = 0.5 * AMPLITUDE_RAD
        return max(_crossing(times, moved, half) - _crossing(times, commanded, half), 0.0)

    def _describe_failure(self, moved: Vector) -> str:
        """Describe what is wrong with the motion of a leg, and a likely cause.

        The first of these that is true: another joint moved more, the joint hardly moved, it moved
        the wrong way, it moved by another distance.

        Args:
            moved: Measured motion of the joints since the leg began (N,) [rad].
        """
        commanded = self._commanded
        own_motion = float(moved[self._joint])
        other = int(self._deviations(moved).argmax())
        summary = f"{self._name} was told to move by {commanded:+.3f} rad"
        if abs(moved[other]) > max(OTHERS * AMPLITUDE_RAD, abs(own_motion)):
            return (
                f"{summary}, and {self._names[other]} moved by {moved[other]:+.3f} rad: are the"
                " joints in the controller's order?"
            )
        if abs(own_motion) < 0.2 * abs(commanded):
            return (
                f"{summary}, and moved by {own_motion:+.3f} rad: brakes, a protective stop, another"
                " controller?"
            )
        if own_motion * commanded < 0.0:
            return f"{summary}, and moved by {own_motion:+.3f} rad: is its sign reversed?"
        return f"{summary}, and moved by {own_motion:+.3f} rad: another unit, or a gear ratio?"


def _crossing(times: Vector, values: Vector, level: float) -> float:
    """Return the time at which values first reach a level [s], interpolated linearly.

    Args:
        times: Times of the values (T,) [s].
        values: A value for each time (T,).
        level: Level to reach.

    Returns:
        Infinity if the values never reach the level.
    """
    above = np.flatnonzero(values >= level)
    if not len(above):
        return math.inf
    index = int(above[0])
    if index == 0:
        return float(times[0])
    rise = values[index] - values[index - 1]
    share = (level - values[index - 1]) / rise if rise > 0.0 else 1.0
    return float(times[index - 1] + share * (times[index] - times[index - 1]))
