"""Check that positions and velocities that a driver reports belong to one motion of an arm.

For each joint these are compared over `WINDOW_S` of stamps:

=================  ==========================================================================
kind               what is compared
=================  ==========================================================================
`state_jumped`     the change of the position, with `JUMP_RAD` plus `FASTEST` times the
                   velocity limit times the time
`velocity_wrong`   the change of the position, with the integral of the reported velocities
=================  ==========================================================================

Reported velocities may be noisy, rare, and up to `LAG_S` late because of a filter. Let a be the
acceleration and g the gap between two states. The integral then has an error of at most a (`LAG_S`
+ g)^2. Where a motion ends abruptly, or a stamp is wrong by up to `LAG_S`, the error is larger by
the speed times `LAG_S`. States that are farther apart than `SPARSE_S` are not compared, because the
motion in between is not known.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import FASTEST, JUMP_RAD, RobotState

WINDOW_S = 0.1  # time of stamps over which states are compared
WINDOW_NS = round(WINDOW_S * 1e9)
SAMPLE_NS = 9_000_000  # least time between two samples of the window, to keep them few
LONGEST_GAP_NS = 100_000_000  # a longer gap restarts the window: the motion in it is unknown
SPARSE_S = 0.04  # a longer gap between states makes velocities incomparable
NOISE_RAD = 0.02  # noise and rounding of positions, and play between motor and joint encoder
LAG_S = 0.03  # largest lag of filtered velocities


class Sample(NamedTuple):
    """The arm at one instant.

    Attributes:
        stamp_ns: Stamp of the state [ns].
        position: Joint positions [rad].
        travelled: Integrals of the joint velocities since the window was started [rad].
        velocity: Joint velocities [rad/s].
        gap_s: Longest gap between two states since the sample before [s].
    """

    stamp_ns: int
    position: list[float]
    travelled: list[float]
    velocity: list[float]
    gap_s: float


class MotionCheck:
    """Compare every state with one that is `WINDOW_S` older.

    For each new state call `jump` first, then `take` if it returned an empty text. Stamps must
    increase.

    Args:
        fastest: Velocity limits (N,) [rad/s].
        acceleration: Acceleration limits (N,) [rad/s^2].
    """

    def __init__(self, fastest: npt.ArrayLike, acceleration: npt.ArrayLike) -> None:
        self._fastest = (FASTEST * np.asarray(fastest, np.float64)).tolist()
        self._acceleration = (FASTEST * np.asarray(acceleration, np.float64)).tolist()
        self.forget()

    def forget(self) -> None:
        """Start a new window, because the arm was put elsewhere or no states came for long."""
        self._samples: deque[Sample] = deque()
        self._last_ns = 0
        self._velocity: list[float] = []
        self._travelled: list[float] = []
        self._gap_s = 0.0  # longest gap since the last sample

    def jump(self, state: RobotState) -> str:
        """Describe why no arm can have moved to a new state within the window. The state is not
        stored.

        Args:
            state: State with a later stamp than the last one.

        Returns:
            Text for the user; empty if the motion is possible, or there is no state within
            `LONGEST_GAP_NS`.
        """
        if not self._samples or state.stamp_ns - self._last_ns > LONGEST_GAP_NS:
            return ""
        anchor = self._samples[0]
        elapsed_s = (state.stamp_ns - anchor.stamp_ns) * 1e-9
        for joint, (now, before, fastest) in enumerate(
            zip(state.position.tolist(), anchor.position, self._fastest)
        ):
            moved = abs(now - before)
            if moved > JUMP_RAD + elapsed_s * fastest:
                return (
                    f"joint {joint} (from 0) moved by {moved:.3f} rad in {elapsed_s:.3f} s, no"
                    " arm can"
                )
        return ""

    def take(self, state: RobotState) -> str:
        """Store a state, and compare velocities and positions over the window.

        Args:
            state: State with a later stamp than the last one.

        Returns:
            Text that says how the reported velocities contradict the positions; empty if they do
            not. Also empty where nothing is compared: for states less than `SAMPLE_NS` after the
            last sample, while the window is not full, if states are farther apart than `SPARSE_S`,
            and after a gap of more than `LONGEST_GAP_NS`, which starts a new window.
        """
        stamp_ns = state.stamp_ns
        if self._samples and stamp_ns - self._last_ns > LONGEST_GAP_NS:
            self.forget()
        velocity = state.velocity.tolist()
        if not self._samples:
            self._last_ns = stamp_ns
            self._velocity = velocity
            self._travelled = [0.0] * len(velocity)
            self._samples.append(
                Sample(stamp_ns, state.position.tolist(), self._travelled, velocity, 0.0)
            )
            return ""
        self._integrate(stamp_ns, velocity)
        if stamp_ns - self._samples[-1].stamp_ns < SAMPLE_NS:
            return ""
        newest = Sample(stamp_ns, state.position.tolist(), self._travelled, velocity, self._gap_s)
        self._gap_s = 0.0
        self._samples.append(newest)
        while stamp_ns - self._samples[1].stamp_ns >= WINDOW_NS:
            self._samples.popleft()
        return self._compare(newest)

    def _integrate(self, stamp_ns: int, velocity: list[float]) -> None:
        """Add the motion since the last state to the integrals of the velocities, by the
        trapezoidal rule.

        Args:
            stamp_ns: Stamp of the new state [ns].
            velocity: Joint velocities of the new state [rad/s].
        """
        elapsed_s = (stamp_ns - self._last_ns) * 1e-9
        half_s = 0.5 * elapsed_s
        before = self._velocity
        self._travelled = [
            integral + half_s * (was + now)
            for integral, was, now in zip(self._travelled, before, velocity)
        ]
        self._last_ns = stamp_ns
        self._velocity = velocity
        self._gap_s = max(self._gap_s, elapsed_s)

    def _compare(self, newest: Sample) -> str:
        """Describe how the velocities of a whole window contradict its positions.

        They do for a joint whose change of position differs from the integral of its velocities by
        more than `NOISE_RAD` and the two errors in the module's docstring. The first such joint is
        described.

        Args:
            newest: The last sample.

        Returns:
            Text for the user; empty if they do not, if the window is not full yet, or if its states
            are too far apart.
        """
        anchor = self._samples[0]
        elapsed_s = (newest.stamp_ns - anchor.stamp_ns) * 1e-9
        if elapsed_s < WINDOW_S:
            return ""
        gap_s = max(sample.gap_s for sample in self._samples)
        if gap_s > SPARSE_S:
            return ""
        late_s = LAG_S + gap_s
        joints = zip(
            newest.position,
            anchor.position,
            newest.travelled,
            anchor.travelled,
            newest.velocity,
            anchor.velocity,
            self._acceleration,
        )
        for joint, (
            now,
            before,
            integral,
            integral_before,
            speed,
            speed_before,
            acceleration,
        ) in enumerate(joints):
            moved = now - before
            reported = integral - integral_before
            tolerance = (
                NOISE_RAD
                + acceleration * late_s * late_s
                + LAG_S * max(abs(speed), abs(speed_before))
            )
            if abs(moved - reported) > tolerance:
                return (
                    f"joint {joint} (from 0) moved by {moved:.3f} rad in {elapsed_s:.3f} s, its"
                    f" reported velocities say {reported:.3f} rad: does the driver measure"
                    " velocities, and in rad/s? Otherwise velocity_from_position: true"
                )
        return ""
