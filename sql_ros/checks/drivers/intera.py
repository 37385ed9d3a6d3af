"""What a Sawyer says and hears beside its joint states: needs `intera_core_msgs`.

Source: Intera's API reference (/robot/state, /robot/set_super_enable, joint_command_timeout).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, Float64

from sql_ros.checks.drivers.controllers import JointCommandController, Vector

MESSAGES = "intera_core_msgs.msg"
PRESSED = 1  # RobotAssemblyState.estop_button


class InteraRobot:
    """The robot's own topics.

    Args:
        node: creates the entities.
        topic: of the joint commands.
        controller: that takes them.
        judge: is called with the reading of a command, which raises `CommandError` if it is refused.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        controller: JointCommandController,
        judge: Callable[[Callable[[], Vector]], None],
    ) -> None:
        from intera_core_msgs.msg import JointCommand, RobotAssemblyState

        self._kind, self._controller, self._judge = RobotAssemblyState, controller, judge
        self.is_pressed = False
        limb, profile = "/robot/limb/right/joint_command_timeout", QoSProfile(depth=10)
        self._states = node.create_publisher(RobotAssemblyState, "/robot/state", profile)
        node.create_subscription(JointCommand, topic, self._on_command, profile)
        node.create_subscription(Bool, "/robot/set_super_enable", self._on_enable, profile)
        node.create_subscription(Float64, limb, self._on_timeout, profile)

    def press(self, *, is_pressed: bool) -> None:
        """Press or release the emergency stop; the motors are off from then on."""
        self.is_pressed = is_pressed
        self._controller.is_enabled = False

    def report(self) -> None:
        """Publish the state of the robot, which comes with every state of the joints."""
        state = self._kind()
        state.homed = state.ready = True
        state.enabled = self._controller.is_enabled
        state.stopped = self.is_pressed
        state.estop_button = PRESSED if self.is_pressed else 0
        self._states.publish(state)

    def _on_command(self, message: Any) -> None:
        now, take = time.monotonic(), self._controller.take_joint_command
        self._judge(lambda: take(now, message.mode, message.names, message.velocity))

    def _on_enable(self, message: Bool) -> None:
        self._controller.is_enabled = message.data and not self.is_pressed

    def _on_timeout(self, message: Float64) -> None:
        self._controller.timeout_s = message.data
