"""Between the actor and the arm: controllers that come and go, frozen arms, dead actors.

Over DDS.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.common.data_files import share_folder
from sql_ros.nodes.arm_link import ArmLink
from sql_ros.nodes.command_rivals import GONE_S
from sql_ros.nodes.ending import ENDS, FAULTS
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE, REPLAY, SENSOR
from sql_ros.robot.arm import Arm
from sql_ros.robot.driver.following import LEAD_RAD, SETTLED_S
from sql_ros.robot.safety.filter import SafetyFilter

pytestmark = pytest.mark.stack
PERIOD = 0.05
GRACE_S = 0.2  # after its actor is dead or stopped the arm is told to stop
HELD_S = 0.5  # after a signal to the actor no command moves the arm
TOPIC = "forward_velocity_controller/commands"
RATE_HZ = 100.0


class VelocityArm:
    """Moves as its controller is told, unless it is frozen; its timer runs in the probe's executor.

    Attributes:
        commands: System time at which it was sent [s] and values, of every command.
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
        self._controller = self._node.create_subscription(
            Float64MultiArray, self.topic, self._on_command, RELIABLE
        )

    def unload_controller(self) -> None:
        """Drop the subscription; the hardware brakes the arm."""
        self._node.destroy_subscription(self._controller)
        self._command = np.zeros(len(self._joints))

    def lose_controller(self) -> None:
        """Drop the subscription, but keep the last command."""
        self._node.destroy_subscription(self._controller)

    def _on_command(self, message: Float64MultiArray, info: dict) -> None:
        """Keep the command; when it arrives depends on how busy this process is."""
        self._command = np.array(message.data)
        self.commands.append((1e-9 * info["source_timestamp"], self._command))

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
        """Wait for a command that moves the arm; start the arm where a busy machine held it."""
        overloaded = "holding, start_needed: the control loop is overloaded"
        goes_on = lambda: self.moves() or overloaded in self.status().message  # noqa: E731
        while not self.moves():
            self.probe.wait(goes_on, what="motion")
            if not self.moves():
                self.probe.call(Trigger, "actor/start", Trigger.Request())

    def start(self) -> None:
        """Let the arm move again."""
        assert self.probe.call(Trigger, "actor/start", Trigger.Request()).success

    def until_moving_again(self) -> None:
        """As `until_moving`, after a hold that may have lasted so long that a start is needed."""
        needs_start = lambda: "holding, start_needed" in self.status().message  # noqa: E731
        self.probe.wait(
            lambda: self.moves() or needs_start(), what="motion, or a start that is needed"
        )
        if not self.moves():
            self.start()
        self.until_moving()

    def first_motion(self, after: int) -> np.ndarray:
        """Return the first command from this one on that is not zero."""

        def moving() -> list[np.ndarray]:
            return [values for _, values in self.commands[after:] if values.any()]

        return self.probe.wait(moving, what="a first command")[0]

    def first_zero(self, after: float) -> float:
        """Wait for a zero command sent after a time [s]; return when it was sent [s]."""

        def zeros() -> list[float]:
            return [at for at, values in self.commands if at > after and not values.any()]

        return self.probe.wait(zeros, what="zeros")[0]


# options of a link to an arm that the test plays
SIMULATED = {
    "real_arm": False,
    "may_switch": None,
    "is_used": True,
    "in_real_time": True,
    "is_paced": True,
}


@pytest.fixture
def arm(probe, task):
    probe.play_learner()
    return VelocityArm(probe, task)


@pytest.fixture
def start(processes):
    """Start an actor whose commands go to the controller of the robot file."""
    return lambda **parameters: processes.node(
        "actor", {"commands": TOPIC}, max_state_age_s=0.5, **parameters
    )


@pytest.fixture
def ramp(task):
    """Largest first command from rest [rad/s], (N,)."""
    robot = task.robot
    return robot.limit_fraction * np.array(robot.acceleration_limit) * PERIOD + 1e-6


def _publishers(arm) -> list:
    """Return the publishers of the arm's commands that the test's own process knows."""
    return arm.probe.node.get_publishers_info_by_topic(f"/{TOPIC}")


def _watchdogs(actor) -> list[int]:
    """Return the children of an actor, whatever thread started them."""
    tasks = Path(f"/proc/{actor.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def test_nothing_is_done_while_nobody_takes_commands(arm, start, ramp):
    """The controller comes late: no transition before, and the first command is ramped
    from rest.
    """
    start()
    arm.until_held("unheard")
    arm.probe.wait(lambda: f"nobody listens to /{TOPIC}" in arm.status().message, what="unheard")
    arm.probe.spin_for(2.0)
    assert not arm.transitions
    arm.load_controller()
    assert (np.abs(arm.first_motion(0)) <= ramp).all()
    arm.probe.wait(lambda: arm.transitions, what="transitions")


@pytest.mark.long
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
    arm.until_held("start_needed")
    assert not np.any([values for _, values in arm.commands[before:]])
    arm.start()
    assert (np.abs(arm.first_motion(before)) <= ramp).all()
    arm.until_moving()


@pytest.mark.long
def test_an_arm_that_freezes_is_held_and_resumed_from_rest(arm, start, ramp):
    arm.load_controller()
    start()
    arm.until_moving()
    arm.frozen, made = True, len(arm.transitions)
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    held_at = len(arm.commands)
    assert len(arm.transitions) - made <= 2.0 / PERIOD
    arm.until_held("start_needed")
    assert not np.any([values for _, values in arm.commands[held_at:]])
    arm.start()
    arm.probe.wait(
        lambda: np.any([values for _, values in arm.commands[held_at:]]), what="a new attempt"
    )
    arm.frozen, released_at = False, len(arm.commands)
    sent = np.array([values for _, values in arm.commands[held_at : released_at + 1]])
    assert (np.abs(sent) <= ramp).all()  # whenever it is released, it does not jump
    arm.probe.wait(lambda: np.abs(arm.velocity()).max() > ramp.max(), what="motion")
    assert int(arm.value("hold/not_following")) >= 1


@pytest.mark.long
def test_after_a_stop_and_a_start_the_arm_is_slow_at_first(arm, start, task):
    arm.load_controller()
    start()
    arm.until_moving()
    assert arm.probe.call(Trigger, "actor/stop", Trigger.Request()).success
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    arm.position[0] = 1.0  # far from where the actor wants to go: it would be fast
    assert arm.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    arm.until_held("start_needed")
    before = len(arm.commands)
    arm.start()
    arm.probe.wait(lambda: np.abs(arm.velocity()).max() > 0.8, what="a fast motion")
    moving = [values for _, values in arm.commands[before:] if values.any()]
    most = task.robot.limit_fraction * np.array(task.robot.velocity_limit)
    shares = [float((np.abs(values) / most).max()) for values in moving]
    assert max(shares[: round(0.5 / PERIOD)]) < 0.33
    assert max(shares[-3:]) > 0.5


@pytest.mark.long
def test_a_real_arm_does_not_move_without_the_stops_that_its_file_requires(arm, start, tmp_path):
    robot = yaml.safe_load((share_folder() / "config/robots/sawyer.yaml").read_text())
    robot["required_stops"] = [{"kind": "emergency_stop", "deadline_s": 0.5, "topic": "/cell/stop"}]
    config = yaml.safe_load((share_folder() / "config/tasks/sawyer_reach.yaml").read_text())
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(robot))
    (tmp_path / "sawyer_reach.yaml").write_text(
        yaml.safe_dump({**config, "robot": str(tmp_path / "robot.yaml")})
    )
    arm.load_controller()
    start(task=str(tmp_path / "sawyer_reach.yaml"))
    arm.until_held("stop_missing")
    assert (
        "nobody publishes on /cell/stop (std_msgs/msg/Bool), which is required"
        in arm.status().message
    )
    arm.probe.spin_for(1.0)
    assert not np.any([values for _, values in arm.commands])
    button = arm.probe.node.create_publisher(Bool, "/cell/stop", RELIABLE)
    heartbeat = arm.probe.node.create_timer(0.05, lambda: button.publish(Bool(data=False)))
    arm.until_moving_again()  # a button that comes late is not the first start
    heartbeat.cancel()
    arm.probe.wait(
        lambda: "stop_missing: no word from /cell/stop for" in arm.status().message, what="silence"
    )
    assert not arm.velocity().any()
    heartbeat.reset()
    arm.until_moving_again()


@pytest.mark.short("SIGKILL")
@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT, signal.SIGSEGV],
    ids=lambda number: number.name,
)
def test_an_actor_that_dies_or_stops_leaves_no_moving_arm(arm, start, number):
    """Zeros come within 0.2 s, measured on the topic."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    at = time.time()
    actor.send_signal(number)
    stopped_at = arm.first_zero(at)
    assert stopped_at - at <= GRACE_S
    later = lambda: [values for when, values in arm.commands if when > stopped_at]  # noqa: E731
    arm.probe.wait(lambda: len(later()) > 10, what="more zeros")
    assert not np.any(later())


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize(
    "number",
    [signal.SIGQUIT, signal.SIGALRM, signal.SIGXCPU, signal.SIGUSR1, signal.SIGRTMIN],
    ids=lambda number: number.name,
)
def test_a_signal_that_ends_a_process_holds_the_arm_first(arm, start, number):
    """By the actor itself: its command watchdog is not needed.

    `test_ending.py` has the other signals.
    """
    arm.load_controller()
    actor = start()
    arm.until_moving()
    at = time.time()
    actor.send_signal(number)
    arm.probe.wait(lambda: actor.poll() is not None, timeout=80, what="its end")
    arm.first_zero(at)
    arm.probe.spin_for(0.3)
    assert actor.returncode == 0
    assert "the actor is dead" not in actor.log.read_text()
    after = [(when, np.abs(values).max()) for when, values in arm.commands if when > at]
    speeds = [speed for _, speed in after]
    assert speeds[-1] == 0.0
    assert max((when for when, speed in after if speed > 0.0), default=at) - at <= HELD_S


def test_ctrl_z_holds_the_arm_until_a_reset_and_a_start(arm, start):
    """A stopped process would hear neither a reset nor Ctrl-C."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    actor.send_signal(signal.SIGTSTP)
    arm.probe.wait(lambda: not arm.velocity().any(), timeout=20, what="rest")
    arm.until_held("stop")
    assert "Ctrl-Z" in arm.status().message
    assert "the actor is silent" not in actor.log.read_text()
    arm.probe.spin_for(0.5)
    assert not arm.velocity().any()
    assert arm.probe.call(Trigger, "actor/reset", Trigger.Request()).success
    arm.until_held("start_needed")
    arm.start()
    arm.until_moving()


@pytest.mark.long
def test_no_signal_that_ends_the_actor_ends_its_watchdog(arm, start, lives):
    """Also where all processes of a name are signalled."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    for number in ENDS | FAULTS:
        os.kill(watchdog, number)
    arm.probe.spin_for(0.3)
    assert _watchdogs(actor) == [watchdog]
    at = time.time()
    actor.kill()
    assert arm.first_zero(at) - at <= GRACE_S


@pytest.mark.long
def test_the_watchdog_of_a_dead_actor_ends_by_itself(arm, start, lives):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    actor.kill()
    actor.wait()
    arm.probe.wait(lambda: not lives(watchdog), timeout=40, what="its end")
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
    before = actor.log.read_text().count("holding, unguarded")
    os.kill(watchdog, signal.SIGKILL)
    arm.probe.wait(
        lambda: actor.log.read_text().count("holding, unguarded") > before, what="a hold"
    )
    arm.probe.wait(lambda: not arm.moves(), what="rest")
    arm.until_moving_again()
    assert watchdog not in _watchdogs(actor)
    assert len(_watchdogs(actor)) == 1


@pytest.mark.long
def test_a_watchdog_that_hangs_is_a_hold_until_it_answers(arm, start):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (watchdog,) = _watchdogs(actor)
    os.kill(watchdog, signal.SIGSTOP)
    arm.probe.wait(lambda: "does not answer" in arm.status().message, what="a hold")
    arm.probe.wait(lambda: not arm.moves(), what="rest")
    os.kill(watchdog, signal.SIGCONT)
    arm.until_moving_again()
    assert _watchdogs(actor) == [watchdog]


@pytest.mark.long
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


@pytest.mark.long
def test_no_zero_leaves_before_a_state_has_come(probe, processes):
    commands = probe.listen(Float64MultiArray, TOPIC, RELIABLE)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    probe.play_learner()
    processes.node("actor", {"commands": TOPIC})
    probe.wait(lambda: any("unguarded" in s.message for r in reports for s in r.status))
    probe.wait(lambda: len(probe.node.get_publishers_info_by_topic(f"/{TOPIC}")) == 2)
    probe.spin_for(1.0)
    assert not commands


@pytest.mark.long
def test_a_dry_run_has_no_watchdog(probe, arm, start):
    arm.load_controller()
    actor = start(dry_run=True)
    arm.probe.wait(lambda: int(arm.value("dry_run_commands") or 0) > 5, what="a dry run")
    assert _watchdogs(actor) == []
    assert not arm.commands


@pytest.mark.long
@pytest.mark.parametrize(
    "topic",
    [
        "/commands",
        "/velocity_controller/commands",
        "/my_robot/forward_velocity_controller/commands",
    ],
)
def test_any_topic_but_that_of_the_simulation_is_a_real_arm(probe, task, processes, topic):
    """An actor started by hand, also in another namespace, has a watchdog and a controller
    check.
    """
    probe.play_learner()
    arm = VelocityArm(probe, task, topic)
    arm.load_controller()
    names = {"commands": topic, "__ns": "/left", "learner/progress": "/learner/progress"}
    names |= {"joint_states": "/joint_states", "replay": "/replay"}
    actor = processes.node("actor", names, max_state_age_s=0.5)
    arm.until_moving()
    checked = probe.wait(lambda: arm.value("controller"), what="a controller check")
    assert checked.startswith(("subscribers only: ", "not checked yet"))
    at = time.time()
    actor.kill()
    assert arm.first_zero(at) - at <= GRACE_S


@pytest.mark.short("0.5")
@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_a_pace_on_a_real_arm_is_refused(processes, arm, start, factor):
    """Its states would not be watched, and in lockstep its commands neither."""
    arm.load_controller()
    actor = start(realtime_factor=factor)
    arm.probe.wait(lambda: actor.poll() is not None)
    assert actor.returncode == 2
    actor.until_said(
        f"parameter 'realtime_factor' is {factor:g}, expected 1: commands go to /{TOPIC}"
    )
    assert not arm.commands


@pytest.mark.long
def test_an_arm_that_is_said_to_be_simulated_is_not_watched(arm, start):
    arm.load_controller()
    actor = start(real_arm=False)
    arm.until_moving()
    assert _watchdogs(actor) == []
    assert arm.value("controller") == ""


@pytest.mark.long
def test_the_check_that_was_made_is_reported(arm, start):
    arm.load_controller()
    start()
    arm.until_moving()
    arm.probe.wait(lambda: arm.value("controller") not in ("", "not checked yet"))
    assert arm.value("controller").startswith(("subscribers only: ", "by /controller_manager"))
    arm.probe.wait(lambda: arm.value("command_watchdog") == "ready")


@pytest.mark.short("no consent-forward_velocity_controller/commands")
@pytest.mark.parametrize("topic", [TOPIC, "/my_robot/forward_effort_controller/commands"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controllers": {}}, "has no controller for command mode torque (there are: none)"),
        ({}, "accept_effort_without_timeout: true"),
    ],
    ids=["no controller", "no consent"],
)
def test_torques_that_nobody_asked_for_are_refused(
    processes, arm, tmp_path, changes, message, topic
):
    robot = yaml.safe_load((share_folder() / "config/robots/sawyer.yaml").read_text()) | changes
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
    task = yaml.safe_load((share_folder() / "config/tasks/sawyer_stack.yaml").read_text())
    (tmp_path / "mine_stack.yaml").write_text(
        yaml.safe_dump(task | {"robot": str(tmp_path / "mine.yaml")})
    )
    actor = processes.node("actor", {"commands": topic}, task=str(tmp_path / "mine_stack.yaml"))
    arm.load_controller()
    arm.probe.wait(lambda: actor.poll() is not None)
    assert actor.returncode == 2
    actor.until_said(message)
    actor.until_said(f"(real_arm:=false if /{topic.strip('/')} is that of a simulation)")
    assert not arm.commands


class Manager:
    """A controller_manager of two controllers, played by the probe: as ros2_control's, in its
    services.
    """

    VELOCITY = "velocity_controllers/JointGroupVelocityController"
    TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"

    def __init__(self, probe, joints) -> None:
        srv = pytest.importorskip(
            "controller_manager_msgs.srv", reason="controller_manager_msgs is not on PyPI"
        )
        self._state = pytest.importorskip("controller_manager_msgs.msg").ControllerState
        self._probe, self._services = probe, []
        self._has = {
            "forward_velocity_controller": (
                self.VELOCITY,
                [f"{joint}/velocity" for joint in joints],
            ),
            "joint_trajectory_controller": (
                self.TRAJECTORY,
                [f"{joint}/position" for joint in joints],
            ),
        }
        self.active = {"joint_trajectory_controller"}
        self.switched: list[tuple[list[str], list[str]]] = []
        for kind, name, answer in (
            (srv.ListControllers, "list_controllers", self._on_list),
            (srv.SwitchController, "switch_controller", self._on_switch),
        ):
            self._services.append(
                probe.node.create_service(kind, f"controller_manager/{name}", answer)
            )

    def leave(self) -> None:
        """End, as a controller_manager that crashed.

        Its controllers still have the arm's commands.
        """
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


SWITCH = (
    "ros2 control switch_controllers --activate forward_velocity_controller --deactivate"
    " joint_trajectory_controller"
)


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


@pytest.mark.long
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


@pytest.mark.long
def test_no_controller_is_switched_before_a_command_may_leave(probe, processes, task):
    """Configured but not active, or without its learner, the actor changes nothing."""
    arm = VelocityArm(probe, task)
    manager = Manager(probe, task.robot.joints)
    arm.load_controller()
    actor = processes.node(
        "actor", {"commands": TOPIC}, max_state_age_s=0.5, switch_controllers=True
    )
    probe.wait(
        lambda: "is checked by /controller_manager" in actor.log.read_text(), what="the check"
    )
    probe.spin_for(1.0)
    assert manager.switched == []
    probe.play_learner()
    arm.until_moving()
    assert len(manager.switched) == 1


@pytest.mark.long
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
    arm.until_moving_again()
    assert time.monotonic() - left > GONE_S - 0.3  # since the last look at the graph
    actor.until_said("commands_shared: ")
    assert actor.log.read_text().count("commands_shared: ") == 1
    assert arm.value("hold/commands_shared") == "1"


@pytest.mark.long
def test_a_killed_actor_does_not_hold_one_that_starts_later(arm, start):
    """Its publisher stays in the graph of all that knew it, for up to 20 s.

    A new process does not hear of it.
    """
    arm.load_controller()
    actor = start()
    arm.until_moving()
    (dead,) = [bytes(p.endpoint_gid) for p in _publishers(arm) if p.node_name == "actor"]
    actor.kill()
    actor.wait()
    second = start()
    arm.probe.wait(
        lambda: "holding, start_needed: the last actor of" in arm.status().message,
        what="a hold of the second actor",
    )
    arm.start()
    arm.until_moving()
    assert dead in [bytes(p.endpoint_gid) for p in _publishers(arm)]
    assert "commands_shared" not in second.log.read_text()
    assert arm.value("hold/commands_shared") == ""


@pytest.mark.long
@pytest.mark.parametrize("name", ["actor", "other_command_watchdog", "actor_command_watchdog"])
def test_a_publisher_that_is_called_as_the_actor_is_another_one(arm, start, name):
    """Nodes are told apart by the GIDs of their publishers, not by their names."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    assert "commands_shared" not in actor.log.read_text()
    rival = rclpy.create_node(name, context=arm.probe.context)
    rival.create_publisher(Float64MultiArray, TOPIC, RELIABLE)
    try:
        arm.until_held("commands_shared")
        assert f"/{name} publishes on /{TOPIC}, too" in arm.status().message
        arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    finally:
        rival.destroy_node()


@pytest.mark.long
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
    rests = lambda: safety.is_at_rest  # noqa: E731
    return (
        ArmLink(
            probe.node,
            task.robot,
            task.config.scene,
            "velocity",
            publisher,
            PERIOD,
            is_at_rest=rests,
            **SIMULATED,
        ),
        safety,
    )


def test_a_moving_arm_is_braked_before_silence(link, task):
    """`unheard` may be an error of discovery; the controller keeps the last command."""
    way, safety = link
    arm = Arm(task.robot)
    moving, resting = (
        arm.state(1, np.array(task.robot.neutral_position), np.full(7, v), np.zeros(7))
        for v in (0.5, 0.0)
    )
    assert "unheard" in way.reasons(0.0)
    assert way.is_silent
    way.end_silence()
    way.sent(safety.admit(np.full(7, 0.5), moving), moving, 0.0)

    def holds(state, most: int, *, fresh: bool = True) -> list[np.ndarray]:
        sent = []
        while "unheard" in way.reasons(0.0) and not way.is_silent and len(sent) < most:
            way.hold()
            sent.append(safety.hold(state, fresh=fresh))
            way.sent(sent[-1], state, 0.0)
            assert not way.held(state, fresh=fresh)
        return sent

    sent = holds(moving, 100)
    assert len(sent) == 100  # measured, it moves on
    assert not np.any(sent[4:])
    assert len(holds(resting, 100, fresh=False)) == 100  # old states say nothing
    assert len(holds(resting, 100)) == round(SETTLED_S / PERIOD)
    assert way.held(resting, fresh=True)
    assert not holds(moving, 100)  # now another moves it: not before it is heard again


@pytest.mark.long
def test_a_position_is_told_to_an_arm_that_moves_unheard(probe, task):
    """Without states its last position command, which asks for no motion, is enough."""
    publisher = probe.node.create_publisher(Float64MultiArray, "elsewhere/commands", RELIABLE)
    way = ArmLink(
        probe.node,
        task.robot,
        task.config.scene,
        "position",
        publisher,
        PERIOD,
        is_at_rest=lambda: True,
        **SIMULATED,
    )
    position = np.array(task.robot.neutral_position)
    moving = Arm(task.robot).state(1, position, np.full(7, 0.5), np.zeros(7))
    for fresh in (True, False):
        way.end_silence()
        way.sent(position, moving, 0.0)
        for _ in range(20):
            assert "unheard" in way.reasons(0.0)
            way.sent(position, moving, 0.0)
            way.held(moving, fresh=fresh)
        assert way.is_silent is not fresh


@pytest.mark.long
def test_lost_discovery_leaves_the_watchdog_awake_while_the_arm_moves(arm, start):
    """Its controller is there and keeps the last command, but is not found any more."""
    arm.load_controller()
    actor = start()
    arm.until_moving()
    arm.lose_controller()
    arm.until_held("unheard")
    count = len(arm.commands)
    arm.probe.spin_for(1.0)
    assert np.abs(arm.velocity()).max() > 0.3
    actor.kill()
    arm.load_controller()
    arm.probe.wait(
        lambda: len(arm.commands) > count, timeout=20, what="zeros of the command watchdog"
    )
    assert not np.any([values for _, values in arm.commands[count:]])


def test_a_blocked_joint_is_a_hold_that_brakes_on(probe, task):
    """Servos lag by 50 ms at 500 Hz: begun anew from each measured velocity the hold went on for
    1.9 rad.
    """
    period = 0.002
    safety, arm = SafetyFilter(task.robot, "velocity", period), Arm(task.robot)
    publisher = probe.node.create_publisher(Float64MultiArray, "heard/commands", RELIABLE)
    probe.listen(Float64MultiArray, "heard/commands", RELIABLE)
    way = ArmLink(
        probe.node,
        task.robot,
        task.config.scene,
        "velocity",
        publisher,
        period,
        is_at_rest=lambda: safety.is_at_rest,
        **SIMULATED,
    )
    probe.wait(lambda: not way.reasons(0.0), what="a subscriber")
    position, velocity, step, held_from = (
        np.array(task.robot.neutral_position),
        np.zeros(7),
        0,
        None,
    )
    while held_from is None or np.abs(velocity).max() > 0.02:
        step += 1
        state = arm.state(step * 2_000_000, position, velocity, np.zeros(7))
        if way.reasons(0.0):
            held_from = position if held_from is None else held_from
            way.hold()
            command = safety.hold(state)
            way.sent(command, state, 0.0)
            if way.held(state, fresh=True):
                safety.forget()
        else:
            if way.is_trying:
                safety.trust(state, LEAD_RAD)
            command = safety.admit(np.array([0.8, 0, 0, 0.3, 0, 0, 0]), state)
            way.sent(command, state, 0.0)
        velocity = velocity + (command - velocity) * period / 0.05
        velocity[3] = 0.0
        position = position + velocity * period
        assert step < 5000
    assert "not_following" in way.reasons(0.0)
    assert abs(position - held_from).max() < 0.1


def test_a_stop_that_is_reset_at_once_still_needs_a_start(arm, start):
    """The reset came before a control step had seen the stop: the arm went on."""
    arm.load_controller()
    start()
    arm.until_moving()
    stop = arm.probe.node.create_client(Trigger, "actor/stop")
    reset = arm.probe.node.create_client(Trigger, "actor/reset")
    assert stop.wait_for_service(5.0)
    assert reset.wait_for_service(5.0)
    stop.call_async(Trigger.Request())
    answer = reset.call_async(Trigger.Request())
    arm.probe.wait(answer.done, what="the answer of reset")
    if "was not stopped" in answer.result().message:  # it overtook the stop
        arm.probe.call(Trigger, "actor/reset", Trigger.Request())
    arm.until_held("start_needed")
    before = len(arm.commands)
    arm.probe.spin_for(0.5)
    assert not np.any([values for _, values in arm.commands[before:]])


@pytest.mark.long
def test_an_arm_whose_actor_was_stopped_by_a_signal_needs_a_start(arm, start):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    actor.send_signal(signal.SIGSTOP)
    arm.probe.spin_for(1.5)
    actor.send_signal(signal.SIGCONT)
    before = len(arm.commands)
    arm.until_held("start_needed")
    arm.probe.spin_for(0.3)
    assert not np.any([values for _, values in arm.commands[before:]])


BROKEN = """
import sys
from sql_ros.nodes.actor_node import ActorNode, run_node

class BrokenNode(ActorNode):
    commands = 0

    def configure(self):
        super().configure()
        send = self._output.send
        def broken_send(command, state, **given):
            send(command, state, **given)
            self.commands += any(command)
            if self.commands == 20 and any(command):
                raise RuntimeError("broken on purpose")
        self._output.send = broken_send

sys.exit(run_node(BrokenNode))
"""


@pytest.mark.long
@pytest.mark.parametrize("how", ["an error", "a signal"])
def test_the_actor_after_one_that_ended_unasked_needs_a_start(arm, start, processes, how):
    """A supervisor (docker, systemd, respawn) starts it again.

    A person at a terminal ends it by Ctrl-C.
    """
    arm.load_controller()
    if how == "an error":
        words = [sys.executable, "-c", BROKEN, "--ros-args", "-r", f"commands:={TOPIC}"]
        actor = processes.start([*words, "-p", "identify:=never", "-p", "max_state_age_s:=0.5"])
        arm.probe.wait(lambda: actor.poll() is not None, what="the end of the actor")
    else:
        actor = start()
        arm.until_moving()
        assert processes.stop(actor, signal.SIGTERM) == 0
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    before = len(arm.commands)
    start()
    arm.until_held("start_needed")
    # the second on a machine that is too busy
    said = (f"ended by {how}", "ended while the arm was held")
    assert any(words in arm.status().message for words in said), arm.status().message
    assert not np.any([values for _, values in arm.commands[before:]])
    arm.start()


@pytest.mark.long
def test_the_actor_after_a_ctrl_c_moves_as_the_first_one_did(arm, start, processes):
    arm.load_controller()
    first = start()
    arm.until_moving()
    assert processes.stop(first) == 0
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    start()
    arm.until_moving()


@pytest.mark.long
def test_the_actor_after_one_that_held_needs_a_start(arm, start, processes):
    """The hold was too short to need one by itself, and the end was a Ctrl-C."""
    first = start()
    arm.until_held("unheard")
    assert processes.stop(first) == 0
    arm.load_controller()
    start()
    arm.until_held("start_needed")
    assert "ended while the arm was held: unheard: " in arm.status().message
    arm.start()


@pytest.mark.long
def test_an_arm_that_was_deactivated_needs_a_start(arm, start):
    """Meanwhile somebody may have taken it over."""
    arm.load_controller()
    start()
    arm.until_moving()
    for change in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=change))
        assert arm.probe.call(ChangeState, "actor/change_state", request).success
        arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    before = len(arm.commands)
    arm.until_held("start_needed")
    assert "the actor was deactivated" in arm.status().message
    assert not np.any([values for _, values in arm.commands[before:]])
    arm.start()


@pytest.mark.long
def test_a_spare_actor_that_is_activated_after_a_kill_needs_a_start(arm, start, processes):
    """It was configured before the other one began."""
    arm.load_controller()
    words = [
        sys.executable,
        "-m",
        "sql_ros.nodes.actor_node",
        "--ros-args",
        "-r",
        f"commands:={TOPIC}",
        "-r",
        "__node:=spare",
    ]
    processes.start(
        [*words, "-p", "identify:=never", "-p", "max_state_age_s:=0.5", "-p", "autostart:=false"]
    )
    configure, activate = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    change = lambda to: arm.probe.call(  # noqa: E731
        ChangeState, "spare/change_state", ChangeState.Request(transition=Transition(id=to))
    )
    assert change(configure).success
    first = start()
    arm.until_moving()
    first.kill()
    first.wait()
    arm.probe.wait(lambda: not arm.velocity().any(), what="rest")
    before = len(arm.commands)
    arm.probe.wait(lambda: change(activate).success, what="an activation")

    def said():
        statuses = [status for report in arm._reports for status in report.status]
        return [each.message for each in statuses if each.name.endswith("spare: control")]

    arm.probe.wait(
        lambda: any("did not end in order" in line for line in said()), what="start_needed"
    )
    assert not np.any([values for _, values in arm.commands[before:]])


@pytest.mark.long
def test_the_actor_after_one_that_was_killed_needs_a_start(arm, start):
    arm.load_controller()
    actor = start()
    arm.until_moving()
    actor.kill()
    actor.wait()
    before = len(arm.commands)
    start()
    arm.until_held("start_needed")
    assert "did not end in order" in arm.status().message
    assert not np.any([values for _, values in arm.commands[before:]][-20:])
    arm.start()
    arm.until_moving()
