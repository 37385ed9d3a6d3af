"""A simulated arm on ROS topics that follows its velocity commands exactly and records each of
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.nodes.messages import state_to_msg
from sql_ros.nodes.qos import RELIABLE
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig

TOPIC = "forward_velocity_controller/commands"
STATE_PERIOD_S = 0.01
POLL_S = 0.002
# longest step of the integration: the arm stands still while this process gets no processor
LONGEST_STEP_S = 0.05
ANSWER_S = 10.0  # longest wait for the answer of a service


class VelocityArm:
    """Integrates velocity commands and publishes joint states in a thread of its own, from
    construction to `close`.

    The arm follows each command at once. The object also has the publisher and the clients with
    which a check stops and starts the actor.

    Args:
        robot: Joint names, limits, and the pose at the start.
        domain: ROS_DOMAIN_ID.

    Attributes:
        node: The rclpy node of the arm.
        button: Publisher of the topic `actor/emergency_stop`.
        clients: Clients of the actor's services "stop", "reset" and "start" by these names.
        commands: Steady time of publication [s] and velocities (N,) [rad/s] of every command, in
            order.
        outside_rad: Farthest distance of a joint beyond its position limits so far [rad]; 0: none
            was beyond.
    """

    def __init__(self, robot: RobotConfig, domain: int) -> None:
        self._robot = robot
        self.commands: list[tuple[float, Vector]] = []
        self.outside_rad = 0.0
        self._position = np.array(robot.neutral_position)
        self._velocity = np.zeros(len(self._position))
        self._moved_at = time.monotonic()
        self._listener = ListenerNode("arm", domain)
        self.node = self._listener.node
        self._states = self.node.create_publisher(JointState, "joint_states", RELIABLE)
        self.node.create_subscription(Float64MultiArray, TOPIC, self._on_command, RELIABLE)
        self.button = self.node.create_publisher(Bool, "actor/emergency_stop", RELIABLE)
        self.clients = {
            name: self.node.create_client(Trigger, f"actor/{name}")
            for name in ("stop", "reset", "start")
        }
        self.node.create_timer(STATE_PERIOD_S, self._publish_state)
        self._listener.spin_in_thread()

    @property
    def speed(self) -> float:
        """Return the commanded speed of the fastest joint [rad/s]; 0 before the first command."""
        return float(np.abs(self._velocity).max())

    def wait(self, condition: Callable[[], Any], timeout_s: float) -> bool:
        """Wait for a condition in the calling thread; callbacks go on in the arm's thread.

        Args:
            condition: Tested every `POLL_S`.
            timeout_s: Longest wait [s].

        Returns:
            True as soon as the condition holds; False after the longest wait.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def call(self, name: str) -> Trigger.Response | None:
        """Call a service of the actor, and wait for its answer.

        Args:
            name: Key of `clients`.

        Returns:
            The answer; None if none came within `ANSWER_S`.
        """
        future = self.clients[name].call_async(Trigger.Request())
        self.wait(future.done, ANSWER_S)
        return future.result() if future.done() else None

    def close(self) -> None:
        """Destroy the node and end its thread."""
        self._listener.close()

    def _on_command(self, message: Float64MultiArray, info: Mapping[str, int]) -> None:
        """Integrate up to now, then take a velocity command and record it with its time of
        publication.

        Args:
            message: Velocities (N,) [rad/s].
            info: rclpy's message information; `source_timestamp` is the time of publication on the
                system clock [ns].
        """
        self._advance()
        self._velocity = np.array(message.data)
        age_s = max(1e-9 * (time.time_ns() - info["source_timestamp"]), 0.0)
        self.commands.append((time.monotonic() - age_s, self._velocity))

    def _advance(self) -> None:
        """Integrate the commanded velocity up to now, at most `LONGEST_STEP_S`; raise `outside_rad`
        if a joint is farther out.
        """
        now = time.monotonic()
        step_s = min(now - self._moved_at, LONGEST_STEP_S)
        self._position = self._position + self._velocity * step_s
        self._moved_at = now
        below = np.array(self._robot.position_lower) - self._position
        above = self._position - np.array(self._robot.position_upper)
        self.outside_rad = max(self.outside_rad, float(np.maximum(below, above).max()))

    def _publish_state(self) -> None:
        """Integrate the motion up to now, and publish the joint states with the present time and
        zero effort.
        """
        self._advance()
        stamp_ns = self.node.get_clock().now().nanoseconds
        effort = np.zeros(len(self._position))
        self._states.publish(
            state_to_msg(stamp_ns, self._robot.wire_joints, self._position, self._velocity, effort)
        )
