"""The simulated arm over DDS: lockstep, clock, services, and commands it must not take."""

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from sql_ros.common.data_files import share_folder
from sql_ros.nodes.messages import command_to_msg, target_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
JOINTS = [f"right_j{i}" for i in range(7)]


def _stamp(message) -> int:
    time = message.clock if isinstance(message, Clock) else message.header.stamp
    return time.sec * 10**9 + time.nanosec


@pytest.fixture
def lockstep(processes, probe):
    """A bridge in lockstep, its states and ticks, and a publisher of commands that is matched."""
    states, ticks = (
        probe.listen(JointState, "joint_states", RELIABLE),
        probe.listen(Clock, "/clock", RELIABLE),
    )
    publisher = probe.node.create_publisher(Float64MultiArray, "sim_bridge/commands", RELIABLE)
    processes.node("sim_bridge", realtime_factor=0.0)
    probe.wait(
        lambda: (
            states
            and publisher.get_subscription_count()
            and len(probe.node.get_publishers_info_by_topic("/clock"))
        )
    )
    return states, ticks, publisher


def _answer(probe, states, publisher, velocity) -> None:
    """Answers the newest state and waits for the next."""
    before = _stamp(states[-1])
    publisher.publish(command_to_msg(np.array(velocity, float), "velocity", JOINTS, before))
    probe.wait(lambda: _stamp(states[-1]) > before)


def test_a_step_is_taken_only_for_the_command_that_answers_the_published_state(lockstep, probe):
    states, _, publisher = lockstep
    begin = _stamp(states[-1])
    probe.spin_for(1.2)  # no command, no step; the state is repeated for those who come late
    assert _stamp(states[-1]) == begin
    assert len(states) >= 2
    # answers nothing that was published
    publisher.publish(command_to_msg(np.ones(7), "velocity", JOINTS, begin + 1))
    probe.spin_for(0.6)
    assert _stamp(states[-1]) == begin
    _answer(probe, states, publisher, [0.5] * 7)
    assert _stamp(states[-1]) - begin == 50_000_000
    assert states[-1].name == JOINTS
    assert np.array(states[-1].velocity) == pytest.approx(0.45, abs=0.1)


@pytest.mark.long
def test_the_clock_ticks_once_per_step_and_never_backwards(lockstep, probe):
    states, ticks, publisher = lockstep
    for _ in range(20):
        _answer(probe, states, publisher, [0.1] * 7)
    probe.call(Trigger, "sim_bridge/reset_world", Trigger.Request())
    for _ in range(5):
        _answer(probe, states, publisher, [0.1] * 7)
    probe.wait(lambda: len(ticks) >= 25)
    stamps = [_stamp(tick) for tick in ticks]
    assert np.diff(stamps).tolist() == [50_000_000] * (len(stamps) - 1)


@pytest.mark.long
def test_reset_world_brings_the_arm_back(lockstep, probe, task):
    states, _, publisher = lockstep
    for _ in range(10):
        _answer(probe, states, publisher, [0.5] * 7)
    assert np.abs(np.array(states[-1].position) - task.robot.neutral_position).max() > 0.1
    assert probe.call(Trigger, "sim_bridge/reset_world", Trigger.Request()).success
    probe.wait(lambda: np.allclose(states[-1].position, task.robot.neutral_position))


@pytest.mark.long
def test_a_scene_without_a_goal_is_one_line_and_not_a_crash_to_be_started_again(
    processes, tmp_path
):
    scene = (
        (share_folder() / "sim/scenes/sawyer_reach.xml")
        .read_text()
        .replace('name="goal" mocap="true"', 'name="aim" mocap="true"')
    )
    (tmp_path / "scene.xml").write_text(scene)
    task = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text()) | {
        "scene": str(tmp_path / "scene.xml")
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    bridge = processes.node("sim_bridge", task=str(tmp_path / "mine.yaml"))
    assert bridge.wait(240) == 2
    said = bridge.log.read_text()
    assert "has no mocap body 'goal'" in said
    assert "Traceback" not in said


@pytest.mark.long
def test_a_paused_simulation_steps_only_when_asked(lockstep, probe):
    states, _, publisher = lockstep
    refused = probe.call(Trigger, "sim_bridge/step_simulation", Trigger.Request())
    assert not refused.success
    assert "pause it first" in refused.message
    assert probe.call(SetBool, "sim_bridge/set_pause", SetBool.Request(data=True)).success
    begin = _stamp(states[-1])
    publisher.publish(command_to_msg(np.ones(7), "velocity", JOINTS, begin))
    probe.spin_for(0.6)
    assert _stamp(states[-1]) == begin
    assert probe.call(Trigger, "sim_bridge/step_simulation", Trigger.Request()).success
    probe.wait(lambda: _stamp(states[-1]) == begin + 50_000_000)
    assert probe.call(SetBool, "sim_bridge/set_pause", SetBool.Request(data=False)).success
    _answer(probe, states, publisher, [0.0] * 7)


def test_a_wrong_command_is_dropped_and_counted(lockstep, probe):
    states, _, publisher = lockstep
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    begin = _stamp(states[-1])
    for data in ([0.1] * 6, [np.nan] * 7):
        publisher.publish(Float64MultiArray(data=data))

    def counted():
        entries = [
            e
            for r in reports
            for s in r.status
            if s.name == "sim_bridge: simulation"
            for e in s.values
        ]
        return any(entry.key == "fault/command_dropped" and entry.value == "2" for entry in entries)

    probe.wait(counted)
    assert _stamp(states[-1]) == begin


def test_paced_it_runs_by_itself_and_holds_when_commands_stop(processes, probe):
    states = probe.listen(JointState, "joint_states", RELIABLE)
    publisher = probe.node.create_publisher(Float64MultiArray, "sim_bridge/commands", RELIABLE)
    processes.node("sim_bridge", realtime_factor=2.0)
    probe.wait(lambda: states and publisher.get_subscription_count())

    def moving() -> bool:
        publisher.publish(Float64MultiArray(data=[0.3] * 7))
        return np.abs(states[-1].velocity).min() > 0.2

    probe.wait(moving)
    silent_since = _stamp(states[-1])
    # nobody sends: the command times out into a hold
    probe.wait(lambda: np.abs(states[-1].velocity).max() < 0.01)
    assert 200_000_000 <= _stamp(states[-1]) - silent_since < 2_000_000_000
    stamps = [_stamp(state) for state in states]
    assert set(np.diff(stamps)) == {10_000_000}


@pytest.mark.long
def test_the_goal_is_where_the_last_target_says(processes, probe):
    """The lower brick is put right under the one in the hand: pressed down, that comes no lower; a
    target that is none is counted.
    """
    task = load_task("sawyer_stack")
    arm, neutral = Arm(task.robot), np.array(task.robot.neutral_position)
    states = probe.listen(JointState, "joint_states", RELIABLE)
    publisher = probe.node.create_publisher(Float64MultiArray, "sim_bridge/commands", RELIABLE)
    targets = probe.node.create_publisher(PoseStamped, "target", LATCHED)
    diagnostics = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("sim_bridge", realtime_factor=0.0, task="sawyer_stack")
    probe.wait(
        lambda: states and publisher.get_subscription_count() and targets.get_subscription_count()
    )
    height = arm.state(0, neutral, np.zeros(7), np.zeros(7)).tool_position[2]
    foreign = PoseStamped()
    foreign.header.frame_id = "map"
    targets.publish(foreign)
    dropped = "fault/target_dropped"
    probe.wait(
        lambda: [
            v
            for m in diagnostics
            for s in m.status
            for v in s.values
            if v.key == dropped and v.value == "1"
        ],
        what=dropped,
    )
    # a latched topic keeps the last one only
    targets.publish(target_to_msg(np.array([0.45, 0.16, height - 0.01]), 0, "base"))
    for _ in range(20):
        position = np.array(states[-1].position)
        before = _stamp(states[-1])
        force = arm.jacobian(position).T @ np.array([0.0, 0.0, -8.0, 0.0, 0.0, 0.0])
        publisher.publish(command_to_msg(force, "torque", JOINTS, before))
        probe.wait(lambda: _stamp(states[-1]) > before)  # noqa: B023  (used at once)
    lowest = arm.state(0, np.array(states[-1].position), np.zeros(7), np.zeros(7)).tool_position[2]
    assert height - 0.015 < lowest < height
