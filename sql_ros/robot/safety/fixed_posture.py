"""Compare the measured positions of joints that are not controlled with those at which the safety
filter guards their shapes.

The kind of hold is `posture`. It begins with the first measured position that differs, or is not
finite, and ends when none does. It also begins when the last position of a joint is older than
`LONGEST_SILENCE_S`, because the joint may have moved since. A joint that no driver reports is not
compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sql_ros.robot.arm_description import FixedJoint, fixed_joints
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.state_watchdog import NO_REASONS

TURNED_RAD = 0.05  # largest difference of a hinge
MOVED_M = 0.005  # largest difference of a slide
LONGEST_SILENCE_S = 2.0  # drivers of grippers report less often than those of arms


class FixedPosture:
    """Judge the measured positions of the joints that are not controlled.

    One thread calls `take`. Another one may call `reasons`.

    Args:
        robot: The arm.

    Raises:
        ConfigError: The description of the arm cannot be read.
    """

    def __init__(self, robot: RobotConfig) -> None:
        self._fixed: dict[str, FixedJoint] = {
            f"{robot.joint_prefix}{name}": joint for name, joint in fixed_joints(robot).items()
        }
        self._away: dict[str, str] = {}
        self._differs: Mapping[str, str] = NO_REASONS
        self._heard: dict[str, float] = {}  # steady time of each joint's last position [s]

    def forget(self) -> None:
        """Begin a new activation: only joints that are reported from now on are compared."""
        self._away = {}
        self._differs = NO_REASONS
        self._heard = {}

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, by kind (only "posture").

        Args:
            now: Steady time [s].
        """
        if self._differs or not self._heard:
            return self._differs
        name, heard = min(self._heard.items(), key=lambda each: each[1])
        if now - heard <= LONGEST_SILENCE_S:
            return NO_REASONS
        return {
            "posture": f"no position of {name} for {now - heard:.1f} s, at most"
            f" {LONGEST_SILENCE_S:g} s: the joint may have moved since"
        }

    def take(self, names: Iterable[str], positions: Iterable[float], now: float) -> None:
        """Take the joint positions of a message, also those of other joints.

        Args:
            names: Joint names on topics.
            positions: Position of each [rad or m].
            now: Steady time of its arrival [s].
        """
        if not self._fixed:
            return
        away = dict(self._away)
        heard = dict(self._heard)  # another thread may read the old one
        for name, position in zip(names, positions):
            joint = self._fixed.get(name)
            if joint is None:
                continue
            heard[name] = now
            if abs(position - joint.position) <= (MOVED_M if joint.is_slide else TURNED_RAD):
                away.pop(name, None)
            else:  # also NaN
                unit = "m" if joint.is_slide else "rad"
                found = f"{position:.3f} {unit}" if math.isfinite(position) else str(position)
                away[name] = f"{name} is at {found}, its shapes are guarded at {joint.position:g}"
        self._heard = heard
        if away != self._away:
            self._away = away
            self._differs = {"posture": "; ".join(away.values())} if away else NO_REASONS
