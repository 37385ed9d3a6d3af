"""Interfaces of arms: layouts there and back, what is refused, and that an arm moves
through them.
"""

import dataclasses
import importlib.util
import itertools

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError, MessageError
from sql_ros.nodes.adapters import CommandEncoder, ForwardAdapter, TrajectoryAdapter, make_adapter
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.controllers import MODES, ControllerConfig
from sql_ros.robot.safety.command_models import Brake

JOINTS = ("j0", "j1")
TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"
HAS_INTERA = importlib.util.find_spec("intera_core_msgs") is not None


def _intera(robot: RobotConfig) -> RobotConfig:
    """Return the arm with Intera's commands in every mode."""
    controller = ControllerConfig("intera", "intera_core_msgs/JointCommand")
    return dataclasses.replace(robot, controllers=dict.fromkeys(MODES, controller))


@pytest.mark.parametrize(
    "adapter",
    [ForwardAdapter(JOINTS, "position"), TrajectoryAdapter(JOINTS, 0.05)],
    ids=["forward", "trajectory"],
)
def test_a_command_survives_the_way_there_and_back(adapter):
    message = adapter.to_msg(np.array([0.5, -0.5]), 42)
    assert isinstance(message, adapter.kind)
    values, answers = adapter.from_msg(message)
    assert (values.tolist(), answers) == ([0.5, -0.5], 42)


ADAPTERS = [ForwardAdapter(JOINTS, "torque"), TrajectoryAdapter(JOINTS, 0.05)]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["forward", "trajectory"])
@pytest.mark.parametrize("stamp", [0, 7, 1_000_000, 1_764_200_000_123_456_789])
def test_what_goes_over_the_wire_is_the_message(adapter, stamp):
    encoder = CommandEncoder(adapter)
    for values in (np.array([0.5, -0.5]), np.array([np.inf, -0.0]), np.array([1e-300, 3.0])):
        sent = encoder.encode(values, stamp)
        received = deserialize_message(
            sent if isinstance(sent, bytes) else serialize_message(sent), adapter.kind
        )
        assert repr(received) == repr(adapter.to_msg(values, stamp))  # not ==: of -0.0, too
    assert isinstance(sent, bytes) or stamp < 10  # one digit stands elsewhere in it, too: j1


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["forward", "trajectory"])
def test_bytes_that_mean_nothing_may_differ(adapter, monkeypatch):
    """Between aligned fields, and behind the last one, a serialised message has whatever the
    memory held before; here more every time.
    """
    counts = itertools.count(3)
    monkeypatch.setattr(
        "sql_ros.nodes.adapters.serialize_message",
        lambda message: serialize_message(message) + bytes(next(counts)),
    )
    sent = CommandEncoder(adapter).encode(np.array([0.5, -0.5]), 42)
    assert deserialize_message(sent, adapter.kind) == adapter.to_msg(np.array([0.5, -0.5]), 42)


def test_a_command_with_more_in_it_than_values_and_stamp_goes_out_as_a_message():
    class Counting(ForwardAdapter):
        count = 0

        def to_msg(self, values, answers_ns):
            self.count += 1
            return super().to_msg(values + self.count, answers_ns)

    adapter = Counting(JOINTS, "torque")
    assert list(CommandEncoder(adapter).encode(np.zeros(2), 1_000_000).data) == [adapter.count] * 2


def test_behind_its_command_a_trajectory_brakes_evenly_to_rest():
    adapter = TrajectoryAdapter(JOINTS, 0.05)
    brake = Brake(np.array([0.4, -0.2]), 0.1)
    message = CommandEncoder(adapter).encode(np.array([0.5, -0.5]), 42, brake)
    first, *behind = message.points
    assert list(first.positions) == [0.5, -0.5]
    times = [1e-9 * point.time_from_start.nanosec for point in message.points]
    np.testing.assert_allclose(times, np.linspace(0.05, 0.15, 9))
    # half the time
    np.testing.assert_allclose(behind[3].positions, [0.5 + 0.75 * 0.02, -0.5 - 0.75 * 0.01])
    np.testing.assert_allclose(behind[-1].positions, [0.52, -0.51])  # v t / 2
    assert not any(len(point.velocities) for point in message.points)
    values, answers = adapter.from_msg(message)
    assert (values.tolist(), answers) == ([0.5, -0.5], 42)


def test_a_trajectory_at_rest_has_points_whose_times_grow():
    message = TrajectoryAdapter(JOINTS, 0.05).to_msg(
        np.array([0.5, -0.5]), 42, Brake(np.zeros(2), 0.0)
    )
    times = [point.time_from_start.nanosec for point in message.points]
    assert (np.diff(times) > 0).all()
    assert {tuple(point.positions) for point in message.points} == {(0.5, -0.5)}


def test_a_trajectory_without_a_brake_is_one_point_a_period_ahead_of_now():
    message = TrajectoryAdapter(JOINTS, 0.05).to_msg(np.array([0.5, -0.5]), 42)
    # joint_trajectory_controller starts at once
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
    assert list(message.joint_names) == list(JOINTS)
    (point,) = message.points
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 50_000_000)
    assert list(point.positions) == [0.5, -0.5]
    assert not len(point.velocities) + len(point.accelerations) + len(point.effort)


def test_a_trajectory_is_read_by_name_and_may_answer_nothing():
    message = TrajectoryAdapter(("j1", "j0"), 0.05).to_msg(np.array([1.0, 2.0]), 42)
    message.header.frame_id = ""
    values, answers = TrajectoryAdapter(JOINTS, 0.05).from_msg(message)
    assert (values.tolist(), answers) == ([2.0, 1.0], None)


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda m: m.points.clear(), "trajectory has 0 points, expected the command"),
        (
            lambda m: setattr(m, "joint_names", ["j0", "wrist"]),
            "command is for j0, wrist, expected j0, j1",
        ),
        (lambda m: setattr(m.points[0], "positions", [1.0]), "command has 1 values, expected 2"),
        (lambda m: setattr(m.points[0], "positions", [1.0, np.nan]), "command is not finite"),
        (lambda m: setattr(m.header, "frame_id", "base"), "command has label 'base'"),
    ],
)
def test_a_wrong_trajectory_is_refused(alter, text):
    adapter = TrajectoryAdapter(JOINTS, 0.05)
    message = adapter.to_msg(np.zeros(2), 1)
    alter(message)
    with pytest.raises(MessageError) as error:
        adapter.from_msg(message)
    assert text in str(error.value)


@pytest.mark.parametrize("mode", ["velocity", "torque"])
def test_a_trajectory_takes_positions_only(task, mode):
    controllers = {mode: ControllerConfig("arm", TRAJECTORY)}
    expected = (
        f"'controllers.{mode}' has type {TRAJECTORY}, which takes commands of mode position only"
    )
    with pytest.raises(ConfigError, match=expected):
        dataclasses.replace(task.robot, controllers=controllers)


@pytest.mark.parametrize(
    ("kind", "mode", "adapter"),
    [
        ("forward_command_controller/ForwardCommandController", "torque", ForwardAdapter),
        ("velocity_controllers/JointGroupVelocityController", "velocity", ForwardAdapter),
        ("effort_controllers/JointGroupEffortController", "torque", ForwardAdapter),
        ("position_controllers/JointGroupPositionController", "position", ForwardAdapter),
        (TRAJECTORY, "position", TrajectoryAdapter),
        ("ur_controllers/ScaledJointTrajectoryController", "position", TrajectoryAdapter),
        (None, "velocity", ForwardAdapter),
    ],
)
def test_the_type_of_a_controller_decides_the_message(task, kind, mode, adapter):
    controllers = {mode: ControllerConfig("arm", kind)} if kind else {}
    robot = dataclasses.replace(task.robot, controllers=controllers)
    assert isinstance(make_adapter(robot, mode, 0.05), adapter)


@pytest.mark.skipif(HAS_INTERA, reason="intera_core_msgs is installed")
def test_without_its_messages_the_intera_interface_says_what_to_install(task):
    with pytest.raises(ConfigError, match="needs the ROS 2 package intera_core_msgs"):
        make_adapter(_intera(task.robot), "velocity", 0.05)


@pytest.mark.skipif(not HAS_INTERA, reason="intera_core_msgs is not installed")
@pytest.mark.parametrize("mode", ["position", "velocity", "torque"])
def test_an_intera_command_survives_the_way_there_and_back(task, mode):
    adapter = make_adapter(_intera(task.robot), mode, 0.05)
    message = adapter.to_msg(np.arange(7.0), 42)
    assert message.header.stamp.sec > 1_700_000_000  # this PC's clock
    values, answers = adapter.from_msg(message)
    assert (values.tolist(), answers) == (list(range(7)), 42)
    message.mode = 4
    with pytest.raises(MessageError, match="command has mode 4"):
        adapter.from_msg(message)


# --- over DDS ---


@pytest.fixture
def describe(tmp_path):
    """A task file like sawyer_reach, in another mode, for an arm with another controller."""

    def write(kind: str, mode: str, scale: float) -> str:
        robot = yaml.safe_load((share_folder() / "config/robots/sawyer.yaml").read_text())
        robot |= {"controllers": {mode: {"name": "arm", "type": kind}}}
        (tmp_path / "arm.yaml").write_text(yaml.safe_dump(robot))
        task = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text())
        task |= {
            "robot": str(tmp_path / "arm.yaml"),
            "command_mode": mode,
            "action_scale": [scale] * 7,
        }
        (tmp_path / "reach.yaml").write_text(yaml.safe_dump(task))
        return str(tmp_path / "reach.yaml")

    return write


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.parametrize("factor", [0.0, 5.0], ids=["lockstep", "paced"])
def test_an_arm_moves_through_trajectories(processes, probe, describe, factor):
    task = describe(TRAJECTORY, "position", 0.04)
    states, commands = (
        probe.listen(JointState, "joint_states", RELIABLE),
        probe.listen(JointTrajectory, "sim_bridge/commands", RELIABLE),
    )
    replay = probe.listen(Float64MultiArray, "replay", RELIABLE)
    probe.play_learner()
    processes.node("sim_bridge", task=task, realtime_factor=factor)
    processes.node(
        "actor",
        {"commands": "sim_bridge/commands"},
        task=task,
        realtime_factor=factor,
        learner_patience_s=0.0,
    )
    probe.wait(
        lambda: (
            len(commands) > 30
            and states
            and np.ptp([state.position for state in states], axis=0).max() > 0.05
        )
    )
    probe.wait(lambda: len(replay) > 20)


@pytest.mark.stack
def test_a_task_that_the_controller_cannot_take_is_one_line(processes, describe):
    for node in ("actor", "sim_bridge"):
        process = processes.node(node, task=describe(TRAJECTORY, "velocity", 0.8))
        assert process.wait(240) == 2
        process.until_said("which takes commands of mode position only")


@pytest.mark.long
@pytest.mark.stack
def test_states_in_any_order_with_further_joints_are_understood(processes, probe, task):
    publisher = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    commands, reports = (
        probe.listen(Float64MultiArray, "commands", RELIABLE),
        probe.listen(DiagnosticArray, "/diagnostics", 10),
    )
    probe.play_learner()
    processes.node("actor", max_state_age_s=0.5)
    names, rng = ["head_pan", *task.robot.joints, "torso_t0"], np.random.default_rng(0)
    away = dict(
        zip(task.robot.joints, np.array(task.robot.neutral_position) + np.linspace(-1, 1, 7))
    )

    def told() -> bool:
        order = list(rng.permutation(names))
        position, zero = np.array([away.get(name, 9.9) for name in order]), np.zeros(9)
        publisher.publish(
            state_to_msg(probe.node.get_clock().now().nanoseconds, order, position, zero, zero)
        )
        return len(commands) > 20

    probe.wait(told)
    signs = np.sign(np.array(commands[-1].data))
    assert signs[0] > 0 > signs[-1]  # each joint on its way back to neutral
    assert not [
        e for r in reports for s in r.status for e in s.values if e.key == "fault/state_dropped"
    ]
