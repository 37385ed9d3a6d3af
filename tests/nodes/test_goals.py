"""A goal goes in over DDS: the simulated arm goes there, and every goal is answered."""

import numpy as np
import onnx
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from onnx import TensorProto, helper, numpy_helper
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from sql_ros.nodes.frames import rotated, tf2_ros
from sql_ros.nodes.messages import target_to_msg
from sql_ros.nodes.qos import LATCHED, NEWS, RELIABLE
from sql_ros.nodes.state_reader import StateReader
from sql_ros.robot.arm import Arm

pytestmark = pytest.mark.stack
NEAR, FAR = np.array([0.60, 0.10, 0.30]), np.array([0.58, -0.10, 0.25])
PATIENT = {"max_state_age_s": 2.0, "max_lateness_s": 2.0}  # this machine may be busy


@pytest.fixture(scope="module")
def straight(task, untrained) -> bytes:
    """A policy whose action is linear in the way to the target, by the Jacobian in mid-box."""
    model = onnx.load_model_from_string(untrained())
    robot, spec = task.robot, task.spec
    jacobian = Arm(robot).jacobian(np.array(robot.neutral_position))[:3]
    gain = np.zeros((spec.observation_size, spec.action_size), np.float32)
    gain[-3:] = (3.0 * np.linalg.pinv(jacobian) / np.array(spec.action_scale)[:, None]).T
    noise_size = model.graph.input[1].type.tensor_type.shape.dim[1].dim_value
    constants = {
        "gain": gain,
        "no_action": np.zeros((noise_size, spec.action_size), np.float32),
        "no_q": np.zeros((noise_size, 1), np.float32),
        "low": np.float32(-1.0),
        "high": np.float32(1.0),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("MatMul", ["observation", "gain"], ["one"]),
        helper.make_node("MatMul", ["noise", "no_action"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["several"]),
        helper.make_node("Clip", ["several", "low", "high"], ["action"]),
        helper.make_node("MatMul", ["noise", "no_q"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["q"]),
    ]
    outputs = [
        helper.make_tensor_value_info(
            "action", TensorProto.FLOAT, ["candidates", spec.action_size]
        ),
        helper.make_tensor_value_info("q", TensorProto.FLOAT, ["candidates"]),
    ]
    graph = helper.make_graph(
        nodes,
        "straight",
        list(model.graph.input),
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = model.ir_version
    made.metadata_props.extend(model.metadata_props)
    return bytes(made.SerializeToString())


class Play:
    """The simulated arm, an actor that plays, and somebody who sends goals."""

    def __init__(self, probe, processes, task, policy, **parameters) -> None:
        self.probe, self._arm = probe, Arm(task.robot)
        self._reader = StateReader(task.robot.wire_joints)
        self.states = probe.listen(JointState, "joint_states", RELIABLE)
        self.answers = probe.listen(String, "actor/goal_status", NEWS)
        self.targets = probe.listen(PoseStamped, "target", LATCHED)
        self.reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self.goals = probe.node.create_publisher(PoseStamped, "actor/goal", RELIABLE)
        common = {"realtime_factor": 2.0}
        playing = {"mode": "play", "policy": policy, "targets": "goal", **PATIENT}
        self.start_arm = lambda: processes.node("sim_bridge", **common)
        self.actor = processes.node(
            "actor", {"commands": "sim_bridge/commands"}, **{**common, **playing, **parameters}
        )
        probe.until_active("actor")
        probe.wait(self.goals.get_subscription_count)

    def message(self) -> str:
        found = [s.message for r in self.reports for s in r.status if s.name == "actor: control"]
        return found[-1] if found else ""

    def send(self, position, frame="base", **header) -> None:
        message = target_to_msg(np.asarray(position), 0, frame)
        for name, value in header.items():
            setattr(message.header, name, value)
        self.goals.publish(message)

    def answer(self, begin: str) -> str:
        self.probe.wait(
            lambda: self.answers and self.answers[-1].data.startswith(begin), what=begin
        )
        return self.answers[-1].data

    def tool(self) -> np.ndarray:
        return self._arm.state(*self._reader.read(self.states[-1])).tool_position

    def is_still(self) -> bool:
        seen = len(self.states)
        self.probe.wait(lambda: len(self.states) > seen + 20)
        return max(np.abs(state.velocity).max() for state in self.states[seen + 5 :]) < 0.02


@pytest.fixture
def play(probe, processes, task, straight, tmp_path):
    (tmp_path / "straight.onnx").write_bytes(straight)

    def begin(**parameters) -> Play:
        return Play(probe, processes, task, tmp_path / "straight.onnx", **parameters)

    return begin


def test_a_goal_is_accepted_reached_and_shown_and_the_next_preempts_it(play, task):
    scene = play()
    scene.start_arm()
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    assert scene.is_still()
    assert not scene.targets
    scene.send(NEAR)
    assert scene.answer("accepted").startswith(
        "accepted (0.600, 0.100, 0.300) in base for right_hand"
    )
    assert "0.5 s" in scene.answer("reached (0.600, 0.100, 0.300)")
    assert np.linalg.norm(scene.tool() - NEAR) < 1.5 * task.config.tolerance_m
    shown = scene.targets[-1]
    assert shown.header.frame_id == "base"
    assert (shown.pose.position.x, shown.pose.position.y) == (NEAR[0], NEAR[1])
    scene.probe.wait(lambda: scene.message().startswith("at goal (0.600"))
    scene.send(FAR)
    scene.send(NEAR)
    scene.probe.wait(lambda: any("preempted (0.580" in answer.data for answer in scene.answers))
    scene.answer("reached (0.600")


@pytest.mark.long
def test_a_stop_ends_the_goal_and_its_reset_moves_nothing(play):
    scene = play()
    scene.start_arm()
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    scene.send(NEAR)
    scene.answer("accepted")
    scene.probe.wait(lambda: scene.states, what="states")
    scene.probe.wait(lambda: np.abs(scene.states[-1].velocity).max() > 0.02, what="motion")
    assert scene.probe.call(Trigger, "actor/stop", Trigger.Request()).success
    scene.answer("preempted (0.600, 0.100, 0.300): stop")
    scene.send(FAR)
    assert "the arm is held, stop: ~/stop was called" in scene.answer("refused")
    assert scene.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    assert scene.is_still()
    scene.send(FAR)
    scene.probe.wait(lambda: "call ~/start first" in scene.answers[-1].data, what="another refusal")
    assert scene.probe.call(Trigger, "actor/start", Trigger.Request()).success
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    assert scene.is_still()
    scene.send(FAR)
    scene.answer("reached (0.580")


def test_what_makes_no_sense_is_refused_with_the_reason(play):
    scene = play()
    scene.send(NEAR)
    assert "no joint states yet" in scene.answer("refused")
    scene.start_arm()
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    scene.send([2.0, 0.0, 0.3])
    scene.probe.wait(lambda: "outside of the box" in scene.answer("refused"))
    assert "[0.45, -0.3, 0.1] to [0.75, 0.3, 0.45] m in base" in scene.answer("refused")
    scene.send([np.nan, 0.0, 0.3])
    scene.probe.wait(lambda: "not finite" in scene.answer("refused"))
    scene.send(NEAR, stamp=rclpy_time(1))
    scene.probe.wait(lambda: "expected at most 10 s" in scene.answer("refused"))
    if tf2_ros is None:
        scene.send(NEAR, frame="map")
        scene.probe.wait(lambda: "goal in frame 'map', expected 'base'" in scene.answer("refused"))
    assert scene.is_still()
    latecomer = scene.probe.listen(String, "actor/goal_status", NEWS)
    scene.probe.wait(lambda: latecomer and latecomer[-1].data.startswith("refused"))
    message = PoseStamped()  # no frame, no orientation
    message.pose.position.x, message.pose.position.y, message.pose.position.z = NEAR.tolist()
    message.pose.orientation.w = 0.0
    scene.goals.publish(message)
    accepted = scene.answer("accepted")
    assert (
        "in base, as the message names no frame, for right_hand; the orientation is ignored"
        in accepted
    )


@pytest.mark.long
def test_a_goal_does_not_outlive_a_deactivation(play):
    scene = play()
    scene.start_arm()
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    scene.send(NEAR)
    scene.answer("accepted")
    change = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert scene.probe.call(ChangeState, "actor/change_state", change).success
    scene.answer("preempted (0.600, 0.100, 0.300): the actor was deactivated")
    scene.reports.clear()
    change = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    assert scene.probe.call(ChangeState, "actor/change_state", change).success
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    assert scene.is_still()
    scene.send(FAR)
    scene.answer("reached (0.580")


def rclpy_time(seconds: int):
    return JointState().header.stamp.__class__(sec=seconds)


@pytest.mark.long
def test_an_actor_that_trains_refuses_goals(play):
    scene = play(mode="train", targets="drawn", explores=False)
    scene.send(NEAR)
    assert "mode:=play only" in scene.answer("refused")


@pytest.mark.long
def test_a_position_is_turned_by_a_quaternion():
    half = np.sqrt(0.5)
    about_z = np.array([0.0, 0.0, half, half])
    assert rotated(np.array([1.0, 2.0, 3.0]), about_z) == pytest.approx([-2.0, 1.0, 3.0])


@pytest.mark.long
@pytest.mark.skipif(tf2_ros is None, reason="tf2_ros is not on PyPI")
def test_a_goal_in_another_frame_is_transformed(play):
    from geometry_msgs.msg import TransformStamped
    from tf2_ros import StaticTransformBroadcaster

    scene = play()
    scene.start_arm()
    scene.probe.wait(lambda: scene.message().startswith("waiting for a goal"))
    table = TransformStamped(child_frame_id="table")
    table.header.frame_id = "base"
    table.transform.translation.x, table.transform.rotation.w = 0.5, 1.0
    StaticTransformBroadcaster(scene.probe.node).sendTransform(table)
    scene.send(NEAR - [0.5, 0.0, 0.0], frame="table")
    scene.answer("accepted (0.600, 0.100, 0.300)")
    scene.send(NEAR, frame="nowhere")
    scene.probe.wait(lambda: "no transform from 'nowhere'" in scene.answer("refused"))
    scene.send(NEAR, frame="nowhere")
    scene.send(FAR)
    scene.probe.wait(
        lambda: any("in nowhere: by goal (0.580" in each.data for each in scene.answers)
    )
