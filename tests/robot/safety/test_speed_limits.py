"""Speed limits of joints, tool and links that are tightened while the arm runs."""

import numpy as np

from sql_ros.robot.config import REDUCED_SPEED_M_S
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.speed_limits import SpeedLimits

ROBOT = load_robot("ur5e")
JOINTS = ROBOT.limit_fraction * np.array(ROBOT.velocity_limit)


def test_at_first_the_used_share_of_the_robots_limits_holds():
    limits = SpeedLimits(ROBOT)
    np.testing.assert_array_equal(limits.highest, JOINTS)
    np.testing.assert_array_equal(limits.lowest, -JOINTS)
    assert limits.point_m_s == ROBOT.limit_fraction * ROBOT.speed_limit_m_s


def test_a_share_tightens_joints_and_points_and_can_be_ended():
    limits = SpeedLimits(ROBOT)
    full = limits.point_m_s
    limits.use_share(0.1)
    np.testing.assert_allclose(limits.highest, 0.1 * JOINTS)
    assert limits.point_m_s == 0.1 * full
    limits.use_share(1.0)
    np.testing.assert_array_equal(limits.highest, JOINTS)
    assert limits.point_m_s == full


def test_reduced_speed_limits_points_and_no_joints():
    limits = SpeedLimits(ROBOT)
    limits.reduce(True)
    assert limits.point_m_s <= ROBOT.limit_fraction * REDUCED_SPEED_M_S
    np.testing.assert_array_equal(limits.highest, JOINTS)


def test_the_end_of_reduced_speed_leaves_a_smaller_share_in_force():
    limits = SpeedLimits(ROBOT)
    limits.use_share(0.01)
    slow = limits.point_m_s
    limits.reduce(True)
    assert limits.point_m_s == slow
    limits.reduce(False)
    assert limits.point_m_s == slow


def test_caps_of_joints_hold_until_they_are_removed():
    limits = SpeedLimits(ROBOT)
    limits.cap_joints(np.where(np.arange(len(JOINTS)) == 0, 0.15, np.inf))
    assert limits.highest[0] == 0.15
    assert limits.lowest[0] == -0.15
    np.testing.assert_array_equal(limits.highest[1:], JOINTS[1:])
    limits.cap_joints(None)
    np.testing.assert_array_equal(limits.highest, JOINTS)
