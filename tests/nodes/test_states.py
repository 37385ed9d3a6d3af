"""The actor with states as drivers send them, over DDS.

The test plays the driver of an arm that stands still.
"""

import time

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.common.data_files import share_folder
from sql_ros.nodes.messages import TransitionCodec, state_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, REPLAY, SENSOR
from sql_ros.robot.driver.writers import CONTESTED_S

pytestmark = pytest.mark.stack
AWAY = 0.5  # rad from the start pose: the actor moves
NAN = float("nan")


class Driver:
    """Publishes states of the Sawyer's joints, altered as a test likes."""

    def __init__(self, probe, task, *, qos=RELIABLE, prefix="", node=None) -> None:
        self.probe, self.joints = probe, [prefix + joint for joint in task.robot.joints]
        self.node = node or probe.node
        self.publisher = self.node.create_publisher(JointState, "joint_states", qos)
        self.position = np.array(task.robot.neutral_position)
        self.position[0] = AWAY
        self.told = time.monotonic()

    def tell(self, **altered) -> None:
        stamp, zero = time.time_ns(), np.zeros(len(self.joints))
        message = state_to_msg(stamp, self.joints, self.position, zero, zero)
        for name, value in altered.items():
            setattr(message, name, value)
        self.publisher.publish(message)

    def follow(self, commands) -> None:
        """Move as the last command says, and tell."""
        now = time.monotonic()
        velocity = np.array(commands[-1].data) if commands else np.zeros(len(self.joints))
        self.position = self.position + (now - self.told) * velocity
        self.told = now
        self.tell(velocity=velocity.tolist())


class Scene:
    """An actor, what it sends and what it reports."""

    def __init__(self, probe, processes, policy, task="sawyer_reach", **parameters) -> None:
        self.probe = probe
        self.commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
        self.reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        fixed = {"mode": "play", "policy": policy, "max_state_age_s": 0.3}
        self.actor = processes.node("actor", **{"task": task, **fixed, **parameters})

    def moves(self) -> bool:
        return bool(self.commands) and bool(np.any(np.array(self.commands[-1].data) != 0))

    def status(self) -> DiagnosticStatus:
        found = [s for r in self.reports for s in r.status if s.name == "actor: control"]
        return found[-1] if found else DiagnosticStatus()

    def value(self, key: str) -> int:
        return int({entry.key: entry.value for entry in self.status().values}.get(key, "0"))

    def log(self) -> str:
        return self.actor.log.read_text()

    def until(self, condition, *tellers, what: str = "") -> None:
        """Let drivers speak in turn until a condition holds."""

        def said():
            for tell in tellers:
                tell()
            return condition()

        self.probe.wait(said, timeout=360, what=what or str(condition))

    def holds_for(self, kind: str) -> bool:
        return f"holding, {kind}: " in self.status().message


@pytest.fixture
def start(probe, processes, untrained, tmp_path):
    """Start an actor that plays an untrained policy; return its scene."""
    (tmp_path / "policy.onnx").write_bytes(untrained())

    def begin(*task, **parameters) -> Scene:
        return Scene(probe, processes, tmp_path / "policy.onnx", *task, **parameters)

    return begin


@pytest.fixture
def reach_with(tmp_path):
    """Write sawyer_reach for an arm with further keys in its robot file; return its path."""

    def write(**keys) -> str:
        share = share_folder() / "config"
        robot = yaml.safe_load((share / "robots/sawyer.yaml").read_text()) | keys
        (tmp_path / "robot.yaml").write_text(yaml.safe_dump(robot))
        task = yaml.safe_load((share / "tasks/sawyer_reach.yaml").read_text())
        task["robot"] = str(tmp_path / "robot.yaml")
        (tmp_path / "sawyer_reach.yaml").write_text(yaml.safe_dump(task))
        return str(tmp_path / "sawyer_reach.yaml")

    return write


@pytest.mark.long
@pytest.mark.parametrize("effort", [[NAN] * 7, []], ids=["nan", "none"])
def test_effort_that_is_not_measured_lets_the_arm_move(probe, start, task, effort):
    driver, scene = Driver(probe, task, qos=SENSOR), start()
    scene.until(scene.moves, lambda: driver.tell(effort=effort))
    assert scene.value("fault/state_dropped") == 0


@pytest.mark.long
def test_before_the_first_state_it_warns_that_it_waits(probe, start, task):
    scene = start()
    scene.until(lambda: "waiting for joint_states" in scene.status().message)
    assert scene.status().level == DiagnosticStatus.WARN
    assert "right_j0" in scene.status().message
    driver = Driver(probe, task)
    scene.until(lambda: scene.status().message == "acting", driver.tell)


@pytest.mark.short("nan")
@pytest.mark.parametrize("velocity", [[NAN] * 7, []], ids=["nan", "none"])
def test_velocity_that_is_not_measured_is_a_hold_that_names_the_option(
    probe, start, task, velocity
):
    driver, scene = Driver(probe, task), start()
    scene.until(lambda: scene.holds_for("state_bad"), lambda: driver.tell(velocity=velocity))
    assert "velocity_from_position: true" in scene.status().message
    assert not scene.commands


@pytest.mark.long
def test_velocity_from_position_lets_such_an_arm_move(probe, start, task, reach_with):
    driver = Driver(probe, task)
    scene = start(reach_with(velocity_from_position=True))
    scene.until(scene.moves, lambda: driver.tell(velocity=[NAN] * 7))


@pytest.mark.long
def test_states_without_stamps_are_taken_as_of_their_arrival_said_once(probe, start, task):
    driver, scene = Driver(probe, task), start()

    def unstamped() -> None:
        driver.tell(header=JointState().header)

    scene.until(lambda: scene.moves() and len(scene.commands) > 30, unstamped)
    assert scene.log().count("have no stamp") == 1
    assert scene.value("hold/stamps_frozen") == 0
    scene.until(lambda: scene.holds_for("state_too_old"), what="hold once states stop")


def test_a_joint_that_is_named_twice_is_a_hold_that_names_it(probe, start, task):
    driver, scene = Driver(probe, task), start()
    scene.until(scene.moves, driver.tell)
    stale = {"name": ["right_j3", *driver.joints]}
    values = {key: [0.0] * 8 for key in ("position", "velocity", "effort")}
    scene.until(lambda: scene.holds_for("state_bad"), lambda: driver.tell(**stale, **values))
    assert "names right_j3 twice" in scene.status().message


# --- publishers ---


@pytest.fixture
def another(probe):
    """A second node in the test's context."""
    node = rclpy.create_node("second_driver", namespace="/left", context=probe.context)
    yield node
    node.destroy_node()


@pytest.mark.long
def test_two_publishers_of_the_arms_states_are_a_hold_that_names_both(probe, start, task, another):
    """Both say the same, so nothing but their being two is wrong."""
    driver, scene = Driver(probe, task), start()
    scene.until(scene.moves, driver.tell)
    second = another.create_publisher(JointState, "/joint_states", RELIABLE)
    first, driver.publisher = driver.publisher, second
    scene.until(lambda: second.get_subscription_count() >= 1)
    scene.commands.clear()

    def both() -> None:
        for driver.publisher in (first, second):
            driver.tell()

    scene.until(lambda: scene.holds_for("two_publishers"), both)
    message = scene.status().message
    assert "right_j0, right_j1" in message
    assert "/probe" in message
    assert "/left/second_driver" in message
    scene.commands.clear()
    scene.until(lambda: len(scene.commands) > 5, both)
    assert not any(np.any(np.array(command.data) != 0) for command in scene.commands)
    driver.publisher = first
    scene.until(scene.moves, driver.tell, what="motion with one publisher again")


@pytest.mark.long
def test_a_restarted_publisher_is_no_second_one_for_long(probe, start, task):
    driver, scene = Driver(probe, task), start()
    scene.until(lambda: scene.moves() and len(scene.commands) > 20, driver.tell)
    probe.node.destroy_publisher(driver.publisher)
    driver.publisher = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    probe.wait(driver.publisher.get_subscription_count)
    scene.commands.clear()
    began = time.monotonic()
    scene.until(scene.moves, driver.tell)
    assert time.monotonic() - began < CONTESTED_S + 8.0  # this machine may be busy


@pytest.mark.long
def test_a_gripper_and_a_mobile_base_are_left_alone_and_logged_once(probe, start, task, another):
    driver, scene = Driver(probe, task), start()
    others = another.create_publisher(JointState, "/joint_states", RELIABLE)

    def all_speak() -> None:
        driver.tell()
        others.publish(JointState(name=["finger"], position=[0.0]))
        others.publish(JointState(name=["wheel_left", "wheel_right"], position=[0.0, 0.0]))

    scene.until(lambda: scene.value("fault/state_foreign") > 150, all_speak)
    scene.until(scene.moves, all_speak)
    assert scene.log().count("states of finger") == 1
    assert scene.log().count("states of wheel_left, wheel_right") == 1
    assert scene.value("hold/two_publishers") == 0


def test_a_finger_elsewhere_than_it_is_guarded_is_a_hold(probe, start, task, reach_with, tmp_path):
    hand = '<site name="right_hand"/>'
    finger = '<body><joint name="finger" range="0 1"/><geom size="0.01" mass="0.1"/></body>'
    text = (share_folder() / "sim/robots/sawyer.xml").read_text().replace(hand, hand + finger)
    (tmp_path / "arm.xml").write_text(text)
    path = reach_with(model=str(tmp_path / "arm.xml"), fixed_joints={"finger": 0.5})
    driver, scene = Driver(probe, task), start(path)
    names = [*driver.joints, "finger"]

    def tell(angle: float) -> None:
        position = [*driver.position.tolist(), angle]
        driver.tell(name=names, position=position, velocity=[0.0] * 8, effort=[0.0] * 8)

    scene.until(lambda: scene.holds_for("posture"), lambda: tell(0.9))
    assert not scene.moves()
    scene.until(scene.moves, lambda: tell(0.5))


# --- names ---


@pytest.mark.long
def test_a_prefix_is_on_the_wire_and_nowhere_else(probe, start, task):
    """The policy is that of the arm without prefix."""
    targets = probe.listen(PoseStamped, "target", LATCHED)
    driver = Driver(probe, task, prefix="left_")
    scene = start(joint_prefix="left_")
    scene.until(lambda: scene.moves() and targets, lambda: driver.follow(scene.commands))
    assert scene.commands[-1].layout.dim[0].label == f"velocity {' '.join(driver.joints)}"
    assert targets[-1].header.frame_id == "left_base"


@pytest.mark.long
def test_the_bridge_and_the_actor_agree_on_prefix_and_frames(
    probe, processes, reach_with, untrained, tmp_path
):
    path = reach_with(joint_prefix="right_arm_", base_frame="base_link")
    (tmp_path / "policy.onnx").write_bytes(untrained())
    states = probe.listen(JointState, "joint_states", RELIABLE)
    targets = probe.listen(PoseStamped, "target", LATCHED)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    common = {"task": path, "realtime_factor": 0.0}
    playing = {"mode": "play", "policy": tmp_path / "policy.onnx"}
    processes.node("sim_bridge", **common)
    processes.node("actor", {"commands": "sim_bridge/commands"}, **common, **playing)
    probe.wait(lambda: len(states) > 100 and targets and len(reports) > 4)
    assert states[-1].name[0] == "right_arm_right_j0"
    assert targets[-1].header.frame_id == "right_arm_base_link"
    faults = [v.key for r in reports for s in r.status for v in s.values if "_dropped" in v.key]
    assert not faults


@pytest.mark.long
def test_an_arm_with_another_prefix_is_waited_for_with_a_hint(probe, start, task):
    driver, scene = Driver(probe, task, prefix="left_"), start()
    scene.until(lambda: "joint_prefix:=left_?" in scene.log(), driver.tell)
    assert not scene.commands


# --- rates and orders ---


@pytest.mark.long
@pytest.mark.parametrize("rate_hz", [125, 1000])
@pytest.mark.parametrize("qos", [RELIABLE, SENSOR], ids=["reliable", "best_effort"])
def test_states_at_any_rate_in_any_order_with_other_joints_move_the_arm(
    probe, start, task, rate_hz, qos
):
    driver, scene = Driver(probe, task, qos=qos), start()
    names = ["finger", *reversed(driver.joints), "head_pan"]
    positions = [0.0, *reversed(driver.position.tolist()), 0.0]
    scene.until(driver.publisher.get_subscription_count)
    scene.commands.clear()

    def burst() -> None:
        end = time.monotonic() + 0.2
        due = time.monotonic()
        while time.monotonic() < end:
            driver.tell(name=names, position=positions, velocity=[0.0] * 9, effort=[NAN] * 9)
            due += 1.0 / rate_hz
            time.sleep(max(due - time.monotonic(), 0.0))

    scene.until(lambda: scene.moves() and len(scene.commands) > 20, burst)
    assert scene.value("fault/state_dropped") == 0
    assert scene.value("hold/two_publishers") == 0


@pytest.mark.long
def test_learner_and_monitor_warn_while_nothing_arrives(probe, processes, fast_learner, tmp_path):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("learner", run_dir=tmp_path / "run", **fast_learner)
    processes.node("monitor", run_dir=tmp_path / "run")

    def says(name: str, text: str) -> bool:
        found = [s for r in reports for s in r.status if s.hardware_id == name]
        return (
            bool(found) and found[-1].level == DiagnosticStatus.WARN and text in found[-1].message
        )

    probe.wait(lambda: says("/learner", "waiting for transitions on /replay"))
    probe.wait(lambda: says("/monitor", "waiting for the actor's diagnostics"))


@pytest.mark.long
def test_states_slower_than_control_are_said_and_skipped(probe, start, task):
    """A driver at 15 Hz for control at 20 Hz: no transition has the same state twice."""
    driver, codec, entries = Driver(probe, task), TransitionCodec(task.spec), []
    driver.position[0] = 0.1
    probe.node.create_subscription(
        Float64MultiArray, "replay", lambda m: entries.append(codec.from_msg(m)), REPLAY
    )
    probe.play_learner()
    scene = start(mode="train")

    def move() -> None:
        if scene.commands:
            driver.position += np.array(scene.commands[-1].data) / 15.0
        driver.tell()

    probe.node.create_timer(1.0 / 15.0, move)
    scene.until(lambda: len(entries) > 20 and scene.value("transitions_skipped") > 20)
    scene.until(lambda: scene.value("fault/states_slow"))
    pairs = [(entry.transition.observation, entry.transition.next_observation) for entry in entries]
    assert not any(np.array_equal(*pair) for pair in pairs)
    assert scene.value("fault/states_slow") == 1
    assert "newer states per second for 20.0 control steps" in scene.log()


@pytest.mark.long
def test_a_continuous_joint_may_be_reported_from_minus_pi_to_pi(
    probe, start, task, reach_with, tmp_path
):
    """It turns through pi; that is no jump."""
    text = (share_folder() / "sim/robots/sawyer.xml").read_text()
    ranged = 'class="sawyer_large_drive" range="-3.0503 3.0503"'
    assert text.count(ranged) == 1
    (tmp_path / "endless.xml").write_text(text.replace(ranged, 'class="sawyer_large_drive"'))
    robot = task.robot
    scene = start(
        reach_with(
            model=str(tmp_path / "endless.xml"),
            position_lower=[None, *robot.position_lower[1:]],
            position_upper=[None, *robot.position_upper[1:]],
        )
    )
    driver = Driver(probe, task)
    driver.position[0] = 3.0
    speed = np.zeros(len(robot.joints))
    speed[0] = 0.3

    def turn() -> None:
        now = time.monotonic()
        driver.position[0] += speed[0] * (now - driver.told)
        driver.told = now
        wrapped = driver.position.copy()
        wrapped[0] = (wrapped[0] + np.pi) % (2.0 * np.pi) - np.pi
        driver.tell(position=wrapped.tolist(), velocity=speed.tolist())

    scene.until(lambda: scene.moves() and driver.position[0] > np.pi + 0.3, turn)
    assert scene.value("hold/velocity_wrong") == 0
    assert scene.value("hold/state_jumped") == 0
