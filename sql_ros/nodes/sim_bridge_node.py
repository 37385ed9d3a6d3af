"""The simulated arm, with the topics and services of a real one.

It publishes `joint_states`, and `/clock` once per step. It subscribes to `~/commands`, of the
message type of the arm's interface (`adapters.py`), and to disturbances on `~/disturb`
(`trials/disturbance.py`). It offers the services `~/reset_world`, `~/set_pause` and
`~/step_simulation`. While it is not active, no physics is stepped and nothing is published.

There are two modes. Paced (`realtime_factor` > 0): a thread steps the simulation and publishes at
`state_rate_hz`. In lockstep (`realtime_factor` 0): the simulation steps one control period when the
command for the published state arrives. It steps in the callback of the command, because handing
over to another thread takes as long as the physics. Services wait for that callback.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from sql_ros.common.config import fixed, option
from sql_ros.common.errors import MessageError
from sql_ros.nodes.adapters import make_adapter
from sql_ros.nodes.diagnostics import OK, WARN, Status
from sql_ros.nodes.intera import SimulatedInteraRobot
from sql_ros.nodes.managed import ManagedConfig, ManagedNode
from sql_ros.nodes.messages import clock_to_msg, disturbance_from_msg, state_to_msg, target_from_msg
from sql_ros.nodes.messages.objects import object_from_msg, object_to_msg
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE, SENSOR
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.arm import Vector
from sql_ros.robot.control.realtime import RealtimeConfig
from sql_ros.robot.control.step_schedule import Pacer
from sql_ros.robot.tasks import load_task
from sql_ros.sim.object_sensor import ObjectSensor
from sql_ros.sim.simulation import Simulation

# in lockstep a state without an answer is published again after this time, for a late actor
REPEAT_S = 0.5
SERVICE_DEADLINE_S = 2.0


@dataclass(frozen=True)
class SimBridgeConfig(RealtimeConfig, ManagedConfig):
    """ROS parameters of the simulation bridge."""

    cpu: int = fixed(-1)  # the stack keeps its process off the actor's core
    task: str = option(
        "sawyer_reach",
        "name of a file in config/tasks/, or a path: gives scene, arm and command mode",
    )
    realtime_factor: float = option(
        1.0,
        "simulated seconds per second; 0: lockstep, as fast as possible",
        minimum=0.0,
        maximum=100.0,
    )
    seed: int = option(0, "seed of the variation of the arm from episode to episode", minimum=0)
    joint_prefix: str = option(
        "", "prefix of every joint and frame name on topics; empty: as in the robot's file"
    )
    state_rate_hz: float = option(
        100.0, "joint_states per simulated second when paced", minimum=1.0, maximum=1000.0
    )


class SimBridgeNode(ManagedNode):
    """The managed node that connects a `sim.simulation.Simulation` to topics and services.

    One thread at a time uses the simulation. When paced, it is the paced thread. In lockstep it is
    the reading thread or the executor's, which hold `_stepping` meanwhile.

    Attributes:
        lockstep: Whether the simulation waits for a command at each step.
    """

    def __init__(self) -> None:
        super().__init__("sim_bridge", "simulation", {"": SimBridgeConfig})
        self.config: SimBridgeConfig = self.configs[0]
        self.lockstep = self.config.realtime_factor == 0.0

    def configure(self) -> None:
        """Load task and scene; create topics and services.

        `joint_states`, `/clock` and `objects/<name>` are published; `~/commands`, `target`,
        `~/disturb` and `reset_request/<name>` are subscribed; the services are `~/reset_world`,
        `~/set_pause` and `~/step_simulation`.

        Raises:
            ConfigError: The task or the scene cannot be used, or the message package of the arm's
                interface is not installed.
        """
        task = load_task(self.config.task, self.config.joint_prefix)
        self._robot = task.robot
        self._mode = task.config.command_mode
        names = task.config.object_names
        self._sim = Simulation(task.config.scene, task.robot, goal=True, objects=names)
        rate = task.config.control_rate_hz if self.lockstep else self.config.state_rate_hz
        self._physics_steps = self._sim.physics_steps(rate)
        self._period = 1.0 / rate
        self._command_period = 1.0 / task.config.control_rate_hz
        self._adapter = make_adapter(task.robot, self._mode, self._period)
        self._variation = task.config.variation
        self._rng = np.random.default_rng(self.config.seed)
        rng = np.random.default_rng([self.config.seed, 1])
        self._sensor = ObjectSensor(self._sim, task.config.objects, rate, rng)
        self._paused = False
        self._steps = self._disturbances = 0
        self._published = 0.0  # steady time at which the last state was published [s]
        # the newest command, until the paced thread takes it
        self._command: deque[Vector] = deque(maxlen=1)
        # functions that the paced thread is to run
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stepping = threading.RLock()  # in lockstep, held while the simulation is used
        self._states = self.create_publisher(JointState, "joint_states", RELIABLE)
        self._clock_ticks = self.create_publisher(ClockMessage, "/clock", RELIABLE)
        qos = RELIABLE if self.lockstep else SENSOR
        self._objects = {
            name: self.create_publisher(PoseStamped, f"objects/{name}", qos) for name in names
        }
        for name in names:  # before the commands: an object is placed before the next step
            place = partial(self._on_reset_request, name)
            self.reading.subscribe(PoseStamped, f"reset_request/{name}", place, LATCHED)
        self.reading.subscribe(self._adapter.kind, "~/commands", self._on_command, RELIABLE)
        self.reading.subscribe(PoseStamped, "target", self._on_target, LATCHED)
        self.reading.subscribe(Float64MultiArray, "~/disturb", self._on_disturb, RELIABLE)
        self.create_service(Trigger, "~/reset_world", self._on_reset_world)
        self.create_service(SetBool, "~/set_pause", self._on_set_pause)
        self.create_service(Trigger, "~/step_simulation", self._on_step_simulation)
        self._condition = (
            SimulatedInteraRobot(self) if task.robot.interface(self._mode) == "intera" else None
        )
        steady_timer(self, REPEAT_S, self._publish_again)

    def prepare(self) -> None:
        """Drop an old command, and apply the real-time settings."""
        self._command.clear()
        self.take_real_time(self.config)

    def activate(self) -> None:
        """Start the paced thread. In lockstep the callbacks of commands step the simulation."""
        if not self.lockstep:
            self._thread = NodeThread(self, self._run_paced, "simulation")
            self._thread.start()

    def deactivate(self) -> None:
        """End the paced thread; command the arm to hold its present position."""
        if not self.lockstep:
            self._thread.join()
        with self._stepping:
            self._sim.command("position", self._sim.measure().position)

    # --- callbacks ---

    def _on_command(self, message: Any) -> None:
        """Store a command for the paced thread. In lockstep apply it and step instead, if it
        answers the present state or names none.

        A malformed command, and one to an Intera robot that is not enabled, is counted and dropped.

        Args:
            message: The command, of the message type of the arm's interface.
        """
        if self.ended.is_set():
            return
        try:
            values, answers = self._adapter.from_msg(message)
            if self._condition is not None and not self._condition.enabled:
                raise MessageError("the robot is not enabled, so it ignores commands")
        except MessageError as error:
            self._diagnostics.fault("command_dropped", str(error))
            return
        if not self.lockstep:
            self._command.append(values)
            return
        with self._stepping:
            if (
                not self._paused
                and not self.ended.is_set()
                and answers in (None, self._sim.time_ns)
            ):
                self._sim.command(self._mode, values, self._command_period)
                self._advance()

    def _on_target(self, message: PoseStamped) -> None:
        """Begin an episode: draw a variation of the arm, and move the goal body to the target.

        A malformed target is counted and dropped.

        Args:
            message: Target of the episode that begins.
        """
        if self.ended.is_set():
            return
        try:
            target = target_from_msg(message, self._robot.wire_base_frame)
        except MessageError as error:
            self._diagnostics.fault("target_dropped", str(error))
            return

        def work() -> None:
            """Vary the arm and place the goal."""
            self._sim.vary(self._variation, self._rng)
            self._sim.place("goal", target)

        self._simulate(work)

    def _on_reset_request(self, name: str, message: PoseStamped) -> None:
        """Place an object. A malformed request is counted and dropped.

        Args:
            name: Name of the object.
            message: Where it is to be placed.
        """
        if self.ended.is_set():
            return
        try:
            pose = object_from_msg(message, self._robot.wire_base_frame)
        except MessageError as error:
            self._diagnostics.fault("reset_request_dropped", str(error))
            return
        self._simulate(lambda: self._sim.place_objects({name: pose}))

    def _on_disturb(self, message: Float64MultiArray) -> None:
        """Apply a disturbance, such as a push or a payload (`trials/disturbance.py`).

        One that is malformed or impossible is counted as a fault and dropped.

        Args:
            message: The disturbance.
        """
        if self.ended.is_set():
            return
        try:
            disturbance = disturbance_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("disturbance_dropped", str(error))
            return

        def work() -> None:
            """Apply the disturbance and count it; count a fault if it is impossible."""
            try:
                self._sim.disturb(disturbance)
                self._disturbances += 1
            except ValueError as error:
                self._diagnostics.fault("disturbance_dropped", str(error))

        self._simulate(work)

    def _simulate(self, work: Callable[[], None]) -> None:
        """Run a function on the simulation.

        Args:
            work: The function. In lockstep it is run now, otherwise in the paced thread before its
                next step.
        """
        if not self.lockstep:
            self._requests.put(work)
            return
        with self._stepping:
            work()

    def _on_reset_world(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Put the arm at rest in its neutral pose, and step once. Simulated time goes on.

        The response says whether that was done, see `_respond`.
        """

        def reset() -> None:
            """Reset the arm and step once."""
            self._sim.reset(np.array(self._robot.neutral_position))
            self._advance()

        return self._respond(
            response, reset, "the arm is at rest at its neutral pose; the time continues"
        )

    def _on_set_pause(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        """Pause the simulation if the request is true, else continue; respond when that is done."""
        return self._respond(
            response,
            lambda: setattr(self, "_paused", request.data),
            "paused" if request.data else "running",
        )

    def _on_step_simulation(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Step a paused simulation once. Refuse while it is not paused."""
        if not self._paused and not self.ended.is_set():
            response.success = False
            response.message = "the simulation is running: pause it first (~/set_pause)"
            return response
        return self._respond(response, self._advance, f"one step of {self._period:.6g} s")

    def _respond(self, response: Any, work: Callable[[], None], message: str) -> Any:
        """Run a function on the simulation for a service, and wait until it has run.

        The service fails while the node is not active, and if the paced thread takes longer than
        `SERVICE_DEADLINE_S`. In lockstep the state is published after the function.

        Args:
            response: Response of the service; changed in place.
            work: The function.
            message: Message of the response after success.

        Returns:
            The same response.
        """
        if self.ended.is_set():
            response.success = False
            response.message = f"the node is {self.phase}: activate it first"
            return response
        if self.lockstep:
            with self._stepping:
                work()
                self._publish_state()
            response.success = True
            response.message = message
            return response
        done = threading.Event()
        self._requests.put(work)
        self._requests.put(done.set)
        response.success = done.wait(SERVICE_DEADLINE_S)
        response.message = (
            message
            if response.success
            else f"no answer from the simulation within {SERVICE_DEADLINE_S} s"
        )
        return response

    # --- the simulation ---

    def _run_paced(self) -> None:
        """Body of the paced thread until deactivation: step once per period of the pace."""
        pacer = Pacer(self._period / self.config.realtime_factor)
        while not self.ended.is_set():
            pacer.wait()
            self._step_paced()

    def _step_paced(self) -> None:
        """Run the functions that wait, apply the newest command if there is a new one, and step
        unless paused.
        """
        while not self._requests.empty():
            self._requests.get()()
        if self._command:
            self._sim.command(self._mode, self._command.pop(), self._command_period)
        if not self._paused:
            self._advance()

    def _publish_again(self) -> None:
        """Publish the condition of an Intera robot; in lockstep publish the state again if no
        command has answered it for `REPEAT_S`. Called by a timer.
        """
        if self._condition is not None:
            self._condition.report()
        if self.lockstep and time.monotonic() - self._published >= REPEAT_S:
            with self._stepping:
                if not self.ended.is_set():
                    self._publish_state()

    def _advance(self) -> None:
        """Step one period, then publish clock and state, unless a disturbance drops the state.

        In lockstep another step follows each dropped state, because the actor answers only states
        that it receives.
        """
        self._sim.advance(self._physics_steps)
        self._steps += 1
        while self._sim.drops_state():
            if not self.lockstep:
                return
            self._sim.advance(self._physics_steps)
            self._steps += 1
        self._clock_ticks.publish(clock_to_msg(self._sim.time_ns))
        self._publish_state()

    def _publish_state(self) -> None:
        """Publish the observed objects, then the measured state of the arm on `joint_states`.

        An object's message has the stamp of the state with which it is published, as of a camera
        that does not know its delay. In lockstep, where each state waits for its poses, a pose that
        is lost is replaced by the last one.
        """
        self._published = time.monotonic()
        measured = self._sim.measure()
        seen = self._sensor.observe() if self.lockstep else self._sensor.measure()
        for name, pose in seen.items():
            message = object_to_msg(pose, measured.stamp_ns, self._robot.wire_base_frame)
            self._objects[name].publish(message)
        self._states.publish(
            state_to_msg(
                measured.stamp_ns,
                self._robot.wire_joints,
                measured.position,
                measured.velocity,
                measured.effort,
            )
        )

    def report(self) -> Status:
        """Return level, message and values for /diagnostics while the node is active: WARN and
        "paused", or OK and "stepping".
        """
        values = {
            "steps": self._steps,
            "disturbances": self._disturbances,
            "time_s": self._sim.time_ns * 1e-9,
            "paused": self._paused,
            "lockstep": self.lockstep,
        }
        return (WARN, "paused", values) if self._paused else (OK, "stepping", values)


def main() -> int:
    """Run the executable `sim_bridge`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(SimBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
