"""No command of a training leaves before its learner accepted the run, in whatever order nodes
start.
"""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt64MultiArray

from sql_ros.nodes.barrier import LearnerBarrier
from sql_ros.nodes.messages import Progress, state_to_msg
from sql_ros.nodes.qos import RELIABLE

BARRED_S = 1.5  # so long a closed barrier is watched: thirty control steps


def test_a_barrier_is_closed_until_its_learner_reports():
    barrier = LearnerBarrier("12", "/learner/progress", trains=True)
    assert (
        "session 12 has accepted the run on /learner/progress" in barrier.reasons["learner_missing"]
    )
    assert "has session 11, expected 12" in barrier.complaint(Progress(0, 0, 0, {}, "11"))
    assert "has session none, expected 12" in barrier.complaint(Progress(0, 0, 0, {}))
    assert not barrier.complaint(Progress(0, 0, 0, {}, "12"))
    assert barrier.open()
    assert not barrier.reasons
    assert not barrier.open()
    barrier.close()
    assert barrier.reasons


def test_an_actor_that_does_not_train_has_no_barrier():
    assert not LearnerBarrier("12", "/learner/progress", trains=False).reasons


def test_without_a_session_any_learner_opens_the_barrier():
    barrier = LearnerBarrier("", "/learner/progress", trains=True)
    assert not barrier.complaint(Progress(0, 0, 0, {}, "11"))


class Watch:
    """Counts commands and hears what the actor and the learner say."""

    def __init__(self, probe, processes) -> None:
        self.probe, self.processes = probe, processes
        self.commands = probe.listen(Float64MultiArray, "sim_bridge/commands", RELIABLE)
        self.progress = probe.listen(UInt64MultiArray, "learner/progress", RELIABLE)
        self.reports = probe.listen(DiagnosticArray, "/diagnostics", 10)

    def start(self, name: str, **parameters):
        remappings = {"commands": "sim_bridge/commands"} if name == "actor" else {}
        return self.processes.node(name, remappings, **parameters)

    def says(self, what: str) -> bool:
        statuses = [s for r in self.reports for s in r.status if s.name == "actor: control"]
        return bool(statuses) and what in statuses[-1].message

    def count(self, key: str) -> int:
        statuses = [s for r in self.reports for s in r.status if s.name == "actor: control"]
        values = {e.key: e.value for e in statuses[-1].values} if statuses else {}
        return int(values.get(key, "0"))

    def stays_silent(self) -> None:
        """Wait for the hold, then show that no command leaves."""
        self.probe.wait(lambda: self.says("holding, learner_missing"), what="learner_missing")
        self.probe.spin_for(BARRED_S)
        assert not self.commands

    def opens(self) -> None:
        """Wait for the learner's report and for commands."""
        self.probe.wait(lambda: self.commands, what="the first command")
        self.probe.wait(lambda: self.progress, what="the report that let it leave")
        self.probe.wait(lambda: len(self.commands) > 20, what="more commands")


@pytest.fixture
def watch(probe, processes):
    return Watch(probe, processes)


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.parametrize(
    ("order", "factor"),
    [
        (("actor", "sim_bridge", "learner"), 1.0),
        (("sim_bridge", "actor", "learner"), 0.0),
        (("learner", "actor", "sim_bridge"), 0.0),
    ],
)
def test_no_command_leaves_before_the_learner_accepted(watch, probe, fast_learner, order, factor):
    extra = {"learner": fast_learner}
    for name in order:
        watch.start(name, realtime_factor=factor, **extra.get(name, {}))
        probe.until_active(name)
        if "learner" not in order[: order.index(name) + 1]:
            probe.spin_for(0.5)
            assert not watch.commands
    watch.opens()
    assert watch.count("hold/learner_missing") <= 1


@pytest.mark.stack
def test_a_learner_that_refuses_its_folder_lets_no_command_leave(
    watch, processes, fast_learner, tmp_path
):
    factor = 1.0
    watch.start("sim_bridge", realtime_factor=factor)
    actor = watch.start("actor", realtime_factor=factor)
    refused = watch.start(
        "learner", realtime_factor=factor, run_dir=tmp_path, resume=True, **fast_learner
    )
    assert refused.wait(240) == 2
    watch.stays_silent()
    assert processes.stop(actor) == 0
    assert not watch.commands  # not even a last hold
    watch.start("actor", realtime_factor=factor)
    watch.start("learner", realtime_factor=factor, run_dir=tmp_path, **fast_learner)
    watch.opens()


@pytest.mark.long
@pytest.mark.stack
def test_a_learner_of_another_session_does_not_open_the_barrier(watch, probe):
    watch.start("sim_bridge")
    watch.start("actor", session="'12'")
    other = probe.play_learner("11")
    watch.stays_silent()
    assert watch.count("fault/progress_foreign")
    other.stop()
    probe.play_learner("12")
    watch.opens()


@pytest.mark.long
@pytest.mark.stack
def test_a_learner_that_vanishes_later_is_waited_for_as_before(watch, probe):
    watch.start("sim_bridge", realtime_factor=5.0)
    watch.start("actor", realtime_factor=5.0)
    learner = probe.play_learner()
    watch.opens()
    learner.stop()
    probe.wait(lambda: watch.count("fault/learner_silent"))
    sent = len(watch.commands)
    probe.wait(lambda: len(watch.commands) > sent + 20)


@pytest.mark.long
@pytest.mark.stack
def test_an_actor_that_is_activated_again_waits_again(watch, probe, task):
    states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    watch.start("actor")
    probe.until_active("actor")
    learner = probe.play_learner()

    def tell() -> None:
        now, zero = probe.node.get_clock().now().nanoseconds, np.zeros(7)
        states.publish(
            state_to_msg(now, task.robot.joints, np.array(task.robot.neutral_position), zero, zero)
        )

    probe.wait(lambda: tell() or len(watch.commands) > 10)
    learner.stop()
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        probe.call(ChangeState, "actor/change_state", request)
    probe.spin_for(0.3)
    watch.commands.clear()
    watch.reports.clear()
    probe.wait(lambda: tell() or watch.says("holding, learner_missing"))
    assert not watch.commands
    probe.play_learner()
    probe.wait(lambda: tell() or watch.commands)


@pytest.mark.long
@pytest.mark.stack
def test_a_closed_barrier_keeps_the_command_watchdog_silent(probe, processes, task):
    """On a real arm it proves with a zero command that the controller hears it."""
    topic = "/forward_velocity_controller/commands"
    commands = probe.listen(Float64MultiArray, topic, RELIABLE)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
    processes.node("actor", {"commands": topic})

    def tell() -> None:
        now, zero = probe.node.get_clock().now().nanoseconds, np.zeros(7)
        position = np.array(task.robot.neutral_position)
        states.publish(state_to_msg(now, task.robot.joints, position, zero, zero))

    def value(key: str) -> str:
        tell()
        entries = [e for r in reports for s in r.status for e in s.values if e.key == key]
        return entries[-1].value if entries else "0"

    def count(kind: str) -> int:
        return int(value(kind))

    probe.wait(lambda: count("hold/learner_missing"))
    probe.wait(lambda: tell() or len(probe.node.get_publishers_info_by_topic(topic)) == 2)
    held = count("holds")
    probe.wait(lambda: count("holds") > held + 40)  # so many control steps later
    assert not commands
    assert value("command_watchdog") == "not ready"  # it was not asked
    probe.play_learner()
    probe.wait(lambda: tell() or len(commands) > 20)
