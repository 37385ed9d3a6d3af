"""Between the actor and the arm: controllers that come and go, frozen arms, dead actors. Over DDS."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.command_rivals import GONE_S
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE, REPLAY, SENSOR
from sql_ros.robot.arm import Arm
from sql_ros.robot.safety import SafetyFilter
from sql_ros.share import share_folder

pytestmark = pytest.mark.stack
PERIOD = 0.05
GRACE_S = 0.2  # after its actor is dead or stopped the arm is told to stop
TOPIC = "forward_velocity_controller/commands"
RATE_HZ = 100.0


class VelocityArm:
    """Moves as its controller is told, unless it is frozen; its timer runs in the probe's executor.

    Attributes:
        commands: Steady time of arrival [s] and values, of every command.
        frozen: Stands still whatever it is told, as in a protective stop.
    """

    def __init__(self, probe, task, topic: str = TOPIC) -> None:
        self.topic = topic
        self.probe, self._node, self._joints = probe, probe.node, task.robot.joints
        self.position = np.array(task.robot.neutral_position)
        self.position[0] = 0.5  # turned about its upright axis: the actor begins to move
        self._command = np.zeros(len(self._joints))
        self._moved_at = time.monotonic()
        self.frozen, self.commands = False, []
        self._controller = None
        self.transitions = probe.listen(Float64MultiArray, "replay", REPLAY)
        self._reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
        self._states = self._node.create_publisher(JointState, "joint_states", RELIABLE)
        self._node.create_timer(1.0 / RATE_HZ, self._tick)

    def load_controller(self) -> None:
        """Subscribe to the command topic."""
        self._controller = self._node.create_subscription(Float64MultiArray, self.topic, self._on_command, RELIABLE)

    def unload_controller(self) -> None:
        """Drop the subscription; the hardware brakes the arm."""
        self._node.destroy_subscription(self._controller)
        self._command = np.zeros(len(self._joints))

    def _on_command(self, message: Float64MultiArray) -> None:
        self._command = np.array(message.data)
        self.commands.append((time.monotonic(), self._command))

    def _tick(self) -> None:
        now = time.monotonic()
        velocity = np.zeros(len(self._joints)) if self.frozen else self._command
        self.position = self.position + velocity * (now - self._moved_at)
        self._moved_at = now
        stamp = self._node.get_clock().now().nanoseconds
        zero = np.zeros(len(self._joints))
        self._states.publish(state_to_msg(stamp, self._joints, self.position, velocity, zero))

    def velocity(self) -> np.ndarray:
        """Return the newest command [rad/s], (N,)."""
        return self._command

    def moves(self) -> bool:
        """Return whether the newest command is a clear motion."""
        return bool(np.abs(self._command).max() > 0.3)

    def status(self) -> DiagnosticStatus:
        """Return the newest report of the actor."""
        reports = (s for r in reversed(self._reports) for s in r.status)
        return next((s for s in reports if s.name.endswith("actor: control")), DiagnosticStatus())

    def value(self, key: str) -> str:
        """Return a value of the newest report."""
        return {entry.key: entry.value for entry in self.status().values}.get(key, "")

    def until_held(self, kind: str) -> None:
        """Wait until the actor says that it holds for this reason."""
        self.probe.wait(lambda: f"holding, {kind}: " in self.status().message, what=kind)

    def until_moving(self) -> None:
        """Wait for a command that moves the arm."""
        self.probe.wait(self.moves, what="motion")

    def first_motion(self, after: int) -> np.ndarray:
        """Return the first command from this one on that is not zero."""
        moving = lambda: [values for _, values in self.commands[after:] if values.any()]  # noqa: E731
        return self.probe.wait(moving, what="a first command")[0]


@pytest.fixture
def arm(probe, task):
    probe.play_learner()
    return VelocityArm(probe, task)


@pytest.fixture
def start(processes):
    """Start an actor whose commands go to the controller of the robot file."""
    return lambda **parameters: processes.node("actor", {"commands": TOPIC}, max_state_age_s=0.5, **parameters)


@pytest.fixture
def ramp(task):
    """Largest first command from rest [rad/s], (N,)."""
    robot = task.robot
    return robot.limit_fraction * np.array(robot.acceleration_limit) * PERIOD + 1e-6


def _watchdogs(actor) -> list[int]:
    """Return the children of an actor, whatever thread started them."""
    tasks = Path(f"/proc/{actor.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def test_nothing_is_done_while_nobody_takes_commands(arm, start, ramp):
    """The controller comes late: no transition before, and the first command is ramped from rest."""
    start()
    arm.until_held("unheard")
    arm.probe.spin_for(2.0)
    assert not arm.transitions
    assert f"nobody listens to /{TOPIC}" in arm.status().message
    arm.load_controller()
    assert (np.abs(arm.first_motion(0)) <= ramp).all()
    arm.probe.wait(lambda: arm.transitions, what="transitions")


def test_a_controller_that_dies_is_a_hold_until_it_is_back(arm, start, ramp):
    arm.load_controller()
    start()
    arm.until_moving()
    arm.unload_controller()
    arm.until_held("unheard")
    made, before = len(arm.transitions), len(arm.commands)
    arm.probe.spin_for(1.0)
    assert len(arm.transitions) == made
    arm.load_controller()
    assert (np.abs(arm.first_motion(before)) <= ramp).all()
    arm.until_moving()


def test_an_arm_that_freezes_is_held_and_resumed_from_rest(arm, start, ramp):
    arm.load_controller()
    start()
    arm.until_moving()
    arm.frozen, made = True, len(arm.transitions)
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    held_at = len(arm.commands)
    assert len(arm.transitions) - made <= 2.0 / PERIOD
    arm.until_held("not_following")
    arm.probe.wait(lambda: np.any([values for _, values in arm.commands[held_at:]]), what="a new attempt")
    arm.frozen, released_at = False, len(arm.commands)
    sent = np.array([values for _, values in arm.commands[held_at : released_at + 1]])
    assert (np.abs(sent) <= ramp).all()  # whenever it is released, it does not jump
    arm.probe.wait(lambda: np.abs(arm.velocity()).max() > ramp.max(), what="motion")
    assert int(arm.value("hold/not_following")) >= 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_actor_that_dies_or_stops_leaves_no_moving_arm(arm, start, number):
    """Zeros come within 0.2 s, measured on the topic."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    at = time.monotonic()
    actor.send_signal(number)
    arm.probe.wait(lambda: not arm.moves(), timeout=5, what="zeros")
    stopped_at = next(when for when, values in arm.commands if when > at and not values.any())
    assert stopped_at - at <= GRACE_S
    arm.probe.spin_for(0.5)
    later = [values for when, values in arm.commands if when > stopped_at]
    assert len(later) > 10
    assert not np.any(later)


def test_an_actor_that_goes_on_after_a_stop_starts_from_rest(arm, start, ramp):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    actor.send_signal(signal.SIGSTOP)
    arm.probe.wait(lambda: not arm.moves(), what="zeros")
    arm.probe.spin_for(0.2)
    before = len(arm.commands)
    actor.send_signal(signal.SIGCONT)
    assert (np.abs(arm.first_motion(before)) <= ramp).all()
    arm.until_moving()


def test_the_watchdog_of_a_dead_actor_ends_by_itself(arm, start, lives):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    actor.kill()
    actor.wait()
    arm.probe.wait(lambda: not lives(watchdog), timeout=10, what="its end")
    arm.probe.spin_for(0.3)
    count = len(arm.commands)
    arm.probe.spin_for(0.3)
    assert len(arm.commands) == count


def test_after_a_clean_end_no_command_follows(arm, start, processes, lives):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    actor.send_signal(signal.SIGINT)
    arm.probe.wait(lambda: not lives(actor.pid) and not lives(watchdog), what="their end")
    arm.probe.spin_for(0.2)
    values = np.array([values for _, values in arm.commands])
    zeros = np.flatnonzero(values.any(1))[-1] + 1
    assert 1 <= len(values) - zeros <= 3  # the actor's own last one; it holds until then
    assert actor.wait() == 0


def test_a_watchdog_that_dies_is_a_hold_until_another_is_there(arm, start):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    os.kill(watchdog, signal.SIGKILL)
    arm.until_held("unguarded")
    arm.probe.wait(lambda: not arm.moves(), what="rest")
    arm.until_moving()
    assert watchdog not in _watchdogs(actor)
    assert len(_watchdogs(actor)) == 1


def test_a_watchdog_that_hangs_is_a_hold_until_it_answers(arm, start):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    os.kill(watchdog, signal.SIGSTOP)
    arm.probe.wait(lambda: "does not answer" in arm.status().message, what="a hold")
    arm.probe.wait(lambda: not arm.moves(), what="rest")
    os.kill(watchdog, signal.SIGCONT)
    arm.until_moving()
    assert _watchdogs(actor) == [watchdog]


@pytest.mark.parametrize(("name", "qos"), [("rosbag2_recorder", RELIABLE), ("any", SENSOR)])
def test_an_onlooker_is_no_controller(arm, start, name, qos):
    onlooker = rclpy.create_node(name, context=arm.probe.context)
    heard = []
    onlooker.create_subscription(Float64MultiArray, TOPIC, heard.append, qos)
    actor = start()
    arm.until_held("unheard")
    only = f"only {name} listens to /{TOPIC}"
    arm.probe.wait(lambda: only in arm.status().message, what=only)
    assert not arm.transitions
    arm.load_controller()
    arm.until_moving()
    arm.unload_controller()
    arm.until_held("unheard")
    actor.send_signal(signal.SIGINT)
    onlooker.destroy_node()


def test_no_zero_leaves_before_a_state_has_come(probe, processes):
    commands = probe.listen(Float64MultiArray, TOPIC, RELIABLE)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.play_learner()
    processes.node("actor", {"commands": TOPIC})
    probe.wait(lambda: any("unguarded" in s.message for r in reports for s in r.status))
    probe.wait(lambda: len(probe.node.get_publishers_info_by_topic(f"/{TOPIC}")) == 2)
    probe.spin_for(1.0)
    assert not commands


def test_a_dry_run_has_no_watchdog(probe, arm, start):
    arm.load_controller()
    actor = start(dry_run=True)
    arm.probe.wait(lambda: int(arm.value("dry_run_commands") or 0) > 5, what="a dry run")
    assert _watchdogs(actor) == []
    assert not arm.commands


@pytest.mark.parametrize(
    "topic",
    [
        "/commands",
        "/velocity_controller/commands",
        "/my_robot/forward_velocity_controller/commands",
    ],
)
def test_any_topic_but_that_of_the_simulation_is_a_real_arm(probe, task, processes, topic):
    """An actor started by hand, also in another namespace, has a watchdog and a controller check."""
    probe.play_learner()
    arm = VelocityArm(probe, task, topic)
    arm.load_controller()
    names = {"commands": topic, "__ns": "/left", "learner/progress": "/learner/progress"}
    names |= {"joint_states": "/joint_states", "replay": "/replay"}
    actor = processes.node("actor", names, max_state_age_s=0.5)
    arm.until_moving()
    checked = probe.wait(lambda: arm.value("controller"), what="a controller check")
    assert checked.startswith(("subscribers only: ", "not checked yet"))
    at = time.monotonic()
    actor.kill()
    probe.wait(lambda: not arm.moves(), timeout=5, what="zeros")
    stopped_at = next(when for when, values in arm.commands if when > at and not values.any())
    assert stopped_at - at <= GRACE_S


def test_an_arm_that_is_said_to_be_simulated_is_not_watched(arm, start):
    arm.load_controller()
    actor = start(real_arm=False)
    arm.until_moving()
    assert _watchdogs(actor) == []
    assert arm.value("controller") == ""


def test_the_check_that_was_made_is_reported(arm, start):
    arm.load_controller()
    start()
    arm.until_moving()
    arm.probe.wait(lambda: arm.value("controller") not in ("", "not checked yet"))
    assert arm.value("controller").startswith(("subscribers only: ", "by /controller_manager"))
    arm.probe.wait(lambda: arm.value("command_watchdog") == "ready")


@pytest.mark.parametrize("topic", [TOPIC, "/my_robot/forward_effort_controller/commands"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controllers": {}}, "has no controller for command mode torque (there are: none)"),
        ({}, "accept_effort_without_timeout: true"),
    ],
    ids=["no controller", "no consent"],
)
def test_torques_that_nobody_asked_for_are_refused(processes, arm, tmp_path, changes, message, topic):
    robot = yaml.safe_load((share_folder() / "config/robots/sawyer.yaml").read_text()) | changes
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
    task = yaml.safe_load((share_folder() / "config/tasks/sawyer_stack.yaml").read_text())
    (tmp_path / "mine_stack.yaml").write_text(yaml.safe_dump(task | {"robot": str(tmp_path / "mine.yaml")}))
    actor = processes.node("actor", {"commands": topic}, task=str(tmp_path / "mine_stack.yaml"))
    arm.load_controller()
    arm.probe.wait(lambda: actor.poll() is not None)
    assert actor.returncode == 2
    assert message in actor.log.read_text()
    assert f"(real_arm:=false if /{topic.strip('/')} is that of a simulation)" in actor.log.read_text()
    assert not arm.commands


class Manager:
    """A controller_manager of two controllers, played by the probe: as ros2_control's, in its services."""

    VELOCITY = "velocity_controllers/JointGroupVelocityController"
    TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"

    def __init__(self, probe, joints) -> None:
        srv = pytest.importorskip("controller_manager_msgs.srv", reason="controller_manager_msgs is not on PyPI")
        self._state = pytest.importorskip("controller_manager_msgs.msg").ControllerState
        self._probe, self._services = probe, []
        self._has = {
            "forward_velocity_controller": (self.VELOCITY, [f"{joint}/velocity" for joint in joints]),
            "joint_trajectory_controller": (self.TRAJECTORY, [f"{joint}/position" for joint in joints]),
        }
        self.active = {"joint_trajectory_controller"}
        self.switched: list[tuple[list[str], list[str]]] = []
        for kind, name, answer in (
            (srv.ListControllers, "list_controllers", self._on_list),
            (srv.SwitchController, "switch_controller", self._on_switch),
        ):
            self._services.append(probe.node.create_service(kind, f"controller_manager/{name}", answer))

    def leave(self) -> None:
        """End, as a controller_manager that crashed; its controllers still have the arm's commands."""
        for service in self._services:
            self._probe.node.destroy_service(service)

    def _on_list(self, request, response):
        for name, (kind, interfaces) in self._has.items():
            is_active = name in self.active
            claimed = interfaces if is_active else []
            state = "active" if is_active else "inactive"
            response.controller.append(
                self._state(
                    name=name,
                    type=kind,
                    state=state,
                    claimed_interfaces=claimed,
                    required_command_interfaces=interfaces,
                )
            )
        return response

    def _on_switch(self, request, response):
        up, down = list(request.activate_controllers), list(request.deactivate_controllers)
        self.switched.append((up, down))
        self.active = (self.active | set(up)) - set(down)
        response.ok = True
        return response


SWITCH = "ros2 control switch_controllers --activate forward_velocity_controller --deactivate joint_trajectory_controller"


def test_an_inactive_controller_is_a_hold_with_the_command_that_helps(arm, start, task):
    manager = Manager(arm.probe, task.robot.joints)
    arm.load_controller()  # a controller subscribes as soon as it is configured
    actor = start()
    arm.until_held("controller")
    arm.probe.wait(lambda: SWITCH in actor.log.read_text(), what="the command")
    assert not arm.commands
    assert not arm.transitions
    manager.active = {"forward_velocity_controller"}
    arm.until_moving()
    arm.probe.wait(lambda: arm.value("controller") == "by /controller_manager")
    manager.active = {"joint_trajectory_controller"}
    arm.until_held("controller")
    assert not arm.velocity().any()  # it was braked first
    count = len(arm.commands)
    arm.probe.spin_for(0.5)
    assert len(arm.commands) == count
    assert manager.switched == []


def test_a_controller_manager_that_is_gone_is_a_hold_that_is_sent(arm, start, task):
    """The controller may be there still, and keeps its last command."""
    manager = Manager(arm.probe, task.robot.joints)
    manager.active = {"forward_velocity_controller"}
    arm.load_controller()
    actor = start()
    arm.until_moving()
    arm.probe.wait(lambda: arm.value("controller") == "by /controller_manager")
    manager.leave()
    arm.until_held("controller")
    assert "/controller_manager is gone" in arm.status().message
    assert not arm.velocity().any()
    count = len(arm.commands)
    arm.probe.wait(lambda: len(arm.commands) > count + 10, what="holds")
    assert not np.any([values for _, values in arm.commands[count:]])
    actor.kill()  # the command watchdog was not told that the arm is at rest
    actor.wait()
    count = len(arm.commands)
    arm.probe.wait(lambda: len(arm.commands) > count + 10, what="zeros")


def test_no_controller_is_switched_before_a_command_may_leave(probe, processes, task):
    """Configured but not active, or without its learner, the actor changes nothing."""
    arm = VelocityArm(probe, task)
    manager = Manager(probe, task.robot.joints)
    arm.load_controller()
    actor = processes.node("actor", {"commands": TOPIC}, max_state_age_s=0.5, switch_controllers=True)
    probe.wait(lambda: "is checked by /controller_manager" in actor.log.read_text(), what="the check")
    probe.spin_for(1.0)
    assert manager.switched == []
    probe.play_learner()
    arm.until_moving()
    assert len(manager.switched) == 1


def test_switch_controllers_activates_once_and_restores(arm, start, task):
    manager = Manager(arm.probe, task.robot.joints)
    arm.load_controller()
    actor = start(switch_controllers=True)
    arm.until_moving()
    ours, former = ["forward_velocity_controller"], ["joint_trajectory_controller"]
    assert manager.switched == [(ours, former)]
    actor.send_signal(signal.SIGINT)
    arm.probe.wait(lambda: len(manager.switched) == 2, what="restored")
    assert manager.switched[1] == (former, ours)
    assert not arm.commands[-1][1].any()
    arm.probe.wait(lambda: actor.poll() is not None)
    assert actor.returncode == 0


def test_another_publisher_of_commands_holds_the_arm_until_it_left(arm, start):
    """It is named once, and no transition is made meanwhile."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    before = actor.log.read_text()
    assert "commands_shared" not in before  # the actor's own watchdog is none
    rival = arm.probe.node.create_publisher(Float64MultiArray, TOPIC, RELIABLE)
    came = time.monotonic()
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    print(f"rest {time.monotonic() - came:.2f} s after the publisher was made")
    arm.until_held("commands_shared")
    assert f"/probe publishes on /{TOPIC}, too" in arm.status().message
    made = len(arm.transitions)
    arm.probe.spin_for(2.5)
    assert len(arm.transitions) == made
    assert not arm.velocity().any()
    left = time.monotonic()
    arm.probe.node.destroy_publisher(rival)
    arm.until_moving()
    assert time.monotonic() - left > GONE_S - 0.3  # since the last look at the graph
    assert actor.log.read_text().count("commands_shared: ") == 1
    assert arm.value("hold/commands_shared") == "1"


def test_the_first_braking_command_comes_a_period_later(arm, processes, start):
    """Two steps of braking within milliseconds would be twice the acceleration that is allowed."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    count = len(arm.commands)
    arm.probe.wait(lambda: len(arm.commands) > count and arm.moves(), what="one more command")
    actor.send_signal(signal.SIGINT)
    ended = len(arm.commands)
    arm.probe.wait(lambda: actor.poll() is not None and not arm.velocity().any())
    gaps = np.diff([at for at, _ in arm.commands[ended - 1 :]])
    print(f"gaps {gaps.round(4).tolist()} s")
    assert len(gaps) > 1
    assert gaps.min() > 0.6 * PERIOD


@pytest.fixture
def link(probe, task):
    """A way to an arm, of a real node and publisher, and the filter before it."""
    safety = SafetyFilter(task.robot, "velocity", PERIOD)
    publisher = probe.node.create_publisher(Float64MultiArray, "elsewhere/commands", RELIABLE)
    options = {"real_arm": False, "may_switch": None, "is_used": True, "in_real_time": True, "is_paced": True}
    rests = lambda: safety.is_at_rest  # noqa: E731
    return ArmLink(probe.node, task.robot, "velocity", publisher, PERIOD, is_at_rest=rests, **options), safety


def test_a_moving_arm_is_braked_before_silence(link, task):
    """`unheard` may be an error of discovery; the controller keeps the last command."""
    way, safety = link
    state = Arm(task.robot).state(1, np.array(task.robot.neutral_position), np.full(7, 0.5), np.zeros(7))
    assert "unheard" in way.reasons(0.0)
    assert way.is_silent
    safety.admit(np.full(7, 0.5), state)
    way.speak()
    sent = []
    while "unheard" in way.reasons(0.0) and not way.is_silent:
        way.hold()
        sent.append(safety.hold(state))
        assert not way.held(state)
    assert 1 <= len(sent) <= 4
    assert not sent[-1].any()
    assert way.held(state)


def test_a_blocked_joint_is_a_hold_that_brakes_on(probe, task):
    """Servos lag by 50 ms at 500 Hz: begun anew from each measured velocity the hold went on for 1.9 rad."""
    period = 0.002
    safety, arm = SafetyFilter(task.robot, "velocity", period), Arm(task.robot)
    publisher = probe.node.create_publisher(Float64MultiArray, "heard/commands", RELIABLE)
    probe.listen(Float64MultiArray, "heard/commands", RELIABLE)
    options = {"real_arm": False, "may_switch": None, "is_used": True, "in_real_time": True, "is_paced": True}
    way = ArmLink(probe.node, task.robot, "velocity", publisher, period, is_at_rest=lambda: safety.is_at_rest, **options)
    probe.wait(lambda: not way.reasons(0.0), what="a subscriber")
    position, velocity, step, held_from = np.array(task.robot.neutral_position), np.zeros(7), 0, None
    while held_from is None or np.abs(velocity).max() > 0.02:
        step += 1
        state = arm.state(step * 2_000_000, position, velocity, np.zeros(7))
        if way.reasons(0.0):
            held_from = position if held_from is None else held_from
            way.hold()
            command = safety.hold(state)
            way.sent(command, state, 0.0)
            if way.held(state):
                safety.forget()
        else:
            if way.is_trying:
                safety.trust(state)
            command = safety.admit(np.array([0.8, 0, 0, 0.3, 0, 0, 0]), state)
            way.sent(command, state, 0.0)
        velocity = velocity + (command - velocity) * period / 0.05
        velocity[3] = 0.0
        position = position + velocity * period
        assert step < 5000
    assert "not_following" in way.reasons(0.0)
    assert abs(position - held_from).max() < 0.1
