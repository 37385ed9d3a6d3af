"""Check whether each joint answers its own commands: sign, order of the joints, and scale.

Commanded and measured motion of each joint are compared over up to `WINDOW_S` since the arm was
last held. The arm may be late by up to `LAG_S`. In position mode it may also be slow like a
first-order lag with a time constant of up to the largest of `SLOW_S` (the speed slider of a
pendant). A joint contradicts its commands if no such delay with a scale within `OBEYS` explains its
motion up to `UNEXPLAINED`, and one of these is true:

- another scale explains it: a flipped sign, a factor of about 2 or more, of a half or less;
- the commands of another joint explain it, and that joint itself answers another joint's commands:
  joints that are swapped;
- nothing explains it, and the joint was never confirmed.

Other motion that nothing explains is no contradiction: a person pushes the arm, or it bends under a
load. In position and velocity mode paths are compared [rad]. In torque mode the sent torques are
compared with those that the measured change of velocity requires by the arm's mass matrix, both as
shares of the joints' largest torques.

A joint is confirmed once a scale within `CONFIRMS` explains a motion of at least `LEAST_MOTION`. In
position and velocity mode, moreover, no wrong scale and no commands of another joint that is not
confirmed may explain the motion as well. So that these commands differ, joints that are not
confirmed move in turns (`speeds`). A joint that is not confirmed and moves into its position margin
is a contradiction at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.dynamics import Dynamics

Indices = npt.NDArray[np.intp]
SAMPLE_S = 0.025  # least time between two entries of the memory
WINDOW_S = 1.0
LAG_S = 0.3
LAG_STEP_S = 0.0125  # step between the delays that are tried
SLOW_S = (0.0, 0.1, 0.25, 0.6)  # time constants of the first-order lags that are tried
# root mean square of a motion that may stay unexplained, by command mode
UNEXPLAINED = {"position": 0.002, "velocity": 0.006, "torque": 0.006}
# root mean square of a motion that can confirm a joint
LEAST_MOTION = {"position": 0.004, "velocity": 0.004, "torque": 0.01}
# share of the squares that an explanation may leave unexplained
EXPLAINS = 0.04
# the same for a joint that is not confirmed
FIRST_EXPLAINS = {"position": 0.06, "velocity": 0.06, "torque": 0.15}
# bounds of the ratio of measured to commanded motion
OBEYS = (0.7, 1.45)
CONFIRMS = (0.75, 1.3)
FLIPPED = (-1.4, -0.6)
HALVED = (0.35, 0.62)
DOUBLED = (1.7, 5.0)
SWAPPED = (0.75, 1.35)
# root mean square of an unexplained motion that contradicts, for a joint that is not confirmed
STRANGE = {"position": 0.03, "velocity": 0.03, "torque": 0.15}
MOSTLY = 0.5  # least share of the motion that is unexplained then
SLOW_RAD_S = 0.15  # largest commanded speed of a joint that is not confirmed
AHEAD_S = 0.1  # time for which the motion of such a joint is predicted
# such joints move in turns, so that their commands differ
TURN_S = 0.3
TURNS = 5
# turns in which the first joint of each five moves
PATTERNS = (np.array([0, 1, 2]), np.array([0, 1, 3]))
IN_A_ROW = 2  # comparisons in a row that find a contradiction
LEAST_ENTRIES = 3  # fewer entries are not compared
# two states that are farther apart than this many samples do not give their acceleration
LATEST_SAMPLE = 1.5
LONGEST_COMMAND_S = 0.5  # a command acts no longer
ROUNDING = 1e-12


class Mismatch(NamedTuple):
    """A contradiction between the commands and the motion of a joint.

    Attributes:
        joint: Index of the joint.
        kind: "flipped", "scaled", "swapped" or "strange" (nothing explains the motion).
        scale: Ratio of measured to commanded motion; 0 for "strange".
        source: Index of the joint whose commands it answers; its own index unless "swapped".
    """

    joint: int
    kind: str
    scale: float
    source: int

    def text(self, joints: Sequence[str]) -> str:
        """Describe the contradiction and a likely cause for the user.

        Args:
            joints: Names of all joints, in command order.
        """
        joint = joints[self.joint]
        if self.kind == "flipped":
            return (
                f"{joint} moves against its commands, {self.scale:.2f} times as far: is its sign"
                " reversed?"
            )
        if self.kind == "scaled":
            return (
                f"{joint} moves {self.scale:.2f} times as far as it was told: another unit, or a"
                " gear ratio?"
            )
        if self.kind == "swapped":
            return (
                f"{joint} moves as {joints[self.source]} was told: are the joints in the"
                " controller's order?"
            )
        return (
            f"{joint} moves otherwise than it was told from the start: another controller, or"
            " somebody who pushes it?"
        )


class ResponseCheck:
    """Compare commands with motion, joint by joint. Call `sent` once per control step.

    Letters of the shapes: N joints, W entries of the memory, H delays and lags that are tried.

    Args:
        robot: The arm.
        mode: Command mode.
        period_s: Control period [s].
        scene: MJCF with the arm, for torques; empty: the arm's own.

    Attributes:
        confirmed: Which joints were seen to move as commanded (N,).
        mismatch: The contradiction that was found; None while there is none.
    """

    def __init__(self, robot: RobotConfig, mode: str, period_s: float, scene: str = "") -> None:
        self._size = len(robot.joints)
        self._mode = mode
        self._every = max(round(SAMPLE_S / period_s), 1)
        sample_s = self._every * period_s
        self._sample_s = sample_s
        self._window = max(round(WINDOW_S / sample_s), LEAST_ENTRIES)
        self._lags = max(round(LAG_S / sample_s), 1) + 1
        steps = max(round(sample_s / LAG_STEP_S), 1)
        self._delay_shares = np.arange(steps) / steps  # of a sample
        slow = SLOW_S if mode == "position" else SLOW_S[:1]
        self._share = np.array(
            [1.0 if lag_s == 0.0 else 1.0 - np.exp(-sample_s / lag_s) for lag_s in slow]
        )[:, None]
        self._commanded = np.zeros((len(slow), self._window + self._lags, self._size))
        self._measured = np.zeros((self._window, self._size))
        self._dynamics = Dynamics(robot, scene, sample_s) if mode == "torque" else None
        if self._dynamics is not None:
            self._dynamics.load_kg = robot.payload_kg
        self._effort = np.maximum(robot.effort_limit, 1e-9)
        self._period = period_s
        self._turns = _turns(self._size)
        margin = 0.5 * robot.position_margin_rad
        self._lower = np.array(robot.position_lower) + margin
        self._upper = np.array(robot.position_upper) - margin
        self.confirmed = np.zeros(self._size, bool)
        self.forget()

    def forget(self) -> None:
        """Clear the memory because the arm was held or put elsewhere. No joint stays confirmed."""
        self.confirmed[:] = False
        self.clear()

    def clear(self) -> None:
        """Clear the memory of commands and motion, and `mismatch`, because states were lost.
        Confirmed joints stay confirmed.
        """
        self.mismatch: Mismatch | None = None
        self._steps = self._count = self._agreed = 0
        self._last_state: RobotState | None = None  # at the last step
        self._entry_state: RobotState | None = None  # at the last entry
        self._last_command: Vector | None = None  # of the last step
        self._path = np.zeros(self._size)
        self._was_inside = np.zeros(self._size, bool)  # before half of their position margin

    @property
    def speeds(self) -> Vector | None:
        """Return the largest joint speeds that may be asked for now (N,) [rad/s].

        They are infinite for confirmed joints and `SLOW_RAD_S` for the others. In position and
        velocity mode the others move in turns, and are 0 in between.

        Returns:
            None if every joint is confirmed, so that there is no limit.
        """
        if self.confirmed.all():
            return None
        if self._mode == "torque":
            return np.where(self.confirmed, np.inf, SLOW_RAD_S)
        turn = int(self._steps * self._period / TURN_S) % TURNS
        return np.where(self.confirmed, np.inf, SLOW_RAD_S * self._turns[turn])

    def sent(self, command: Vector, state: RobotState) -> None:
        """Take a command that was sent to the arm, and compare the motion so far; update
        `confirmed` and `mismatch`.

        The motion is compared once per `SAMPLE_S`. Whether a joint that is not confirmed moves into
        its position margin is checked at every call (not in torque mode).

        Args:
            command: Command in the unit of the mode (N,).
            state: State that the command was computed from.
        """
        elapsed_s = 0.0
        if self._last_state is not None:
            since_s = 1e-9 * (state.stamp_ns - self._last_state.stamp_ns)
            elapsed_s = min(max(since_s, 0.0), LONGEST_COMMAND_S)
        if self._last_command is not None:
            self._path = (
                self._last_command
                if self._mode == "position"
                else self._path + elapsed_s * self._last_command
            )
        elif self._mode == "position":
            self._path = state.position
        if self._mode != "torque":
            self._watch_margins(state)
        if self._steps % self._every == 0:
            self._sample(state)
        self._steps += 1
        self._last_state = state
        self._last_command = command

    def _watch_margins(self, state: RobotState) -> None:
        """Set `mismatch` at once for a joint not yet confirmed that moves into its position margin.

        The safety filter stops a joint that obeys before its margin. So here a joint may enter half
        of the margin.

        Args:
            state: The last state of the arm.
        """
        last = self._last_state
        if last is None or state.stamp_ns <= last.stamp_ns:
            return
        moved = state.position - last.position
        ahead = state.position + AHEAD_S * state.velocity
        is_outwards = (ahead > self._upper) & (moved > 0.0) | (ahead < self._lower) & (moved < 0.0)
        is_contradicted = self._was_inside & is_outwards & ~self.confirmed
        self._was_inside |= (state.position < self._upper) & (state.position > self._lower)
        if is_contradicted.any():
            joint = int(np.where(is_contradicted, np.abs(state.velocity), -1.0).argmax())
            self.mismatch = Mismatch(joint, "strange", 0.0, joint)

    def _sample(self, state: RobotState) -> None:
        """Add an entry of commanded and measured motion to the memory, and compare.

        With torques, two states that are too far apart in time give no entry.

        Args:
            state: The last state of the arm.
        """
        if self._dynamics is None:
            self._append(self._path, state.position)
        elif self._entry_state is not None:
            elapsed_s = 1e-9 * (state.stamp_ns - self._entry_state.stamp_ns)
            if elapsed_s == 0.0:
                return  # no newer state: the next entry covers both samples, and is too long
            if abs(elapsed_s - self._sample_s) < (LATEST_SAMPLE - 1.0) * self._sample_s:
                torque = self._dynamics.torque_for(
                    state.velocity, self._entry_state.position, self._entry_state.velocity
                )
                self._append(self._path / (elapsed_s * self._effort), torque / self._effort)
        if self._dynamics is not None:
            self._entry_state = state
            self._path = np.zeros(self._size)
            return
        if self._count >= LEAST_ENTRIES:
            self._compare()

    def _append(self, commanded: Vector, measured: Vector) -> None:
        """Append commanded and measured motion to the memory. In torque mode, then compare.

        Args:
            commanded: Commanded path (N,) [rad], or mean commanded torque as a share of the largest
                (N,).
            measured: Measured positions (N,) [rad], or required torque as a share of the largest
                (N,).
        """
        if self._count == 0:
            self._commanded[:] = 0.0 if self._dynamics else commanded
        last = self._commanded[:, -1].copy()
        self._commanded[:, :-1] = self._commanded[:, 1:]
        self._commanded[:, -1] = last + self._share * (commanded - last)
        self._measured[:-1] = self._measured[1:]
        self._measured[-1] = measured
        self._count += 1
        if self._dynamics is not None and self._count >= LEAST_ENTRIES:
            self._compare()

    def _candidates(self, width: int) -> Vector:
        """Return the commanded motion with every delay and lag that is tried, less its mean (H, N,
        W).

        Args:
            width: Number of entries W.
        """
        commanded = self._commanded[:, -(width + self._lags) :]
        earlier = commanded[:, :-1, None]
        later = commanded[:, 1:, None]
        share = self._delay_shares[:, None]
        fine = later + share * (earlier - later)  # (S, W + L - 1, F, N)
        windows = np.lib.stride_tricks.sliding_window_view(fine, width, axis=1)  # (S, L, F, N, W)
        commanded = windows.reshape(-1, self._size, width)
        return np.asarray(commanded - commanded.mean(2, keepdims=True))

    def _compare(self) -> None:
        """Compare the memory, and update `confirmed` and `mismatch`.

        A joint is a suspect if no scale of its commands within `OBEYS` explains its motion. The
        contradiction is the best explanation of a suspect's motion: by another scale, or by the
        commands of another suspect. If there is none, it may be that of an unexplained motion
        ("strange"). It becomes `mismatch` after `IN_A_ROW` comparisons in a row that find one.
        """
        width = min(self._count, self._window)
        commanded = self._candidates(width)
        measured = self._measured[-width:].T
        measured = measured - measured.mean(1, keepdims=True)
        squares = np.einsum("hnw,hnw->hn", commanded, commanded) + ROUNDING
        products = np.einsum("hnw,nw->hn", commanded, measured)
        total = np.einsum("nw,nw->n", measured, measured)
        # share of the squares that an explanation may leave, by joint
        allowed = np.where(self.confirmed, EXPLAINS, FIRST_EXPLAINS[self._mode])
        confirming, _ = _unexplained(products, squares, total, CONFIRMS)
        is_large = total >= width * LEAST_MOTION[self._mode] ** 2
        self._confirm(
            (confirming <= allowed * total) & is_large, commanded, measured, squares, total
        )
        obeying, _ = _unexplained(products, squares, total, OBEYS)
        found: Mismatch | None = None
        suspects = np.flatnonzero(obeying > width * UNEXPLAINED[self._mode] ** 2)
        if len(suspects):
            candidates = [
                *self._scale_mismatches(suspects, products, squares, total),
                *self._swap_mismatches(suspects, commanded, measured, squares, total),
            ]
            explanations = [
                (unexplained / obeying[mismatch.joint], mismatch)
                for unexplained, mismatch in candidates
                if unexplained <= allowed[mismatch.joint] * obeying[mismatch.joint]
            ]
            found = (
                min(explanations)[1]
                if explanations
                else self._unexplained_mismatch(obeying, total, width)
            )
        self._agreed = self._agreed + 1 if found is not None else 0
        if self._agreed >= IN_A_ROW:
            self.mismatch = found

    def _confirm(
        self,
        is_explained: npt.NDArray[np.bool_],
        commanded: Vector,
        measured: Vector,
        squares: Vector,
        total: Vector,
    ) -> None:
        """Set `confirmed` for joints whose own commands explain their motion.

        In position and velocity mode no wrong wiring may explain it as well
        (`_explained_by_wiring`).

        Args:
            is_explained: Which joints their own commands explain (N,).
            commanded: Commanded motion with every delay (H, N, W).
            measured: Measured motion (N, W).
            squares: Sums of squares of `commanded` (H, N).
            total: Sums of squares of `measured` (N,).
        """
        others = np.flatnonzero(~self.confirmed)
        for joint in np.flatnonzero(is_explained & ~self.confirmed).tolist():
            if self._mode == "torque" or not self._explained_by_wiring(
                joint, others[others != joint], commanded, measured, squares, total
            ):
                self.confirmed[joint] = True

    def _explained_by_wiring(
        self,
        joint: int,
        others: Indices,
        commanded: Vector,
        measured: Vector,
        squares: Vector,
        total: Vector,
    ) -> bool:
        """Return whether a wrong scale, or another joint's commands, explain a joint's motion as
        well as its own.

        Joints that are commanded alike answer each other's commands as well as their own.

        Args:
            joint: Index of the joint.
            others: Indices of the other joints that are not confirmed.
            commanded: Commanded motion with every delay (H, N, W).
            measured: Measured motion (N, W).
            squares: Sums of squares of `commanded` (H, N).
            total: Sums of squares of `measured` (N,).
        """
        most = FIRST_EXPLAINS[self._mode] * total[joint]
        products = np.einsum("hnw,w->hn", commanded[:, [joint]], measured[joint])
        for bounds in (FLIPPED, HALVED, DOUBLED):
            if _unexplained(products, squares[:, [joint]], total[joint], bounds)[0].min() <= most:
                return True
        if not len(others):
            return False
        products = np.einsum("hnw,w->hn", commanded[:, others], measured[joint])
        for bounds in (SWAPPED, (-SWAPPED[1], -SWAPPED[0])):
            if _unexplained(products, squares[:, others], total[joint], bounds)[0].min() <= most:
                return True
        return False

    def _unexplained_mismatch(self, obeying: Vector, total: Vector, width: int) -> Mismatch | None:
        """Return the mismatch ("strange") of a joint that was never confirmed and whose motion
        nothing explains.

        Args:
            obeying: Squares that the joints' own commands leave unexplained (N,).
            total: Sums of squares of the measured motion (N,).
            width: Number of entries.

        Returns:
            The mismatch of the joint with the largest unexplained motion; None if that is not
            large.
        """
        most = np.where(self.confirmed, 0.0, obeying)
        joint = int(most.argmax())
        is_strange = most[joint] > max(width * STRANGE[self._mode] ** 2, MOSTLY * total[joint])
        return Mismatch(joint, "strange", 0.0, joint) if is_strange else None

    def _scale_mismatches(
        self, suspects: Indices, products: Vector, squares: Vector, total: Vector
    ) -> Iterator[tuple[float, Mismatch]]:
        """Yield, for each suspect, explanations of its motion by a wrong scale of its own commands.

        The scales are negative ("flipped"), of a half or less, or of about two or more ("scaled").

        Args:
            suspects: Indices of joints whose motion their commands do not explain.
            products: Sums of products of commanded and measured motion (H, N).
            squares: Sums of squares of the commanded motion (H, N).
            total: Sums of squares of the measured motion (N,).

        Yields:
            The squares that are left unexplained, and the mismatch.
        """
        for kind, bounds in (("flipped", FLIPPED), ("scaled", HALVED), ("scaled", DOUBLED)):
            unexplained, scale = _unexplained(
                products[:, suspects], squares[:, suspects], total[suspects], bounds
            )
            for row, joint in enumerate(suspects.tolist()):
                if bounds[0] < scale[row] < bounds[1]:
                    yield float(unexplained[row]), Mismatch(joint, kind, float(scale[row]), joint)

    def _swap_mismatches(
        self, suspects: Indices, commanded: Vector, measured: Vector, squares: Vector, total: Vector
    ) -> Iterator[tuple[float, Mismatch]]:
        """Yield, for each suspect, the best explanation of its motion by the commands of another
        suspect.

        The sign may be reversed.

        Args:
            suspects: Indices of joints whose motion their commands do not explain.
            commanded: Commanded motion with every delay (H, N, W).
            measured: Measured motion (N, W).
            squares: Sums of squares of `commanded` (H, N).
            total: Sums of squares of `measured` (N,).

        Yields:
            The squares that are left unexplained, of this joint or of the other one if those are
            more; and the mismatch.
        """
        if len(suspects) < 2:
            return
        unexplained = np.empty((len(suspects), len(suspects)))  # joint, source
        scale = np.empty_like(unexplained)
        for row, joint in enumerate(suspects.tolist()):
            products = np.einsum("hnw,w->hn", commanded[:, suspects], measured[joint])
            unexplained[row], scale[row] = _unexplained(
                products, squares[:, suspects], total[joint], SWAPPED
            )
            unexplained_flipped, scale_flipped = _unexplained(
                products, squares[:, suspects], total[joint], (-SWAPPED[1], -SWAPPED[0])
            )
            scale[row] = np.where(unexplained_flipped < unexplained[row], scale_flipped, scale[row])
            unexplained[row] = np.minimum(unexplained[row], unexplained_flipped)
            unexplained[row, row] = np.inf
        source = unexplained.argmin(1)
        least = unexplained.min(1)
        for row, joint in enumerate(suspects.tolist()):
            other = source[row]
            if SWAPPED[0] < abs(scale[row, other]) < SWAPPED[1]:
                yield (
                    float(max(least[row], least[other])),
                    Mismatch(joint, "swapped", float(scale[row, other]), int(suspects[other])),
                )


def _turns(size: int) -> npt.NDArray[np.bool_]:
    """Return which joint may move in which of the `TURNS` turns (T, N).

    Each joint moves in three of five turns. Up to ten joints, no two move in the same three.

    Args:
        size: Number of joints N.
    """
    moves = np.zeros((TURNS, size), bool)
    for joint in range(size):
        pattern = PATTERNS[joint // TURNS % len(PATTERNS)]
        moves[(joint + pattern) % TURNS, joint] = True
    return moves


def _unexplained(
    products: Vector, squares: Vector, total: Vector, bounds: tuple[float, float]
) -> tuple[Vector, Vector]:
    """Find the delay and the scale within bounds that explain a motion best, for each joint.

    Args:
        products: Sums of products of commanded and measured motion (H, N).
        squares: Sums of squares of the commanded motion (H, N).
        total: Sums of squares of the measured motion (N,).
        bounds: Smallest and largest scale.

    Returns:
        Squares that are left unexplained (N,), and the scale (N,).
    """
    scale = np.minimum(np.maximum(products / squares, bounds[0]), bounds[1])
    unexplained = total - 2.0 * scale * products + scale * scale * squares
    best = unexplained.argmin(0)
    columns = np.arange(unexplained.shape[1])
    return np.maximum(unexplained[best, columns], 0.0), scale[best, columns]
