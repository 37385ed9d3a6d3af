"""Rethink's arms over their own messages: the thin part that needs `intera_core_msgs`; values come from `robot/intera.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Bool, Float64, Header

from sql_ros.core.errors import ConfigError, MessageError
from sql_ros.nodes.adapters import by_name
from sql_ros.nodes.messages import read_answers, stamp_to_msg
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.arm import Vector
from sql_ros.robot.intera import COMMAND_TIMEOUT_TOPIC, ENABLE_TOPIC, FIELDS, MODES, STATE_TOPIC, Condition, command_fields

try:
    from intera_core_msgs.msg import JointCommand, RobotAssemblyState
except ImportError as error:
    JointCommand = RobotAssemblyState = None
    WHY_MISSING = str(error)


def require_messages() -> None:
    """Raises ConfigError where intera_core_msgs is not installed."""
    if JointCommand is None:
        raise ConfigError(
            "a controller of type intera_core_msgs/JointCommand needs the ROS 2 package "
            f"intera_core_msgs, which is not installed ({WHY_MISSING}): build it from Rethink's "
            "intera_common in your workspace, and run a ros1_bridge that knows it"
        )


class InteraAdapter:
    """JointCommand in the mode of the task, stamped with the clock of this PC."""

    def __init__(self, joints: Sequence[str], mode: str) -> None:
        require_messages()
        self._joints, self._mode = list(joints), mode
        self.kind: type[Any] = JointCommand

    def to_msg(self, values: Vector, answers_ns: int) -> Any:
        """See `adapters.Adapter`."""
        header = Header(stamp=stamp_to_msg(time.time_ns()), frame_id=f"answers {answers_ns}")
        return JointCommand(header=header, **command_fields(values, self._mode, self._joints))

    def from_msg(self, message: Any) -> tuple[Vector, int | None]:
        """See `adapters.Adapter`."""
        if message.mode != MODES[self._mode]:
            raise MessageError(f"command has mode {message.mode}, expected {MODES[self._mode]}: {self._mode}")
        return by_name(message.names, getattr(message, FIELDS[self._mode]), self._joints), read_answers(message.header.frame_id)


class InteraRobot:
    """The actor's side of the robot's condition: listens to it, sets the command timeout, asks once for enabling.

    Args:
        node: creates the entities.
        on_condition: called with every condition the robot reports.
        speaks: false: only listens, as in a dry run.
    """

    def __init__(self, node: Node, on_condition: Callable[[Condition], None], *, speaks: bool) -> None:
        require_messages()
        self._on_condition = on_condition
        self._timeout = node.create_publisher(Float64, COMMAND_TIMEOUT_TOPIC, LATCHED) if speaks else None
        self._enable = node.create_publisher(Bool, ENABLE_TOPIC, RELIABLE) if speaks else None
        self._asks = False  # for enabling, as soon as somebody listens
        node.create_subscription(RobotAssemblyState, STATE_TOPIC, self._on_state, RELIABLE)

    def enable(self, command_timeout_s: float) -> None:
        """Sets the timeout and asks for enabling, once: a robot that was disabled since is not enabled again by itself."""
        if self._timeout is not None:
            self._timeout.publish(Float64(data=command_timeout_s))
            self._asks = True

    def _on_state(self, message: Any) -> None:
        if self._asks and self._enable is not None and self._enable.get_subscription_count():
            self._asks = False
            self._enable.publish(Bool(data=True))
        self._on_condition(Condition(message.enabled, message.stopped, message.error, message.estop_button))


class SimulatedInteraRobot:
    """The bridge's side: reports a robot that is enabled when asked, and takes no commands before."""

    def __init__(self, node: Node) -> None:
        require_messages()
        self.enabled = False
        self._states = node.create_publisher(RobotAssemblyState, STATE_TOPIC, RELIABLE)
        node.create_subscription(Bool, ENABLE_TOPIC, self._on_enable, RELIABLE)

    def report(self) -> None:
        """Publishes the condition."""
        self._states.publish(RobotAssemblyState(homed=True, ready=True, enabled=self.enabled))

    def _on_enable(self, message: Bool) -> None:
        self.enabled = message.data
