"""Trajectories of an actor: each brakes behind its command, and begins where the one before has led
by then. Over DDS.
"""

import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from sql_ros.checks.drivers.controllers import Point, TrajectoryController
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
PERIOD_S = 0.05
TOPIC = "scaled_joint_trajectory_controller/joint_trajectory"
MOVES_RAD_S = 0.05
EXACT_RAD = 1e-9


class TrajectoryArm:
    """A UR5e that follows its trajectories exactly.

    Attributes:
        ways: of the commands that move the arm: begin, and first point of the one before (N,)
            [rad].
        apart: of them, those that do not join the one before.
    """

    def __init__(self, probe) -> None:
        robot = load_task("ur5e_reach").robot
        self._node, self._joints = probe.node, robot.joints
        start = np.array(robot.neutral_position) + 0.2
        self._controller = TrajectoryController(robot.joints, start, from_desired=True)
        self._last = start
        self._before = time.monotonic(), start
        self.ways: list[tuple[np.ndarray, np.ndarray]] = []
        self.apart = 0
        self._states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
        probe.node.create_subscription(JointTrajectory, TOPIC, self._on_command, RELIABLE)
        probe.node.create_timer(0.01, self._tick)

    def _on_command(self, message: JointTrajectory) -> None:
        points = [Point(_seconds(each.time_from_start), each.positions) for each in message.points]
        zero = np.zeros(len(self._joints))
        first = self._controller.take_trajectory(
            time.monotonic(), message.joint_names, points, zero, zero
        )
        speed = self._controller.joined_speed
        if speed is not None and np.abs(speed).max() > MOVES_RAD_S:
            self.ways.append((first - PERIOD_S * speed, self._last))
        self.apart += speed is None
        self._last = first

    def _position(self, now: float) -> np.ndarray:
        return self._controller.setpoint(now)

    def _tick(self) -> None:
        now = time.monotonic()
        position = self._position(now)
        velocity = (position - self._before[1]) / (now - self._before[0])
        self._before = now, position
        stamp = self._node.get_clock().now().nanoseconds
        effort = np.zeros(len(self._joints))
        self._states.publish(state_to_msg(stamp, self._joints, position, velocity, effort))


class FreedArm(TrajectoryArm):
    """One that somebody can move by hand by 0.1 rad, in freedrive.

    Attributes:
        freed: When that began, steady time [s]; None: it follows its trajectories.
        place: Where it is (N,) [rad].
    """

    freed: float | None = None
    place = np.zeros(6)

    def _position(self, now: float) -> np.ndarray:
        if self.freed is None:
            self._from = self.place = super()._position(now)
        else:
            self.place = self._from + np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]) * min(
                now - self.freed, 1.0
            )
        return self.place


def _seconds(duration) -> float:
    return duration.sec + 1e-9 * duration.nanosec


@pytest.mark.short("True")
@pytest.mark.parametrize("real_arm", [True, False])
def test_a_command_to_a_real_arm_begins_where_the_one_before_has_led_by_now(
    processes, probe, real_arm
):
    """No two steps are a period apart to the nanosecond. A simulated arm stops at its command:
    there they join at that.
    """
    probe.play_learner()
    arm = TrajectoryArm(probe)
    processes.node(
        "actor",
        {"commands": TOPIC},
        task="ur5e_reach",
        real_arm=real_arm,
        max_state_age_s=0.5,
        learner_patience_s=0.0,
    )
    probe.wait(lambda: len(arm.ways) > 40, what="commands that move the arm")
    exact = [np.abs(begin - last).max() < EXACT_RAD for begin, last in arm.ways]
    assert np.mean(exact) < 0.1 if real_arm else all(exact)
    assert arm.apart < 5  # the first, and those after a hold


@pytest.mark.long
def test_an_arm_that_was_moved_while_it_was_stopped_is_not_driven_back(processes, probe):
    probe.play_learner()
    arm = FreedArm(probe)
    actor = processes.node(
        "actor", {"commands": TOPIC}, task="ur5e_reach", max_state_age_s=0.5, learner_patience_s=0.0
    )
    probe.wait(lambda: len(arm.ways) > 20, what="commands that move the arm")
    probe.wait(lambda: probe.call(Trigger, "actor/stop", Trigger.Request()).success, what="a stop")
    probe.spin_for(1.5)
    before = arm.place
    arm.freed = time.monotonic()
    probe.spin_for(3.0)
    arm.freed = None
    probe.spin_for(1.0)
    assert arm.place[0] - before[0] > 0.09
    assert actor.poll() is None
