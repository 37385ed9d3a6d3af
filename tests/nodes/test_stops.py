"""Stops of a moving arm by a real actor over DDS: late loops, slow policies, lost zeros, answers
that are true.
"""

import signal
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import Trigger

from sql_ros.common.data_files import share_folder
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import NEWS, RELIABLE
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
TOPIC = "forward_velocity_controller/commands"
RATE_HZ = 100.0  # of states

SLOW = """
import sys, time
from sql_ros.nodes.actor_node import ActorNode, run_node

class SlowNode(ActorNode):
    steps = 0

    def configure(self):
        super().configure()
        observe = self.task.observe
        def slow(*given):
            self.steps += 1
            time.sleep({seconds})
            return observe(*given)
        self.actor.task.observe = slow

sys.exit(run_node(SlowNode))
"""

STOPPED = """
import os, signal, sys, threading
from sql_ros.nodes.actor_node import ActorNode, run_node

class StoppedNode(ActorNode):
    commands = 0

    def configure(self):
        super().configure()
        send = self._output.send
        def stopped_send(command, state, **given):
            self.commands += 1
            if self.commands == 120 and any(command):
                words = " ".join(map(str, command))
                os.write(2, f"\\nlate result {words}\\n".encode())
                # to this thread: it would go on for a moment if another one took the signal
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            send(command, state, **given)
        self._output.send = stopped_send

sys.exit(run_node(StoppedNode))
"""

HUNG = """
import sys, threading, time
from sql_ros.nodes.actor_node import ActorNode, run_node

class HungNode(ActorNode):
    commands = 0
    goes_on = threading.Event()

    def configure(self):
        super().configure()
        send, brake = self._output.send, self._braking.brake
        def hung_send(command, state, **given):
            self.commands += 1
            if self.commands == 120:
                self.goes_on.wait()
            send(command, state, **given)
        def brake_and_go_on(state):
            brake(state)
            self.goes_on.set()
            time.sleep(0.02)
        self._output.send, self._braking.brake = hung_send, brake_and_go_on

sys.exit(run_node(HungNode))
"""


QUEUED = """
import sys, time
from sql_ros.nodes.actor_node import ActorNode, run_node
from sql_ros.nodes.serving import ServiceThread

class LateServiceThread(ServiceThread):
    def _take(self, service):
        if service.srv_name.endswith("{name}"):
            time.sleep({seconds})
        return super()._take(service)

class QueuedNode(ActorNode):
    def __init__(self):
        super().__init__()
        self.serving = LateServiceThread(self)

sys.exit(run_node(QueuedNode))
"""

QUEUED_GOAL = """
import sys, time
from sql_ros.nodes import actor_node
from sql_ros.nodes.goal_intake import GoalIntake

class LateIntake(GoalIntake):
    def _on_goal(self, message, info):
        time.sleep(1.5)
        super()._on_goal(message, info)

actor_node.GoalIntake = LateIntake
sys.exit(actor_node.run_node(actor_node.ActorNode))
"""


class MovingArm:
    """Moves as it is told, unless a command is lost; its timer runs in the probe's executor.

    Attributes:
        commands: Steady time of arrival [s] and values, of every command.
        loses: Decides whether a command does not arrive.
        lag_s: Time from a command to the motion that it begins [s].
        has_moved: Whether the arm has moved.
    """

    def __init__(self, probe, task) -> None:
        self.probe, self.task = probe, task
        self.position = np.array(task.robot.neutral_position)
        self.position[0] = 0.5  # turned about its upright axis: the actor begins to move
        self.commands: list[tuple[float, np.ndarray]] = []
        self.loses = lambda values: False
        self.lag_s = 0.0
        self.has_moved = False
        self._velocity = np.zeros(7)
        self._due: deque[tuple[float, np.ndarray]] = deque()
        self._moved_at = time.monotonic()
        node = probe.node
        probe.play_learner()
        self._reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self._states = node.create_publisher(JointState, "joint_states", RELIABLE)
        node.create_subscription(Float64MultiArray, TOPIC, self._on_command, RELIABLE)
        node.create_timer(1.0 / RATE_HZ, self._tick)

    def _on_command(self, message) -> None:
        values = np.array(message.data)
        self.commands.append((time.monotonic(), values))
        if not self.loses(values):
            self._due.append((time.monotonic() + self.lag_s, values))

    def _tick(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._velocity = self._due.popleft()[1]
            self.has_moved |= bool(self._velocity.any())
        self.position = self.position + self._velocity * (now - self._moved_at)
        self._moved_at = now
        stamp = self.probe.node.get_clock().now().nanoseconds
        self._states.publish(
            state_to_msg(stamp, self.task.robot.joints, self.position, self._velocity, np.zeros(7))
        )

    @property
    def speed(self) -> float:
        """Return the largest of its joints [rad/s]."""
        return float(np.abs(self._velocity).max())

    def status(self) -> DiagnosticStatus:
        """Return the newest report of the actor."""
        reports = (s for r in reversed(self._reports) for s in r.status)
        return next((s for s in reports if s.name.endswith("actor: control")), DiagnosticStatus())

    def value(self, key: str) -> str:
        """Return a value of the newest report."""
        return {entry.key: entry.value for entry in self.status().values}.get(key, "")

    def until_moving(self) -> None:
        """Wait for a clear motion, which a real arm has some time after its start."""
        self.probe.wait(lambda: self.speed > 0.3, what="motion")

    def stop(self) -> Trigger.Response:
        """Call actor/stop."""
        return self.probe.call(Trigger, "actor/stop", Trigger.Request())


@pytest.fixture
def arm(probe, task):
    return MovingArm(probe, task)


@pytest.fixture
def start(processes):
    """Start an actor of a real arm, or a script that is one."""

    def begin(script: str = "", *, real_arm: bool = True, **parameters):
        if not script:
            return processes.node(
                "actor", {"commands": TOPIC}, real_arm=real_arm, max_state_age_s=0.3, **parameters
            )
        words = [
            sys.executable,
            "-c",
            script,
            "--ros-args",
            "-r",
            f"commands:={TOPIC}",
            "-p",
            f"real_arm:={str(real_arm).lower()}",
        ]
        for name, value in {"max_state_age_s": 0.3, "identify": "never", **parameters}.items():
            words += ["-p", f"{name}:={value}"]
        return processes.start(words)

    return begin


@pytest.fixture
def task_at(tmp_path):
    """Write sawyer_reach with another control rate; return its path."""

    def write(rate_hz: float) -> str:
        settings = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text())
        path = tmp_path / "sawyer_reach.yaml"
        path.write_text(yaml.safe_dump({**settings, "control_rate_hz": rate_hz}))
        return str(path)

    return write


# --- what ~/stop answers ---


def test_a_stop_is_answered_once_the_arm_was_measured_at_rest(arm, start):
    start()
    arm.until_moving()
    answer = arm.stop()
    assert (answer.success, arm.speed) == (True, 0.0)
    assert "rest was commanded and measured" in answer.message


@pytest.mark.long
def test_a_stop_that_the_arm_does_not_obey_is_no_success(arm, start):
    start()
    arm.until_moving()
    arm.loses = lambda values: True
    answer = arm.stop()
    assert not answer.success
    assert answer.message.startswith("the stop is latched, but ")


@pytest.mark.long
def test_a_stop_is_no_success_before_an_arm_with_a_latency_has_moved(arm, start):
    """The first command is under way when the stop comes, and the arm still rests."""
    arm.lag_s = 0.25
    start()
    arm.probe.wait(lambda: arm.commands and arm.commands[-1][1].any(), what="a command")
    assert arm.speed == 0.0
    answer = arm.stop()
    assert (answer.success, arm.speed) == (True, 0.0)
    assert arm.has_moved
    arm.has_moved = False
    arm.probe.spin_for(0.5)
    assert not arm.has_moved


@pytest.mark.long
def test_a_stop_waits_for_no_other_stop(arm, start):
    """Two are asked for while the arm does not obey: both are answered after one wait."""
    start()
    arm.until_moving()
    arm.stop()  # the first call of a client may be lost
    arm.loses = lambda values: True
    client = arm.probe._client(Trigger, "actor/stop")
    began = time.monotonic()
    futures = [client.call_async(Trigger.Request()) for _ in range(4)]
    arm.probe.wait(lambda: all(future.done() for future in futures), timeout=40)
    assert time.monotonic() - began < 4.0


# --- a stop acts when it arrives ---


@pytest.mark.short("reset")
@pytest.mark.parametrize("name", ["reset", "start"])
def test_a_request_that_arrives_late_does_not_move_a_real_arm(arm, start, name):
    """It waits for 1.5 s, as after an outage of the network.

    The stop before it counts at any age.
    """
    start(QUEUED.format(name=name, seconds=1.5))
    arm.until_moving()
    assert arm.stop().success
    reset = arm.probe.call(Trigger, "actor/reset", Trigger.Request())
    if name == "start":
        assert reset.success
        arm.probe.wait(lambda: "holding, start_needed" in arm.status().message, what="start_needed")
    answer = arm.probe.call(Trigger, "actor/start", Trigger.Request()) if name == "start" else reset
    assert not answer.success
    assert "ago by the clock of its source, at most 1 s" in answer.message
    arm.probe.spin_for(1.0)
    assert arm.speed == 0.0


@pytest.mark.long
def test_a_goal_that_arrives_late_does_not_move_a_real_arm(arm, start):
    """Its stamp is 0, which says nothing of its age."""
    start(QUEUED_GOAL, mode="play", targets="goal")
    arm.probe.until_active("actor")
    answers = arm.probe.listen(String, "actor/goal_status", NEWS)
    goals = arm.probe.node.create_publisher(PoseStamped, "actor/goal", RELIABLE)
    arm.probe.wait(goals.get_subscription_count, what="a reader of goals")
    goals.publish(PoseStamped())
    answer = arm.probe.wait(
        lambda: [a.data for a in answers if a.data.startswith("refused")], what="an answer"
    )[0]
    assert "ago by the clock of its source, at most 1 s" in answer


def test_a_stop_that_arrives_late_stops_the_arm(arm, start):
    start(QUEUED.format(name="stop", seconds=1.5))
    arm.until_moving()
    assert arm.stop().success


@pytest.mark.long
def test_a_stop_does_not_wait_for_the_next_control_step(arm, start, task_at):
    """At 5 Hz a step is up to 0.2 s away: pressed just after one, the first braking command is
    there long before the next.
    """
    start(task=task_at(5.0))
    button = arm.probe.node.create_publisher(Bool, "actor/emergency_stop", RELIABLE)
    arm.until_moving()
    arm.probe.wait(button.get_subscription_count)
    count = len(arm.commands)
    arm.probe.wait(lambda: len(arm.commands) > count and arm.speed > 0.2, what="one more command")
    count, before = len(arm.commands), arm.speed
    pressed = time.monotonic()
    button.publish(Bool(data=True))
    arm.probe.wait(lambda: len(arm.commands) > count, what="the first braking command")
    came, values = arm.commands[count]
    print(
        f"the first braking command came {1e3 * (came - pressed):.1f} ms after the stop was pressed"
    )
    assert came - pressed < 0.1
    assert np.abs(values).max() < before
    arm.probe.wait(lambda: arm.speed == 0.0, timeout=20, what="rest")


def test_a_control_rate_below_five_hertz_is_refused_on_a_real_arm(start, task_at):
    actor = start(task=task_at(4.0))
    assert actor.wait(240) == 2
    actor.until_said("the task's control_rate_hz is 4, expected at least 5 on a real arm")


# --- a loop that is late ---


def test_a_loop_that_hangs_is_braked_by_the_standby_thread(arm, start):
    """Its controller is a simulation's: no command watchdog would help."""
    script = SLOW.format(seconds="2.0 if self.steps == 120 else 0.0")
    start(script, real_arm=False, max_lateness_s=0.1)
    arm.until_moving()

    def hangs() -> bool:
        return len(arm.commands) > 10 and time.monotonic() - arm.commands[-1][0] > 0.1

    arm.probe.wait(hangs, what="a loop that hangs")
    stalled = len(arm.commands)
    assert arm.speed > 0.0
    arm.probe.wait(lambda: arm.speed == 0.0, timeout=1.5, what="rest")
    times = np.array([at for at, _ in arm.commands[stalled - 1 :]])
    values = np.array([each for _, each in arm.commands[stalled - 1 :]])
    limit = arm.task.robot.limit_fraction * np.array(arm.task.robot.acceleration_limit)
    assert times[1] - times[0] < 0.25
    # in steps of a period
    assert (np.abs(np.diff(values, axis=0)[1:]) <= 1.05 * limit * 0.06 + 1e-6).all()
    arm.probe.wait(
        lambda: int(arm.value("stood_in") or 0) >= 1 and int(arm.value("hold/loop_late") or 0) >= 1
    )
    arm.until_moving()
    gaps = np.diff([at for at, _ in arm.commands[stalled:]])
    print(f"smallest gap between commands: {1e3 * gaps.min():.1f} ms")
    assert gaps.min() > 0.02  # of 50 ms: the two threads never send within one period


@pytest.mark.long
def test_a_real_arm_whose_loop_is_overloaded_stands_until_it_is_started(arm, start, task_at):
    """A policy of 10 ms at 500 Hz: every step is four periods late."""
    start(SLOW.format(seconds=0.01), task=task_at(500.0))
    arm.probe.wait(
        lambda: "holding, start_needed: the control loop is overloaded" in arm.status().message,
        what="a hold that latches",
    )
    arm.probe.wait(lambda: arm.speed == 0.0, timeout=20, what="rest")
    assert int(arm.value("fault/loop_overloaded")) >= 1
    arm.probe.spin_for(1.0)
    assert arm.speed == 0.0


@pytest.mark.long
def test_a_process_that_was_stopped_sends_no_late_result(arm, start):
    """It stops itself just before a command leaves. The control loop goes on first: the standby
    thread has not run yet.
    """
    actor = start(STOPPED, real_arm=False, max_lateness_s=0.1)
    arm.until_moving()
    status = Path(f"/proc/{actor.pid}/stat")
    arm.probe.wait(lambda: ") T " in status.read_text(), what="the stop")
    arm.probe.spin_for(0.5)
    count = len(arm.commands)
    actor.send_signal(signal.SIGCONT)
    arm.probe.wait(lambda: len(arm.commands) > count + 5, what="commands")
    (line,) = [x for x in actor.log.read_text().splitlines() if x.startswith("late result")]
    late = np.array([float(word) for word in line.split()[2:]])
    assert late.any()
    for _, command in arm.commands[count:]:
        assert np.abs(command - late).max() > 1e-6


@pytest.mark.long
def test_a_step_that_hangs_sends_nothing_after_the_last_braking_command(arm, start):
    """Its result comes soon after, when the standby thread has ended."""
    actor = start(HUNG, real_arm=False, max_lateness_s=0.1)
    arm.until_moving()
    arm.probe.wait(lambda: time.monotonic() - arm.commands[-1][0] > 0.5, what="a loop that hangs")
    actor.terminate()
    arm.probe.wait(lambda: actor.poll() is not None, timeout=80, what="the end of the actor")
    arm.probe.spin_for(0.2)
    actor.until_said("the control loop hangs: a step takes longer than 1 s")
    assert arm.speed == 0.0


def test_what_a_policy_answers_too_late_is_not_sent(arm, start):
    script = SLOW.format(seconds="0.3 if self.steps % 40 == 0 else 0.0")
    start(script, real_arm=False, max_lateness_s=0.1)
    arm.until_moving()
    arm.probe.wait(lambda: int(arm.value("hold/policy_late") or 0) >= 1, what="hold: policy_late")


def test_a_policy_file_that_is_too_slow_for_the_control_rate_is_refused(start, task_at, tmp_path):
    """Eighty layers, one after the other: more than half of a millisecond."""
    path = task_at(1000.0)
    spec = load_task(path).spec
    learner = Learner(
        AlgorithmConfig(hidden_sizes=(128,) * 80),
        Scaling(spec.observation_offset, spec.observation_scale),
        7,
        0,
    )
    policy = tmp_path / "slow.onnx"
    policy.write_bytes(export_policy(learner, spec, 1, "")[0])
    actor = start(task=path, mode="play", policy=policy)
    assert actor.wait(240) == 2
    actor.until_said("ms for an action, expected at most 0.50 ms, half a control period")


# --- the last command ---


def test_the_last_zero_is_sent_until_the_arm_rests(arm, start, processes):
    start_of_end: list[float] = []
    lost: list[int] = []

    def loses(values) -> bool:
        is_lost = bool(start_of_end) and not values.any() and len(lost) < 3
        if is_lost:
            lost.append(1)
        return is_lost

    arm.loses = loses
    actor = start(real_arm=False)
    arm.until_moving()
    start_of_end.append(time.monotonic())
    actor.terminate()
    arm.probe.wait(lambda: actor.poll() is not None, timeout=80, what="the end of the actor")
    arm.probe.spin_for(0.2)
    assert len(lost) == 3
    assert arm.speed == 0.0
