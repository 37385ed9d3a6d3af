"""Compare the arm that a driver describes on `robot_description` (URDF) with the robot file.

The arm is held while there is a publisher whose description has not arrived yet
(`description_missing`), and if the description is of another arm (`wrong_arm`). If no node
publishes a description, nothing is compared and nothing is held.
"""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from std_msgs.msg import String

from sql_ros.common.errors import MessageError
from sql_ros.nodes.qos import LATCHED
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.driver.description import difference
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 0.2


class DescriptionWatch:
    """Compares every new description, in the node's executor.

    Args:
        node: The actor node.
        robot: The arm of the robot file.

    Attributes:
        reasons: Hold kind to description; empty if the arms agree or there is no publisher.
    """

    def __init__(self, node: Node, robot: RobotConfig) -> None:
        self._node = node
        self._robot = robot
        self._log = node.get_logger()
        self._topic = node.resolve_topic_name("robot_description")
        self._last = ""
        self.reasons: Mapping[str, str] = NO_REASONS
        self._compared = "nobody publishes one"
        node.create_subscription(String, "robot_description", self._on_description, LATCHED)
        steady_timer(node, QUERY_S, self._check_publisher)

    def values(self) -> dict[str, str]:
        """Return the result of the comparison, for /diagnostics."""
        return dict(robot_description=self._compared)

    def _check_publisher(self) -> None:
        """Hold the arm while there is a publisher whose description has not arrived yet.

        Called by a timer; does nothing once a description has arrived.
        """
        if self._last:
            return
        is_awaited = self._node.count_publishers(self._topic) > 0
        self.reasons = (
            {"description_missing": f"{self._topic} has a publisher, but nothing has come yet"}
            if is_awaited
            else NO_REASONS
        )

    def _on_description(self, message: String) -> None:
        """Compare a new description; hold the arm if the description differs from the robot file
        or cannot be read.

        Args:
            message: URDF of the arm. The same text as before is ignored.
        """
        if message.data == self._last:
            return
        self._last = message.data or "empty"
        try:
            why = difference(self._robot, message.data)
        except MessageError as error:
            why = f"it cannot be compared: {error}"
        if not why:
            self.reasons = NO_REASONS
            self._compared = "the arm is that of the robot file"
            self._log.info(f"{self._topic}: {self._compared}")
            return
        self._compared = why
        hint = "compares_description:=false if it is not that of this arm"
        self.reasons = {
            "wrong_arm": (
                f"{self._topic} is not the arm '{self._robot.name}' of the robot file: {why}"
                f" ({hint})"
            )
        }
