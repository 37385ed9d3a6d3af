"""The joints of the double."""

import numpy as np
import pytest

from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm
from sql_ros.robot.tasks import load_task


@pytest.fixture
def arm():
    return KinematicArm(np.zeros(2))


def test_joints_follow_velocities_and_keep_them(arm):
    for _ in range(1000):
        arm.advance(0.001, "velocity", np.array([0.5, -1.0]))
    np.testing.assert_allclose(arm.velocity, [0.5, -1.0])
    np.testing.assert_allclose(arm.position, [0.5, -1.0], atol=0.02)


def test_joints_follow_positions_and_stay_there(arm):
    for _ in range(200):
        arm.advance(0.002, "position", np.array([0.3, 0.1]))
    np.testing.assert_allclose(arm.position, [0.3, 0.1], atol=1e-6)
    np.testing.assert_allclose(arm.velocity, 0.0, atol=1e-6)


def test_the_motion_does_not_depend_on_the_step(arm):
    coarse = KinematicArm(np.zeros(2))
    coarse.advance(0.1, "velocity", np.ones(2))
    for _ in range(100):
        arm.advance(0.001, "velocity", np.ones(2))
    np.testing.assert_allclose(arm.position, coarse.position)
    np.testing.assert_allclose(arm.velocity, coarse.velocity)


def test_a_protective_stop_freezes_the_joints_until_its_release(arm):
    arm.advance(0.1, "velocity", np.ones(2))
    arm.is_stopped = True
    frozen = arm.position.copy()
    arm.advance(1.0, "velocity", np.ones(2))
    np.testing.assert_array_equal(arm.position, frozen)
    np.testing.assert_array_equal(arm.velocity, 0.0)
    arm.is_stopped = False
    arm.advance(0.1, "velocity", np.ones(2))
    assert (arm.velocity > 0.9).all()


def test_without_a_controller_the_drives_hold(arm):
    arm.advance(0.1, "velocity", np.ones(2))
    arm.advance(1.0, "velocity", None)
    assert np.abs(arm.velocity).max() < 1e-9


def test_torques_are_kept_for_ever_and_frozen_by_a_protective_stop():
    task = load_task("sawyer_stack")
    start = np.array(task.robot.neutral_position)
    arm = DynamicArm(task.config.scene, task.robot, start)
    torque = np.array([4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    arm.advance(0.5, "effort", torque)
    assert arm.velocity[0] > 0.05
    assert arm.effort[0] == pytest.approx(4.0)
    arm.is_stopped = True
    frozen = arm.position.copy()
    arm.advance(0.5, "effort", torque)
    np.testing.assert_array_equal(arm.position, frozen)
    arm.is_stopped = False
    arm.advance(0.01, "effort", np.zeros(7))
    np.testing.assert_allclose(arm.position, frozen, atol=1e-3)
