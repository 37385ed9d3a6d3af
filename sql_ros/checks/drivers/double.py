"""The node: the state publisher and the controller of an arm, as a driver shows them on the wire.

One thread does everything in turn: it moves the joints, publishes their states at the driver's rate,
and takes commands in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from sql_ros.checks.drivers.arms import JOINT_COMMAND, ArmDouble
from sql_ros.checks.drivers.controllers import (
    CommandError,
    GroupController,
    JointCommandController,
    TrajectoryController,
    Vector,
)
from sql_ros.checks.drivers.intera import InteraRobot
from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm
from sql_ros.checks.drivers.recorder import Recorder
from sql_ros.checks.drivers.states import StateHabits, elsewhere, gripper_state, joint_state
from sql_ros.robot.config import RobotConfig

BROADCASTER = "joint_state_broadcaster"
FROZEN_NS = 10**18  # a stamp that never advances
PUSH_RAD_S, PUSH_S = 1.0, 0.2  # how fast somebody pushes the first two joints, and for how long
YIELD_S = 1.0  # after a push, for which the arm still gives way
ATTEMPT_S = 20.0  # the longest until the stack tries to move again
LATE_IN_ATTEMPT_S = 0.25  # after the beginning of such an attempt
CLOCK_STEP_S, OTHER_CLOCK_S = 10.0, 7200.0
OTHER_DRIVER = "other_driver"  # a second publisher of the same joints
GRIPPER_RATE_HZ = 30.0  # of franka_gripper's own publisher
LATEST_PERIODS = 5.0  # a publisher that is later than this goes on from now, without a burst
# of controllers: reliable; deeper than theirs, since this process may be kept waiting for longer
COMMANDS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TRANSIENT = QoSProfile(depth=5000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
Controller = GroupController | TrajectoryController | JointCommandController


class DriverDouble:
    """An arm on the wire.

    Args:
        arm: which.
        robot: its limits, and its joints without prefix.
        habits: of its state publisher.
        plant: its joints.
        recorder: judges commands and motion.
        domain: of DDS.
        seed: of jitter, dropouts and noise.
        speed: of the pendant's slider: share at which a trajectory progresses.

    Attributes:
        reports: of the actor on /diagnostics, how many came.
        status: the last of them.
        holding: its message while the actor holds; empty otherwise.
        transitions: that were published on `replay`.
        prompt: what the trials ask their operator to do.
        holds: how often each kind of hold began, as /diagnostics has it.
    """

    def __init__(
        self,
        arm: ArmDouble,
        robot: RobotConfig,
        habits: StateHabits,
        plant: KinematicArm | DynamicArm,
        recorder: Recorder,
        domain: int,
        seed: int = 0,
        speed: float = 1.0,
    ) -> None:
        self.arm, self.robot, self.habits = arm, robot, habits
        self.plant, self.recorder = plant, recorder
        self.reports = 0
        self.status = self.holding = ""
        self.transitions = 0
        self.holds: dict[str, int] = {}
        self._rng = np.random.default_rng(seed)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._controller: Controller | None = None
        self._intera: InteraRobot | None = None
        self._controller_node: Node | None = None
        self._other_node: Node | None = None
        self._other: rclpy.publisher.Publisher | None = None
        self._stale = plant.position.copy()
        self._is_silent = False
        self._pushed_until = 0.0
        self.prompt = ""
        self._speed = speed
        witness = self._make_node("driver_double")
        witness.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        witness.create_subscription(Float64MultiArray, "replay", self._on_replay, TRANSIENT)
        witness.create_subscription(String, "trials/prompt", self._on_prompt, LATCHED)
        self._clock_ns = 0
        if habits.stamps == "other_clock":
            self._clock_ns = round(1e9 * OTHER_CLOCK_S)
        self._states_node = self._make_node(BROADCASTER)
        self._states = self._make_publisher(self._states_node)
        self._gripper = None
        if habits.gripper == "beside":
            self._gripper = self._make_publisher(self._make_node("gripper"))
        self._period = 1.0 / habits.rate_hz
        self._advanced = self._base = self._due = self._gripper_due = time.monotonic()
        if habits.second:
            self.second_on()

    def close(self) -> None:
        """Destroy every node."""
        self._executor.shutdown()
        for node in list(self._executor.get_nodes()):
            node.destroy_node()
        self._context.try_shutdown()

    def run_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Play the arm until a condition holds; return whether it did in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            now = time.monotonic()
            if now > deadline:
                return False
            if now >= self._due:
                self._publish(now)
            else:
                self._executor.spin_once(timeout_sec=self._due - now)
        return True

    def run_for(self, seconds: float) -> None:
        """Play the arm for a while, to show that something does not happen."""
        self.run_until(lambda: False, seconds)

    # --- what can be done to it ---

    def load_controller(self, *, other: bool = False) -> None:
        """Activate the arm's controller; `other`: one that takes another type of message."""
        node = self._make_node(self.arm.controller)
        self._controller_node = node
        joints = [self.habits.prefix + joint for joint in self.robot.joints]
        if self.arm.controller_type == JOINT_COMMAND:
            controller = JointCommandController(joints)
            self._controller = controller
            self._intera = InteraRobot(node, self.arm.topic, controller, self._judge)
            return
        takes_trajectories = (self.arm.interface == "position") != other
        kind = JointTrajectory if takes_trajectories else Float64MultiArray
        on_message = self._on_trajectory if takes_trajectories else self._on_values
        node.create_subscription(kind, self.arm.topic, on_message, COMMANDS)
        if other:
            return
        if takes_trajectories:
            self._controller = TrajectoryController(joints, self.plant.position, self._speed)
        else:
            self._controller = GroupController(joints, self.arm.interface)
        self.recorder.begin_anew()

    def unload_controller(self) -> None:
        """Let the controller die: the drives hold."""
        if self._controller_node is not None:
            self._remove_node(self._controller_node)
        self._controller_node = self._controller = self._intera = None

    def stop(self) -> None:
        """Stop protectively: the brakes close, states and controller go on."""
        self.plant.is_stopped = True
        self.recorder.is_stopped = True

    def release(self) -> None:
        """End the protective stop: the arm follows at once whatever its controller says."""
        self.plant.is_stopped = False
        self.recorder.is_stopped = False
        if self._controller is not None:
            setpoint = self._controller.setpoint(time.monotonic())
            self.recorder.take_release(setpoint, self.plant.position, self.plant.velocity)

    def release_during_attempt(self) -> None:
        """End the protective stop at a moment when the stack commands a motion."""
        recorder = self.recorder
        self.run_until(lambda: not recorder.asks_for_motion, ATTEMPT_S)
        self.run_until(lambda: recorder.asks_for_motion, ATTEMPT_S)
        self.run_for(LATE_IN_ATTEMPT_S)
        self.release()

    def press(self) -> None:
        """Press the robot's own emergency stop."""
        if self._intera is not None:
            self._intera.press(is_pressed=True)

    def push(self) -> None:
        """Push the arm by hand for a moment."""
        self._pushed_until = time.monotonic() + PUSH_S
        self.plant.push[:2] = PUSH_RAD_S

    def silence(self) -> None:
        """Publish no states any more."""
        self._is_silent = True

    def speak(self) -> None:
        """Publish states again."""
        self._is_silent = False

    def step_clock(self) -> None:
        """Set the clock of the stamps back, as a time server does."""
        self._clock_ns -= round(1e9 * CLOCK_STEP_S)

    def restart_driver(self) -> None:
        """End the publisher of the states and start another one of the same name."""
        self._remove_node(self._states_node)
        self._states_node = self._make_node(BROADCASTER)
        self._states = self._make_publisher(self._states_node)

    def second_on(self) -> None:
        """Start a second publisher of the same joints."""
        self._other_node = self._make_node(OTHER_DRIVER)
        self._other = self._make_publisher(self._other_node)

    def second_off(self) -> None:
        """End the second publisher."""
        if self._other_node is not None:
            self._remove_node(self._other_node)
        self._other_node = self._other = None

    # --- the wire ---

    def _make_node(self, name: str) -> Node:
        node = rclpy.create_node(name, context=self._context, enable_rosout=False, start_parameter_services=False)
        self._executor.add_node(node)
        return node

    def _remove_node(self, node: Node) -> None:
        self._executor.remove_node(node)
        node.destroy_node()

    def _make_publisher(self, node: Node) -> rclpy.publisher.Publisher:
        reliable = ReliabilityPolicy.RELIABLE
        best_effort = ReliabilityPolicy.BEST_EFFORT
        reliability = reliable if self.habits.reliable else best_effort
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=reliability)
        return node.create_publisher(JointState, self.arm.state_topic, profile)

    def _publish(self, now: float) -> None:
        self._advance(now)
        if now - self._base > LATEST_PERIODS * self._period:
            self._base = now
        self._base += self._period
        late = self.habits.jitter * self._rng.random() * self._period
        self._due = self._base + late
        if self._is_silent or self._rng.random() < self.habits.dropout:
            return
        plant = self.plant
        stamp = FROZEN_NS if self.habits.stamps == "frozen" else time.time_ns() + self._clock_ns
        noise = self.habits.noise_rad * self._rng.standard_normal(len(plant.position))
        values = (plant.position + noise, plant.velocity, plant.effort)
        joints = self.robot.joints
        self._states.publish(joint_state(stamp, joints, values, self.habits, self._stale))
        if self._other is not None:
            values = (elsewhere(plant.position), plant.velocity, plant.effort)
            self._other.publish(joint_state(stamp, joints, values, self.habits, self._stale))
        if self._intera is not None:
            self._intera.report()
        if self._gripper is not None and now >= self._gripper_due:
            self._gripper_due = now + 1.0 / GRIPPER_RATE_HZ
            self._gripper.publish(gripper_state(stamp))

    def _advance(self, now: float) -> None:
        if now > self._pushed_until:
            self.plant.push[:] = 0.0
        self.recorder.is_pushed = now < self._pushed_until + YIELD_S
        setpoint = None if self._controller is None else self._controller.setpoint(now)
        self.plant.advance(now - self._advanced, self.arm.interface, setpoint)
        self._advanced = now
        self.recorder.take_state(now, self.plant.position, self.plant.velocity)

    def _on_values(self, message: Float64MultiArray) -> None:
        controller = self._controller
        if isinstance(controller, GroupController):
            is_labelled = bool(message.layout.dim)
            self._judge(lambda: controller.take_values(message.data), is_labelled=is_labelled)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        controller = self._controller
        if not isinstance(controller, TrajectoryController):
            return
        points = [(point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec, point.positions) for point in message.points]
        now, names, position = time.monotonic(), message.joint_names, self.plant.position
        self._judge(lambda: controller.take_trajectory(now, names, points, position))

    def _judge(self, take: Callable[[], Vector], *, is_labelled: bool = True) -> None:
        """Pass a command to the recorder, or count that the controller refused it.

        The stack's watchdog labels no commands; a controller does not read labels.
        """
        try:
            command = take()
        except CommandError as error:
            self.recorder.take_refusal(str(error))
            return
        if not is_labelled and not command.any():
            self.recorder.take_stop()
            return
        self.recorder.take_command(command, self.plant.position, self.plant.velocity)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": control"):
                self.reports += 1
                self.status = status.message
                self.holds = {entry.key.removeprefix("hold/"): int(entry.value) for entry in status.values if entry.key.startswith("hold/")}
                is_held = "holding" in status.message or "waiting" in status.message
                self.holding = status.message if is_held else ""

    def _on_replay(self, message: Float64MultiArray) -> None:
        self.transitions += 1

    def _on_prompt(self, message: String) -> None:
        self.prompt = message.data
