"""The node of a simulated driver: the state publisher and the controller of an arm, as a driver
shows them on ROS topics.

One thread moves the joints, publishes their states at the driver's rate, and takes commands in
between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from sql_ros.checks.drivers.arms import JOINT_COMMAND, ArmDouble
from sql_ros.checks.drivers.controllers import (
    CommandError,
    GroupController,
    JointCommandController,
    Point,
    TrajectoryController,
)
from sql_ros.checks.drivers.intera import InteraDouble
from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm
from sql_ros.checks.drivers.recorder import MotionRecorder
from sql_ros.checks.drivers.states import StateHabits, elsewhere, gripper_state, joint_state
from sql_ros.checks.drivers.urdf import ur_description
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig

BROADCASTER = "joint_state_broadcaster"
FROZEN_NS = 10**18  # the stamp of every state with the stamps "frozen"
PUSH_RAD_S = 1.0  # speed of a push of the first two joints
PUSH_S = 0.2  # length of a push
YIELD_S = 1.0  # time after a push in which the arm still springs back, and is not judged
ATTEMPT_S = 20.0  # longest wait for a service that succeeds, or for a commanded motion
ANSWER_S = 5.0  # longest wait for the answer of a service
LATE_IN_ATTEMPT_S = 0.25  # time from the first commanded motion to the release of the brakes
CLOCK_STEP_S = 10.0  # time by which the clock of the stamps is set back
OTHER_CLOCK_S = 7200.0  # by how much the clock of another host is ahead
OTHER_DRIVER = "other_driver"  # node of a second publisher of the same joints
GRIPPER_RATE_HZ = 30.0  # rate of franka_gripper's own publisher
LATEST_PERIODS = 5.0  # lateness [periods] after which missed states are left out
# reliable as in controllers, but with a deeper queue: this process may get no processor for longer
COMMANDS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TRANSIENT = QoSProfile(depth=5000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
Controller = GroupController | TrajectoryController | JointCommandController


class DriverDouble:
    """An arm on ROS topics.

    Nothing moves and no message is taken except inside `run_until` and the methods that call it.

    Args:
        arm: The arm and its controller.
        robot: Gives limits, and joint names without prefix.
        habits: How the driver publishes states.
        plant: Joints of the arm.
        recorder: Judges commands and motion.
        domain: ROS_DOMAIN_ID.
        seed: Seed of jitter, dropouts and noise.
        speed: Setting of the pendant's slider: share of its speed at which a trajectory progresses.
        wiring: Matrix (N, N) that commands are multiplied with, the error of the driver in passing
            them on; position commands are taken relative to the first pose. None: no error.

    Attributes:
        arm: As given.
        robot: As given.
        habits: As given.
        plant: As given.
        recorder: As given.
        reports: Number of the actor's reports on /diagnostics.
        status: Message of the last report; empty: none yet.
        holding: Message of the last report if the actor holds or waits; otherwise empty.
        transitions: Number of transitions published on `replay`.
        prompt: Last request of the trials to their operator; empty: none yet.
        holds: Number of holds by kind, as the last report says.
    """

    def __init__(
        self,
        arm: ArmDouble,
        robot: RobotConfig,
        habits: StateHabits,
        plant: KinematicArm | DynamicArm,
        recorder: MotionRecorder,
        domain: int,
        seed: int = 0,
        speed: float = 1.0,
        wiring: Vector | None = None,
    ) -> None:
        self.arm = arm
        self.robot = robot
        self.habits = habits
        self.plant = plant
        self.recorder = recorder
        self.reports = 0
        self.status = self.holding = ""
        self.transitions = 0
        self.holds: dict[str, int] = {}
        self._rng = np.random.default_rng(seed)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._controller: Controller | None = None
        self._intera: InteraDouble | None = None
        self._controller_node: Node | None = None
        self._other_node: Node | None = None
        self._other: rclpy.publisher.Publisher | None = None
        self._stale = plant.position.copy()
        self._is_silent = False
        self._pushed_until = 0.0
        self.prompt = ""
        self._is_answered = False
        self._speed = speed
        self._wiring = wiring
        self._origin = plant.position.copy()
        observer = self._make_node("driver_double")
        observer.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        observer.create_subscription(Float64MultiArray, "replay", self._on_replay, TRANSIENT)
        self._start = observer.create_client(Trigger, "actor/start")
        self._confirm = observer.create_client(Trigger, "trials/confirm")
        observer.create_subscription(String, "trials/prompt", self._on_prompt, LATCHED)
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
            self.start_second_publisher()

    def close(self) -> None:
        """Destroy all nodes and their context."""
        nodes = list(self._executor.get_nodes())
        self._executor.shutdown()  # the executor forgets its nodes
        for node in nodes:
            node.destroy_node()
        self._context.try_shutdown()

    def run_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Move the arm, publish its states and take messages until a condition holds.

        Args:
            condition: Tested before each of these.
            timeout_s: Longest time [s].

        Returns:
            True as soon as the condition holds; False after the longest time.
        """
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
        """Move the arm, publish its states and take messages for a time.

        Args:
            seconds: Length of the time [s].
        """
        self.run_until(lambda: False, seconds)

    # --- actions ---

    def load_controller(self, *, other: bool = False) -> None:
        """Start the node of the arm's controller, which takes commands from now on.

        Args:
            other: Start a controller instead that subscribes to the same topic with another type of
                message and takes no command.
        """
        node = self._make_node(self.arm.controller)
        self._controller_node = node
        joints = [self.habits.prefix + joint for joint in self.robot.joints]
        if self.arm.controller_type == JOINT_COMMAND:
            controller = JointCommandController(joints)
            self._controller = controller
            self._intera = InteraDouble(node, self.arm.topic, controller, self._give_command)
            return
        takes_trajectories = (self.arm.interface == "position") != other
        kind = JointTrajectory if takes_trajectories else Float64MultiArray
        on_message = self._on_trajectory if takes_trajectories else self._on_values
        node.create_subscription(kind, self.arm.topic, on_message, COMMANDS)
        if other:
            return
        if takes_trajectories:
            start = self.plant.position
            from_desired = self.arm.from_desired
            self._controller = TrajectoryController(
                joints, start, self._speed, from_desired=from_desired
            )
        else:
            self._controller = GroupController(joints, self.arm.interface)
        self.recorder.begin_anew()

    def describe(self, arm: str) -> None:
        """Publish the URDF of an arm once on `robot_description`, latched, as robot_state_publisher
        does.

        Args:
            arm: Universal Robots arm, for `ur_description`.
        """
        publisher = self._make_node("robot_state_publisher").create_publisher(
            String, "robot_description", LATCHED
        )
        publisher.publish(String(data=ur_description(arm, self.habits.prefix)))

    def unload_controller(self) -> None:
        """End the node of the controller; the drives then hold the arm. Does nothing without a
        controller.
        """
        if self._controller_node is not None:
            self._remove_node(self._controller_node)
        self._controller_node = self._controller = self._intera = None

    def stop(self) -> None:
        """Begin a protective stop: the brakes close; states are published and the controller takes
        commands as before.
        """
        self.plant.is_stopped = True
        self.recorder.is_stopped = True

    def release(self) -> None:
        """End the protective stop: the arm follows its controller at once, and the recorder judges
        that step.
        """
        self.plant.is_stopped = False
        self.recorder.is_stopped = False
        if self._controller is not None:
            setpoint = self._controller.setpoint(time.monotonic())
            self.recorder.take_release(setpoint, self.plant.position, self.plant.velocity)

    def release_after_start(self) -> None:
        """Call `~/start` too early, and end the protective stop while the stack commands a motion.

        Waits up to `ATTEMPT_S` for the commanded motion.
        """
        recorder = self.recorder
        self.call_start()
        self.run_until(lambda: recorder.asks_for_motion, ATTEMPT_S)
        self.run_for(LATE_IN_ATTEMPT_S)
        self.release()

    def call_start(self) -> str:
        """Call the actor's `~/start` until it succeeds, at most for `ATTEMPT_S`.

        Returns:
            The last refusal; empty if a call succeeded.
        """
        return self._call(self._start)

    def confirm(self) -> None:
        """Call `trials/confirm` until the trials accept it, at most for `ATTEMPT_S`."""
        self._call(self._confirm)

    def _call(self, client: rclpy.client.Client) -> str:
        """Call a service until it succeeds, at most for `ATTEMPT_S`.

        Args:
            client: Client of the service.

        Returns:
            The last refusal, or "no answer"; empty if a call succeeded.
        """
        answer = ""

        def has_succeeded() -> bool:
            """Call the service once and keep the refusal; return whether the call succeeded."""
            nonlocal answer
            call = client.call_async(Trigger.Request())
            self.run_until(call.done, ANSWER_S)
            if not call.done():
                answer = "no answer"
                return False
            answer = "" if call.result().success else call.result().message
            return not answer

        self.run_until(has_succeeded, ATTEMPT_S)
        return answer

    def press(self) -> None:
        """Press the emergency stop of a Sawyer; do nothing on other arms."""
        if self._intera is not None:
            self._intera.press(is_pressed=True)

    def push(self) -> None:
        """Begin to push the first two joints by hand at `PUSH_RAD_S`; the push ends after
        `PUSH_S`.
        """
        self._pushed_until = time.monotonic() + PUSH_S
        self.plant.push[:2] = PUSH_RAD_S

    def stop_states(self) -> None:
        """Stop publishing states."""
        self._is_silent = True

    def resume_states(self) -> None:
        """Publish states again."""
        self._is_silent = False

    def step_clock(self) -> None:
        """Set the clock of the stamps back by `CLOCK_STEP_S`, as a time server does."""
        self._clock_ns -= round(1e9 * CLOCK_STEP_S)

    def restart_driver(self) -> None:
        """Replace the publisher of the states, and its node, by new ones of the same name."""
        self._remove_node(self._states_node)
        self._states_node = self._make_node(BROADCASTER)
        self._states = self._make_publisher(self._states_node)

    def start_second_publisher(self) -> None:
        """Start a second publisher of the same joints at other positions, in a node
        `OTHER_DRIVER`.
        """
        self._other_node = self._make_node(OTHER_DRIVER)
        self._other = self._make_publisher(self._other_node)

    def end_second_publisher(self) -> None:
        """End the second publisher, if there is one."""
        if self._other_node is not None:
            self._remove_node(self._other_node)
        self._other_node = self._other = None

    # --- topics ---

    def _make_node(self, name: str) -> Node:
        """Create a node without parameter services that the executor spins."""
        node = rclpy.create_node(
            name, context=self._context, enable_rosout=False, start_parameter_services=False
        )
        self._executor.add_node(node)
        return node

    def _remove_node(self, node: Node) -> None:
        self._executor.remove_node(node)
        node.destroy_node()

    def _make_publisher(self, node: Node) -> rclpy.publisher.Publisher:
        """Create a publisher of joint states with the reliability of this driver."""
        reliable = ReliabilityPolicy.RELIABLE
        best_effort = ReliabilityPolicy.BEST_EFFORT
        reliability = reliable if self.habits.reliable else best_effort
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=reliability)
        return node.create_publisher(JointState, self.arm.state_topic, profile)

    def _publish(self, now: float) -> None:
        """Move the arm, publish its states once (unless they are silent or dropped), and set the
        time of the next states.

        Args:
            now: Steady time [s].
        """
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
        """Move the arm up to a time, and let the recorder judge its motion.

        Args:
            now: Steady time [s].
        """
        if now > self._pushed_until:
            self.plant.push[:] = 0.0
        self.recorder.is_pushed = now < self._pushed_until + YIELD_S
        setpoint = None if self._controller is None else self._controller.setpoint(now)
        self.plant.advance(now - self._advanced, self.arm.interface, setpoint)
        self._advanced = now
        self.recorder.take_state(now, self.plant.position, self.plant.velocity)

    def _on_values(self, message: Float64MultiArray) -> None:
        """Take an array command; ignore it if the controller takes no arrays."""
        controller = self._controller
        if isinstance(controller, GroupController):
            is_labelled = bool(message.layout.dim)
            self._give_command(
                lambda: self._take_values(controller, message.data), is_labelled=is_labelled
            )

    def _on_trajectory(self, message: JointTrajectory) -> None:
        """Take a trajectory; ignore it if the controller takes no trajectories."""
        controller = self._controller
        if not isinstance(controller, TrajectoryController):
            return
        points = [
            Point(_seconds(each.time_from_start), each.positions, each.velocities)
            for each in message.points
        ]
        self._give_command(lambda: self._take_trajectory(controller, message.joint_names, points))

    def _take_values(self, controller: GroupController, values: Sequence[float]) -> Vector:
        """Give an array command to the controller, with the wiring error; return the values as
        received (N,).

        Raises:
            CommandError: The controller refuses the values.
        """
        taken = controller.take_values(values)
        if self._wiring is not None:
            controller.take_values((self._wiring @ taken).tolist())
        return taken

    def _take_trajectory(
        self, controller: TrajectoryController, names: Sequence[str], points: Sequence[Point]
    ) -> Vector:
        """Give a trajectory to the controller, with the wiring error.

        Args:
            controller: The controller.
            names: Joint names of the message.
            points: Points of the message.

        Returns:
            The first point as received (N,) [rad], in the order of the controller.

        Raises:
            CommandError: The controller refuses the trajectory.
        """
        now = time.monotonic()
        plant = self.plant
        taken = controller.take_trajectory(now, names, points, plant.position, plant.velocity)
        if self._wiring is not None:
            joints = [self.habits.prefix + joint for joint in self.robot.joints]
            order = [list(names).index(joint) for joint in joints]
            wired = [self._with_wiring_error(point, order) for point in points]
            controller.take_trajectory(now, joints, wired, plant.position, plant.velocity)
        return taken

    def _with_wiring_error(self, point: Point, order: list[int]) -> Point:
        """Return a point with the wiring error, in the order of the driver's joints.

        Args:
            point: Point as received.
            order: For each joint of the driver, its index in the point.
        """
        assert self._wiring is not None
        position = np.array(point.positions)[order]
        position = self._origin + self._wiring @ (position - self._origin)
        velocity = (
            self._wiring @ np.array(point.velocities)[order] if point.velocities else np.zeros(0)
        )
        return Point(point.time_s, position.tolist(), velocity.tolist())

    def _give_command(self, take: Callable[[], Vector], *, is_labelled: bool = True) -> None:
        """Give a command to the controller, and tell the recorder about the command or its refusal.

        Zeros without labels come from the stack's watchdog and are recorded as a stop. A controller
        does not read labels.

        Args:
            take: Gives the command to the controller and returns it (N,); raises `CommandError` if
                the controller refuses it.
            is_labelled: Whether the message had labels.
        """
        try:
            command = take()
        except CommandError as error:
            self.recorder.take_refusal(str(error))
            return
        if not is_labelled and not command.any():
            self.recorder.take_stop()
            return
        controller = self._controller
        speeds: tuple[Vector | None, Vector | None] = (None, None)
        if isinstance(controller, TrajectoryController):
            speeds = controller.left_speed, controller.joined_speed
        position = self.plant.position
        velocity = self.plant.velocity
        self.recorder.take_command(time.monotonic(), command, position, velocity, *speeds)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep status, holds and number of the reports of the actor's control loop; ignore other
        statuses.
        """
        for status in message.status:
            if status.name.endswith(": control"):
                self.reports += 1
                self.status = status.message
                self.holds = {
                    entry.key.removeprefix("hold/"): int(entry.value)
                    for entry in status.values
                    if entry.key.startswith("hold/")
                }
                is_held = "holding" in status.message or "waiting" in status.message
                self.holding = status.message if is_held else ""

    def _on_replay(self, message: Float64MultiArray) -> None:
        """Count a published transition."""
        self.transitions += 1

    def _on_prompt(self, message: String) -> None:
        """Keep the request of the trials to their operator."""
        self.prompt = message.data
        self._is_answered = False

    def answer_prompt(self) -> None:
        """Do once what the last prompt of the trials asks for, as their operator does."""
        if self._is_answered:
            return
        for beginning, answer in {
            "the arm stands": self.confirm,
            "push ": self.push,
            "step out": self.confirm,
        }.items():
            if self.prompt.startswith(beginning):
                self._is_answered = True
                answer()


def _seconds(duration: Duration) -> float:
    return float(duration.sec) + 1e-9 * float(duration.nanosec)
