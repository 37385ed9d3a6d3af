"""Everything that holds the arm, broken on purpose over DDS.

The test plays the arm, its states and the people around it.
"""

import contextlib
import os
import signal
import sys
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, Int8
from std_srvs.srv import Trigger

from sql_ros.nodes.guard import Guard, GuardConfig
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE, SENSOR
from sql_ros.robot.tasks import load_task

pytestmark = pytest.mark.stack
NO_OUTPUT: dict[str, int] = {}  # of the test's own: a log file
AWAY = 0.5  # rad from where the actor wants to go: it moves


class Scene:
    """An arm that stands still whatever it is told, and what the actor says."""

    def __init__(
        self, probe, processes, task, command=None, output=NO_OUTPUT, **parameters
    ) -> None:
        self.probe, self.joints = probe, task.robot.joints
        self.states = probe.node.create_publisher(JointState, "joint_states", RELIABLE)
        self.commands = probe.listen(Float64MultiArray, "commands", RELIABLE)
        self.reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self.position = np.array(task.robot.neutral_position)
        self.turn(AWAY)
        probe.play_learner()
        self.actor = (
            processes.start(command, **output)
            if command
            else processes.node(
                "actor", **{"task": task.spec.task, "max_state_age_s": 0.3, **parameters}
            )
        )
        probe.wait(self.states.get_subscription_count)

    def turn(self, angle: float) -> None:
        """Turns the arm about its upright axis, where nothing is in its way."""
        self.position[0] = angle

    def tell(self, **altered) -> None:
        """Publishes a good state, or one altered."""
        zero = np.zeros(7)
        message = state_to_msg(
            self.probe.node.get_clock().now().nanoseconds, self.joints, self.position, zero, zero
        )
        for name, value in altered.items():
            setattr(message, name, value)
        self.states.publish(message)

    def until(self, condition, what: str = "", **altered) -> None:
        """Goes on publishing until a condition holds."""

        def said():
            self.tell(**altered)
            return condition()

        self.probe.wait(said, timeout=80, what=what)

    def stop(self) -> None:
        """Call actor/stop; states go on."""
        client = self.probe.node.create_client(Trigger, "actor/stop")
        self.until(client.service_is_ready)
        self.tell()
        future = client.call_async(Trigger.Request())
        self.until(future.done, "an answer to actor/stop")
        assert future.result().success, future.result().message

    def moves(self) -> bool:
        return bool(self.commands) and bool(np.any(np.array(self.commands[-1].data) != 0))

    def holds(self) -> bool:
        """The newest command is a hold, and not an old one."""
        self.commands.clear()
        self.probe.spin_for(0.12)
        return bool(self.commands) and all(
            np.all(np.array(command.data) == 0) for command in self.commands
        )

    def status(self):
        return next(
            (s for r in reversed(self.reports) for s in r.status if s.name == "actor: control"),
            DiagnosticStatus(),
        )

    def count(self, kind: str) -> int:
        return int(
            {entry.key: entry.value for entry in self.status().values}.get(f"hold/{kind}", "0")
        )

    def log(self) -> str:
        return self.actor.log.read_text()

    def check(self, kind: str, **altered) -> None:
        """What is sent now leads to this hold; good states end it; said once each way."""
        self.until(self.holds, f"hold: {kind}", **altered)
        self.until(
            lambda: self.count(kind) >= 1 and f"holding, {kind}: " in self.status().message,
            f"{kind} reported",
            **altered,
        )
        assert self.status().level == DiagnosticStatus.WARN
        self.until(self.moves, "motion again")
        self.check_said_once(kind)

    def check_said_once(self, kind: str) -> None:
        """Logged when it began and when it ended, not at every step.

        A machine that stalls may add an occurrence of its own.
        """
        self.until(
            lambda: self.log().count(f"holding, {kind}: ") == self.log().count(f"{kind} is over")
        )
        assert 1 <= self.log().count(f"holding, {kind}: ") <= 3


@pytest.mark.parametrize("kind", ["state_late", "unheard", "wrong_arm", "policy_missing"])
def test_whatever_holds_the_arm_at_the_end_makes_the_next_actor_wait(kind):
    """A hold that was too short to need a start, and that no person asked for."""
    guard = Guard(None, GuardConfig(), "~")
    assert guard.why_held(1.0) == ""
    guard.holds.note({kind: "as it was"}, 1.0)
    assert guard.why_held(1.0) == f"{kind}: as it was"
    guard.permit.withdraw("the arm was moved")
    assert guard.why_held(1.0) == "the arm was moved"
    guard.latch.stop("~/stop was called")
    assert guard.why_held(1.0).startswith("~/stop was called")


@pytest.fixture
def scene(probe, processes, task):
    scene = Scene(probe, processes, task)
    scene.until(scene.moves)
    return scene


@pytest.mark.short("nan")
@pytest.mark.parametrize(
    "altered",
    [
        {"name": [f"right_j{i}" for i in range(6)] + ["finger"]},
        {"position": [AWAY] * 6},
        {"velocity": []},
        {"position": [AWAY] * 6 + [float("nan")]},
        {"effort": [float("inf")] * 7},
    ],
    ids=["some joints", "short", "no velocity", "nan", "inf"],
)
def test_a_state_that_cannot_be_used_is_a_hold_until_a_good_one(scene, altered):
    scene.check("state_bad", **altered)


@pytest.mark.long
def test_joints_renamed_to_nothing_known_end_in_a_state_too_old(scene):
    scene.check("state_too_old", name=[f"left_j{i}" for i in range(7)])
    assert any(e.key == "fault/state_foreign" and int(e.value) > 0 for e in scene.status().values)


@pytest.mark.long
def test_somebody_elses_states_beside_the_arms_change_nothing(scene):
    gripper = JointState(name=["finger"], position=[0.0], velocity=[0.0], effort=[0.0])
    scene.commands.clear()

    def both() -> bool:
        scene.states.publish(gripper)
        return len(scene.commands) > 20

    scene.until(both)
    moved = [bool(np.any(np.array(command.data) != 0)) for command in scene.commands]
    # a machine that stalls may add a hold of its own, of another kind
    assert sum(moved) >= len(moved) - 2
    scene.until(lambda: scene.status().values)
    about_states = [
        e.key
        for e in scene.status().values
        if e.key.startswith("hold/state") and e.key != "hold/state_too_old"
    ]
    assert not [kind for kind in about_states if scene.count(kind.removeprefix("hold/"))]


def test_stamps_that_stand_still_are_a_hold_until_they_advance(scene):
    now = scene.probe.node.get_clock().now().to_msg()
    header = JointState().header
    header.stamp = now
    scene.check("stamps_frozen", header=header)


def test_a_jump_that_no_arm_can_make_is_a_hold_until_the_states_agree(scene):
    sign = [1]

    def flicker() -> None:
        sign[0] = -sign[0]
        scene.turn(AWAY + 0.2 * sign[0])

    def held() -> bool:
        flicker()
        return (
            scene.count("state_jumped") >= 1
            and "holding, state_jumped" in scene.status().message
            and scene.holds()
        )

    scene.until(held)
    scene.until(scene.moves)
    scene.check_said_once("state_jumped")


def test_a_control_loop_that_wakes_late_holds_for_that_step(scene):
    """The process is stopped for a while, as by a debugger or a swapping machine.

    States are fresh again before its next step counts.
    """
    os.kill(scene.actor.pid, signal.SIGSTOP)
    scene.probe.spin_for(0.5)
    os.kill(scene.actor.pid, signal.SIGCONT)
    scene.until(lambda: scene.count("loop_late") >= 1)
    scene.until(scene.moves)
    scene.check_said_once("loop_late")


def test_no_policy_is_a_hold_with_its_reason(probe, processes, task):
    scene = Scene(probe, processes, task, explores=False)
    scene.until(
        lambda: (
            scene.holds()
            and "holding, policy_missing" in scene.status().message
            and scene.count("policy_missing") > 0
        )
    )
    assert scene.count("policy_missing") == 1


# --- stop and enable ---


def test_a_stop_latches_until_it_is_reset(scene):
    scene.stop()
    scene.until(scene.holds)
    scene.until(
        lambda: (
            scene.status().level == DiagnosticStatus.ERROR
            and "holding, stop: ~/stop was called" in scene.status().message
        )
    )
    scene.until(scene.holds)
    assert scene.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    scene.until(lambda: "holding, start_needed" in scene.status().message)
    scene.until(scene.holds)
    assert scene.probe.call(Trigger, "actor/start", Trigger.Request()).success
    scene.until(scene.moves)


@pytest.mark.long
def test_a_terminal_that_blocks_does_not_keep_a_stop_from_acting(probe, processes, task):
    """As after Ctrl-S, or where nobody reads the pipe: what the actor says of its hold fits
    nowhere.
    """
    reads, writes = os.pipe()
    node = [sys.executable, "-m", "sql_ros.nodes.actor_node", "--ros-args", "-p", "real_arm:=false"]
    scene = Scene(probe, processes, task, command=node, output={"stdout": writes, "stderr": writes})
    scene.until(scene.moves)
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"x")
    os.set_blocking(writes, True)  # it is the actor's terminal
    scene.turn(AWAY + 2.0)  # a jump, also after a gap of the states: a hold that is said
    scene.until(lambda: scene.count("state_jumped") or scene.holds(), "hold: state_jumped")
    scene.stop()
    scene.until(scene.holds, "hold: stop")
    button = probe.node.create_publisher(Bool, "actor/emergency_stop", RELIABLE)
    scene.until(button.get_subscription_count)
    button.publish(Bool(data=True))
    scene.until(lambda: scene.count("emergency_stop") and scene.holds(), "hold: emergency_stop")
    assert processes.stop(scene.actor, timeout=80) == 0
    os.close(reads)
    os.close(writes)


def test_an_emergency_stop_latches_and_its_release_alone_moves_nothing(scene):
    button = scene.probe.node.create_publisher(Bool, "actor/emergency_stop", RELIABLE)
    scene.until(button.get_subscription_count)
    button.publish(Bool(data=True))
    scene.until(scene.holds)
    refused = scene.probe.call(Trigger, "actor/reset", Trigger.Request())
    assert (refused.success, refused.message) == (
        False,
        "still stopped: the emergency stop is pressed (/actor/emergency_stop)",
    )
    button.publish(Bool(data=False))
    scene.until(
        lambda: (
            scene.status().level == DiagnosticStatus.ERROR
            and "holding, stop" in scene.status().message
        )
    )
    assert scene.holds() or not scene.commands
    assert scene.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    scene.until(lambda: "holding, start_needed" in scene.status().message)
    scene.until(scene.holds)
    assert scene.probe.call(Trigger, "actor/start", Trigger.Request()).success
    scene.until(scene.moves)


@pytest.mark.long
def test_an_emergency_stop_is_heard_whatever_its_quality_of_service(scene):
    button = scene.probe.node.create_publisher(Bool, "actor/emergency_stop", SENSOR)

    def pressed() -> bool:  # again and again, as what is published best effort may be lost
        button.publish(Bool(data=True))
        return "holding, emergency_stop" in scene.status().message

    scene.until(pressed)
    scene.until(scene.holds)


@pytest.mark.long
def test_an_emergency_stop_that_was_pressed_before_the_actor_came_holds_the_arm(
    probe, processes, task
):
    button = probe.node.create_publisher(Bool, "actor/emergency_stop", LATCHED)
    button.publish(Bool(data=True))
    scene = Scene(probe, processes, task)
    scene.until(lambda: "holding, emergency_stop" in scene.status().message)
    scene.until(scene.holds)
    button.publish(Bool(data=False))
    scene.until(lambda: "holding, stop" in scene.status().message)


@pytest.mark.long
def test_a_lock_that_cannot_be_heard_is_said(scene):
    scene.probe.node.create_publisher(Bool, "actor/stop_lock", SENSOR)
    scene.until(lambda: "stop_lock of " in scene.log())
    assert (
        "cannot be received. ERROR: Best effort publisher and reliable subscription" in scene.log()
    )
    assert "emergency_stop of" not in scene.log()


def test_a_lock_holds_while_it_is_true_and_latches_nothing(scene):
    lock = scene.probe.node.create_publisher(Bool, "actor/stop_lock", RELIABLE)
    scene.until(lock.get_subscription_count)
    lock.publish(Bool(data=True))
    scene.until(scene.holds)
    assert not scene.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    lock.publish(Bool(data=False))
    scene.until(scene.moves)


@pytest.mark.short("enable-*")
@pytest.mark.parametrize(
    ("topic", "parameter", "kind", "free"),
    [
        ("enable", "enable_timeout_s", "enable_silent", True),
        ("stop_lock", "lock_timeout_s", "stop_lock", False),
    ],
)
def test_a_required_switch_must_be_heard_again_and_again(
    probe, processes, task, topic, parameter, kind, free
):
    scene = Scene(probe, processes, task, **{parameter: 0.3})
    switch = probe.node.create_publisher(Bool, f"actor/{topic}", RELIABLE)
    scene.until(lambda: switch.get_subscription_count() and scene.holds())  # never heard

    def heard() -> bool:
        switch.publish(Bool(data=free))
        return scene.moves()

    scene.until(heard)
    scene.until(scene.holds)  # silent
    scene.until(lambda: f"holding, {kind}" in scene.status().message)
    scene.until(heard)
    switch.publish(Bool(data=not free))
    scene.until(scene.holds)


def _entry(scene, key: str) -> str:
    return {entry.key: entry.value for entry in scene.status().values}.get(key, "")


@pytest.mark.long
def test_a_button_of_another_type_is_named(scene):
    scene.probe.node.create_publisher(Int8, "actor/emergency_stop", RELIABLE)
    complaint = (
        "/actor/emergency_stop cannot be received from /probe, which publishes std_msgs/msg/Int8:"
        " expected std_msgs/msg/Bool"
    )
    scene.until(lambda: complaint in _entry(scene, "stop/actor/emergency_stop"))
    assert scene.log().count(complaint) == 1
    scene.until(scene.moves)


@pytest.mark.long
def test_a_required_switch_of_another_type_holds_the_arm(probe, processes, task, domain):
    scene = Scene(probe, processes, task, lock_timeout_s=0.5)
    lock = probe.node.create_publisher(Bool, "actor/stop_lock", RELIABLE)

    def unlocked(condition) -> None:
        scene.until(lambda: lock.publish(Bool(data=False)) or condition())

    unlocked(scene.moves)
    context = rclpy.Context()  # a participant has one type per topic
    rclpy.init(context=context, domain_id=domain)
    panel = rclpy.create_node("panel", context=context)
    panel.create_publisher(Int8, "actor/stop_lock", RELIABLE)
    unlocked(
        lambda: (
            "holding, stop_missing: /actor/stop_lock cannot be received from /panel"
            in scene.status().message
        )
    )
    panel.destroy_node()
    context.try_shutdown()
    unlocked(scene.moves)


@pytest.mark.long
def test_a_required_switch_whose_publisher_dies_holds_the_arm(probe, processes, task):
    scene = Scene(probe, processes, task, lock_timeout_s=5.0)
    lock = probe.node.create_publisher(Bool, "actor/stop_lock", RELIABLE)
    scene.until(lambda: lock.publish(Bool(data=False)) or scene.moves())
    probe.node.destroy_publisher(lock)
    died = time.monotonic()
    scene.until(
        lambda: (
            "holding, stop_missing: nobody publishes on /actor/stop_lock" in scene.status().message
        )
    )
    assert time.monotonic() - died < 4.0  # before the deadline
    assert scene.holds()


@pytest.mark.long
def test_words_that_waited_to_be_read_do_not_count_as_fresh(probe, processes, task):
    """The deadman lets go while the actor stands still; what he said before is read afterwards."""
    scene = Scene(probe, processes, task, enable_timeout_s=2.0)
    switch = probe.node.create_publisher(Bool, "actor/enable", RELIABLE)
    scene.until(lambda: switch.publish(Bool(data=True)) or scene.moves())
    os.kill(scene.actor.pid, signal.SIGSTOP)
    for _ in range(10):
        switch.publish(Bool(data=True))
        probe.spin_for(0.05)
    probe.spin_for(2.5)
    scene.commands.clear()
    os.kill(scene.actor.pid, signal.SIGCONT)
    before = time.monotonic()
    scene.until(lambda: time.monotonic() - before > 1.5)
    assert len(scene.commands) > 10
    speeds = np.abs([command.data for command in scene.commands])
    print(f"largest speed of each command {speeds.max(1)[:10].tolist()} rad/s")
    assert (np.diff(speeds, axis=0) <= 0.0).all()  # the controller kept the last command: braked
    assert not speeds[5:].any()
    scene.until(lambda: switch.publish(Bool(data=True)) or scene.moves())


def test_a_stop_outlives_deactivation(scene):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    scene.stop()
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
    ):
        scene.probe.call(
            ChangeState,
            "actor/change_state",
            ChangeState.Request(transition=Transition(id=transition)),
        )
    scene.probe.call(
        ChangeState,
        "actor/change_state",
        ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE)),
    )
    scene.until(scene.holds)
    scene.until(lambda: "holding, stop" in scene.status().message)


@pytest.mark.long
def test_in_lockstep_a_stopped_arm_is_answered_with_holds(processes, probe):
    states, commands = (
        probe.listen(JointState, "joint_states", RELIABLE),
        probe.listen(Float64MultiArray, "sim_bridge/commands", RELIABLE),
    )
    probe.play_learner()
    processes.node("sim_bridge", realtime_factor=0.0)
    processes.node(
        "actor", {"commands": "sim_bridge/commands"}, realtime_factor=0.0, learner_patience_s=0.0
    )
    probe.wait(lambda: states and np.abs(states[-1].velocity).max() > 0.1)
    assert probe.call(Trigger, "actor/stop", Trigger.Request()).success
    probe.wait(lambda: np.abs(states[-1].velocity).max() < 0.01)
    commands.clear()
    probe.wait(lambda: len(commands) > 20)  # time goes on
    assert all(np.all(np.array(command.data) == 0) for command in commands)
    assert probe.call(Trigger, "actor/reset", Trigger.Request()).success
    commands.clear()
    probe.wait(lambda: len(commands) > 20)
    assert all(np.all(np.array(command.data) == 0) for command in commands)
    assert probe.call(Trigger, "actor/start", Trigger.Request()).success
    probe.wait(lambda: np.abs(states[-1].velocity).max() > 0.1)


# --- the end of the actor ---


@pytest.mark.long
def test_a_killed_actor_leaves_an_arm_that_comes_to_rest_by_itself(processes, probe, task):
    """No last command here: the arm's own command timeout has to do it."""
    states = probe.listen(JointState, "joint_states", RELIABLE)
    probe.play_learner()
    processes.node("sim_bridge")
    actor = processes.node("actor", {"commands": "sim_bridge/commands"})
    probe.wait(lambda: states and np.abs(states[-1].velocity).max() > 0.2)
    actor.kill()
    actor.wait()
    probe.spin_for(0.05)

    def seconds(state) -> float:
        return state.header.stamp.sec + state.header.stamp.nanosec * 1e-9

    killed = seconds(states[-1])
    probe.wait(lambda: seconds(states[-1]) > killed + 2.0)
    still = [
        seconds(s)
        for s in states
        if seconds(s) > killed + task.robot.command_timeout_s and np.abs(s.velocity).max() < 0.02
    ]
    assert still[0] - killed < task.robot.command_timeout_s + 0.3
    assert all(np.abs(s.velocity).max() < 0.02 for s in states if seconds(s) > killed + 1.0)


BROKEN = """
import sys
from sql_ros.nodes.actor_node import ActorNode, run_node
from sql_ros.robot.control.episode_actor import Actor

class BrokenNode(ActorNode):
    def configure(self):
        super().configure()
        work, count = self.actor.step, [0]
        def step(state, *more):
            count[0] += 1
            if count[0] > 20:
                {deed}
            return work(state, *more)
        self.actor.step = step

sys.exit(run_node(BrokenNode))
"""


def _broken(deed: str) -> list[str]:
    """The command of an actor to which something happens in its twentieth step."""
    return [
        sys.executable,
        "-c",
        BROKEN.format(deed=deed),
        "--ros-args",
        "-p",
        "max_state_age_s:=0.3",
        "-p",
        "identify:=never",
    ]


@pytest.mark.long
def test_an_error_in_the_control_loop_ends_the_actor_with_a_hold(probe, processes, task):
    scene = Scene(
        probe, processes, task, command=_broken("raise RuntimeError('broken on purpose')")
    )
    seen = []

    def ended() -> bool:
        seen.append(scene.moves())
        return scene.actor.poll() is not None

    scene.until(ended)
    probe.spin_for(0.3)
    assert any(seen)
    assert not scene.moves()
    assert scene.actor.returncode != 0
    assert "broken on purpose" in scene.log()


@pytest.mark.long
def test_steps_longer_than_a_period_leave_time_to_read_states(probe, processes, task):
    """With a real-time priority nothing else runs on the core while a step does."""
    deed = (
        "end = __import__('time').monotonic() + 0.07\n                while"
        " __import__('time').monotonic() < end: pass"
    )
    scene = Scene(
        probe,
        processes,
        task,
        command=[*_broken(deed), "-p", "realtime_priority:=50", "-p", "cpu:=0"],
    )
    scene.until(lambda: len(scene.commands) > 70)
    assert "SCHED_FIFO: granted" in scene.log() or os.geteuid() != 0
    assert "state_too_old" not in scene.log()


def test_a_policy_whose_output_is_not_finite_is_a_hold_until_it_is_finite_again(
    probe, processes, task
):
    deed = """import numpy
                info = type("Info", (), {"version": 1})
                value = float("nan") if count[0] < 60 else 0.3
                draw = lambda self, observation, rng: numpy.full(7, value, numpy.float32)
                self.actor.policy = type("Odd", (), {"info": info, "sample": draw})()
                self.actor.episode.start[:] = state.position"""
    scene = Scene(probe, processes, task, command=_broken(deed))
    scene.until(lambda: "policy_non_finite is over" in scene.log())

    def moves() -> bool:  # it takes its arm for a real one
        if "holding, start_needed" in scene.status().message:
            assert scene.probe.call(Trigger, "actor/start", Trigger.Request()).success
        return scene.moves()

    scene.until(moves)
    scene.until(lambda: scene.count("policy_non_finite") >= 1)
    scene.check_said_once("policy_non_finite")


@pytest.mark.short("SIGTERM")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_the_last_command_of_an_actor_that_is_told_to_end_is_a_hold(scene, processes, number):
    assert processes.stop(scene.actor, number) == 0
    scene.probe.spin_for(0.3)
    assert not scene.moves()


def test_torques_brake_an_arm_whose_actor_is_told_to_end_until_it_stands(probe, processes):
    scene = Scene(probe, processes, load_task("sawyer_stack"))
    scene.until(scene.moves)
    speed = 0.5
    scene.until(lambda: len(scene.commands) > 5, velocity=[speed, *[0.0] * 6])
    scene.actor.send_signal(signal.SIGTERM)
    scene.commands.clear()
    scene.until(lambda: len(scene.commands) > 12, velocity=[speed, *[0.0] * 6])
    assert all(command.data[0] < -1.0 for command in scene.commands[5:])
    scene.until(lambda: scene.actor.poll() is not None)
    probe.spin_for(0.3)
    assert not scene.moves()


# --- dry run ---


def test_a_dry_run_sends_nothing_and_says_what_it_would_have(processes, probe, task):
    would = probe.listen(Float64MultiArray, "actor/dry_run_commands", RELIABLE)
    scene = Scene(probe, processes, task, dry_run=True)
    scene.until(lambda: len(would) > 10 and np.any(np.array(would[-1].data) != 0))
    assert not probe.node.get_publishers_info_by_topic("commands")
    assert not scene.commands
    scene.until(
        lambda: (
            scene.status().message == "dry run" and scene.status().level == DiagnosticStatus.WARN
        )
    )
    scene.until(
        lambda: int({e.key: e.value for e in scene.status().values}["dry_run_commands"]) > 5
    )
    assert not probe.node.get_publishers_info_by_topic("replay") or not _entries(probe, scene)


def _entries(probe, scene) -> list:
    entries = probe.listen(Float64MultiArray, "replay", RELIABLE)
    end = len(scene.reports) + 2
    scene.until(lambda: len(scene.reports) >= end)
    return entries


def test_a_dry_run_in_lockstep_is_refused(processes):
    actor = processes.node("actor", dry_run=True, realtime_factor=0.0)
    assert actor.wait(240) == 2
    actor.until_said("in lockstep")
