"""A second process in the place of a live one is refused; a dead one keeps nobody out."""

import signal
import sys

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.nodes.claims import Claim
from sql_ros.nodes.messages import claim_to_msg, state_to_msg
from sql_ros.nodes.presence import SIGN_OF_LIFE_S, TOPIC, unclaimed_publishers
from sql_ros.nodes.qos import LATCHED, RELIABLE

pytestmark = pytest.mark.stack
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Arm:
    """A still arm away from where the actor wants it, its learner, and what the actor sends."""

    def __init__(self, probe, task) -> None:
        self.probe, self.joints = probe, task.robot.joints
        self.position = np.array(task.robot.neutral_position) + 0.3
        self.states = probe.node.create_publisher(JointState, "/joint_states", RELIABLE)
        self.commands = probe.listen(Float64MultiArray, "/commands", RELIABLE)
        probe.play_learner()

    def until(self, condition, what: str = "", timeout: float = 240.0):
        """Publish states until a condition holds."""

        def said():
            now, zero = self.probe.node.get_clock().now().nanoseconds, np.zeros(len(self.joints))
            self.states.publish(state_to_msg(now, self.joints, self.position, zero, zero))
            return condition()

        return self.probe.wait(said, timeout=timeout, what=what)


@pytest.fixture
def arm(probe, task):
    return Arm(probe, task)


def _change(probe, node: str, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    probe.call(GetState, f"{node}/get_state", GetState.Request())  # the way back is matched
    client = probe._client(ChangeState, f"{node}/change_state")
    future = client.call_async(request)
    probe.wait(future.done)
    return future.result().success


def _refused(process, why: str) -> None:
    """Check that a process ended with one line."""
    assert process.returncode == 2
    (line,) = [line for line in process.log.read_text().splitlines() if "Error" in line]
    assert line.startswith(f"ConfigError: {why}")
    assert line.endswith("give one of the two a ROS_DOMAIN_ID or a namespace of its own")


@pytest.mark.parametrize(
    ("publishers", "alive", "expected"),
    [
        ([], [], []),
        (["/rqt"], [], ["/rqt"]),
        (["/actor"], [], ["another /actor"]),
        (["/actor"], ["/actor"], []),
        (["/actor", "/actor"], ["/actor"], ["another /actor"]),
        (["/standby", "/standby_command_watchdog"], ["/standby"], []),
        (["/standby_command_watchdog"], [], ["/standby_command_watchdog"]),
        (["/actor_command_watchdog"], ["/standby"], ["another /actor_command_watchdog"]),
        (["/rqt", "/standby", "/rqt", "/standby"], ["/standby"], ["/rqt", "/standby"]),
    ],
)
def test_a_publisher_that_no_live_process_accounts_for_is_a_stranger(publishers, alive, expected):
    assert unclaimed_publishers(publishers, alive, "/actor") == expected


@pytest.mark.short("sim_bridge")
@pytest.mark.parametrize("node", ["learner", "sim_bridge", "monitor"])
def test_a_second_node_of_a_name_is_refused(processes, probe, fast_learner, node):
    extra = fast_learner if node == "learner" else {}
    first = processes.node(node, **extra)
    probe.wait(lambda: node in probe.node.get_node_names())
    second = processes.node(node, **extra)
    assert second.wait(240) == 2
    _refused(second, f"another /{node} is there (process {first.pid} on ")
    assert first.poll() is None


def test_a_second_actor_of_a_topic_is_refused_and_sends_nothing(processes, probe, arm):
    """Its node has another name; its states have stamps of their own, which commands answer."""
    first = processes.node("actor")
    arm.until(lambda: arm.commands)
    states = probe.node.create_publisher(JointState, "/left/joint_states", RELIABLE)
    topics = {"commands": "/commands", "learner/progress": "/learner/progress", "__ns": "/left"}
    second = processes.node("actor", topics)
    zero, stamps = np.zeros(7), iter(range(1, 10**6))

    def has_ended() -> bool:
        states.publish(state_to_msg(next(stamps), arm.joints, arm.position, zero, zero))
        return second.poll() is not None

    arm.until(has_ended)
    _refused(second, f"/actor commands /commands already (process {first.pid} on ")
    answered = {int(command.layout.dim[1].label.split()[1]) for command in arm.commands}
    assert min(answered) > next(stamps)
    assert first.poll() is None


@pytest.mark.long
def test_of_two_started_at_the_same_moment_exactly_one_stays(processes, probe, arm):
    both = [processes.node("actor") for _ in range(2)]
    arm.until(lambda: any(process.poll() is not None for process in both))
    arm.until(lambda: len(arm.commands) > 20)
    (stays,) = [process for process in both if process.poll() is None]
    (other,) = [process for process in both if process is not stays]
    _refused(other, f"another /actor is there (process {stays.pid} on ")


@pytest.mark.long
def test_a_live_other_refuses_an_activation_and_a_dead_one_does_not(processes, probe, arm):
    """The second was there before the first died, and hears of its death after 20 s only."""
    first = processes.node("actor")
    arm.until(lambda: arm.commands)
    second = processes.node("actor", {"__node": "standby"}, autostart=False)
    assert _change(probe, "standby", Transition.TRANSITION_CONFIGURE)
    assert not _change(probe, "standby", ACTIVATE)
    why = f"cannot activate: ConfigError: /actor commands /commands already (process {first.pid} on"
    second.until_said(why)
    first.kill()
    first.wait()
    assert len(probe.node.get_publishers_info_by_topic("/commands")) == 2  # the dead one, too
    assert _change(probe, "standby", ACTIVATE)
    arm.commands.clear()
    arm.until(lambda: arm.commands)


@pytest.mark.long
def test_a_killed_actor_is_started_again_at_once(processes, probe, arm):
    for _ in range(3):
        actor = processes.node("actor")
        arm.commands.clear()
        arm.until(lambda: arm.commands)
        actor.kill()
        actor.wait()


@pytest.mark.long
def test_a_deactivated_actor_leaves_its_place(processes, probe, arm):
    processes.node("actor", autostart=True)
    probe.until_active("actor")
    assert _change(probe, "actor", DEACTIVATE)
    second = processes.node("actor", {"__node": "other"})
    arm.until(lambda: len(arm.commands) > 20)
    assert second.poll() is None
    assert not _change(probe, "actor", ACTIVATE)


@pytest.mark.long
def test_a_stopped_actor_gives_way_to_its_successor(processes, probe, arm):
    """It was active before, and still counts as older by its last claim."""
    stopped = processes.node("actor")
    arm.until(lambda: arm.commands)
    stopped.send_signal(signal.SIGSTOP)
    probe.spin_for(SIGN_OF_LIFE_S + 1.0)
    arm.commands.clear()
    successor = processes.node("actor")
    arm.until(lambda: len(arm.commands) > 20)
    stopped.send_signal(signal.SIGCONT)
    arm.until(lambda: stopped.poll() is not None or successor.poll() is not None)
    _refused(stopped, f"another /actor is there (process {successor.pid} on ")
    arm.commands.clear()
    arm.until(lambda: len(arm.commands) > 20)
    assert successor.poll() is None


@pytest.mark.long
def test_a_stopped_actor_holds_until_it_has_its_place_again(processes, probe, arm):
    actor = processes.node("actor")
    arm.until(lambda: arm.commands and np.any(np.array(arm.commands[-1].data) != 0))
    actor.send_signal(signal.SIGSTOP)
    probe.spin_for(SIGN_OF_LIFE_S + 1.0)
    arm.commands.clear()
    actor.send_signal(signal.SIGCONT)
    arm.until(lambda: "claim_lost is over" in actor.log.read_text())
    actor.until_said("holding, claim_lost: this process gave no sign of life")
    arm.until(lambda: np.any(np.array(arm.commands[-1].data) != 0))


@pytest.fixture
def older(probe):
    """`older(node)` claims the place of a node as a process that was active before, found late."""
    publisher = probe.node.create_publisher(UInt64MultiArray, TOPIC, LATCHED)
    return lambda **claim: publisher.publish(claim_to_msg(Claim(since_ns=1, **claim)))


@pytest.mark.long
def test_an_active_actor_that_meets_an_older_one_holds_and_ends(processes, probe, arm, older):
    actor = processes.node("actor")
    arm.until(lambda: arm.commands and np.any(np.array(arm.commands[-1].data) != 0))
    older(node="/right/actor", commands="/commands", process="7 on bench")
    arm.until(lambda: actor.poll() is not None)
    _refused(actor, "/right/actor commands /commands already (process 7 on bench)")
    probe.spin_for(0.3)
    assert np.all(np.array(arm.commands[-1].data) == 0)


@pytest.mark.long
def test_without_autostart_it_is_deactivated_instead(processes, probe, arm, older):
    actor = processes.node("actor", autostart=False)
    assert _change(probe, "actor", Transition.TRANSITION_CONFIGURE)
    assert _change(probe, "actor", ACTIVATE)
    arm.until(lambda: arm.commands and np.any(np.array(arm.commands[-1].data) != 0))
    older(node="/actor", process="7 on bench")

    def state() -> str:
        return probe.call(GetState, "actor/get_state", GetState.Request()).current_state.label

    arm.until(lambda: state() == "inactive")
    actor.until_said("deactivating: another /actor is there (process 7 on bench)")
    assert np.all(np.array(arm.commands[-1].data) == 0)
    assert processes.stop(actor, signal.SIGINT) == 0


@pytest.mark.long
def test_a_stack_is_refused_beside_another_in_its_namespace(processes, probe, fast_learner):
    processes.node("sim_bridge", session="'1000'")
    probe.until_active("sim_bridge")
    learner = processes.node("learner", session="'1001'", **fast_learner)
    assert learner.wait(240) == 2
    _refused(learner, "another stack is in this namespace: /sim_bridge (process ")


@pytest.mark.long
def test_a_second_sql_ros_up_ends_with_the_reason(processes, probe, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("monitor: {ros__parameters: {evaluation_episodes: 1}}")
    words = [sys.executable, "-m", "sql_ros.cli.main", "up", "mode:=play", "policy:=sawyer_stack"]
    words.append(f"params_file:={params}")
    first = processes.start([*words, f"run_dir:={tmp_path / 'first'}"])
    for node in ("actor", "sim_bridge"):
        probe.until_active(node)
    second = processes.start([*words, f"run_dir:={tmp_path / 'second'}"])
    assert second.wait(240) == 2
    said = second.log.read_text()
    assert "ConfigError: another " in said
    assert f"(nothing was begun: {tmp_path / 'second'} is removed again)" in said
    assert not (tmp_path / "second").exists()
    assert first.poll() is None
    assert processes.stop(first) == 0


@pytest.mark.long
def test_a_refused_training_leaves_latest_where_it_pointed(
    processes, probe, fast_learner, tmp_path
):
    """Its monitor hears the learner that is there, which was started by hand."""
    runs = tmp_path / "runs"
    (runs / "good").mkdir(parents=True)
    (runs / "latest").symlink_to("good")
    params = tmp_path / "params.yaml"
    params.write_text("learner: {ros__parameters: {algorithm: {hidden_sizes: [8]}}}")
    learner = processes.node("learner", **fast_learner)
    probe.until_active("learner")
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "up",
        f"run_dir:={runs / 'new'}",
        f"params_file:={params}",
    ]
    second = processes.start(words)
    assert second.wait(240) == 2
    second.until_said("ConfigError: another /learner is there")
    assert (runs / "latest").resolve() == runs / "good"
    assert not (runs / "new").exists()
    assert learner.poll() is None


@pytest.mark.long
def test_who_else_publishes_commands_is_named(processes, probe, arm):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.node.create_publisher(Float64MultiArray, "/commands", RELIABLE)
    actor = processes.node("actor")

    def said() -> bool:
        entries = [e.key for r in reports for s in r.status for e in s.values]
        return "fault/commands_shared" in entries

    arm.until(said)
    actor.until_said("/probe publishes on /commands, too: the arm obeys both")
