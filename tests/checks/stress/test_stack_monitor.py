"""The listener of `sql-ros chaos`: which states it judges, and what it keeps of the topics."""

import subprocess
import sys
import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.checks.processes import own_domain, start_process
from sql_ros.checks.stress import stack_monitor
from sql_ros.checks.stress.stack_monitor import ALL, BridgeRun, StackMonitor, fingerprint
from sql_ros.common.errors import SqlRosError
from sql_ros.nodes.messages import (
    Progress,
    ReplayEntry,
    TransitionCodec,
    command_to_msg,
    progress_to_msg,
    state_to_msg,
)
from sql_ros.nodes.qos import RELIABLE, REPLAY
from sql_ros.policy.transition import Transition

PERIOD_S = 0.05


def _run(answered_until_s: float, *, moves_until_s: float, again_s: float = 99.0) -> BridgeRun:
    """Return 20 s of an arm whose commands end at a time, and begin again at another."""
    run = BridgeRun()
    times = np.arange(0.0, 20.0, PERIOD_S)
    run.states = [(at, 1.0 if at < moves_until_s else 0.0) for at in times]
    run.answered = [at for at in times if at <= answered_until_s or at >= again_s]
    return run


def test_an_arm_is_judged_from_three_seconds_after_its_last_command():
    speeds = _run(10.0, moves_until_s=13.0).speeds_after(9.9)
    assert len(speeds) == pytest.approx(1.8 / PERIOD_S, abs=1)
    assert not speeds.any()
    assert _run(10.0, moves_until_s=13.5).speeds_after(9.9).any()


def test_a_new_command_ends_the_time_in_which_the_arm_is_judged():
    speeds = _run(10.0, moves_until_s=13.0, again_s=14.0).speeds_after(9.9)
    assert len(speeds) == pytest.approx(1.0 / PERIOD_S, abs=1)


def test_an_actor_that_was_discovered_later_than_the_arm_is_not_judged():
    assert not len(_run(5.0, moves_until_s=99.0).speeds_after(9.9))
    assert not len(BridgeRun().speeds_after(1.0))


class _Stack:
    """The topics of a stack, played, and the monitor that listens to them."""

    def __init__(self, task, process, log) -> None:
        self.task = task
        self.process = process
        self.monitor = StackMonitor([process], log, task)
        self._player = ListenerNode("player")
        node = self._player.node
        self.replay = node.create_publisher(Float64MultiArray, "replay", REPLAY)
        self.progress = node.create_publisher(UInt64MultiArray, "learner/progress", RELIABLE)
        self.commands = node.create_publisher(Float64MultiArray, "sim_bridge/commands", ALL)
        self.states = node.create_publisher(JointState, "joint_states", ALL)
        publishers = (self.replay, self.progress, self.commands, self.states)
        self.until(lambda: all(each.get_subscription_count() for each in publishers))

    def until(self, condition) -> None:
        """Let the monitor listen until a condition holds."""
        deadline = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < deadline
            self.monitor.listen(0.05)

    def state(self, stamp_s: float, speed: float) -> None:
        robot = self.task.robot
        velocity = np.full(len(robot.joints), speed)
        position = np.array(robot.neutral_position)
        stamp_ns = round(1e9 * stamp_s)
        message = state_to_msg(stamp_ns, robot.wire_joints, position, velocity, 0.0 * velocity)
        self.states.publish(message)

    def command(self, speed: float, answers_s: float) -> None:
        robot = self.task.robot
        values = np.full(len(robot.joints), speed)
        mode = self.task.spec.command_mode
        answers_ns = round(1e9 * answers_s)
        self.commands.publish(command_to_msg(values, mode, robot.wire_joints, answers_ns))

    def close(self) -> None:
        self._player.close()
        self.monitor.close()


@pytest.fixture
def stack(task, tmp_path, monkeypatch):
    for name, value in own_domain().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "log").write_text("first line\nlast line\n")
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = start_process(words, subprocess.DEVNULL)
    played = _Stack(task, process, tmp_path / "log")
    yield played
    played.close()
    process.kill()
    process.wait()


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_transitions_and_acknowledgements_are_kept_by_the_process_of_the_actor(stack):
    spec = stack.task.spec
    observation = np.zeros(spec.observation_size, np.float32)
    action = np.zeros(spec.action_size, np.float32)
    transition = Transition(observation, action, 0.5, observation, False, False)
    entry = ReplayEntry(0, 7, 1, 1, 3, 0, transition)
    stack.replay.publish(TransitionCodec(spec).to_msg(entry))
    stack.progress.publish(progress_to_msg(Progress(40, 0, 0, {7: 3})))
    stack.until(lambda: stack.monitor.sent and stack.monitor.transitions)
    assert stack.monitor.sent == {(7, 3): fingerprint(observation, action, 0.5)}
    assert stack.monitor.acknowledged == {7: 3}
    stack.progress.publish(progress_to_msg(Progress(30, 0, 0, {7: 2, 8: 1})))
    stack.until(lambda: stack.monitor.transitions == 30)
    assert stack.monitor.acknowledged == {7: 3, 8: 1}  # a resumed learner reports less


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_states_of_a_new_simulated_arm_are_kept_apart_and_fast_commands_counted(stack):
    monitor = stack.monitor
    monitor.expect_hold()  # no state yet: no hold is noted
    assert not len(monitor.speeds_without_commands())
    stack.command(0.1, 60.0)  # answers a state of before this monitor listened
    stack.command(1e3, 60.0)
    stack.until(lambda: len(monitor.bridge_runs[0].answered) == 2)
    assert monitor.unsafe_commands == 1
    for number in range(120):
        stack.state(1.0 + 0.1 * number, 0.2)
    run = monitor.bridge_runs[-1]
    stack.until(lambda: len(run.states) == 120)
    stack.command(0.1, 12.8)
    stack.until(lambda: run.answered)
    monitor.expect_hold()
    for number in range(120, 180):
        stack.state(1.0 + 0.1 * number, 0.0 if number < 160 else 0.3)
    monitor.record_hold()
    speeds = monitor.speeds_without_commands()
    assert len(speeds) == pytest.approx(18, abs=1)
    assert (speeds > stack_monitor.AT_REST_RAD_S).any()  # the arm began to move without a command
    stack.states.publish(JointState(name=["unknown"], position=[0.0]))
    stack.state(1.0, 0.0)
    stack.until(lambda: len(monitor.bridge_runs) == 3)
    assert [len(each.states) for each in monitor.bridge_runs] == [0, 180, 1]


@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_a_stack_that_ended_is_not_awaited_and_the_error_quotes_its_log(stack):
    stack.process.kill()
    stack.process.wait()
    with pytest.raises(SqlRosError, match=r"does not train any more .*-9(.|\n)*last line"):
        stack.monitor.await_training()
