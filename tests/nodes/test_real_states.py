"""States of a real arm that are late, leap or contradict themselves, over DDS.

The test plays an arm in velocity mode.
"""

import sys
import time
from collections import deque

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.common.data_files import find_file
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE

pytestmark = pytest.mark.stack
TOPIC = "forward_velocity_controller/commands"
RATE_HZ = 100.0


class Arm:
    """Follows its commands; its timer runs in the probe's executor.

    Attributes:
        delay_s: By which the stamps of its states are older than the states seem.
        share: Of its velocity, which it reports.
        lag_s: From a command to the motion that it begins.
    """

    def __init__(self, probe, task) -> None:
        self._probe, self._joints = probe, task.robot.joints
        self.position = np.array(task.robot.neutral_position)
        self.position[0] = 0.5
        self.command = np.zeros(len(self._joints))
        self.has_moved = False
        self.delay_s = 0.0
        self.share = 1.0
        self.lag_s = 0.0
        # commands that do not act yet, and when they do
        self._due: deque[tuple[float, np.ndarray]] = deque()
        self._moved_at = time.monotonic()
        self._reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self._states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
        probe.node.create_subscription(Float64MultiArray, TOPIC, self._on_command, RELIABLE)
        probe.node.create_timer(1.0 / RATE_HZ, self._tick)

    def _on_command(self, message: Float64MultiArray) -> None:
        command = np.array(message.data)
        self.has_moved |= bool(command.any())
        self._due.append((time.monotonic() + self.lag_s, command))

    def _tick(self) -> None:
        now, stamp_ns = time.monotonic(), time.time_ns()
        self.position = self.position + self.command * (now - self._moved_at)
        self._moved_at = now
        while self._due and self._due[0][0] <= now:
            self.command = self._due.popleft()[1]
        zero = np.zeros(len(self._joints))
        stamp_ns -= round(1e9 * self.delay_s)
        self._states.publish(
            state_to_msg(stamp_ns, self._joints, self.position, self.share * self.command, zero)
        )

    def moves(self) -> bool:
        return bool(np.abs(self.command).max() > 0.3)

    def status(self) -> DiagnosticStatus:
        reports = (s for r in reversed(self._reports) for s in r.status)
        return next((s for s in reports if s.name.endswith("actor: control")), DiagnosticStatus())

    def value(self, key: str) -> str:
        return {entry.key: entry.value for entry in self.status().values}.get(key, "")

    def until_moving(self) -> None:
        self._probe.wait(self.moves, what="motion")

    def until_held(self, words: str) -> None:
        self._probe.wait(lambda: f"holding, {words}" in self.status().message, what=words)

    def check_latched(self, words: str) -> None:
        """The arm is held by a stop with these words, for good; a reset and a start end it."""
        self.until_held(f"stop: {words}")
        self.check_rest()
        assert self._probe.call(Trigger, "actor/reset", Trigger.Request()).success
        self.start()

    def check_rest(self) -> None:
        """No motion is commanded any more."""
        self._probe.wait(lambda: not self.command.any(), what="rest")
        self._probe.spin_for(1.0)
        assert not self.command.any()

    def start(self) -> None:
        """The arm moves once somebody starts it."""
        self.until_held("start_needed: ")
        self._probe.wait(
            lambda: self._probe.call(Trigger, "actor/start", Trigger.Request()).success,
            what="a start",
        )
        self.until_moving()


@pytest.fixture
def arm(probe, task):
    probe.play_learner()
    return Arm(probe, task)


@pytest.fixture
def start(processes):
    """Start an actor of a real arm."""
    return lambda **parameters: processes.node(
        "actor", {"commands": TOPIC}, max_state_age_s=0.5, **parameters
    )


def test_states_that_are_late_from_the_start_move_no_arm(arm, start, probe):
    arm.delay_s = 0.3
    start()
    arm.until_held("state_late: states arrive 0.3")
    probe.spin_for(1.0)
    assert not arm.has_moved
    assert float(arm.value("state_delay_ms")) >= 300.0
    assert arm.value("state_delay_of") == "clock"
    arm.delay_s = 0.0
    arm.until_moving()


def test_states_that_are_late_by_over_a_second_move_no_arm(arm, start, probe):
    """Their delay never changes: it may not be taken for another clock."""
    arm.delay_s = 1.5
    start()
    arm.until_held("state_late: states arrive 1.5")
    probe.spin_for(1.0)
    assert not arm.has_moved


@pytest.mark.long
def test_states_that_become_late_hold_the_arm(arm, start, probe):
    start(max_state_delay_s=0.1)
    arm.until_moving()
    arm.delay_s = 0.4
    arm.until_held("state_late")
    arm.check_rest()
    arm.delay_s = 0.0
    arm.start()


@pytest.mark.long
def test_stamps_that_leap_forward_latch(arm, start):
    """It was accepted: an hour later by the stamps, and 0.3 rad away."""
    start()
    arm.until_moving()
    arm.delay_s = -3600.0
    arm.position[0] -= 0.3
    arm.until_held("stop: the stamps of the states leaped forward by 3")
    arm.check_rest()
    arm.delay_s = 0.0
    arm.check_latched("the stamps of the states leaped forward by 3")


def test_zero_velocities_of_a_moving_arm_hold_it_until_it_is_started(arm, start):
    start()
    arm.until_moving()
    arm.share = 0.0
    arm.until_held("start_needed: the arm was held by velocity_wrong")
    assert int(arm.value("hold/velocity_wrong")) >= 1
    arm.check_rest()
    arm.share = 1.0
    arm.start()


def test_a_real_arm_with_an_unmeasured_latency_is_refused(start, processes):
    processes.forget_latencies()
    actor = start()
    assert actor.wait(240) == 2
    said = actor.log.read_text()
    assert (
        "'identify' is never, and the latency of robot 'sawyer' in velocity mode is not known:"
        " expected 'latency_s: ...' in" in said
    )
    assert str(find_file("sawyer", "config/robots")) in said
    assert (
        f"or a record of it in {processes.measured}, which the identification writes"
        " (identify:=first)" in said
    )


@pytest.mark.long
def test_a_dry_run_needs_no_measured_latency(start, processes):
    processes.forget_latencies()
    actor = start(dry_run=True)
    actor.until_said(
        "the latency of robot 'sawyer' is not known and is taken as 0 until the identification has"
        " measured it"
    )


@pytest.mark.long
def test_a_measured_delay_of_states_is_reckoned_with(arm, start, processes, probe):
    """States that are 0.2 s old are in time for an arm whose states were measured to be so late."""
    processes.keep_latency(find_file("sawyer", "config/robots"), "velocity", 0.25, 0.2)
    arm.delay_s = 0.2
    actor = start(max_state_delay_s=0.05)
    probe.wait(lambda: arm.has_moved, what="motion")
    actor.until_said("latency of robot 'sawyer': 0.25 s (")


@pytest.mark.long
@pytest.mark.parametrize("state_delay_s", [0.0, None])
def test_the_lag_of_a_servo_lets_no_states_be_late(arm, start, processes, probe, state_delay_s):
    """Of a latency whose parts are not known 0.05 s is granted to the states."""
    processes.keep_latency(find_file("sawyer", "config/robots"), "velocity", 0.2, state_delay_s)
    arm.delay_s = 0.15
    start()
    arm.until_held("state_late: states arrive 0.1")
    probe.spin_for(1.0)
    assert not arm.has_moved


@pytest.mark.long
def test_the_identification_measures_the_latency_of_the_motion_after_it(
    arm, start, processes, probe
):
    """The arm obeys 0.15 s late. The task begins with a further start.

    States that become as late as the arm are a hold.
    """
    processes.forget_latencies()
    arm.lag_s = 0.15
    actor = start(identify="first")
    arm.until_held("start_needed: the arm was not identified yet")

    # on a busy machine the played arm is late, and a leg fails: it is begun again
    def is_measured() -> bool:
        if "not identified" in arm.status().message:
            probe.call(Trigger, "actor/start", Trigger.Request())
        return "s from now on (measured)" in actor.log.read_text()

    probe.wait(is_measured, timeout=240.0, what="the identification")
    arm.until_held("start_needed: the arm is identified (all 7 joints moved as told")
    arm.check_rest()
    arm.start()
    arm.delay_s = 0.12
    arm.until_held("state_late")


SUSPENDED = """
import sys
import time
from sql_ros.nodes import guard
from sql_ros.nodes.actor_node import ActorNode, run_node
from sql_ros.robot.safety.suspension import Suspension

class SuspendedNode(ActorNode):
    commands = 0
    def configure(self):
        super().configure()
        send = self._output.send
        def counted_send(command, state, **given):
            send(command, state, **given)
            SuspendedNode.commands += bool(command.any())
        self._output.send = counted_send

def boot():
    return time.monotonic() + (60.0 if SuspendedNode.commands > 20 else 0.0)

guard.Suspension = lambda: Suspension(boot=boot)
sys.exit(run_node(SuspendedNode))
"""


@pytest.mark.long
def test_a_computer_that_was_suspended_latches(arm, processes):
    """The process has a boot clock of its own, which leaps by a minute."""
    words = [
        sys.executable,
        "-c",
        SUSPENDED,
        "--ros-args",
        "-p",
        "max_state_age_s:=0.5",
        "-p",
        "identify:=never",
        "-r",
        f"commands:={TOPIC}",
    ]
    processes.start(words)
    arm.until_moving()
    arm.check_latched("the computer was suspended for 60.0 s")
