"""The one filter before the arm: whatever a policy says, only what passes here is sent."""

from __future__ import annotations

import math
from collections import Counter, deque
from ctypes import c_int
from typing import NamedTuple

import daqp
import numpy as np

from sql_ros.robot.arm import FASTEST, RobotState, Vector
from sql_ros.robot.clearance import KINDS, Clearance
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.dynamics import Dynamics
from sql_ros.robot.velocity import late_shares

TRACKING_S = 0.1  # the arm may lag behind its commands by what it accelerates in this time; beyond that, what is measured counts
TRACKING_RAD_S = 0.2  # and by so much anyhow
STANDS_RAD_S = 0.1  # slower than this an arm that is far from its last position command is not on its way there
ROUNDING_RAD, ROUNDING_M = 1e-9, 1e-9
TURNED_RAD = 0.02  # where a joint turns farther in one period the speed of the tool is checked at its end, too
SLIDE_M = 1e-3  # where something is near the programme keeps so much more than the clearance, for what its straight lines leave out
UNSEEN_RAD_S = 1e-3  # slower is as good as not at all
TIP_SLACK, TIP_ROUNDS = 0.02, 4  # how nearly and in how many steps the limit of tool speed is approached
SOLVED = 1  # exit flag of daqp


class _Now(NamedTuple):
    """Where the next period starts: positions (N,), and velocities (N,) last asked for, as far as the arm follows them."""

    start: Vector
    last: Vector
    state: RobotState  # that this was told by
    is_behind: bool = False  # position mode: the arm is farther from the last command than it can lag behind


class Admission(NamedTuple):
    """What the filter makes of a command.

    Attributes:
        command: to send, (N,) in the unit of the mode.
        velocity: of the joints that it asks for, (N,) [rad/s].
        kinds: of limits that changed it; empty: it passed as it was.
        wish: the velocity that was asked for (N,) [rad/s].
        limit: of velocity (N,) [rad/s].
        now: where the period begins that the command is for.
    """

    command: Vector
    velocity: Vector
    kinds: frozenset[str]
    wish: Vector
    limit: Vector
    now: _Now

    @property
    def correction(self) -> float:
        """Largest change, in shares of the velocity limits."""
        return float((np.abs(self.velocity - self.wish) / self.limit).max())

    @property
    def is_elsewhere(self) -> bool:
        """A limit of place forbids where the command leads; limits of speed and acceleration only delay it."""
        return bool(self.kinds - {"velocity", "acceleration", "effort", "tracking"})


class SafetyFilter:
    """Sends the nearest command after which the arm can still stop without breaking any limit, and counts what it had to change.

    Every command stands for joint velocities v during the next period T: those of a velocity command, those that lead from the last
    position command to the next, or those that a torque leads to by the arm's mass matrix. From v the arm can brake along a straight
    line in joint space, every joint by the same share at a time, as fast as the slowest joint allows: t(v) = max |v| / a. Admitted is v if

    - no joint is faster than its limit or changes its speed by more than a T;
    - the line q + v (T + t(v) / 2) ends before every position margin; with torques, which change the velocity evenly from u during the
      period, q + (u + v) T / 2 + v t(v) / 2;
    - along this line nothing comes nearer than the clearance: shapes of the arm to each other and to the scene, guarded points to
      the walls of the workspace and to keep-out boxes (`Clearance.conflict`); what is nearer already may only move away;
    - the tool is no faster than its limit.

    Braking as decided one period before is always admitted, so there is always something to send. The nearest v by speed, acceleration and
    position limits is a clip; where it approaches something, a small quadratic programme finds the nearest that slides along it; what
    does not pass even so is mixed with braking. A command with a non-finite value, or that leads to one, is a hold.

    Call it once per period, with the same state again where no newer one came: the arm is then taken to be where the command before should
    have led it. Limits are used by the share `limit_fraction` of the robot's config.

    Args:
        config: the arm and its limits.
        command_mode: "position", "velocity" or "torque".
        period_s: control period T [s].
        scene: MJCF with the arm and what stands around it; empty: the arm's own.

    Attributes:
        interventions: how often, by kind: "non_finite", "velocity", "acceleration", "position", "tip_speed", "self_collision",
            "collision", "workspace", "keep_out", "effort", "tracking" where commands waited for the arm, and "braking" where only that
            was left.
    """

    def __init__(self, config: RobotConfig, command_mode: str, period_s: float, scene: str = "") -> None:
        self._mode, self._period = command_mode, period_s
        self._lower = np.array(config.position_lower) + config.position_margin_rad
        self._upper = np.array(config.position_upper) - config.position_margin_rad
        self._speed = config.limit_fraction * np.array(config.velocity_limit)
        self._back = -self._speed
        self._believed = FASTEST * self._speed  # of what is measured, where torques are commanded
        self._acceleration = config.limit_fraction * np.array(config.acceleration_limit)
        self._change = self._acceleration * period_s
        self._lag = self._acceleration * TRACKING_S + TRACKING_RAD_S
        self._tip_speed = config.limit_fraction * config.tip_speed_limit_m_s
        self._effort = np.array(config.effort_limit)
        self._latency = config.latency_s
        self._clearance = Clearance(config, scene or config.model)
        self._sliding = np.full(self._clearance.count, self._clearance.margin + SLIDE_M)
        self._dynamics = Dynamics(config, scene or config.model, period_s) if command_mode == "torque" else None
        is_late = config.velocity_from_position and command_mode == "torque"
        self._late_shares = late_shares(period_s) if is_late else []
        self._recent: deque[Vector] = deque(maxlen=len(self._late_shares))
        self._sense, self._identity = np.zeros(0, c_int), np.eye(len(self._speed))
        self.interventions: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """The arm was put elsewhere, or did something else for a while: the next command starts from what is measured."""
        self._last: Vector | None = None  # velocities last sent
        self._asked: Vector | None = None  # the same, whatever the arm was seen to do
        self._reference: Vector | None = None  # position last sent, position mode
        self._before: _Now | None = None  # where the period began that was last sent for
        under_way = math.ceil(self._latency / self._period)
        self._changes: deque[Vector] = deque([np.zeros_like(self._speed)] * under_way, under_way)  # of velocity, by what was sent last
        self._recent.clear()

    def trust(self, state: RobotState) -> None:
        """Start the next velocity command from what is measured, where the arm was not seen to obey."""
        self._last = _within(state.velocity, self._back, self._speed)

    # --- what is asked of it ---

    def admit(self, command: Vector, state: RobotState) -> Vector:
        """The nearest admissible command, (N,) in the unit of the mode; takes it as sent."""
        return self.send(self.consider(command, state))

    def steer(self, velocity: Vector, state: RobotState) -> Vector:
        """The command of the mode that comes nearest to joint velocities (N,) [rad/s]; takes it as sent."""
        now = self._present(state)
        nearest, kinds = self._next(velocity, now)
        return self.send(self._admission(nearest, velocity, now, kinds))

    def consider(self, command: Vector, state: RobotState) -> Admission:
        """What would be sent for a command; nothing is counted, nothing taken as sent."""
        now = self._present(state)
        start, last = now.start, now.last
        if self._dynamics is not None and np.isfinite(command).all():
            wish = self._dynamics.velocity_after(command, start, last)
        else:
            wish = command if self._mode != "position" else (command - start) / self._period
        if not all(map(math.isfinite, wish.tolist())):  # as it came, or made of what is finite but beyond all sense
            return self._admission(self._braked(last), last, now, frozenset({"non_finite"}))
        nearest, kinds = self._next(wish, now)
        return self._admission(nearest, wish, now, kinds, command)

    def send(self, admission: Admission) -> Vector:
        """Counts what was changed and takes the command as sent."""
        for kind in admission.kinds:
            self.interventions[kind] += 1
        self._last = self._asked = admission.velocity
        self._before = admission.now
        if self._latency:
            self._changes.append(admission.velocity - admission.now.last)
        if self._late_shares:
            self._recent.appendleft(admission.velocity - admission.now.last)
        if self._mode == "position":
            self._reference = admission.command
        return admission.command

    def hold(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """The safest command of the mode, (N,): brake along the line last admitted, then stay. An arm that is pushed is not followed.

        Args:
            state: of the arm, the last known.
            fresh: measured just now, and another one will follow. Otherwise torque is left to the arm's own gravity compensation: braking
                would be a constant torque of the velocity that once was. Velocity and position commands brake by what was sent last.
        """
        now = self._present(state) if fresh else self._remembered(state)
        last = now.last
        if self._mode == "torque" and not fresh:
            self._last = self._asked = None
            self._changes.append(np.zeros_like(last))
            self._recent.clear()
            return np.zeros_like(last)
        if self._mode != "torque" and self._last is not None:
            last = _within(last, np.minimum(self._last, 0.0), np.maximum(self._last, 0.0))
        return self.send(self._admission(self._braked(last), last, now, frozenset()))

    @property
    def is_at_rest(self) -> bool:
        """What was sent last asks for no motion."""
        return self._last is None or not self._last.any()

    @property
    def is_nearly_at_rest(self) -> bool:
        """What was sent last asks for less motion than anybody would see."""
        return self._asked is None or bool(np.abs(self._asked).max() < UNSEEN_RAD_S)

    def is_stoppable(self, state: RobotState) -> bool:
        """From this state, moving as measured, braking breaks no limit."""
        v = state.velocity
        first = self._clearance.look(state.position)
        required = np.full(self._clearance.count, self._clearance.margin)
        return self._objection(v, state.position, required, self._clearance.tip_jacobian(), first) == ""

    # --- the next velocity ---

    def _present(self, state: RobotState) -> _Now:
        before, speed = self._before, self._speed
        if before is not None and before.state is state and self._last is not None:
            return self._expected(before, self._last)
        if self._dynamics is not None:
            measured = _within(self._up_to_date(state.velocity), -self._believed, self._believed)
            return self._ahead(state, measured) if self._latency else _Now(state.position, measured, state)
        measured, lag = _within(state.velocity, self._back, speed), self._lag
        last = measured if self._last is None else _within(self._last, measured - lag, measured + lag)
        if self._mode == "velocity":
            return _Now(state.position + self._latency * last if self._latency else state.position, last, state)
        reference = self._reference
        if reference is None:
            return _Now(state.position, last, state)
        is_behind = bool((np.abs(reference - state.position) > (TRACKING_S + self._latency) * (lag + np.abs(last))).any())
        if is_behind and self.is_at_rest and np.abs(measured).max() < STANDS_RAD_S:  # somebody moved it
            return _Now(state.position, last, state)
        return _Now(reference, last, state, is_behind)

    def _up_to_date(self, velocity: Vector) -> Vector:
        """Return measured velocities (N,) with what recent torques changed since, where they come late."""
        for share, change in zip(self._late_shares, self._recent):
            velocity = velocity + share * change
        return velocity

    def _ahead(self, state: RobotState, velocity: Vector) -> _Now:
        """Where the arm is when a torque sent now takes effect: those sent before, which the state does not show yet, act until then."""
        position, left = state.position, self._latency
        for change in self._changes:
            lasts = left - self._period * math.floor(left / self._period - 1e-9)
            velocity, before = velocity + lasts / self._period * change, velocity
            position, left = position + 0.5 * lasts * (before + velocity), left - lasts
        return _Now(position, velocity, state)

    def _expected(self, before: _Now, sent: Vector) -> _Now:
        """One period after a command, for want of a newer state: where it should have led."""
        mean = 0.5 * (before.last + sent) if self._mode == "torque" else sent
        return _Now(before.start + self._period * mean, sent, before.state, before.is_behind)

    def _remembered(self, state: RobotState) -> _Now:
        """Where the next period starts by what was sent alone."""
        start = state.position if self._reference is None else self._reference
        return _Now(start, np.zeros_like(start) if self._last is None else self._last, state)

    def _next(self, wish: Vector, now: _Now) -> tuple[Vector, frozenset[str]]:
        """As `_nearest`; an arm that is behind is waited for: commands that went back to it would throw a moving arm about."""
        if now.is_behind:
            return self._braked(now.last), frozenset({"tracking"})
        return self._nearest(wish, now.start, now.last)

    def _nearest(self, wish: Vector, start: Vector, last: Vector) -> tuple[Vector, frozenset[str]]:
        """The admissible velocity nearest to the one wished for, and the kinds of limits in between."""
        kinds = set()
        slowest, fastest = last - self._change, last + self._change
        legal = _within(wish, self._back, self._speed)
        velocity = soft = _within(legal, slowest, fastest)
        origin, lead = self._arrival(start, last)
        stop = self._stop_time(soft)
        end = origin + (lead + 0.5 * stop) * soft
        is_inside = all((end <= self._upper).tolist()) and all((end >= self._lower).tolist())
        if not is_inside:
            velocity = self._clip_to_room(soft, origin, lead, slowest, fastest)
            stop = self._stop_time(velocity)
            is_inside = self._ends_inside(velocity, origin + (lead + 0.5 * stop) * velocity)
        for kind, before, after in (("velocity", wish, legal), ("acceleration", legal, soft), ("position", soft, velocity)):
            if before is not after and before.tolist() != after.tolist():
                kinds.add(kind)
        jacobian = self._clearance.tip_jacobian(start)
        longest = 2.0 * self._period + 0.5 * stop  # one period more: in torque mode the line starts further back
        is_fine = is_inside and not self._is_tip_too_fast(velocity, start, jacobian)
        if is_fine and self._clearance.stays_far(start, velocity, longest):  # as far as the last look says: no new one is needed
            return velocity, frozenset(kinds)
        distance = self._clearance.glance(start, velocity, longest)
        # the programme would leave it as it is; not so with torques, where the line starts elsewhere
        if (
            is_fine
            and self._mode != "torque"
            and not self._clearance.conflict(start, velocity, longest - self._period, self._sliding, distance)
        ):
            return velocity, frozenset(kinds)
        required = np.minimum(self._clearance.margin, distance - ROUNDING_M)
        velocity, more = self._slide(velocity, distance, jacobian, slowest, fastest)
        kinds |= more
        brake = self._braked(last)
        for share in (1.0, 0.5):
            mixed = velocity if share == 1.0 else brake + share * (velocity - brake)
            if self._mode == "torque":  # there only by the end of the period: it arrives on a line that starts further back
                objection = self._objection(mixed, start + 0.5 * self._period * (last - mixed), required, jacobian)
                if objection in KINDS:
                    objection = self._conflict_on_the_way(mixed, start, last, required, distance)
            else:
                objection = self._objection(mixed, start, required, jacobian, distance)
            if not objection:
                return mixed, frozenset(kinds)
            kinds.add(objection)
        kinds.add("braking")
        return brake, frozenset(kinds)

    def _arrival(self, start: Vector, last: Vector) -> tuple[Vector, float]:
        """Where from, (N,), and for how long [s] the arm moves with its next velocity before it can brake: the period, from where it is.

        Torques change the velocity evenly during the period: half of the way is that of the velocity before.
        """
        if self._mode == "torque":
            return start + 0.5 * self._period * last, 0.5 * self._period
        return start, self._period

    def _ends_inside(self, velocity: Vector, end: Vector) -> bool:
        """No joint ends beyond a position margin, or farther beyond it than it begins."""
        outside = (end > self._upper + ROUNDING_RAD) & (velocity > 0) | (end < self._lower - ROUNDING_RAD) & (velocity < 0)
        return not outside.any()

    def _is_tip_too_fast(self, velocity: Vector, start: Vector, jacobian: Vector) -> bool:
        """At the start of the period, or at its end."""
        most = (self._tip_speed * (1 + 2 * TIP_SLACK)) ** 2
        tip = jacobian @ velocity
        fast = bool(tip @ tip > most)
        if fast or self._period * max(map(abs, velocity.tolist())) < TURNED_RAD:
            return fast
        tip = self._clearance.tip_jacobian(start + self._period * velocity) @ velocity
        return bool(tip @ tip > most)

    def _clip_to_room(self, velocity: Vector, origin: Vector, lead: float, slowest: Vector, fastest: Vector) -> Vector:
        """So slow that the arm stops before every position margin: v T + v^2 / (2 a) and v (T + t / 2) at most the room left.

        Of T, its `lead`, and where that begins: see `_arrival`.
        """
        below, above = np.maximum(origin - self._lower, 0.0), np.maximum(self._upper - origin, 0.0)
        lowest, highest = -self._stoppable(below, lead), self._stoppable(above, lead)
        velocity = _within(_within(velocity, lowest, highest), slowest, fastest)
        reach = lead + 0.5 * self._stop_time(velocity)
        return _within(_within(velocity, -below / reach, above / reach), slowest, fastest)

    def _stoppable(self, room: Vector, lead: float) -> Vector:
        """The positive root of v T + v^2 / (2 a) = room, of T = lead."""
        a = self._acceleration
        return np.asarray(a * (np.sqrt(lead**2 + 2 * room / a) - lead))

    def _slide(self, velocity: Vector, distance: Vector, jacobian: Vector, slowest: Vector, fastest: Vector) -> tuple[Vector, set[str]]:
        """The nearest velocity that, to first order, stops before everything near; at the pose last looked at."""
        reach = self._period + 0.5 * self._stop_time(velocity)
        margin = self._clearance.margin + SLIDE_M
        near = self._clearance.closing(velocity) * reach > distance - margin
        gradients, which = self._clearance.rows(near) if near.any() else (np.empty((0, len(velocity))), np.empty(0, np.intp))
        rows = -gradients
        asked = rows @ velocity
        # whoever wants to come nearer still moves away a little instead: along a line that only slides it would come nearer
        bounds = np.maximum(distance[which] - margin, np.where(asked > ROUNDING_M, -SLIDE_M, 0.0)) / reach
        broken = asked > bounds + ROUNDING_M
        kinds = {str(self._clearance.kinds[index]) for index in which[broken].tolist()}
        wish = velocity
        for attempt in range(TIP_ROUNDS):
            tip = jacobian @ velocity
            speed = math.sqrt(tip @ tip)
            if speed > self._tip_speed * (1.0 + TIP_SLACK):  # a plane that touches the ball of allowed velocities
                kinds.add("tip_speed")
                rows, bounds = np.vstack((rows, tip / speed @ jacobian)), np.append(bounds, self._tip_speed)
            elif attempt or not broken.any():
                break
            velocity = self._solve(wish, rows, bounds, slowest, fastest)
        return velocity, kinds

    def _solve(self, velocity: Vector, rows: Vector, bounds: Vector, slowest: Vector, fastest: Vector) -> Vector:
        """The velocity nearest to the given one, in shares of the limits, with rows @ v <= bounds; the given one if there is none."""
        scale, count = self._speed, len(velocity)
        if len(self._sense) != count + len(rows):
            self._sense = np.zeros(count + len(rows), c_int)
        self._sense[:] = 0
        highest, lowest = np.minimum(fastest, np.maximum(self._speed, slowest)), np.maximum(slowest, np.minimum(self._back, fastest))
        solution, _, flag, _ = daqp.solve(
            self._identity, -velocity / scale, np.ascontiguousarray(rows * scale), np.concatenate((highest / scale, bounds)),
            np.concatenate((lowest / scale, np.full(len(rows), -1e30))), self._sense,
        )  # fmt: skip
        return _within(np.asarray(solution) * scale, lowest, highest) if flag == SOLVED else velocity  # daqp keeps bounds up to 1e-6

    def _objection(self, velocity: Vector, start: Vector, required: Vector, jacobian: Vector, first: Vector | None = None) -> str:
        """The kind of the limit that braking from this velocity would break, or ""."""
        duration = self._period + 0.5 * self._stop_time(velocity)
        if not self._ends_inside(velocity, start + duration * velocity):
            return "position"
        if self._is_tip_too_fast(velocity, start, jacobian):
            return "tip_speed"
        return self._clearance.conflict(start, velocity, duration, required, first)

    def _conflict_on_the_way(self, velocity: Vector, start: Vector, last: Vector, required: Vector, distance: Vector) -> str:
        """The same where the speed changes evenly during the period, looked at along two chords of that curve, then along the line.

        An arm that moves away from what is near would have come from even nearer on the line alone.
        """
        period = self._period
        middle, end = start + period * (3.0 * last + velocity) / 8.0, start + 0.5 * period * (last + velocity)
        first: Vector | None = distance
        for begin, until in ((start, middle), (middle, end)):
            conflict = self._clearance.conflict(begin, 2.0 * (until - begin) / period, 0.5 * period, required, first)
            if conflict:
                return conflict
            first = None
        return self._clearance.conflict(end, velocity, 0.5 * self._stop_time(velocity), required)

    def _stop_time(self, velocity: Vector) -> float:
        """Until the slowest joint has stopped, all braking by the same share at a time [s]."""
        return float((np.abs(velocity) / self._acceleration).max())

    def _braked(self, last: Vector) -> Vector:
        """One period of braking."""
        time = self._stop_time(last)
        return last * (1.0 - self._period / time) if time > self._period else np.zeros_like(last)

    # --- from velocities to the command of the mode ---

    def _admission(self, velocity: Vector, wish: Vector, now: _Now, kinds: frozenset[str], command: Vector | None = None) -> Admission:
        if not kinds and command is not None:
            sent = command
        elif self._mode == "velocity":
            sent = velocity
        elif self._dynamics is None:
            sent = now.start + velocity * self._period
        else:
            sent = self._dynamics.torque_for(velocity, now.start, now.last)
        if self._dynamics is not None:
            gravity = self._dynamics.gravity(now.start)
            clipped = _within(sent, -self._effort - gravity, self._effort - gravity)
            if (clipped != sent).any():
                kinds, sent = kinds | {"effort"}, clipped
        return Admission(sent, velocity, kinds, wish, self._speed, now)


def _within(values: Vector, lowest: Vector, highest: Vector) -> Vector:
    """As np.clip, which takes three times as long for so few values."""
    within: Vector = np.minimum(np.maximum(values, lowest), highest)
    return within
