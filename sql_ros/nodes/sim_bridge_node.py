"""The simulated arm behind the topics and services of a real one.

Publishes `joint_states` and, once per step, `/clock`; takes `~/commands`; offers `~/reset_world`, `~/set_pause`, `~/step_simulation`.

Two clocks: paced (`realtime_factor` > 0), publishing at `state_rate_hz`; and lockstep (`realtime_factor` 0): one control period per
command, stepped only once the command for the published state has arrived.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from sql_ros.core.config import Config, option
from sql_ros.core.errors import MessageError
from sql_ros.nodes.diagnostics import OK, WARN, Diagnostics, Status
from sql_ros.nodes.messages import clock_to_msg, command_from_msg, state_to_msg
from sql_ros.nodes.parameters import declare_configs
from sql_ros.nodes.process import run_node
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.pacing import Pacer
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

REPEAT_S = 0.5  # in lockstep a state without an answer is published again after this time: the other side may have come late
SERVICE_DEADLINE_S = 2.0


@dataclass(frozen=True)
class SimBridgeConfig(Config):
    """Parameters of the simulation bridge."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path: gives scene, arm and command mode")
    realtime_factor: float = option(1.0, "simulated seconds per second; 0: lockstep, as fast as possible", minimum=0.0, maximum=100.0)
    state_rate_hz: float = option(100.0, "joint_states per simulated second when paced", minimum=1.0, maximum=1000.0)


class SimBridgeNode(Node):
    """Owns the simulation in one thread; callbacks only hand over."""

    def __init__(self) -> None:
        super().__init__("sim_bridge", automatically_declare_parameters_from_overrides=True)
        (self.config,) = declare_configs(self, {"": SimBridgeConfig})
        task = load_task(self.config.task)
        self._robot, self._mode = task.robot, task.config.command_mode
        self._sim = Simulation(task.config.scene, task.robot)
        self.lockstep = self.config.realtime_factor == 0.0
        rate = task.config.control_rate_hz if self.lockstep else self.config.state_rate_hz
        self._physics_steps = self._sim.physics_steps(rate)
        self._period = 1.0 / rate
        self.finished = threading.Event()
        self._paused = False
        self._steps = 0
        self._commands: queue.SimpleQueue[tuple[np.ndarray[Any, Any], int | None] | None] = queue.SimpleQueue()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._states = self.create_publisher(JointState, "joint_states", RELIABLE)
        self._clock_ticks = self.create_publisher(ClockMessage, "/clock", RELIABLE)
        self.create_subscription(Float64MultiArray, "~/commands", self._on_command, RELIABLE)
        self.create_service(Trigger, "~/reset_world", self._on_reset_world)
        self.create_service(SetBool, "~/set_pause", self._on_set_pause)
        self.create_service(Trigger, "~/step_simulation", self._on_step_simulation)
        self._diagnostics = Diagnostics(self, "simulation", self._report)
        self._thread = threading.Thread(target=self._run, name="simulation")

    def start(self) -> None:
        """Starts the simulation."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the simulation."""
        self.finished.set()
        self._commands.put(None)
        self._thread.join()

    # --- callbacks: decode and hand over ---

    def _on_command(self, message: Float64MultiArray) -> None:
        try:
            self._commands.put(command_from_msg(message, self._mode, self._robot.joints))
        except MessageError as error:
            self._diagnostics.fault("command_dropped", str(error))

    def _on_reset_world(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        neutral = np.array(self._robot.neutral_position)
        return self._answer(response, lambda: self._sim.reset(neutral), "arm at its neutral pose, at rest; time goes on")

    def _on_set_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._answer(response, lambda: setattr(self, "_paused", request.data), "paused" if request.data else "running")

    def _on_step_simulation(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self._paused:
            response.success, response.message = False, "the simulation is running: pause it first (~/set_pause)"
            return response
        return self._answer(response, self._advance, f"one step of {self._period:.6g} s")

    def _answer(self, response: Any, work: Callable[[], None], message: str) -> Any:
        """Has the simulation's thread do some work and waits for it, not for ever."""
        done = threading.Event()
        self._requests.put(lambda: (work(), done.set()))
        self._commands.put(None)  # wakes a lockstep that waits for a command
        response.success = done.wait(SERVICE_DEADLINE_S)
        response.message = message if response.success else f"no answer from the simulation within {SERVICE_DEADLINE_S} s"
        return response

    # --- the simulation's thread ---

    def _run(self) -> None:
        try:
            (self._run_lockstep if self.lockstep else self._run_paced)()
        except Exception as error:
            self.get_logger().fatal(f"the simulation stopped: {error!r}")
            self.finished.set()
            raise

    def _run_lockstep(self) -> None:
        self._publish_state()
        published = time.monotonic()
        while not self.finished.is_set():
            command = self._next_command(REPEAT_S)
            self._serve_requests()
            if command is not None and not self._paused and command[1] in (None, self._sim.time_ns):
                self._sim.command(self._mode, command[0])
                self._advance()
            elif time.monotonic() - published >= REPEAT_S:
                self._publish_state()
            else:
                continue
            published = time.monotonic()

    def _run_paced(self) -> None:
        pacer = Pacer(self._period / self.config.realtime_factor)
        while not self.finished.is_set():
            pacer.wait()
            self._serve_requests()
            newest = None
            while not self._commands.empty():
                newest = self._commands.get() or newest
            if newest is not None:
                self._sim.command(self._mode, newest[0])
            if not self._paused:
                self._advance()

    def _next_command(self, timeout_s: float) -> tuple[np.ndarray[Any, Any], int | None] | None:
        try:
            return self._commands.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _serve_requests(self) -> None:
        while not self._requests.empty():
            self._requests.get()()
            if self.lockstep:
                self._publish_state()

    def _advance(self) -> None:
        self._sim.advance(self._physics_steps)
        self._steps += 1
        self._clock_ticks.publish(clock_to_msg(self._sim.time_ns))
        self._publish_state()

    def _publish_state(self) -> None:
        measured = self._sim.measure()
        self._states.publish(
            state_to_msg(measured.stamp_ns, self._robot.joints, measured.position, measured.velocity, measured.effort)
        )

    def _report(self) -> Status:
        values = {"steps": self._steps, "time_s": self._sim.time_ns * 1e-9, "paused": self._paused, "lockstep": self.lockstep}
        return (WARN, "paused", values) if self._paused else (OK, "stepping", values)


def main() -> int:
    """Entry point of the executable `sim_bridge`."""
    return run_node(SimBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
