"""Goals end with a stop that was reset already, and with a control loop that hangs."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context

from sql_ros.nodes import goal_intake as module
from sql_ros.nodes.goal_intake import GoalIntake
from sql_ros.robot.control.goals import GoalFollower
from sql_ros.robot.tasks import load_task

GOAL = np.array([0.6, 0.1, 0.3])


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("goals", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


@pytest.fixture
def intake(node, monkeypatch):
    """An intake whose goals can always be accepted; `faults` are the reasons of refused ones."""
    monkeypatch.setattr(module, "STEP_S", 0.1)
    task = load_task("sawyer_reach")
    follower = GoalFollower(task, 0)
    lock = threading.Lock()
    faults: list[str] = []
    diagnostics = SimpleNamespace(fault=lambda kind, reason: faults.append(reason))
    made = GoalIntake(node, follower.actor, lock, diagnostics, lambda: "", lambda source_ns: "")
    return SimpleNamespace(goals=made, follower=follower, lock=lock, faults=faults)


def test_a_stop_that_was_reset_before_the_next_step_ends_the_goal(intake):
    intake.goals.stepped({}, 0)
    intake.follower.give(GOAL)
    intake.goals.stepped({}, 0)
    assert intake.follower.goal is not None
    intake.goals.stepped({}, 1)
    assert intake.follower.goal is None
    intake.follower.give(GOAL)
    intake.goals.stepped({}, 1)
    assert intake.follower.goal is not None


def test_a_loop_that_hangs_delays_neither_a_goal_nor_the_end(intake):
    intake.follower.give(GOAL)
    with intake.lock:  # as in a control step
        message = PoseStamped()
        x, y, z = GOAL
        message.pose.position.x = x
        message.pose.position.y = y
        message.pose.position.z = z
        message.pose.orientation.w = 1.0
        intake.goals._on_goal(message, {})
        assert intake.faults == ["the control loop hangs: a step takes longer than 0.1 s"]
        intake.goals.deactivate()
    assert intake.follower.goal is None
