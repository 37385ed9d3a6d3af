"""The speed limits of joints, tool and links that are in force."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.config import REDUCED_SPEED_M_S, RobotConfig

# tolerance of the speed limit of tool and links in the quadratic programme, as a share of the limit
POINT_SPEED_SLACK = 0.02


class SpeedLimits:
    """Speed limits of an arm, which may be tightened while it runs.

    Args:
        config: The arm with its limits. The share `limit_fraction` of them is used.

    Attributes:
        joints: Full speed limits of the joints (N,) [rad/s]; they never change.
        highest: Largest joint velocities that may be commanded now (N,) [rad/s].
        lowest: Smallest joint velocities that may be commanded now, -`highest` (N,) [rad/s].
        point_m_s: Largest speed of tool and links now [m/s].
    """

    def __init__(self, config: RobotConfig) -> None:
        self.joints = config.limit_fraction * np.array(config.velocity_limit)
        self.highest = self.joints
        self.lowest = -self.joints
        # limit and twice the slack together are at most the limit of the robot file
        self._point_fraction = min(config.limit_fraction, 1.0 / (1.0 + 2.0 * POINT_SPEED_SLACK))
        self._full_point_m_s = self._point_fraction * config.speed_limit_m_s
        self.point_m_s = self._full_point_m_s
        self._is_reduced = False
        self._share = 1.0
        self._joint_caps: Vector | None = None

    def reduce(self, is_reduced: bool) -> None:
        """Limit tool and links to `REDUCED_SPEED_M_S` from now on, or end this limit.

        Args:
            is_reduced: Whether the limit is in force.
        """
        if is_reduced != self._is_reduced:
            self._is_reduced = is_reduced
            self._update()

    def use_share(self, share: float) -> None:
        """Set the share of the limits of joints, tool and links that may be used from now on.

        Args:
            share: Share above 0 and at most 1.
        """
        if share != self._share:
            self._share = share
            self._update()

    def cap_joints(self, speeds: Vector | None) -> None:
        """Set further speed limits of the joints, in place of those set before.

        Args:
            speeds: Limits (N,) [rad/s], infinite for a joint without one; None: no joint has one.
        """
        if speeds is not None or self._joint_caps is not None:
            self._joint_caps = speeds
            self._update()

    def _update(self) -> None:
        """Compute `highest`, `lowest` and `point_m_s` from all settings."""
        self.highest = self._share * self.joints
        if self._joint_caps is not None:
            self.highest = np.minimum(self.highest, self._joint_caps)
        self.lowest = -self.highest
        self.point_m_s = self._share * self._full_point_m_s
        if self._is_reduced:
            self.point_m_s = min(self.point_m_s, self._point_fraction * REDUCED_SPEED_M_S)
