"""Controllers of ros2_control in the double: they do what their documentation says."""

import numpy as np
import pytest

from sql_ros.checks.drivers.controllers import (
    CommandError,
    GroupController,
    JointCommandController,
    Point,
    TrajectoryController,
)

JOINTS = ["a", "b"]
REST = np.zeros(2)


@pytest.fixture
def trajectory():
    return TrajectoryController(JOINTS, np.array([0.1, 0.2]))


def test_a_trajectory_is_interpolated_and_its_last_point_held_for_ever(trajectory):
    np.testing.assert_allclose(trajectory.setpoint(0.0), [0.1, 0.2])
    trajectory.take_trajectory(
        10.0, ["b", "a"], [Point(0.5, [0.4, 0.3])], np.array([0.1, 0.2]), REST
    )
    np.testing.assert_allclose(trajectory.setpoint(10.25), [0.2, 0.3])
    np.testing.assert_allclose(trajectory.setpoint(10.5), [0.3, 0.4])
    np.testing.assert_allclose(trajectory.setpoint(1e6), [0.3, 0.4])


def test_a_new_trajectory_starts_from_where_the_arm_is(trajectory):
    trajectory.take_trajectory(0.0, JOINTS, [Point(1.0, [1.0, 1.0])], REST, REST)
    trajectory.take_trajectory(0.5, JOINTS, [Point(1.0, [0.0, 0.0])], np.array([0.4, 0.4]), REST)
    np.testing.assert_allclose(trajectory.setpoint(0.5), [0.4, 0.4])
    np.testing.assert_allclose(trajectory.setpoint(1.5), [0.0, 0.0])


def test_with_the_option_a_new_trajectory_starts_from_where_the_last_one_leads():
    controller = TrajectoryController(JOINTS, REST, from_desired=True)
    controller.take_trajectory(0.0, JOINTS, [Point(1.0, [1.0, 1.0])], REST, REST)
    controller.take_trajectory(0.5, JOINTS, [Point(1.0, [0.0, 0.0])], np.array([0.4, 0.4]), REST)
    np.testing.assert_allclose(controller.setpoint(0.5), [0.5, 0.5])
    np.testing.assert_allclose(controller.setpoint(1.0), [0.25, 0.25])


def test_between_points_with_velocities_a_trajectory_is_a_cubic_spline(trajectory):
    points = [Point(1.0, [1.0, 0.0], [1.0, 0.0]), Point(3.0, [2.0, 0.0], [0.0, 0.0])]
    trajectory.take_trajectory(0.0, JOINTS, points, REST, np.array([1.0, -4.0]))
    np.testing.assert_allclose(trajectory.setpoint(0.5), [0.5, -0.5])  # from the measured velocity
    # even braking: half of it in 3/4 of the way
    np.testing.assert_allclose(trajectory.setpoint(2.0), [1.75, 0.0])
    np.testing.assert_allclose(trajectory.setpoint(9.0), [2.0, 0.0])


def test_a_segment_is_linear_where_one_of_its_points_has_no_velocity(trajectory):
    points = [Point(1.0, [1.0, 0.0]), Point(3.0, [2.0, 0.0], [0.0, 0.0])]
    trajectory.take_trajectory(0.0, JOINTS, points, REST, np.array([9.0, 9.0]))
    np.testing.assert_allclose(trajectory.setpoint(0.5), [0.5, 0.0])
    np.testing.assert_allclose(trajectory.setpoint(2.0), [1.5, 0.0])


def test_a_trajectory_progresses_at_the_share_of_the_speed_slider():
    controller = TrajectoryController(JOINTS, REST, 0.5)
    controller.take_trajectory(3.0, JOINTS, [Point(1.0, [1.0, 1.0])], REST, REST)
    np.testing.assert_allclose(controller.setpoint(4.0), [0.5, 0.5])
    np.testing.assert_allclose(controller.setpoint(5.0), [1.0, 1.0])


def test_a_trajectory_says_its_speed_where_it_joins_the_one_before(trajectory):
    brake = [Point(0.1, [0.1, 0.0]), Point(0.5, [0.3, 0.0])]  # 1 rad/s, and rest after 0.4 s
    trajectory.take_trajectory(0.0, JOINTS, brake, REST, REST)
    assert trajectory.joined_speed is None
    late = [Point(0.1, [0.2, 0.0]), Point(0.3, [0.25, 0.0])]  # 0.5 rad/s, from 0.15 rad
    trajectory.take_trajectory(0.1, JOINTS, late, REST, REST)
    np.testing.assert_allclose(trajectory.joined_speed, [0.5, 0.0])
    # a quarter of the brake's way is behind it
    np.testing.assert_allclose(trajectory.left_speed, [0.75**0.5, 0.0])
    aside = [Point(0.1, [0.2, 0.01]), Point(0.3, [0.25, 0.01])]
    trajectory.take_trajectory(0.2, JOINTS, aside, REST, REST)
    assert trajectory.joined_speed is None


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
        (JOINTS, [(1.0, [0.0, 0.0], [0.0])]),
        (JOINTS, [(1.0, [0.0, 0.0], [0.0, float("nan")]), (2.0, [0.0, 0.0], [0.0, 0.0])]),
        (JOINTS, [(1.0, [0.0, 0.0], [0.0, 1e-6])]),
    ],
)
def test_a_wrong_trajectory_is_refused_and_changes_nothing(trajectory, names, points):
    with pytest.raises(CommandError):
        trajectory.take_trajectory(0.0, names, [Point(*point) for point in points], REST, REST)
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
