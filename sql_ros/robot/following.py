"""Whether the arm moves as it is told: a protective stop, closed brakes or a wrong controller do not.

A joint contradicts its commands, if

- position, velocity: it was told to move by `TOLD_RAD` at least `LAG_S` ago and has moved less than a
  tenth of that since ("stands still");
- position, velocity: within `WINDOW_S` it moved by `STRAY_RAD` more than its commands of this time and
  of `LAG_S` before can explain ("moves on its own");
- torque: the whole arm stands within `STILL_RAD` while a joint has more than `FRICTION` of its largest
  torque for `PRESSED_S` in all. Whether a moving arm obeys torques is not judged, nor smaller torques,
  which friction may hold. An arm that presses against something and slides nowhere looks the same.

An arm that freezes is noticed after 0.3 s + 0.05 rad / speed in velocity mode (0.5 s at 0.25 rad/s), within
0.6 s in position mode, and with torques beyond friction within 2 s. One that has not moved at all yet gets
`FIRST_LAG_S` in the place of 0.3 s: brakes open and programs start.

While it holds, the arm is braked as in every hold. Once it has rested for `REST_S` it is tried again, ramped
from rest; every further attempt in vain doubles that time up to `MOST_REST_S`. Until the arm obeys, at the
first start and in each attempt, a velocity command is one period of acceleration from the measured velocity
at most, so that an arm that is released meanwhile does not jump. An arm obeys when every joint that was
told to move has moved in that direction.

Commands of holds for other reasons count as any other, up to `LAG_S` in a row; then the memory begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.watchdog import NO_REASONS

LAG_S = 0.3  # the longest from a command to its motion: control period, network, servo
FIRST_LAG_S = 1.5  # the same, of an arm that has not moved yet
TOLD_RAD = {"velocity": 0.05, "position": 0.02}  # the filter lets a position lead by 0.02 or more
SHARE = 0.1  # of what it was told: a joint that moves less stands still
WINDOW_S, STRAY_RAD = 0.6, 0.3
STILL_RAD, FRICTION, PRESSED_S = 0.002, 0.1, 0.8
REST_S, MOST_REST_S = 1.0, 8.0
RESTS_RAD_S = 0.05  # slower is at rest
SETTLED_S = 0.3  # of rest, after which a servo that lags has come to its last command
SAMPLE_S = 0.02  # between two entries of the memory


class Following:
    """Compares commands with motion; called once per control step.

    Args:
        robot: The arm.
        mode: Of its commands.
        period_s: Of control [s].

    Attributes:
        attempts: In vain, in a row.
        obeys: The arm has been seen to move as it is told since the last contradiction.
    """

    def __init__(self, robot: RobotConfig, mode: str, period_s: float) -> None:
        self._joints, self._mode, self._period = robot.joints, mode, period_s
        self._effort = np.maximum(robot.effort_limit, 1e-9)
        self._told = TOLD_RAD.get(mode, np.inf)
        self._every = max(round(SAMPLE_S / period_s), 1)  # steps between two entries of the memory
        sample_s = self._every * period_s
        times = (LAG_S, FIRST_LAG_S, WINDOW_S)
        self._lag, self._first_lag, self._window = (max(round(each / sample_s), 1) for each in times)
        self._has_moved = self.obeys = False
        self.attempts = 0
        self._reasons: Mapping[str, str] = NO_REASONS
        self._rested_s = self._held_s = 0.0
        self._holds = False
        self.forget()

    def forget(self) -> None:
        """Begin anew: the arm was held, or put elsewhere. A contradiction in force stays."""
        self._path: Vector | None = None  # where the commands lead (N,) [rad]
        self._told_at: deque[Vector] = deque(maxlen=self._first_lag + 1)
        self._was_at: deque[Vector] = deque(maxlen=self._window + 1)
        self._steps = 0
        self._pressed_s = 0.0

    @property
    def reasons(self) -> Mapping[str, str]:
        """Return the reason to hold, by kind; empty while the arm moves as it is told."""
        return self._reasons

    @property
    def is_trying(self) -> bool:
        """Return whether velocities are to start from what is measured: the arm has to move first."""
        return self._mode == "velocity" and not self.obeys and not self._reasons

    def hold(self) -> None:
        """Take that the next command is a hold for another reason."""
        self._holds = True

    def sent(self, command: Vector, position: Vector) -> None:
        """Take a command that left for the arm, and where the arm was, both (N,)."""
        self._held_s = self._held_s + self._period if self._holds else 0.0
        self._holds = False
        if self._held_s > LAG_S:
            self.forget()
        if self._reasons or self._held_s > LAG_S:
            return
        if self._path is None:
            self._begin(position)
        if self._mode == "torque":
            self._judge_torque(command, position)
            return
        self._advance(command)
        if self._steps % self._every == 0:
            self._judge(position)
        self._steps += 1

    def rest(self, position: Vector, velocity: Vector) -> bool:
        """Take a step of a hold for this reason: after some rest the arm is tried again.

        Returns:
            Whether the next command is to start from what is measured: for a position, also once the arm has
            settled, since joints that stand still are behind the position that was told last.
        """
        before = self._rested_s
        rests = bool(np.abs(velocity).max() < RESTS_RAD_S)
        self._rested_s = before + self._period if rests else 0.0
        if self._rested_s >= min(REST_S * 2.0 ** (self.attempts - 1), MOST_REST_S):
            self._reasons = NO_REASONS
            self.forget()
            return True
        return self._mode == "position" and before < SETTLED_S <= self._rested_s

    # --- position and velocity ---

    def _begin(self, position: Vector) -> None:
        self._path = np.array(position)
        self._anchor = np.array(position)  # where each joint last was that moved
        self._lowest, self._highest = self._path.copy(), self._path.copy()  # of the path since then
        self._anchored = np.zeros(len(position), np.intp)  # entry of the memory at that time
        self._count = 0  # entries so far
        self._origin, self._obeyed = self._path, np.zeros(len(position), bool)  # since when, by joint
        self._least, self._most = self._path, self._path  # of the whole path since then

    def _advance(self, command: Vector) -> None:
        assert self._path is not None
        if self._mode == "position":
            self._path = command
        else:
            self._path = self._path + self._period * command

    def _judge(self, position: Vector) -> None:
        assert self._path is not None
        self._told_at.append(self._path)
        self._was_at.append(position)
        self._count += 1
        self._anchor_again(position)
        if not self.obeys:
            self._look_whether_it_obeys(position)
        lag = self._lag if self._has_moved else self._first_lag
        late = self._told_at[max(len(self._told_at) - 1 - lag, 0)]
        due = self._count - 1 - lag >= self._anchored  # told since the joint last moved
        self._lowest = np.where(due, np.minimum(self._lowest, late), self._lowest)
        self._highest = np.where(due, np.maximum(self._highest, late), self._highest)
        told = self._highest - self._lowest
        if told.max() >= self._told:
            self._contradict(int(told.argmax()), "stands still", float(told.max()))
        elif len(self._told_at) > self._lag + self._window:
            self._judge_stray(position)

    def _anchor_again(self, position: Vector) -> None:
        """Begin anew for the joints that have moved."""
        assert self._path is not None
        moved = np.abs(position - self._anchor) > SHARE * self._told
        if moved.any():
            self._anchor = np.where(moved, position, self._anchor)
            self._anchored = np.where(moved, self._count - 1, self._anchored)
            self._lowest = np.where(moved, self._path, self._lowest)
            self._highest = np.where(moved, self._path, self._highest)

    def _look_whether_it_obeys(self, position: Vector) -> None:
        """Compare the directions of all motion and all commands; a nudge of one joint is no obedience."""
        assert self._path is not None
        self._least = np.minimum(self._least, self._path)
        self._most = np.maximum(self._most, self._path)
        seen, moved = SHARE * self._told, position - self._origin
        up, down = self._most - self._origin, self._origin - self._least
        self._obeyed |= (moved > seen) & (up > seen) | (moved < -seen) & (down > seen)
        told = np.maximum(up, down) > 2.0 * seen
        self._has_moved |= bool(self._obeyed.any())
        if self._obeyed.any() and (self._obeyed | ~told).all():
            self.attempts, self.obeys = 0, True

    def _judge_stray(self, position: Vector) -> None:
        told = np.array(self._told_at)[-self._lag - self._window - 1 :]
        before, after = told[: self._lag + 1], told[-self._lag - 1 :]
        most = after.max(0) - before.min(0) + STRAY_RAD
        least = after.min(0) - before.max(0) - STRAY_RAD
        moved = position - self._was_at[0]
        stray = np.maximum(moved - most, least - moved)
        if stray.max() > 0.0:
            joint = int(stray.argmax())
            self._contradict(joint, "moves on its own", float(stray.max()) + STRAY_RAD)

    # --- torque ---

    def _judge_torque(self, command: Vector, position: Vector) -> None:
        if np.abs(position - self._anchor).max() > STILL_RAD:
            self._anchor, self._pressed_s, self.attempts = np.array(position), 0.0, 0
            self.obeys = True
            return
        share = np.abs(command) / self._effort
        if share.max() > FRICTION:
            self._pressed_s += self._period
        if self._pressed_s >= PRESSED_S:
            self._contradict(int(share.argmax()), "stands still with the whole arm", 0.0)

    def _contradict(self, joint: int, what: str, radians: float) -> None:
        self.attempts += 1
        self.obeys = False
        self._has_moved = True  # or should have: it gets no such time again
        self._rested_s = 0.0
        against = f"against commands by {radians:.2f} rad" if radians else "against its torque"
        self._reasons = {
            "not_following": f"{self._joints[joint]} {what} {against}: a protective stop, brakes, "
            f"another controller? Tried again once it rests (attempts in vain: {self.attempts})"
        }
        self.forget()
