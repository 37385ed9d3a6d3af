"""The node of the operator's page: it shows a stack in a browser, and passes on what the operator
does there.

The node is in no control path. It asks for everything by the topics and services that others use,
too; the actor decides. Requests that are not a stop are refused if the browser had not seen the
stack for `LONGEST_UNSEEN_S`. A stop is asked for again until the actor answers.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger

from sql_ros.common.child_process import report_active
from sql_ros.common.errors import MessageError
from sql_ros.nodes.diagnostics import OK, Diagnostics, Status
from sql_ros.nodes.ending import NOT_SUSPENDED
from sql_ros.nodes.messages import (
    disturbance_to_msg,
    episode_from_msg,
    target_from_msg,
    target_to_msg,
)
from sql_ros.nodes.page_config import PageConfig
from sql_ros.nodes.parameters import declare_configs
from sql_ros.nodes.process import NodeThread, run_node
from sql_ros.nodes.qos import LATCHED, NEWS, RELIABLE, REPLAY, SENSOR
from sql_ros.nodes.reading import ExcludedFromExecutor
from sql_ros.nodes.run_recorder import print_line
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.page.scene import ArmScene
from sql_ros.page.server import PageServer
from sql_ros.page.status import ACTORS, NodeStatus, StackStatus
from sql_ros.robot.arm import Vector
from sql_ros.robot.tasks import load_task
from sql_ros.trials.disturbance import Disturbance

SERVICES: dict[str, tuple[Any, str]] = {
    "stop": (Trigger, "actor/stop"),
    "reset": (Trigger, "actor/reset"),
    "start": (Trigger, "actor/start"),
    "pause": (SetBool, "sim_bridge/set_pause"),
    "reset_world": (Trigger, "sim_bridge/reset_world"),
}
SHOWN = (*ACTORS, "learner", "sim_bridge", "monitor")  # nodes of the table of processes
LONGEST_UNSEEN_S = 1.0  # longest age of the frame that the operator saw before a request
ANSWER_S = 3.0  # longest wait for an answer; that to a stop takes the actor up to 2 s
REPEAT_STOP_S = 0.3  # time after which a stop without an answer is asked for again
SHORTEST_STOP_S = 0.05  # time between two calls of the same stop, however often it is asked for
TICK_S = 0.1  # time between two checks of pending requests
MOST_STATES = 50  # states that are taken at once, to reach the newest one
PUSH_S = 0.2  # time of a push at full force
PUSH_RAMP_S = 0.05
STRONGEST_PUSH_N = 200.0


@dataclass
class _Request:
    """A request to a service whose answer is awaited.

    Attributes:
        name: Its key in `SERVICES`.
        request: The request.
        futures: The answers to its calls.
        asked: Steady time of the first call [s].
        sent: Steady time of the last call [s].
    """

    name: str
    request: Any
    futures: list[Any]
    asked: float
    sent: float


class PageNode(Node):
    """The node between the topics and services of a stack and the server of the page.

    Attributes:
        config: Parameters of the node.
        finished: Never set by the node itself, see `nodes.process.Runnable`.
        failure: Error because of which the process must end; None: there is none.
    """

    def __init__(self) -> None:
        super().__init__("page", automatically_declare_parameters_from_overrides=True)
        (self.config,) = declare_configs(self, {"": PageConfig})
        self.finished = threading.Event()
        self.failure: Exception | None = None
        self._task = load_task(self.config.task, self.config.joint_prefix)
        self._robot = self._task.robot
        self._scene = ArmScene(self._task)
        self._pushable = self._scene.pushable()
        self._status = StackStatus()
        self._goal: list[float] | None = None
        self._state_arrived = 0.0  # steady time of the last state [s]; 0: none
        self._ready: dict[str, bool] = {}
        self._requests: list[_Request] = []
        self._lock = threading.Lock()  # held while `_requests` is used
        self._server = PageServer(self._frame, self._on_message, self._scene.package())
        self._thread = NodeThread(self, self._server.run, "page server")
        self._diagnostics = Diagnostics(self, "page", self._report)
        self._subscribe()
        self._ask = {name: self.create_client(kind, at) for name, (kind, at) in SERVICES.items()}
        self._goals = self.create_publisher(PoseStamped, "actor/goal", RELIABLE)
        self._pushes = self.create_publisher(Float64MultiArray, "sim_bridge/disturb", RELIABLE)
        steady_timer(self, TICK_S, self._check_requests)
        steady_timer(self, 1.0, self._check_services)

    def _subscribe(self) -> None:
        """Create the subscriptions. States are taken when a frame is made, not by the executor."""
        for name in ACTORS:
            self.create_subscription(
                Float64MultiArray, f"{name}/episodes", self._on_episode, REPLAY
            )
        self.create_subscription(PoseStamped, "target", self._on_target, LATCHED)
        self.create_subscription(String, "actor/goal_status", self._on_goal_status, NEWS)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        # no executor would call the default callbacks of events
        events = SubscriptionEventCallbacks(use_default_callbacks=False)
        self._states = [
            self.create_subscription(
                JointState,
                topic,
                lambda message: None,
                SENSOR,
                callback_group=ExcludedFromExecutor(),
                event_callbacks=events,
            )
            for topic in dict.fromkeys(("joint_states", self._robot.state_topic))
        ]

    # --- life of the process, see `process.Runnable` ---

    def start(self) -> None:
        """Take a port, start the server and print its address.

        Raises:
            ConfigError: No port is free.
        """
        self._server.bind()
        self._thread.start()
        print_line(f"page: {self._server.address}")
        report_active()

    def stop(self) -> None:
        """End the server."""
        self._server.close()
        if self._thread.is_alive():
            self._thread.join()

    def bad_input(self, text: str) -> None:
        """Count a fault for received bytes that are no message, described by a text."""
        self._diagnostics.fault("input_malformed", text)

    def on_ctrl_z(self) -> None:
        """Log that Ctrl-Z does not suspend a node."""
        self.get_logger().warning(NOT_SUSPENDED)

    def _report(self) -> Status:
        """Return level, message and values for /diagnostics."""
        return OK, f"serving {self._server.address}", {"clients": self._server.clients}

    # --- what is heard ---

    def _on_episode(self, message: Float64MultiArray) -> None:
        """Add an episode to the curves; count a malformed one."""
        try:
            self._status.add_episode(episode_from_msg(message))
        except MessageError as error:
            self._diagnostics.fault("episode_dropped", str(error))

    def _on_target(self, message: PoseStamped) -> None:
        """Take the target of the episode; count a malformed one."""
        try:
            self._goal = target_from_msg(message, self._robot.wire_base_frame).tolist()
        except MessageError as error:
            self._diagnostics.fault("target_dropped", str(error))

    def _on_goal_status(self, message: String) -> None:
        """Note what the actor says about a goal."""
        self._status.goal_status = message.data
        level = "warn" if message.data.startswith("refused") else "ok"
        self._status.note(f"goal {message.data}", level)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the statuses of the nodes of this stack."""
        namespace = self.get_namespace().rstrip("/")
        now = time.monotonic()
        for status in message.status:
            node_namespace, _, node = status.hardware_id.rpartition("/")
            if node_namespace == namespace and node in SHOWN:
                values = {entry.key: entry.value for entry in status.values}
                level = int.from_bytes(status.level, "little")
                self._status.nodes[node] = NodeStatus(level, status.message, values, now)

    def _newest_state(self) -> JointState | None:
        """Return the newest state that has arrived since the last call; None: there is none.

        `_state_arrived` is set to its arrival, which may be long ago if no browser was connected.
        """
        newest = None
        for subscription in self._states:
            for _ in range(MOST_STATES):
                try:
                    taken = subscription.handle.take_message(subscription.msg_type, False)
                except (rclpy_implementation.RCLError, UnicodeDecodeError, MemoryError) as error:
                    self.bad_input(f"{subscription.topic_name}: {error}")
                    break
                if taken is None:
                    break
                if set(self._robot.wire_joints) & set(taken[0].name):
                    newest = taken[0]
                    age_ns = time.time_ns() - taken[1]["received_timestamp"]
                    self._state_arrived = time.monotonic() - 1e-9 * max(age_ns, 0)
        return newest

    def _pose_from(self, message: JointState) -> Vector:
        """Return the joint positions (N,) of a state [rad], in the order of the robot file.

        Raises:
            MessageError: A joint is missing, or a position is not finite.
        """
        positions = dict(zip(message.name, message.position))
        missing = [name for name in self._robot.wire_joints if name not in positions]
        if missing:
            raise MessageError(f"state has no position of {', '.join(missing)}")
        position = np.array([positions[name] for name in self._robot.wire_joints])
        if not np.isfinite(position).all():
            raise MessageError(f"state {position} is not finite")
        return position

    # --- frames, in the thread of the server ---

    def _frame(self, is_full: bool) -> str:
        """Return a frame for the browser, as JSON.

        Args:
            is_full: Whether with the status.
        """
        now = time.monotonic()
        message = self._newest_state()
        if message is not None:
            try:
                self._scene.pose(self._pose_from(message))
            except MessageError as error:
                self._diagnostics.fault("state_dropped", str(error))
        frame: dict[str, Any] = {
            "t": now,
            "bodies": self._scene.bodies(),
            "tool": self._scene.tool,
            "goal": self._goal,
            "state_age": round(now - self._state_arrived, 2) if self._state_arrived else None,
        }
        if is_full:
            frame["status"] = {
                **self._status.report(now),
                "task": self._task.spec.task,
                "namespace": self.get_namespace().strip("/"),
                "pushable": self._pushable,
                "ready": self._ready,
                "clients": self._server.clients,
            }
        return json.dumps(frame, allow_nan=False, separators=(",", ":"))

    # --- what the operator does, in the thread of the server ---

    def _on_message(self, text: str) -> None:
        """Do what a message of a browser asks for; count and note one that is refused.

        Args:
            text: JSON with `do`, the name of a request, its values, and `seen`, the time `t` of the
                newest frame that the browser had.
        """
        try:
            message = json.loads(text)
            name = message["do"]
            if name == "stop":
                self._call("stop", Trigger.Request())
                return
            unseen = time.monotonic() - float(message["seen"])
            if not 0.0 <= unseen <= LONGEST_UNSEEN_S:
                raise MessageError(f"{name} comes {unseen:.1f} s after what the browser saw")
            self._do(name, message)
        except (MessageError, ValueError, KeyError, TypeError) as error:
            reason = str(error) if isinstance(error, MessageError) else f"malformed: {error!r}"
            self._diagnostics.fault("request_refused", reason)
            self._status.note(f"refused: {reason}", "warn")

    def _do(self, name: str, message: dict[str, Any]) -> None:
        """Do what a fresh message asks for.

        Args:
            name: Name of the request.
            message: Its values.

        Raises:
            MessageError: The name is unknown, or a value is out of range.
            ValueError, KeyError, TypeError: A value is missing or of the wrong type.
        """
        actions: dict[str, Callable[[], None]] = {
            "reset": lambda: self._call("reset", Trigger.Request()),
            "start": lambda: self._call("start", Trigger.Request()),
            "reset_world": lambda: self._call("reset_world", Trigger.Request()),
            "pause": lambda: self._call("pause", SetBool.Request(data=message["on"] is True)),
            "goal": lambda: self._send_goal(_vector(message["position"])),
            "push": lambda: self._push(str(message["body"]), _vector(message["force"])),
        }
        if name not in actions:
            raise MessageError(f"unknown request {str(name)[:40]!r}")
        actions[name]()

    def _send_goal(self, position: list[float]) -> None:
        """Publish a goal; the actor answers on `actor/goal_status`.

        Args:
            position: Wanted position of the tool in the base frame (3,) [m].
        """
        now_ns = self.get_clock().now().nanoseconds if not self._is_simulated() else 0
        self._goals.publish(target_to_msg(np.array(position), now_ns, self._robot.wire_base_frame))
        shown = ", ".join(f"{value:.3f}" for value in position)
        self._status.note(f"goal sent: {shown} m")

    def _push(self, body: str, force: list[float]) -> None:
        """Push a body of the simulated arm for `PUSH_S`.

        Args:
            body: Name of the body.
            force: Force in the base frame (3,) [N].

        Raises:
            MessageError: The body is none of the arm, the force is too large, or the arm is real.
        """
        size = math.dist(force, (0.0, 0.0, 0.0))
        if body not in self._pushable or not 0.0 < size <= STRONGEST_PUSH_N:
            raise MessageError(f"push of {size:.0f} N on {body[:40]!r}")
        if not self._is_simulated():
            raise MessageError("only a simulated arm can be pushed from here")
        x, y, z = force
        push = Disturbance("push", size, body, (x, y, z), PUSH_S, PUSH_RAMP_S)
        self._pushes.publish(disturbance_to_msg(push))
        self._status.note(f"push of {size:.0f} N on {body}")

    def _is_simulated(self) -> bool:
        """Return whether the simulation of this package is part of the stack."""
        return self._status.is_alive("sim_bridge", time.monotonic())

    def _call(self, name: str, request: Any) -> None:
        """Call a service; `_check_requests` notes the answer. A stop while another one waits for
        its answer is called at once too, but not more often than once in `SHORTEST_STOP_S`.

        Args:
            name: Key of `SERVICES`.
            request: The request.
        """
        now = time.monotonic()
        with self._lock:
            pending = next((each for each in self._requests if each.name == name == "stop"), None)
            if pending is not None:
                if now - pending.sent >= SHORTEST_STOP_S:
                    pending.sent = now
                    pending.futures.append(self._ask[name].call_async(request))
                return
        future = self._ask[name].call_async(request)
        with self._lock:
            self._requests.append(_Request(name, request, [future], now, now))

    # --- answers, in the executor ---

    def _check_requests(self) -> None:
        """Note answers and missing answers of services; ask again for a stop without an answer.

        Called by a timer.
        """
        now = time.monotonic()
        with self._lock:
            pending = list(self._requests)
        for each in pending:
            answer = next((future for future in each.futures if future.done()), None)
            if answer is not None:
                self._note_answer(each.name, answer.result())
            elif now - each.asked > ANSWER_S:
                self._note_silence(each.name)
            else:
                if each.name == "stop" and now - each.sent > REPEAT_STOP_S:
                    each.sent = now
                    each.futures.append(self._ask["stop"].call_async(each.request))
                continue
            for future in each.futures:
                self._ask[each.name].remove_pending_request(future)
            with self._lock:
                self._requests.remove(each)

    def _note_answer(self, name: str, answer: Any) -> None:
        """Note what a service answered. A stop without success is latched, but the arm may move.

        Args:
            name: Key of `SERVICES`.
            answer: Response with `success` and `message`.
        """
        if answer.success:
            self._status.note(f"{name}: {answer.message}")
        elif name == "stop":
            self._status.note(f"{name}: {answer.message}", "error")
        else:
            self._status.note(f"{name}: refused: {answer.message}", "warn")

    def _note_silence(self, name: str) -> None:
        """Note that a service of `SERVICES` did not answer, and count a fault."""
        text = f"{name}: no answer within {ANSWER_S:g} s"
        if name == "stop":
            text += ": THE ARM MAY MOVE ON, use the emergency stop"
        self._status.note(text, "error")
        self._diagnostics.fault("no_answer", text)

    def _check_services(self) -> None:
        """Note which services are there, and whether goals are taken. Called by a timer."""
        now = time.monotonic()
        ready = {name: client.service_is_ready() for name, client in self._ask.items()}
        trains = self._status.is_alive("learner", now)
        ready["goal"] = self._goals.get_subscription_count() > 0 and not trains
        ready["push"] = self._pushes.get_subscription_count() > 0 and self._is_simulated()
        self._ready = ready


def _vector(values: Any) -> list[float]:
    """Return three finite numbers of a message.

    Raises:
        MessageError: They are not three finite numbers.
        TypeError, ValueError: A value is no number.
    """
    numbers = [float(value) for value in values]
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise MessageError(f"expected three finite numbers, got {str(values)[:40]}")
    return numbers


def main() -> int:
    """Run the executable `page`, see `run_node`.

    Returns:
        The exit code: 0; `CONFIG_EXIT_CODE` after an error that is printed in one line.
    """
    return run_node(PageNode)


if __name__ == "__main__":
    sys.exit(main())
