"""Find the admissible joint velocities nearest to those that are asked for."""

from __future__ import annotations

from ctypes import c_int
from typing import NamedTuple

import daqp
import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.clearance import KINDS, Clearance
from sql_ros.robot.safety.command_models import CommandModel, within
from sql_ros.robot.safety.period_start import PeriodStart
from sql_ros.robot.safety.speed_limits import POINT_SPEED_SLACK, SpeedLimits

ROUNDING_RAD = 1e-9
ROUNDING_M = 1e-9
# if a joint turns farther in one period, the speeds of tool and links are checked at its end, too
TURNED_RAD = 0.02
# distance that the quadratic programme keeps beyond the clearance, because its linear model ignores
# curvature
SLIDE_M = 1e-3
# a pose lies on the line of a motion if no distance differs by more than this from that on the line
ASIDE_M = 2e-3
POINT_SPEED_ROUNDS = 4  # most solutions of the programme until the point speeds are within limits
SOLVED = 1  # exit flag of daqp


class _Clipped(NamedTuple):
    """Joint velocities that are clipped to the limits of speed, acceleration and position.

    Attributes:
        velocity: Clipped joint velocities (N,) [rad/s].
        kinds: Kinds of the limits that changed them.
        ends_inside: Whether the arm stops before all position margins.
        stop_s: Time to brake from them to rest [s].
    """

    velocity: Vector
    kinds: set[str]
    ends_inside: bool
    stop_s: float


class NearestVelocity:
    """Find the nearest joint velocities after which the arm can stop without breaking a limit.

    Args:
        config: The arm and its limits.
        commands: Model of the commands of the mode.
        limits: Speed limits in force.
        clearance: Distances of the arm to itself and to its surroundings.

    Attributes:
        links: Speeds of tool and links.
    """

    def __init__(
        self,
        config: RobotConfig,
        commands: CommandModel,
        limits: SpeedLimits,
        clearance: Clearance,
    ) -> None:
        self._commands = commands
        self._limits = limits
        self._clearance = clearance
        self.links = clearance.link_speeds()
        self._lower = np.array(config.position_lower) + config.position_margin_rad
        self._upper = np.array(config.position_upper) - config.position_margin_rad
        self._sliding = np.full(clearance.count, clearance.margin + SLIDE_M)
        self._sense = np.zeros(0, c_int)
        self._identity = np.eye(len(limits.joints))

    def nearest(self, wish: Vector, start: PeriodStart) -> tuple[Vector, frozenset[str]]:
        """Return the admissible velocities nearest to those asked for.

        They are first clipped to the limits of the joints. If tool and links then are slow enough,
        and nothing comes near, that is the result. Otherwise they are changed so that the arm
        slides along what is near (`_slide`), and mixed with braking if they still break a limit.
        Distances that are measured here become the last measurement of the clearance.

        Args:
            wish: Joint velocities that are asked for (N,) [rad/s].
            start: The start of the period.

        Returns:
            Joint velocities (N,) [rad/s], and the kinds of the limits that changed them, with
            "braking" if only braking was left; empty if they are those asked for.
        """
        position = start.position
        commands = self._commands
        smallest, largest = commands.velocity_bounds(start)
        velocity, kinds, ends_inside, stop_s = self._clip(wish, start, smallest, largest)
        # one period more than the line takes: in torque mode the line starts further back
        duration = 2.0 * commands.longest_s + commands.reaction_s + 0.5 * stop_s
        swept = self._swept(velocity, start, duration)
        is_allowed = ends_inside and not self.is_too_fast(velocity, position)
        if is_allowed and start.alternatives:
            is_allowed = not self._is_too_fast_elsewhere(velocity, start)
        # the distances measured last are enough: none is measured anew
        if is_allowed and self._clearance.stays_far(position, swept, duration):
            return velocity, frozenset(kinds)
        distance = self._clearance.measure_near(position, swept, duration)
        if (
            is_allowed
            and start.alternatives
            and self._clearance.stays_far(position, swept, duration)
        ):
            return velocity, frozenset(kinds)
        # if true, the programme would not change the velocity; not decided for torques, whose line
        # starts elsewhere
        is_clear = (
            is_allowed
            and not commands.changes_evenly
            and not self._clearance.conflict(
                position, velocity, duration - commands.longest_s, self._sliding, distance
            )
        )
        if is_clear and not self._broken_limit_elsewhere(velocity, start):
            return velocity, frozenset(kinds)
        if is_clear and start.alternatives:  # the programme needs the measurements at this pose
            distance = self._clearance.measure_near(position, swept, duration)
        required = np.minimum(self._clearance.margin, distance - ROUNDING_M)
        velocity, more = self._slide(velocity, position, distance, smallest, largest)
        velocity, mixed = self._mix_with_braking(velocity, start, required, distance)
        return velocity, frozenset(kinds | more | mixed)

    def broken_limit(
        self,
        velocity: Vector,
        position: Vector,
        required: Vector,
        distance: Vector | None = None,
        pose: Vector | None = None,
    ) -> str:
        """Return the kind of the limit that a straight motion with braking at its end would break.

        Args:
            velocity: Joint velocities of the motion (N,) [rad/s].
            position: Joint positions at which the line of the motion starts (N,) [rad].
            required: Distance to keep for each constraint (C,) [m].
            distance: Distances at the start of the line (C,) [m], if they were measured for this
                motion; None: they are measured.
            pose: Joint positions of the arm now (N,) [rad]; None: the start of the line.

        Returns:
            "position", "link_speed" or one of `clearance.KINDS`; empty if the motion breaks no
            limit.
        """
        duration = self._commands.reach_s(velocity)
        if not self._ends_inside(velocity, position + duration * velocity):
            return "position"
        if self.is_too_fast(velocity, position if pose is None else pose):
            return "link_speed"
        return self._clearance.conflict(position, velocity, duration, required, distance)

    # --- limits of the joints ---

    def _clip(
        self, wish: Vector, start: PeriodStart, smallest: Vector, largest: Vector
    ) -> _Clipped:
        """Clip joint velocities to the limits of speed, acceleration and position.

        Args:
            wish: Joint velocities that are asked for (N,) [rad/s].
            start: The start of the period.
            smallest: Smallest velocities by the acceleration limit (N,) [rad/s].
            largest: Largest velocities by the acceleration limit (N,) [rad/s].
        """
        commands = self._commands
        legal = within(wish, self._limits.lowest, self._limits.highest)
        velocity = reachable = within(legal, smallest, largest)
        origin, moving_s = commands.braking_line(start)
        lowest = origin if start.lowest is None else start.lowest
        highest = origin if start.highest is None else start.highest
        stop_s = commands.stop_time(reachable)
        path = (moving_s + 0.5 * stop_s) * reachable
        ends_inside = all((highest + path <= self._upper).tolist()) and all(
            (lowest + path >= self._lower).tolist()
        )
        if not ends_inside:
            velocity = self._clip_to_room(reachable, lowest, highest, moving_s, smallest, largest)
            stop_s = commands.stop_time(velocity)
            path = (moving_s + 0.5 * stop_s) * velocity
            ends_inside = self._ends_inside(
                velocity, np.where(velocity > 0.0, highest, lowest) + path
            )
        kinds = {
            kind
            for kind, before, after in (
                ("velocity", wish, legal),
                ("acceleration", legal, reachable),
                ("position", reachable, velocity),
            )
            if before is not after and before.tolist() != after.tolist()
        }
        return _Clipped(velocity, kinds, ends_inside, stop_s)

    def _clip_to_room(
        self,
        velocity: Vector,
        lowest: Vector,
        highest: Vector,
        moving_s: float,
        smallest: Vector,
        largest: Vector,
    ) -> Vector:
        """Return velocities so slow that the arm stops before every position margin (N,) [rad/s].

        With the room r left, v T + v^2 / (2 a) <= r and v (T + t / 2) <= r, where a is the
        acceleration limit, T the time before braking and t the time of braking. The acceleration
        limit takes precedence over both.

        Args:
            velocity: Velocities to clip (N,) [rad/s].
            lowest: Smallest positions at which the line may begin (N,) [rad].
            highest: Largest positions at which the line may begin (N,) [rad].
            moving_s: Time T before braking [s], see `CommandModel.braking_line`.
            smallest: Smallest velocities by the acceleration limit (N,) [rad/s].
            largest: Largest velocities by the acceleration limit (N,) [rad/s].
        """
        below = np.maximum(lowest - self._lower, 0.0)
        above = np.maximum(self._upper - highest, 0.0)
        velocity = within(
            velocity, -self._stoppable(below, moving_s), self._stoppable(above, moving_s)
        )
        velocity = within(velocity, smallest, largest)
        reach_s = moving_s + 0.5 * self._commands.stop_time(velocity)
        return within(within(velocity, -below / reach_s, above / reach_s), smallest, largest)

    def _stoppable(self, room: Vector, moving_s: float) -> Vector:
        """Return the largest speeds from which joints stop within a room (N,) [rad/s].

        Each is the positive root v of v T + v^2 / (2 a) = room.

        Args:
            room: Room before the position margins (N,) [rad].
            moving_s: Time T before braking [s].
        """
        a = self._commands.acceleration
        return np.asarray(a * (np.sqrt(moving_s**2 + 2 * room / a) - moving_s))

    def _ends_inside(self, velocity: Vector, end: Vector) -> bool:
        """Return whether no joint that moves towards a position margin ends beyond it.

        Args:
            velocity: Joint velocities, for their signs (N,) [rad/s].
            end: Joint positions at the end of the motion (N,) [rad].
        """
        outside = (end > self._upper + ROUNDING_RAD) & (velocity > 0) | (
            end < self._lower - ROUNDING_RAD
        ) & (velocity < 0)
        return not outside.any()

    # --- speed of tool and links ---

    def is_too_fast(self, velocity: Vector, position: Vector) -> bool:
        """Return whether a point of tool or links is faster than its limit, at the start or the end
        of a period.

        A point is too fast if it exceeds the limit by more than the share 2 `POINT_SPEED_SLACK`.
        The end is checked only if a joint turns by `TURNED_RAD` or more within the period.

        Args:
            velocity: Joint velocities (N,) [rad/s].
            position: Joint positions at the start (N,) [rad].
        """
        most = (self._limits.point_m_s * (1 + 2 * POINT_SPEED_SLACK)) ** 2
        # a NaN is too fast, too
        is_fast = not self.links.squared(position, velocity).max() <= most
        period = self._commands.longest_s
        if is_fast or period * max(map(abs, velocity.tolist())) < TURNED_RAD:
            return is_fast
        return not self.links.squared_later(position, velocity, period).max() <= most

    def _is_too_fast_elsewhere(self, velocity: Vector, start: PeriodStart) -> bool:
        """Return whether a point is too fast at an alternative start more than `TURNED_RAD` from
        the main one.

        Args:
            velocity: Joint velocities (N,) [rad/s].
            start: The start of the period.
        """
        far = [
            position
            for position in start.alternatives
            if np.abs(position - start.position).max() > TURNED_RAD
        ]
        return any(self.is_too_fast(velocity, position) for position in far)

    # --- alternative starts of the period ---

    def _swept(self, velocity: Vector, start: PeriodStart, duration: float) -> Vector:
        """Return joint velocities whose motion in a time covers the motions from all starts of the
        period (N,) [rad/s].

        Args:
            velocity: Joint velocities (N,) [rad/s].
            start: The start of the period.
            duration: The time [s].
        """
        if not start.alternatives or start.lowest is None or start.highest is None:
            return velocity
        return np.asarray(np.abs(velocity) + (start.highest - start.lowest) / duration)

    def _broken_limit_elsewhere(self, velocity: Vector, start: PeriodStart) -> str:
        """Return the kind of the limit that a motion from an alternative start would break.

        A servo that lags cuts corners. So the straight way from the measured pose to the pose where
        the lagging servo comes to rest is checked, too. Distances that are measured here become the
        last measurement of the clearance.

        Args:
            velocity: Joint velocities (N,) [rad/s].
            start: The start of the period.

        Returns:
            As `broken_limit`; empty also if there are no alternative starts.
        """
        if start.lowest is None or start.highest is None:
            return ""
        reach_s = self._commands.reach_s(velocity)
        if not self._ends_inside(
            velocity, np.where(velocity > 0.0, start.highest, start.lowest) + reach_s * velocity
        ):
            return "position"
        if self._is_too_fast_elsewhere(velocity, start):
            return "link_speed"
        aside = [
            position
            for position in start.alternatives
            if self._is_aside(position - start.position, velocity)
        ]
        if not aside:
            return ""
        measured, lagging = start.alternatives
        chord = (lagging - measured) / reach_s + velocity
        motions = [*((position, velocity) for position in aside), (measured, chord)]
        for position, motion in motions:
            distance = self._clearance.measure_near(position, motion, reach_s)
            required = np.minimum(self._clearance.margin, distance - ROUNDING_M)
            conflict = self._clearance.conflict(position, motion, reach_s, required, distance)
            if conflict:
                return conflict
        return ""

    def _is_aside(self, offset: Vector, velocity: Vector) -> bool:
        """Return whether a pose lies beside the line of a motion instead of on it, also behind its
        start.

        It does if any distance may differ from that on the line by more than `ASIDE_M`.

        Args:
            offset: Pose relative to the start of the motion (N,) [rad].
            velocity: Joint velocities of the motion (N,) [rad/s].
        """
        squared = float(velocity @ velocity)
        behind_s = max(-float(offset @ velocity) / squared, 0.0) if squared else 0.0
        return bool(
            self._clearance.closing(offset + behind_s * velocity).max(initial=0.0) > ASIDE_M
        )

    # --- distances ---

    def _slide(
        self,
        velocity: Vector,
        position: Vector,
        distance: Vector,
        smallest: Vector,
        largest: Vector,
    ) -> tuple[Vector, set[str]]:
        """Return the nearest velocities with which the arm, to first order, stops before everything
        near.

        They solve a quadratic programme. Its constraints are linear: how fast distances may shrink,
        and how fast points of tool and links may be. The result is not checked exactly here.

        Args:
            velocity: Joint velocities within the limits of the joints (N,) [rad/s].
            position: Joint positions at the start, those of the last measurement (N,) [rad].
            distance: Distances at this pose (C,) [m].
            smallest: Smallest velocities by the acceleration limit (N,) [rad/s].
            largest: Largest velocities by the acceleration limit (N,) [rad/s].

        Returns:
            Joint velocities (N,) [rad/s], and the kinds of the limits that changed them.
        """
        reach_s = self._commands.reach_s(velocity)
        margin = self._clearance.margin + SLIDE_M
        near = self._clearance.closing(velocity) * reach_s > distance - margin
        gradients, which = (
            self._clearance.gradients(near)
            if near.any()
            else (np.empty((0, len(velocity))), np.empty(0, np.intp))
        )
        rows = -gradients
        approach = rows @ velocity
        # An approaching motion is pushed slightly outward, because sliding along a straight line
        # reduces the clearance.
        least = np.where(approach > ROUNDING_M, -SLIDE_M, 0.0)
        bounds = np.maximum(distance[which] - margin, least) / reach_s
        broken = approach > bounds + ROUNDING_M
        kinds = {str(self._clearance.kinds[index]) for index in which[broken].tolist()}
        point_m_s = self._limits.point_m_s
        wish = velocity
        for attempt in range(POINT_SPEED_ROUNDS):
            squared = self.links.squared(position, velocity)
            fastest_point = int(squared.argmax())
            if squared[fastest_point] > (point_m_s * (1.0 + POINT_SPEED_SLACK)) ** 2:
                kinds.add("link_speed")
                # a plane that touches the ball of allowed velocities
                rows = np.vstack((rows, self.links.gradient(fastest_point, position, velocity)))
                bounds = np.append(bounds, point_m_s)
            elif attempt or not broken.any():
                break
            velocity = self._solve(wish, rows, bounds, smallest, largest)
        return velocity, kinds

    def _solve(
        self, velocity: Vector, rows: Vector, bounds: Vector, smallest: Vector, largest: Vector
    ) -> Vector:
        """Return the velocities v nearest to given ones with rows @ v <= bounds (N,) [rad/s].

        Differences are measured in shares of the joints' speed limits.

        Args:
            velocity: Given velocities, which are returned if there is no solution (N,) [rad/s].
            rows: Matrix of the constraints (R, N).
            bounds: Right sides of the constraints (R,).
            smallest: Smallest velocities by the acceleration limit (N,) [rad/s].
            largest: Largest velocities by the acceleration limit (N,) [rad/s].
        """
        scale = self._limits.joints
        count = len(velocity)
        if len(self._sense) != count + len(rows):
            self._sense = np.zeros(count + len(rows), c_int)
        self._sense[:] = 0
        highest = np.minimum(largest, np.maximum(self._limits.highest, smallest))
        lowest = np.maximum(smallest, np.minimum(self._limits.lowest, largest))
        solution, _, flag, _ = daqp.solve(
            self._identity,
            -velocity / scale,
            np.ascontiguousarray(rows * scale),
            np.concatenate((highest / scale, bounds)),
            np.concatenate((lowest / scale, np.full(len(rows), -1e30))),
            self._sense,
        )
        if flag != SOLVED:
            return velocity
        # daqp keeps bounds up to 1e-6
        return within(np.asarray(solution) * scale, lowest, highest)

    def _mix_with_braking(
        self, velocity: Vector, start: PeriodStart, required: Vector, distance: Vector
    ) -> tuple[Vector, set[str]]:
        """Return the first of these that breaks no limit: the velocities, their mean with braking,
        braking alone.

        Braking alone is not checked, since it was admitted one period before.

        Args:
            velocity: Joint velocities (N,) [rad/s].
            start: The start of the period.
            required: Distance to keep for each constraint (C,) [m].
            distance: Distances at the start (C,) [m].

        Returns:
            Joint velocities (N,) [rad/s], and the kinds of the limits that forbid the options
            before it, with "braking" if only braking is left.
        """
        brake = self._commands.braked_as_sent(start.velocity)
        kinds: set[str] = set()
        for share in (1.0, 0.5):
            mixed = velocity if share == 1.0 else brake + share * (velocity - brake)
            if self._commands.changes_evenly:
                broken = self._broken_limit_of_torque(mixed, start, required, distance)
            else:
                broken = self.broken_limit(mixed, start.position, required, distance)
                broken = broken or self._broken_limit_elsewhere(mixed, start)
            if not broken:
                return mixed, kinds
            kinds.add(broken)
        kinds.add("braking")
        return brake, kinds

    def _broken_limit_of_torque(
        self, velocity: Vector, start: PeriodStart, required: Vector, distance: Vector
    ) -> str:
        """Return the kind of the limit that a torque command and then braking would break; empty if
        none.

        The velocity is reached only at the end of the period. So the line on which the arm arrives
        starts further back.

        Args:
            velocity: Joint velocities at the end of the period (N,) [rad/s].
            start: The start of the period.
            required: Distance to keep for each constraint (C,) [m].
            distance: Distances at the start (C,) [m].
        """
        half = 0.5 * self._commands.longest_s
        origin = start.position + half * (start.velocity - velocity)
        broken = self.broken_limit(velocity, origin, required, pose=start.position)
        if broken in KINDS:
            return self._conflict_on_curve(velocity, start, required, distance)
        return broken

    def _conflict_on_curve(
        self, velocity: Vector, start: PeriodStart, required: Vector, distance: Vector
    ) -> str:
        """Return the kind of the constraint that a torque command and then braking break first;
        empty if none.

        The velocity changes evenly during the period. Two chords of that curve are checked, then
        the line of braking. The straight line of `_broken_limit_of_torque` begins behind the arm.
        If the arm moves away from something, this begin is nearer to it than the arm is, so the
        line alone would forbid the motion.

        Args:
            velocity: Joint velocities at the end of the period (N,) [rad/s].
            start: The start of the period.
            required: Distance to keep for each constraint (C,) [m].
            distance: Distances at the start (C,) [m].
        """
        period = self._commands.longest_s
        before = start.velocity
        begin = start.position
        middle = begin + period * (3.0 * before + velocity) / 8.0
        end = begin + 0.5 * period * (before + velocity)
        first: Vector | None = distance
        for chord_begin, chord_end in ((begin, middle), (middle, end)):
            conflict = self._clearance.conflict(
                chord_begin, 2.0 * (chord_end - chord_begin) / period, 0.5 * period, required, first
            )
            if conflict:
                return conflict
            first = None
        braking_s = self._commands.reaction_s + 0.5 * self._commands.stop_time(velocity)
        return self._clearance.conflict(end, velocity, braking_s, required)
