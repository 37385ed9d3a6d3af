"""What a late step of a real arm in position mode sends, whose controller brakes meanwhile."""

import time

import numpy as np
import pytest
from trajectory_msgs.msg import JointTrajectory

from sql_ros.nodes.adapters import make_adapter
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.command_output import CommandOutput
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
PERIOD = 0.05
SPEED = 1.2  # rad/s of the first joint


class MovingArm:
    """The output of commands to a UR5e that moves at `SPEED`.

    Attributes:
        output: What is tested.
        safety: Its filter.
        state: Newest state of the arm.
    """

    def __init__(self, probe) -> None:
        task = load_task("ur5e_reach")
        robot = task.robot
        topic = "controller/joint_trajectory"
        publisher = probe.node.create_publisher(JointTrajectory, topic, RELIABLE)
        self.safety = SafetyFilter(robot, "position", PERIOD, task.config.scene)
        link = ArmLink(
            probe.node,
            robot,
            task.config.scene,
            "position",
            publisher,
            PERIOD,
            real_arm=True,
            may_switch=None,
            is_at_rest=lambda: self.safety.is_at_rest,
            is_used=False,
            in_real_time=True,
            is_paced=True,
        )
        adapter = make_adapter(robot, "position", PERIOD)
        self.output = CommandOutput(
            task, publisher, adapter, link, self.safety, ControlClock(), PERIOD, None
        )
        arm = Arm(robot)
        position = np.array(robot.neutral_position)
        speed = np.zeros_like(position)
        self.last = time.monotonic()  # when the last step began
        for step in range(10):
            self.last += PERIOD
            self.state = arm.state(1 + round(1e9 * PERIOD * step), position, speed, speed)
            self.output.begin_step(self.last)
            position = self.safety.admit(position + PERIOD * speed, self.state)
            speed = np.eye(len(position))[0] * min(speed[0] + 0.15, SPEED)
            self.output.send(position, self.state)
        self.position = position


def test_a_delay_within_a_step_brakes_by_the_time_since_the_last_look(probe):
    """The step begins late, and the policy takes longer still."""
    arm = MovingArm(probe)
    once = MovingArm(probe)
    for moving, delays in ((arm, (0.07, 0.10)), (once, (0.10,))):
        for delay in delays:
            moving.output.begin_step(moving.last + delay)
    twice, straight = (each.safety.hold(each.state) for each in (arm, once))
    np.testing.assert_allclose(twice, straight, atol=1e-6)


def test_after_a_dropped_command_the_next_starts_where_the_controller_has_led_the_arm(probe):
    """It started from the end of the dropped command, to which the arm was never led."""
    arm = MovingArm(probe)
    none_dropped = MovingArm(probe)
    arm.output.begin_step(time.monotonic() - 2.0 * PERIOD)  # so long ago that nothing is sent
    count = arm.output.count
    arm.output.send(arm.safety.admit(arm.position + 0.1, arm.state), arm.state)
    assert arm.output.count == count
    for each in (arm, none_dropped):
        each.output.begin_step(each.last + 1.5 * PERIOD)
    held, expected = (each.safety.hold(each.state) for each in (arm, none_dropped))
    np.testing.assert_allclose(held, expected, atol=1e-6)


def test_a_command_of_a_stalled_step_is_not_sent(probe):
    arm = MovingArm(probe)
    sent = arm.output.count
    arm.output.begin_step(time.monotonic())
    time.sleep(3.0 * PERIOD)  # the process is stopped between filter and publisher
    arm.output.send(arm.position, arm.state, brakes=True)
    assert arm.output.count == sent
    arm.output.begin_step(time.monotonic())
    arm.output.send(arm.position, arm.state, brakes=True)
    assert arm.output.count == sent + 1
