"""Command Rethink's arms (Intera) and read their condition. This file needs `intera_core_msgs`.

`robot/driver/intera.py` computes the values. `InteraRobot` is the actor's side, and
`SimulatedInteraRobot` is the robot's side, for the simulation bridge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Bool, Float64, Header

from sql_ros.common.errors import ConfigError, MessageError
from sql_ros.nodes.adapters import in_command_order
from sql_ros.nodes.messages import read_answers, stamp_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.arm import Vector
from sql_ros.robot.driver.intera import (
    COMMAND_TIMEOUT_TOPIC,
    ENABLE_TOPIC,
    FIELDS,
    MODES,
    STATE_TOPIC,
    AssemblyState,
    command_fields,
)
from sql_ros.robot.safety.command_models import Brake

try:
    from intera_core_msgs.msg import JointCommand, RobotAssemblyState
except ImportError as error:
    JointCommand = RobotAssemblyState = None
    WHY_MISSING = str(error)


def require_messages() -> None:
    """Check that intera_core_msgs can be imported.

    Raises:
        ConfigError: It cannot; the message says why and how to build it.
    """
    if JointCommand is None:
        raise ConfigError(
            "a controller of type intera_core_msgs/JointCommand needs the ROS 2 package "
            f"intera_core_msgs, which is not installed ({WHY_MISSING}): build it from Rethink's "
            "intera_common in your workspace, and run a ros1_bridge that knows it"
        )


class InteraAdapter:
    """Adapter of the interface `intera`: JointCommand messages, stamped with this computer's clock.

    Args:
        joints: Joint names on topics, in command order.
        mode: Command mode.

    Raises:
        ConfigError: intera_core_msgs cannot be imported.
    """

    def __init__(self, joints: Sequence[str], mode: str) -> None:
        require_messages()
        self._joints = list(joints)
        self._mode = mode
        self.kind: type[Any] = JointCommand

    def to_msg(self, values: Vector, answers_ns: int, brake: Brake | None = None) -> Any:
        """Convert a command to a JointCommand. See `adapters.Adapter`; `brake` is ignored."""
        header = Header(stamp=stamp_to_msg(time.time_ns()), frame_id=f"answers {answers_ns}")
        return JointCommand(header=header, **command_fields(values, self._mode, self._joints))

    def from_msg(self, message: Any) -> tuple[Vector, int | None]:
        """Convert a JointCommand to a command. See `adapters.Adapter`.

        Returns:
            The command (N,) in command order and in the unit of the mode, and the stamp of the
            state that it answers [ns], None if the header names none.

        Raises:
            MessageError: Its mode is another one, or its names or values do not fit the arm.
        """
        if message.mode != MODES[self._mode]:
            raise MessageError(
                f"command has mode {message.mode}, expected {MODES[self._mode]}: {self._mode}"
            )
        return in_command_order(
            message.names, getattr(message, FIELDS[self._mode]), self._joints
        ), read_answers(message.header.frame_id)


class InteraRobot:
    """Reads the condition of an Intera robot, sets its command timeout and can enable it.

    Args:
        node: The actor node.
        on_condition: Called with every condition that the robot reports, and the time of its
            publication by the robot's clock [ns].
        speaks: Whether anything is published to the robot. False in a dry run.
        enables: Whether a robot that is not enabled is asked to enable itself, once after each
            `begin`.

    Raises:
        ConfigError: intera_core_msgs cannot be imported.
    """

    def __init__(
        self,
        node: Node,
        on_condition: Callable[[AssemblyState, int], None],
        *,
        speaks: bool,
        enables: bool,
    ) -> None:
        require_messages()
        self._on_condition = on_condition
        self._timeout = (
            node.create_publisher(Float64, COMMAND_TIMEOUT_TOPIC, LATCHED) if speaks else None
        )
        self._enable = (
            node.create_publisher(Bool, ENABLE_TOPIC, RELIABLE) if speaks and enables else None
        )
        self._must_enable = False  # a request to enable is to be sent
        node.create_subscription(RobotAssemblyState, STATE_TOPIC, self._on_state, RELIABLE)

    def begin(self, command_timeout_s: float) -> None:
        """Publish the command timeout. With `enables`, ask the robot to enable itself at its next
        report that says it is not enabled and can be.

        Args:
            command_timeout_s: Time without a command after which the robot stops [s].
        """
        if self._timeout is not None:
            self._timeout.publish(Float64(data=command_timeout_s))
        self._must_enable = self._enable is not None

    def _on_state(self, message: Any, info: Mapping[str, Any]) -> None:
        """Pass on a condition; ask the robot to enable itself, if that is still to be done and the
        condition allows it.

        Args:
            message: A RobotAssemblyState.
            info: Information of the middleware, with the time of publication.
        """
        condition = AssemblyState(
            homed=message.homed,
            ready=message.ready,
            enabled=message.enabled,
            stopped=message.stopped,
            error=message.error,
            estop_button=message.estop_button,
        )
        if condition.enabled:
            self._must_enable = False  # a robot that is disabled later stays so
        elif self._must_enable and condition.can_be_enabled:
            self._request_enable()
        self._on_condition(condition, info["source_timestamp"])

    def _request_enable(self) -> None:
        """Ask the robot to enable itself, if it subscribes to the request."""
        if self._enable is not None and self._enable.get_subscription_count():
            self._must_enable = False
            self._enable.publish(Bool(data=True))


class SimulatedInteraRobot:
    """The condition of a simulated Intera robot, which is enabled at first.

    Args:
        node: The sim_bridge node.

    Attributes:
        enabled: Whether the robot is enabled. While it is not, the bridge drops commands.

    Raises:
        ConfigError: intera_core_msgs cannot be imported.
    """

    def __init__(self, node: Node) -> None:
        require_messages()
        self.enabled = True
        self._states = node.create_publisher(RobotAssemblyState, STATE_TOPIC, RELIABLE)
        node.create_subscription(Bool, ENABLE_TOPIC, self._on_enable, RELIABLE)

    def report(self) -> None:
        """Publish the condition once."""
        self._states.publish(
            RobotAssemblyState(homed=True, ready=self.enabled, enabled=self.enabled)
        )

    def _on_enable(self, message: Bool) -> None:
        """Enable the robot if the message is true, else disable it."""
        self.enabled = message.data
