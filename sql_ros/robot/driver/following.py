"""Check whether the arm moves as commanded. A protective stop, closed brakes or a wrong controller
prevent it.

A joint contradicts its commands if

- position, velocity: it was commanded to move by `COMMANDED_RAD` at least `LAG_S` ago, and has
  moved by less than a tenth of that since ("stands still");
- position, velocity: within `WINDOW_S` it moved by `STRAY_RAD` more than the commands of this time
  and of `LAG_S` before can explain ("moves on its own");
- torque: the whole arm stands within `STILL_RAD` while a joint has more than `FRICTION` of its
  largest torque for `PRESSED_S` in all. Whether a moving arm obeys torques is not checked, nor are
  smaller torques, which friction may hold. An arm that presses against something without sliding
  looks the same.

In velocity mode, an arm that freezes is noticed after 0.3 s + 0.05 rad / speed (0.5 s at 0.25
rad/s); in position mode within 0.6 s; with torques beyond friction within 2 s. An arm that has not
moved at all yet gets `FIRST_LAG_S` instead of 0.3 s, because brakes open and programs start.

While the contradiction holds the arm, the arm is braked as in every hold. After a rest of `REST_S`
the arm may be tried again, ramped from rest. A real arm needs a start for that (`permit.py`). Every
failed attempt doubles the time of rest, up to `MOST_REST_S`.

At the first start and in each attempt the arm first has to obey: every joint that was commanded to
move has moved in that direction. Until then a velocity command is at most one period of
acceleration from the measured velocity, and a position command starts within `LEAD_RAD` of the
measured position. So an arm that is released meanwhile does not jump.

`response.py` compares sign, order and scale of the motion; its contradictions are holds of the same
kind.

Commands of holds for other reasons count as any other, up to `LAG_S` in a row. Then the memory is
cleared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.state_watchdog import NO_REASONS

# longest time from a command to its motion: control period, network, servo
LAG_S = 0.3
FIRST_LAG_S = 1.5  # the same for an arm that has not moved yet
# commanded motion from which on a joint is judged, by command mode; the filter lets a position
# command lead by 0.02 rad or more
COMMANDED_RAD = {"velocity": 0.05, "position": 0.02}
# lead of a position command before an arm that has to obey first: more than a servo's error
LEAD_RAD = 0.004
SHARE = 0.1  # a joint that moves by a smaller share of its commands stands still
WINDOW_S = 0.6
STRAY_RAD = 0.3
STILL_RAD = 0.002
FRICTION = 0.1  # largest torque that friction may hold, as a share of the largest torque
PRESSED_S = 0.8
REST_S = 1.0
MOST_REST_S = 8.0
RESTS_RAD_S = 0.05  # a slower joint is at rest
SETTLED_S = 0.3  # time of rest after which a servo that lags has reached its last command
SAMPLE_S = 0.02  # time between two entries of the memory


class FollowingCheck:
    """Compare commands with motion, and say why the arm must be held. Call it once per control
    step.

    In a hold for this check's own reasons call `rest`. In every control step call `sent` with the
    command, after `hold` if the command is a hold for another reason.

    Args:
        robot: The arm.
        mode: Command mode.
        period_s: Control period [s].

    Attributes:
        attempts: Number of contradictions since the arm last obeyed.
        obeys: Whether the arm was seen to move as commanded since the last contradiction.
    """

    def __init__(self, robot: RobotConfig, mode: str, period_s: float) -> None:
        self._joints = robot.joints
        self._mode = mode
        self._period = period_s
        self._effort = np.maximum(robot.effort_limit, 1e-9)
        self._judged_from = COMMANDED_RAD.get(mode, np.inf)
        # control steps between two entries of the memory
        self._every = max(round(SAMPLE_S / period_s), 1)
        sample_s = self._every * period_s
        times = (LAG_S, FIRST_LAG_S, WINDOW_S)
        self._lag, self._first_lag, self._window = (
            max(round(time_s / sample_s), 1) for time_s in times
        )
        self._has_moved = self.obeys = False
        self.attempts = 0
        self._reasons: Mapping[str, str] = NO_REASONS
        self._rested_s = self._held_s = 0.0
        self._holds = False
        self._has_settled = False  # the whole arm stood at the time of the contradiction
        self.forget()

    def forget(self) -> None:
        """Clear the memory of commands and motion, because the arm was held or put elsewhere.

        A contradiction in force, `obeys` and `attempts` stay.
        """
        self._path: Vector | None = None  # positions to which the commands lead (N,) [rad]
        self._commanded_path: deque[Vector] = deque(maxlen=self._first_lag + 1)
        self._measured_path: deque[Vector] = deque(maxlen=self._window + 1)
        self._steps = 0
        self._pressed_s = 0.0

    @property
    def reasons(self) -> Mapping[str, str]:
        """Return the reason to hold, by kind (only "not_following"); empty while the arm
        moves as commanded.
        """
        return self._reasons

    @property
    def is_trying(self) -> bool:
        """Return whether the arm has to obey first, so that commands must start from measured
        states.

        False in torque mode, and while a contradiction holds the arm.
        """
        return self._mode != "torque" and not self.obeys and not self._reasons

    @property
    def _least_commanded(self) -> float:
        """Return the smallest commanded motion by which a joint is judged [rad]."""
        return LEAD_RAD if self._mode == "position" and not self.obeys else self._judged_from

    def hold(self) -> None:
        """Note that the next command, given to `sent`, is a hold for another reason."""
        self._holds = True

    def sent(self, command: Vector, position: Vector) -> None:
        """Take a command that was sent to the arm, and judge the motion so far.

        A contradiction sets `reasons` and is counted in `attempts`; motion as commanded sets
        `obeys`. Nothing is judged while a contradiction holds the arm. Nor is it while holds for
        other reasons last longer than `LAG_S`; these also clear the memory.

        Args:
            command: Command in the unit of the mode (N,).
            position: Measured joint positions (N,) [rad].
        """
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
            self._judge_motion(position)
        self._steps += 1

    def rest(self, position: Vector, velocity: Vector) -> bool:
        """Make a step of a hold because of a contradiction. After a rest of `REST_S`, doubled by
        every attempt up to `MOST_REST_S`, `reasons` become empty: the arm is tried again.

        Args:
            position: Measured joint positions (N,) [rad].
            velocity: Measured joint velocities (N,) [rad/s].

        Returns:
            Whether the next command must start from the measured state. It must when the hold ends.
            Position commands also must once the arm has come to rest, since joints that stand still
            are behind their last command.
        """
        before = self._rested_s
        is_resting = bool(np.abs(velocity).max() < RESTS_RAD_S)
        self._rested_s = before + self._period if is_resting else 0.0
        if self._rested_s >= min(REST_S * 2.0 ** (self.attempts - 1), MOST_REST_S):
            self._reasons = NO_REASONS
            self.forget()
            return True
        settles = self._has_settled or before < SETTLED_S <= self._rested_s
        self._has_settled = False
        return self._mode == "position" and settles

    # --- position and velocity ---

    def _begin(self, position: Vector) -> None:
        """Start a new memory of commands and motion.

        The commanded path begins where the arm is, and no joint has moved or obeyed yet.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        self._path = np.array(position)
        self._anchor = np.array(position)  # last position of each joint that counts as a motion
        self._anchored = np.zeros(len(position), np.intp)  # entry of the memory at that time
        # range of the commanded path since then
        self._lowest = self._path.copy()
        self._highest = self._path.copy()
        self._count = 0  # entries so far
        self._origin = self._path
        self._obeyed = np.zeros(len(position), bool)
        # range of the whole commanded path
        self._least = self._path
        self._most = self._path

    def _advance(self, command: Vector) -> None:
        """Extend the commanded path (N,) [rad] by a command that acts for one period.

        Args:
            command: Command in the unit of the mode (N,): the new end of the path, or a velocity.
        """
        assert self._path is not None
        if self._mode == "position":
            self._path = command
        else:
            self._path = self._path + self._period * command

    def _judge_motion(self, position: Vector) -> None:
        """Add an entry to the memory; set `reasons` if a joint stands still or moves on its own;
        update `obeys`.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        assert self._path is not None
        self._commanded_path.append(self._path)
        self._measured_path.append(position)
        self._count += 1
        self._restart_moved_joints(position)
        if not self.obeys:
            self._update_obedience(position)
        lag = self._lag if self._has_moved else self._first_lag
        delayed = self._commanded_path[max(len(self._commanded_path) - 1 - lag, 0)]
        # commanded since the joint last moved
        due = self._count - 1 - lag >= self._anchored
        self._lowest = np.where(due, np.minimum(self._lowest, delayed), self._lowest)
        self._highest = np.where(due, np.maximum(self._highest, delayed), self._highest)
        commanded = self._highest - self._lowest
        if commanded.max() >= self._least_commanded:
            self._has_settled = self._stands(position)
            self._contradict(int(commanded.argmax()), "stands still", float(commanded.max()))
        elif len(self._commanded_path) > self._lag + self._window:
            self._judge_stray(position)

    def _stands(self, position: Vector) -> bool:
        """Return whether no joint has moved by `STILL_RAD` in the last `LAG_S`.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        lately = list(self._measured_path)[-self._lag - 1 :]
        moved = np.abs(np.array(lately) - position).max()
        return len(lately) > self._lag and bool(moved < STILL_RAD)

    def _restart_moved_joints(self, position: Vector) -> None:
        """Restart the comparison of each joint that has moved since its comparison began.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        assert self._path is not None
        moved = np.abs(position - self._anchor) > SHARE * self._least_commanded
        if moved.any():
            self._anchor = np.where(moved, position, self._anchor)
            self._anchored = np.where(moved, self._count - 1, self._anchored)
            self._lowest = np.where(moved, self._path, self._lowest)
            self._highest = np.where(moved, self._path, self._highest)

    def _update_obedience(self, position: Vector) -> None:
        """Compare the directions of motion and commands since the memory began, and update `obeys`.

        All joints that were commanded to move must have moved, because a single joint may have been
        pushed. When the arm obeys, `attempts` becomes 0.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        assert self._path is not None
        self._least = np.minimum(self._least, self._path)
        self._most = np.maximum(self._most, self._path)
        least_motion = SHARE * self._least_commanded
        moved = position - self._origin
        up = self._most - self._origin
        down = self._origin - self._least
        self._obeyed |= (moved > least_motion) & (up > least_motion) | (moved < -least_motion) & (
            down > least_motion
        )
        commanded = np.maximum(up, down) > 2.0 * least_motion
        self._has_moved |= bool(self._obeyed.any())
        if self._obeyed.any() and (self._obeyed | ~commanded).all():
            self.attempts = 0
            self.obeys = True

    def _judge_stray(self, position: Vector) -> None:
        """Set `reasons` if a joint moved within `WINDOW_S` by `STRAY_RAD` more than its commands
        explain.

        The commands of this time and of `LAG_S` before count.

        Args:
            position: Measured joint positions (N,) [rad].
        """
        commanded = np.array(self._commanded_path)[-self._lag - self._window - 1 :]
        before = commanded[: self._lag + 1]
        after = commanded[-self._lag - 1 :]
        most = after.max(0) - before.min(0) + STRAY_RAD
        least = after.min(0) - before.max(0) - STRAY_RAD
        moved = position - self._measured_path[0]
        stray = np.maximum(moved - most, least - moved)
        if stray.max() > 0.0:
            joint = int(stray.argmax())
            self._contradict(joint, "moves on its own", float(stray.max()) + STRAY_RAD)

    # --- torque ---

    def _judge_torque(self, command: Vector, position: Vector) -> None:
        """Hold the arm if it stands although a joint had a torque beyond friction for `PRESSED_S`
        in all.

        A motion of more than `STILL_RAD` restarts that time, sets `obeys`, and clears `attempts`.

        Args:
            command: Commanded torques (N,) [N m].
            position: Measured joint positions (N,) [rad].
        """
        if np.abs(position - self._anchor).max() > STILL_RAD:
            self._anchor = np.array(position)
            self._pressed_s = 0.0
            self.attempts = 0
            self.obeys = True
            return
        share = np.abs(command) / self._effort
        if share.max() > FRICTION:
            self._pressed_s += self._period
        if self._pressed_s >= PRESSED_S:
            self._contradict(int(share.argmax()), "stands still with the whole arm", 0.0)

    def _contradict(self, joint: int, action: str, radians: float) -> None:
        """Hold the arm because one joint contradicts its commands.

        Args:
            joint: Index of the joint.
            action: What the joint does, in words.
            radians: By how much it contradicts its commands [rad]; 0 in torque mode.
        """
        against = f"against commands by {radians:.2f} rad" if radians else "against its torque"
        self.contradict(
            f"{self._joints[joint]} {action} {against}: a protective stop, brakes, another"
            " controller, another order of the joints?"
        )

    def contradict(self, reason: str) -> None:
        """Hold the arm because its motion contradicts its commands: set `reasons`, and count an
        attempt in `attempts`. `obeys` becomes false, and the memory is cleared.

        `response.py`'s contradictions are given here, too.

        Args:
            reason: The contradiction, in words.
        """
        self.attempts += 1
        self.obeys = False
        self._has_moved = True  # `FIRST_LAG_S` is granted once
        self._rested_s = 0.0
        self._reasons = {
            "not_following": (
                f"{reason} It may be tried again once it rests (attempts in vain: {self.attempts})"
            )
        }
        self.forget()
