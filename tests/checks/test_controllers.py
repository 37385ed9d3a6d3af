"""Controllers of ros2_control in the double: they do what their documentation says."""

import numpy as np
import pytest

from sql_ros.checks.drivers.controllers import (
    CommandError,
    GroupController,
    JointCommandController,
    TrajectoryController,
)

JOINTS = ["a", "b"]


@pytest.fixture
def trajectory():
    return TrajectoryController(JOINTS, np.array([0.1, 0.2]))


def test_a_trajectory_is_interpolated_and_its_last_point_held_for_ever(trajectory):
    np.testing.assert_allclose(trajectory.setpoint(0.0), [0.1, 0.2])
    trajectory.take_trajectory(10.0, ["b", "a"], [(0.5, [0.4, 0.3])], np.array([0.1, 0.2]))
    np.testing.assert_allclose(trajectory.setpoint(10.25), [0.2, 0.3])
    np.testing.assert_allclose(trajectory.setpoint(10.5), [0.3, 0.4])
    np.testing.assert_allclose(trajectory.setpoint(1e6), [0.3, 0.4])


def test_a_new_trajectory_starts_from_where_the_arm_is(trajectory):
    trajectory.take_trajectory(0.0, JOINTS, [(1.0, [1.0, 1.0])], np.zeros(2))
    trajectory.take_trajectory(0.5, JOINTS, [(1.0, [0.0, 0.0])], np.array([0.4, 0.4]))
    np.testing.assert_allclose(trajectory.setpoint(0.5), [0.4, 0.4])
    np.testing.assert_allclose(trajectory.setpoint(1.5), [0.0, 0.0])


@pytest.mark.parametrize(
    ("names", "points"),
    [
        (["a", "c"], [(1.0, [0.0, 0.0])]),
        (["a"], [(1.0, [0.0])]),
        (JOINTS, []),
        (JOINTS, [(1.0, [0.0])]),
        (JOINTS, [(1.0, [0.0, 0.0]), (1.0, [0.1, 0.1])]),
        (JOINTS, [(-1.0, [0.0, 0.0])]),
        (JOINTS, [(1.0, [0.0, float("nan")])]),
    ],
)
def test_a_wrong_trajectory_is_refused_and_changes_nothing(trajectory, names, points):
    with pytest.raises(CommandError):
        trajectory.take_trajectory(0.0, names, points, np.zeros(2))
    np.testing.assert_allclose(trajectory.setpoint(2.0), [0.1, 0.2])


def test_a_group_controller_keeps_its_last_command_for_ever():
    controller = GroupController(JOINTS, "velocity")
    np.testing.assert_allclose(controller.setpoint(0.0), [0.0, 0.0])
    controller.take_values([0.5, -0.5])
    for wrong in ([0.5], [0.5, float("nan")], [0.1, 0.2, 0.3]):
        with pytest.raises(CommandError):
            controller.take_values(wrong)
    np.testing.assert_allclose(controller.setpoint(1e6), [0.5, -0.5])


def test_joint_commands_of_intera_time_out_and_need_an_enabled_robot():
    controller = JointCommandController(JOINTS, 0.2)
    controller.take_joint_command(0.0, 2, ["b", "a"], [0.5, -0.5])
    np.testing.assert_array_equal(controller.setpoint(0.1), [0.0, 0.0])
    controller.is_enabled = True
    np.testing.assert_array_equal(controller.setpoint(0.1), [-0.5, 0.5])
    np.testing.assert_array_equal(controller.setpoint(0.3), [0.0, 0.0])
    for mode, names, values in [(1, JOINTS, [0.0, 0.0]), (2, ["a"], [0.0]), (2, JOINTS, [0.0])]:
        with pytest.raises(CommandError):
            controller.take_joint_command(0.4, mode, names, values)
