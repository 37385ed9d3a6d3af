"""The topics of a Sawyer beside its joint states; they need the package `intera_core_msgs`.

Source: Intera's API reference (/robot/state, /robot/set_super_enable, joint_command_timeout).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, Float64

from sql_ros.checks.drivers.controllers import JointCommandController
from sql_ros.robot.arm import Vector

MESSAGES = "intera_core_msgs.msg"
PRESSED = 1  # value of RobotAssemblyState.estop_button


class InteraDouble:
    """The topics of the robot itself: its state, its switch, its commands and their timeout.

    The robot is enabled from the start, as by an operator.

    Args:
        node: Node of the publisher and the subscriptions.
        topic: Topic of the joint commands.
        controller: Controller that takes the commands.
        give: Called for each received command with a function. The function gives the command to
            the controller and returns it, or raises `CommandError` if the controller refuses it.

    Attributes:
        is_pressed: Whether the emergency stop is pressed.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        controller: JointCommandController,
        give: Callable[[Callable[[], Vector]], None],
    ) -> None:
        from intera_core_msgs.msg import JointCommand, RobotAssemblyState

        self._kind = RobotAssemblyState
        self._controller = controller
        self._give = give
        self.is_pressed = False
        controller.is_enabled = True  # an operator has switched the motors on
        limb = "/robot/limb/right/joint_command_timeout"
        profile = QoSProfile(depth=10)
        self._states = node.create_publisher(RobotAssemblyState, "/robot/state", profile)
        node.create_subscription(JointCommand, topic, self._on_command, profile)
        node.create_subscription(Bool, "/robot/set_super_enable", self._on_enable, profile)
        node.create_subscription(Float64, limb, self._on_timeout, profile)

    def press(self, *, is_pressed: bool) -> None:
        """Press or release the emergency stop; either disables the robot (switches its motors off).

        Args:
            is_pressed: Press the stop; False: release it.
        """
        self.is_pressed = is_pressed
        self._controller.is_enabled = False

    def report(self) -> None:
        """Publish the state of the robot once. The double calls this with every joint state."""
        state = self._kind()
        state.homed = True
        state.enabled = state.ready = self._controller.is_enabled
        state.stopped = self.is_pressed
        state.estop_button = PRESSED if self.is_pressed else 0
        self._states.publish(state)

    def _on_command(self, message: Any) -> None:
        """Pass a joint command to the controller by way of `give`."""
        now = time.monotonic()
        take = self._controller.take_joint_command
        self._give(lambda: take(now, message.mode, message.names, message.velocity))

    def _on_enable(self, message: Bool) -> None:
        """Enable the robot or disable it; a pressed emergency stop keeps it disabled."""
        self._controller.is_enabled = message.data and not self.is_pressed

    def _on_timeout(self, message: Float64) -> None:
        """Take the timeout of the commands [s]."""
        self._controller.timeout_s = message.data
