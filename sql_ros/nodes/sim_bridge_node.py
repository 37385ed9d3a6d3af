"""The simulated arm behind the topics and services of a real one.

Publishes `joint_states` and, once per step, `/clock`; takes `~/commands` of the type that the arm's interface has (`adapters.py`) and
`~/disturb`, what may be done to an arm at work (`robot/disturbance.py`); offers `~/reset_world`, `~/set_pause`, `~/step_simulation`. No
physics is stepped and nothing published before it is activated.

Two clocks: paced (`realtime_factor` > 0), a thread that publishes at `state_rate_hz`; and lockstep (`realtime_factor` 0): one control
period per command, stepped only once the command for the published state has arrived, right in its callback, since a hand-over between
threads costs as much as the physics; services wait meanwhile.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from sql_ros.core.config import option
from sql_ros.core.errors import MessageError
from sql_ros.nodes.adapters import make_adapter
from sql_ros.nodes.diagnostics import OK, WARN, Status
from sql_ros.nodes.intera import SimulatedInteraRobot
from sql_ros.nodes.managed import ManagedConfig, ManagedNode
from sql_ros.nodes.messages import clock_to_msg, disturbance_from_msg, state_to_msg, target_from_msg
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.arm import Vector
from sql_ros.robot.pacing import Pacer
from sql_ros.robot.realtime import RealtimeConfig
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

REPEAT_S = 0.5  # in lockstep a state without an answer is published again after this time: the other side may have come late
SERVICE_DEADLINE_S = 2.0


@dataclass(frozen=True)
class SimBridgeConfig(RealtimeConfig, ManagedConfig):
    """Parameters of the simulation bridge."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path: gives scene, arm and command mode")
    realtime_factor: float = option(1.0, "simulated seconds per second; 0: lockstep, as fast as possible", minimum=0.0, maximum=100.0)
    seed: int = option(0, "of what the task lets vary from episode to episode", minimum=0)
    joint_prefix: str = option("", "before every joint and frame name on topics; empty: as in the robot's file")
    state_rate_hz: float = option(100.0, "joint_states per simulated second when paced", minimum=1.0, maximum=1000.0)


class SimBridgeNode(ManagedNode):
    """One thread at a time works on the simulation: its own when paced; in lockstep that which reads commands, or a service's."""

    def __init__(self) -> None:
        super().__init__("sim_bridge", "simulation", {"": SimBridgeConfig})
        self.config: SimBridgeConfig = self.configs[0]
        self.lockstep = self.config.realtime_factor == 0.0

    def configure(self) -> None:
        """Loads the scene; creates topics and services. See `ManagedNode`."""
        task = load_task(self.config.task, self.config.joint_prefix)
        self._robot, self._mode = task.robot, task.config.command_mode
        self._sim = Simulation(task.config.scene, task.robot, goal=True)
        rate = task.config.control_rate_hz if self.lockstep else self.config.state_rate_hz
        self._physics_steps = self._sim.physics_steps(rate)
        self._period, self._command_period = 1.0 / rate, 1.0 / task.config.control_rate_hz
        self._adapter = make_adapter(task.robot, self._mode, self._period)
        self._variation, self._rng = task.config.variation, np.random.default_rng(self.config.seed)
        self._paused = False
        self._steps = self._disturbances = 0
        self._published = 0.0  # steady time of the last state
        self._command: deque[Vector] = deque(maxlen=1)  # newest, not yet taken by the paced thread
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # for the paced thread
        self._stepping = threading.RLock()  # lockstep
        self._states = self.create_publisher(JointState, "joint_states", RELIABLE)
        self._clock_ticks = self.create_publisher(ClockMessage, "/clock", RELIABLE)
        self.reading.subscribe(self._adapter.kind, "~/commands", self._on_command, RELIABLE)
        self.reading.subscribe(PoseStamped, "target", self._on_target, LATCHED)
        self.reading.subscribe(Float64MultiArray, "~/disturb", self._on_disturb, RELIABLE)
        self.create_service(Trigger, "~/reset_world", self._on_reset_world)
        self.create_service(SetBool, "~/set_pause", self._on_set_pause)
        self.create_service(Trigger, "~/step_simulation", self._on_step_simulation)
        self._condition = SimulatedInteraRobot(self) if task.robot.interface(self._mode) == "intera" else None
        self.create_timer(REPEAT_S, self._repeat, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def prepare(self) -> None:
        """Takes what real time asks for."""
        self._command.clear()
        self.take_real_time(self.config)

    def activate(self) -> None:
        """Starts the simulation; in lockstep commands step it."""
        if not self.lockstep:
            self._thread = NodeThread(self, self._run_paced, "simulation")
            self._thread.start()

    def deactivate(self) -> None:
        """Ends the simulation; the arm goes on with a hold, should it be activated again."""
        if not self.lockstep:
            self._thread.join()
        with self._stepping:
            self._sim.command("position", self._sim.measure().position)

    # --- callbacks ---

    def _on_command(self, message: Any) -> None:
        if self.ended.is_set():
            return
        try:
            values, answers = self._adapter.from_msg(message)
            if self._condition is not None and not self._condition.enabled:
                raise MessageError("the robot is not enabled and moves on no command")
        except MessageError as error:
            self._diagnostics.fault("command_dropped", str(error))
            return
        if not self.lockstep:
            self._command.append(values)
            return
        with self._stepping:
            if not self._paused and not self.ended.is_set() and answers in (None, self._sim.time_ns):
                self._sim.command(self._mode, values, self._command_period)
                self._advance()

    def _on_target(self, message: PoseStamped) -> None:
        """An episode begins: the goal is put where the actor has it, and the arm differs from its model anew."""
        if self.ended.is_set():
            return
        try:
            target = target_from_msg(message, self._robot.wire_base_frame)
        except MessageError as error:
            self._diagnostics.fault("target_dropped", str(error))
            return

        def work() -> None:
            self._sim.vary(self._variation, self._rng)
            self._sim.place("goal", target)

        self._simulate(work)

    def _on_disturb(self, message: Float64MultiArray) -> None:
        """Something is done to the arm: a push, a payload, ...; see `robot/disturbance.py`."""
        if self.ended.is_set():
            return
        try:
            disturbance = disturbance_from_msg(message)
        except MessageError as error:
            self._diagnostics.fault("disturbance_dropped", str(error))
            return

        def work() -> None:
            try:
                self._sim.disturb(disturbance)
                self._disturbances += 1
            except ValueError as error:
                self._diagnostics.fault("disturbance_dropped", str(error))

        self._simulate(work)

    def _simulate(self, work: Callable[[], None]) -> None:
        """Works on the simulation: at once in lockstep, else in the paced thread, as soon as it can."""
        if not self.lockstep:
            self._requests.put(work)
            return
        with self._stepping:
            work()

    def _on_reset_world(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        neutral = np.array(self._robot.neutral_position)
        return self._answer(response, lambda: (self._sim.reset(neutral), self._advance()), "arm at its neutral pose, at rest; time goes on")

    def _on_set_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._answer(response, lambda: setattr(self, "_paused", request.data), "paused" if request.data else "running")

    def _on_step_simulation(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self._paused and not self.ended.is_set():
            response.success, response.message = False, "the simulation is running: pause it first (~/set_pause)"
            return response
        return self._answer(response, self._advance, f"one step of {self._period:.6g} s")

    def _answer(self, response: Any, work: Callable[[], None], message: str) -> Any:
        """As `_simulate`, and waits until it is done, but not for ever."""
        if self.ended.is_set():
            response.success, response.message = False, f"the node is {self.phase}: activate it first"
            return response
        if self.lockstep:
            with self._stepping:
                work()
                self._publish_state()
            response.success, response.message = True, message
            return response
        done = threading.Event()
        self._requests.put(work)
        self._requests.put(done.set)
        response.success = done.wait(SERVICE_DEADLINE_S)
        response.message = message if response.success else f"no answer from the simulation within {SERVICE_DEADLINE_S} s"
        return response

    # --- the simulation ---

    def _run_paced(self) -> None:
        """Body of the paced thread."""
        pacer = Pacer(self._period / self.config.realtime_factor)
        while not self.ended.is_set():
            pacer.wait()
            self._tick()

    def _tick(self) -> None:
        while not self._requests.empty():
            self._requests.get()()
        if self._command:
            self._sim.command(self._mode, self._command.pop(), self._command_period)
        if not self._paused:
            self._advance()

    def _repeat(self) -> None:
        """The robot's condition; and in lockstep, where nobody answered, the state: the other side may have come late."""
        if self._condition is not None:
            self._condition.report()
        if self.lockstep and time.monotonic() - self._published >= REPEAT_S:
            with self._stepping:
                if not self.ended.is_set():
                    self._publish_state()

    def _advance(self) -> None:
        self._sim.advance(self._physics_steps)
        self._steps += 1
        while self._sim.loses_state():
            if not self.lockstep:
                return
            self._sim.advance(self._physics_steps)  # nobody will answer a state that did not arrive
            self._steps += 1
        self._clock_ticks.publish(clock_to_msg(self._sim.time_ns))
        self._publish_state()

    def _publish_state(self) -> None:
        self._published = time.monotonic()
        measured = self._sim.measure()
        self._states.publish(
            state_to_msg(measured.stamp_ns, self._robot.wire_joints, measured.position, measured.velocity, measured.effort)
        )

    def report(self) -> Status:
        """For /diagnostics, while active."""
        values = {
            "steps": self._steps,
            "disturbances": self._disturbances,
            "time_s": self._sim.time_ns * 1e-9,
            "paused": self._paused,
            "lockstep": self.lockstep,
        }
        return (WARN, "paused", values) if self._paused else (OK, "stepping", values)


def main() -> int:
    """Entry point of the executable `sim_bridge`."""
    return run_node(SimBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
