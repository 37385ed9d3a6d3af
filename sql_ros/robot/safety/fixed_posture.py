"""Compare the measured positions of joints that are not controlled with those at which the safety
filter guards their shapes.

The kind of hold is `posture`. It begins with the first measured position that differs, or is not
finite, and ends when none does. A joint that no driver reports is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sql_ros.robot.arm_description import FixedJoint, fixed_joints
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.state_watchdog import NO_REASONS

TURNED_RAD = 0.05  # largest difference of a hinge
MOVED_M = 0.005  # largest difference of a slide


class FixedPosture:
    """Judge the measured positions of the joints that are not controlled.

    One thread calls `take`. Another one may read `reasons`.

    Args:
        robot: The arm.

    Attributes:
        reasons: Why the arm must be held, by kind (only "posture").

    Raises:
        ConfigError: The description of the arm cannot be read.
    """

    def __init__(self, robot: RobotConfig) -> None:
        self._fixed: dict[str, FixedJoint] = {
            f"{robot.joint_prefix}{name}": joint for name, joint in fixed_joints(robot).items()
        }
        self._away: dict[str, str] = {}
        self.reasons: Mapping[str, str] = NO_REASONS

    def take(self, names: Iterable[str], positions: Iterable[float]) -> None:
        """Take the joint positions of a message, also those of other joints, and set `reasons`.

        Args:
            names: Joint names on topics.
            positions: Position of each [rad or m].
        """
        if not self._fixed:
            return
        away = dict(self._away)
        for name, position in zip(names, positions):
            joint = self._fixed.get(name)
            if joint is None:
                continue
            if abs(position - joint.position) <= (MOVED_M if joint.is_slide else TURNED_RAD):
                away.pop(name, None)
            else:  # also NaN
                unit = "m" if joint.is_slide else "rad"
                found = f"{position:.3f} {unit}" if math.isfinite(position) else str(position)
                away[name] = f"{name} is at {found}, its shapes are guarded at {joint.position:g}"
        if away != self._away:
            self._away = away
            self.reasons = {"posture": "; ".join(away.values())} if away else NO_REASONS
