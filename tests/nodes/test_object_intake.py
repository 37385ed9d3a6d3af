"""Poses of objects: each fault of a source holds the arm with a kind of its own, and is counted."""

import threading
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from push_file import PUSH
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.messages import TRANSITION_FIELDS, state_to_msg
from sql_ros.nodes.messages.objects import object_to_msg
from sql_ros.nodes.object_intake import ObjectIntake
from sql_ros.nodes.qos import LATCHED, REPLAY
from sql_ros.nodes.state_intake import StateIntake
from sql_ros.robot.objects import UNKNOWN, ObjectPose
from sql_ros.robot.tasks import load_task

SECOND = 1_000_000_000
POSE = ObjectPose(np.array([0.5, 0.1, 0.02]), np.diag([-1.0, -1.0, 1.0]))


class Source:
    """An intake of the puck's poses, whose clocks stand where the test puts them."""

    def __init__(self, *, is_real=False, is_lockstep=False):
        self.at = 100.0  # control time and ROS time [s]
        self.number = 0
        self.diagnostics = SimpleNamespace(faults=Counter(), fault=self.count)
        self.requested = []
        publisher = SimpleNamespace(publish=self.requested.append)
        now = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=int(self.at * SECOND)))
        node = SimpleNamespace(
            ended=threading.Event(),
            reading=self,
            resolve_topic_name=lambda name: f"/{name}",
            create_publisher=lambda kind, topic, qos: publisher,
            get_clock=lambda: now,
            get_logger=lambda: SimpleNamespace(debug=lambda text: None),
        )
        guard = SimpleNamespace(
            clock=SimpleNamespace(at=lambda steady: self.at),
            permit=SimpleNamespace(is_real=is_real),
        )
        task = load_task(PUSH)
        self.intake = ObjectIntake(node, task, guard, self.diagnostics, is_lockstep=is_lockstep)

    def count(self, kind, text):
        self.diagnostics.faults[kind] += 1

    def send(self, stamp_s=None, frame="base_link", change=lambda message: None, step=1):
        """Send a pose; its stamp is the present time, if none is given."""
        stamp_ns = int((self.at if stamp_s is None else stamp_s) * SECOND)
        message = object_to_msg(POSE, stamp_ns, frame)
        change(message)
        self.number += step
        self.intake._on_pose("puck", message)

    def kinds(self):
        return list(self.intake.reasons(0.0))


def test_before_the_first_pose_the_arm_is_held_and_the_pose_is_finite():
    source = Source()
    assert source.kinds() == ["object_missing"]
    assert source.intake.poses == {"puck": UNKNOWN}
    source.send()
    assert source.kinds() == []
    assert np.allclose(source.intake.poses["puck"].position, POSE.position)
    assert np.allclose(source.intake.poses["puck"].rotation, POSE.rotation)
    source.intake.forget()
    assert source.kinds() == ["object_missing"]


def test_an_old_pose_holds_the_arm_until_a_new_one_comes():
    source = Source()
    source.send()
    source.at += 0.29
    assert source.kinds() == []
    source.at += 0.02
    assert source.kinds() == ["object_old"]
    source.send()
    assert source.kinds() == []


def test_a_source_that_repeats_its_stamp_gets_old():
    source = Source()
    source.send()
    for _ in range(4):
        source.at += 0.1
        source.send(stamp_s=100.0)
    assert source.kinds() == ["object_old"]
    assert source.diagnostics.faults["object_late"] == 4


@pytest.mark.parametrize("away_s", [-0.5, 0.5])
def test_on_a_real_arm_a_late_pose_is_not_new(away_s):
    source = Source(is_real=True)
    source.send(stamp_s=source.at + away_s)
    assert source.kinds() == ["object_missing"]
    assert source.diagnostics.faults["object_late"] == 1
    source.send(stamp_s=0.0)  # without a stamp its arrival counts
    assert source.kinds() == []


def infinite(message):
    message.pose.position.x = float("nan")


def unturned(message):
    message.pose.orientation.w = message.pose.orientation.z = 0.0


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"frame": "camera"}, "a pose in frame 'camera', expected 'base_link'"),
        ({"change": infinite}, "not finite"),
        ({"change": unturned}, "quaternion has length 0"),
    ],
    ids=["frame", "nan", "quaternion"],
)
def test_a_malformed_pose_holds_the_arm_until_a_good_one(fault, text):
    source = Source()
    source.send()
    source.send(**fault)
    (why,) = source.intake.reasons(0.0).items()
    assert why[0] == "object_malformed"
    assert text in why[1]
    assert np.allclose(source.intake.poses["puck"].position, POSE.position)
    assert source.diagnostics.faults["object_dropped"] == 1
    source.send()
    assert source.kinds() == []


def test_two_publishers_hold_the_arm():
    source = Source()
    source.send(step=5)
    source.send(step=-3)  # of another publisher
    assert source.kinds() == ["object_two_publishers"]


def test_in_lockstep_ages_do_not_count_but_the_stamp_does():
    source = Source(is_lockstep=True)
    source.send()
    source.at += 10.0
    assert source.kinds() == []
    assert not source.intake.lacks(100 * SECOND)
    assert source.intake.lacks(100 * SECOND + 1)


def test_a_request_that_is_not_fulfilled_is_counted():
    source = Source()
    source.intake.request({"puck": POSE}, False)
    assert not source.diagnostics.faults
    source.intake.request({"puck": POSE}, True)
    assert source.diagnostics.faults["object_not_placed"] == 1
    assert [m.pose.position.x for m in source.requested] == [0.5, 0.5]


def test_in_lockstep_a_state_waits_for_the_poses_of_its_time():
    """A state that is sent again waits no longer; then the guard holds the arm."""
    source = Source(is_lockstep=True)
    task = load_task(PUSH)
    guard = SimpleNamespace(check_stamp=lambda stamp_ns, arrived: None)
    node, clock = source.intake._node, source.intake._guard.clock
    intake = StateIntake(
        node,
        task.robot,
        clock,
        guard,
        source.diagnostics,
        source.intake,
        mode="velocity",
        is_lockstep=True,
    )
    answered = []
    intake.on_state = lambda state, arrived: answered.append(state)
    zeros = np.zeros(6)

    def hear(second):
        stamp_ns = second * SECOND
        source.number += 1
        intake.on_message(state_to_msg(stamp_ns, task.robot.joints, zeros, zeros, zeros))

    hear(1)
    assert not answered
    source.send(stamp_s=1.0)
    assert [state.stamp_ns for state in answered] == [SECOND]
    assert np.allclose(answered[0].objects["puck"].position, POSE.position)
    hear(2)
    assert len(answered) == 1
    hear(2)
    assert len(answered) == 2
    source.send(stamp_s=2.0)
    assert len(answered) == 2


@pytest.mark.stack
@pytest.mark.long
@pytest.mark.parametrize("factor", [0.0, 1.0], ids=["lockstep", "paced"])
def test_a_task_with_an_object_runs_in_a_stack(processes, probe, factor):
    """The object of each episode is placed before the episode begins."""
    replay = probe.listen(Float64MultiArray, "replay", REPLAY)
    requests = probe.listen(type(object_to_msg(POSE, 0, "")), "reset_request/puck", LATCHED)
    probe.play_learner()
    settings = {"task": PUSH, "realtime_factor": factor}
    processes.node("sim_bridge", **settings)
    to_bridge = {"commands": "sim_bridge/commands"}
    processes.node("actor", to_bridge, learner_patience_s=0.0, **settings)
    head = len(TRANSITION_FIELDS)
    place = TRANSITION_FIELDS.index("step")

    def firsts():
        """Return the first observation of each episode."""
        return [m.data[head : head + 18] for m in replay if m.data[place] == 0]

    probe.wait(lambda: len(firsts()) >= 2, timeout=120.0)
    assert len(requests) >= 2
    for observation, request in zip(firsts(), requests):
        puck = np.array(observation[12:14]) + observation[14:16]
        wanted = request.pose.position
        assert np.linalg.norm(puck - [wanted.x, wanted.y]) < 0.02
