"""Managed nodes through their real services: what each state does, what failing leaves, and that
nothing moves unasked.
"""

import shutil
import signal
import sys

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE

pytestmark = pytest.mark.stack

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
ROUND = (
    (CONFIGURE, "inactive"),
    (ACTIVATE, "active"),
    (DEACTIVATE, "inactive"),
    (CLEANUP, "unconfigured"),
)


def _change(probe, node: str, transition: int) -> bool:
    """Asks once: a transition asked for twice would fail the second time."""
    probe.call(GetState, f"{node}/get_state", GetState.Request())  # the way back is matched
    client = probe._client(ChangeState, f"{node}/change_state")
    probe.wait(client.service_is_ready)
    future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
    probe.wait(future.done, timeout=120)
    return future.result().success


def _state(probe, node: str) -> str:
    return probe.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label


def _message(reports, node: str) -> str:
    return next(
        (s.message for r in reversed(reports) for s in r.status if s.name.startswith(f"{node}:")),
        "",
    )


@pytest.mark.short("actor")
@pytest.mark.parametrize("node", ["actor", "sim_bridge", "learner"])
def test_a_node_goes_round_its_states_twice_and_says_so(
    processes, probe, fast_learner, node, tmp_path
):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    extra = {**fast_learner, "run_dir": tmp_path} if node == "learner" else {}
    process = processes.node(node, autostart=False, **extra)
    probe.wait(lambda: _message(reports, node) == "unconfigured")
    assert (
        probe.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=["task"]))
        .values[0]
        .string_value
    )
    for transition, state in 2 * ROUND:
        assert _change(probe, node, transition), process.log.read_text()
        assert _state(probe, node) == state
        if state != "active":
            reports.clear()
            probe.wait(lambda: _message(reports, node) == state)  # noqa: B023  (used at once)
        made = {"actor": "commands", "sim_bridge": "joint_states", "learner": "policy"}[node]
        count = int(state != "unconfigured")
        publishers = probe.node.get_publishers_info_by_topic
        probe.wait(lambda: len(publishers(made)) == count)  # noqa: B023
    assert processes.stop(process) == 0
    assert "rror" not in process.log.read_text()


def test_nothing_moves_before_activation_and_the_arm_holds_after_deactivation(processes, probe):
    states, commands = (
        probe.listen(JointState, "joint_states", RELIABLE),
        probe.listen(Float64MultiArray, "sim_bridge/commands", RELIABLE),
    )
    probe.play_learner()
    processes.node("sim_bridge", autostart=False)
    processes.node("actor", {"commands": "sim_bridge/commands"}, autostart=False)
    assert _change(probe, "sim_bridge", CONFIGURE)
    assert _change(probe, "actor", CONFIGURE)
    probe.spin_for(1.0)
    assert not states  # no physics
    refused = probe.call(Trigger, "sim_bridge/reset_world", Trigger.Request())
    assert (refused.success, refused.message) == (False, "the node is inactive: activate it first")
    assert _change(probe, "sim_bridge", ACTIVATE)
    probe.wait(lambda: len(states) > 100)
    assert not commands  # an inactive actor sends none
    assert np.ptp([state.position for state in states], axis=0).max() < 1e-3
    assert _change(probe, "actor", ACTIVATE)
    probe.wait(lambda: np.abs(states[-1].velocity).max() > 0.1)
    assert _change(probe, "actor", DEACTIVATE)
    probe.spin_for(0.5)
    sent = len(commands)
    assert np.all(np.array(commands[-1].data) == 0)  # the last one
    probe.wait(lambda: np.abs(states[-1].velocity).max() < 0.01)
    assert len(commands) == sent
    assert _change(probe, "actor", ACTIVATE)
    probe.wait(lambda: np.abs(states[-1].velocity).max() > 0.1)
    assert _change(probe, "sim_bridge", DEACTIVATE)
    probe.spin_for(0.2)
    heard = len(states)
    probe.spin_for(0.5)
    assert len(states) == heard


SLOW = """
import pathlib, sys, time
from sql_ros.nodes import actor_node, managed
def request_realtime(config):
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    return {}
managed.request_realtime = request_realtime
sys.exit(actor_node.main())
"""


@pytest.mark.long
def test_no_state_is_answered_before_all_is_ready_for_it(processes, probe, task, tmp_path):
    """Locking memory and collecting garbage take tenths of a second, and every answer meanwhile
    would be late.
    """
    commands, states = (
        probe.listen(Float64MultiArray, "commands", RELIABLE),
        probe.node.create_publisher(JointState, "joint_states", RELIABLE),
    )
    probe.play_learner()
    processes.start([sys.executable, "-c", SLOW], cwd=tmp_path)
    probe.wait(
        lambda: (
            states.get_subscription_count()
            and len(probe.node.get_publishers_info_by_topic("commands"))
        )
    )
    still, stamps = np.zeros(7), iter(range(1, 10**6))

    def tell() -> None:
        neutral = np.array(task.robot.neutral_position)
        states.publish(
            state_to_msg(next(stamps) * 10_000_000, task.robot.joints, neutral, still, still)
        )
        probe.spin_for(0.01)

    for _ in range(50):
        tell()
    assert not commands
    (tmp_path / "go").touch()
    probe.wait(lambda: tell() or commands)


@pytest.mark.long
def test_a_failing_configure_says_why_and_can_be_repeated(processes, probe, untrained, tmp_path):
    reports, missing = probe.listen(DiagnosticArray, "/diagnostics", 10), tmp_path / "policy.onnx"
    actor = processes.node("actor", autostart=False, policy=missing)
    assert not _change(probe, "actor", CONFIGURE)
    assert _state(probe, "actor") == "unconfigured"
    actor.until_said("cannot configure")
    (line,) = [line for line in actor.log.read_text().splitlines() if "rror" in line]
    assert f"cannot configure: ConfigError: cannot use policy {missing}" in line
    probe.wait(lambda: _message(reports, "actor").startswith("unconfigured: cannot use policy"))
    assert not probe.node.get_publishers_info_by_topic("commands")
    missing.write_bytes(untrained(1))
    assert _change(probe, "actor", CONFIGURE)
    assert _change(probe, "actor", ACTIVATE)
    assert _state(probe, "actor") == "active"


HALF_WAY = """
import sys
from std_srvs.srv import Trigger
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.managed import ManagedConfig, ManagedNode
from sql_ros.nodes.process import run_node

class HalfWay(ManagedNode):
    def __init__(self):
        super().__init__("half_way", "nothing", {"": ManagedConfig})

    def configure(self):
        self.create_service(Trigger, "~/made", lambda request, response: response)
        raise ERROR("broken on purpose")

sys.exit(run_node(HalfWay))
"""


@pytest.mark.long
@pytest.mark.parametrize("error", ["ConfigError", "RuntimeError"])
def test_what_a_failing_configure_has_made_goes_again(processes, probe, error):
    node = processes.start(
        [
            sys.executable,
            "-c",
            HALF_WAY.replace("ERROR", error),
            "--ros-args",
            "-p",
            "autostart:=false",
        ]
    )
    for count in (1, 2):
        assert not _change(probe, "half_way", CONFIGURE)
        assert _state(probe, "half_way") == "unconfigured"
        probe.wait(
            lambda: (
                "/half_way/made"
                not in dict(probe.node.get_service_names_and_types_by_node("half_way", "/"))
            )
        )
        node.until_said(f"cannot configure: {error}: broken on purpose", count)


@pytest.mark.short("ConfigError-2")
@pytest.mark.parametrize(("error", "code"), [("ConfigError", 2), ("RuntimeError", 1)])
def test_with_autostart_a_failing_configure_ends_the_process(processes, error, code):
    node = processes.start([sys.executable, "-c", HALF_WAY.replace("ERROR", error)])
    assert node.wait(240) == code
    node.until_said(f"{error}: broken on purpose")


@pytest.mark.long
def test_an_error_nobody_expected_leaves_it_unconfigured_and_usable(
    processes, probe, fast_learner, tmp_path
):
    """A folder where the learner may not look is no ConfigError of ours."""
    (tmp_path / "checkpoints").write_text("a file in the place of a folder")
    learner = processes.node(
        "learner", autostart=False, run_dir=tmp_path, resume=True, **fast_learner
    )
    assert not _change(probe, "learner", CONFIGURE)
    assert _state(probe, "learner") == "unconfigured"
    learner.until_said("cannot configure")
    assert learner.log.read_text().count("cannot configure") == 1


@pytest.mark.long
def test_a_deactivated_learner_has_written_a_checkpoint_and_goes_on_from_it(
    processes, probe, fast_learner, tmp_path, task
):
    processes.node("sim_bridge", realtime_factor=0.0)
    actor = processes.node("actor", {"commands": "sim_bridge/commands"}, realtime_factor=0.0)
    learner = processes.node("learner", run_dir=tmp_path, realtime_factor=0.0, **fast_learner)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)

    def added() -> int:
        values = [
            e.value
            for r in reports
            for s in r.status
            if s.name == "learner: training"
            for e in s.values
            if e.key == "transitions"
        ]
        return int(values[-1]) if values else 0

    probe.wait(lambda: added() > 150)
    assert processes.stop(actor) == 0
    assert _change(probe, "learner", DEACTIVATE)
    count = load_checkpoint(tmp_path / "checkpoints")[1]["added"]
    assert count > 150
    assert _change(probe, "learner", CLEANUP)
    assert _change(probe, "learner", CONFIGURE)  # resumes what it wrote itself
    assert _change(probe, "learner", ACTIVATE)
    reports.clear()
    probe.wait(lambda: added() == count, what=str(count))
    assert processes.stop(learner) == 0
    shutil.rmtree(tmp_path / "checkpoints")


@pytest.mark.long
@pytest.mark.parametrize("autostart", [True, False])
def test_a_configured_node_ends_by_a_signal_in_any_state(processes, probe, autostart):
    bridge = processes.node("sim_bridge", autostart=autostart)
    assert _state(probe, "sim_bridge") == ("active" if autostart else "unconfigured")
    assert processes.stop(bridge, signal.SIGTERM) == 0


@pytest.mark.long
def test_the_shutdown_transition_ends_the_process(processes, probe):
    bridge = processes.node("sim_bridge")
    assert _state(probe, "sim_bridge") == "active"
    assert _change(probe, "sim_bridge", Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert bridge.wait(120) == 0


HASTY = """
import sys
from sql_ros.nodes import actor_node, wait_warnings
actor_node.WARN_EVERY_S = wait_warnings.WARN_EVERY_S = 0.5
sys.exit(actor_node.main())
"""


@pytest.mark.long
def test_an_arm_that_hears_nothing_is_said(processes, probe, task):
    states, joints = (
        probe.node.create_publisher(JointState, "joint_states", RELIABLE),
        task.robot.joints,
    )
    probe.play_learner()
    command = [sys.executable, "-c", HASTY, "--ros-args"]
    first = processes.start(command)

    def said(what: str) -> bool:
        zero = np.zeros(len(joints))
        stamp = probe.node.get_clock().now().nanoseconds
        states.publish(
            state_to_msg(stamp, joints, np.array(task.robot.neutral_position), zero, zero)
        )
        return what in first.log.read_text()

    probe.wait(lambda: said("nobody listens to /commands"))
