"""Receive the description of an arm from a topic, such as `/robot_description`."""

from __future__ import annotations

from std_msgs.msg import String

from sql_ros.checks.listener_node import ListenerNode
from sql_ros.common.errors import ConfigError
from sql_ros.nodes.qos import LATCHED
from sql_ros.robot.driver.description import MOST_BYTES

WAIT_S = 10.0  # longest wait for the description


def receive_description(topic: str, wait_s: float = WAIT_S) -> str:
    """Return the URDF that a driver publishes, as a latched String.

    Args:
        topic: Name of the topic.
        wait_s: Longest wait [s].

    Raises:
        ConfigError: Nothing has come in this time, or the text is longer than `MOST_BYTES`.
    """
    listener = ListenerNode("import_robot")
    texts: list[str] = []
    try:
        listener.node.create_subscription(
            String, topic, lambda message: texts.append(message.data), LATCHED
        )
        if not listener.spin_until(lambda: texts, wait_s):
            publishers = listener.node.count_publishers(topic)
            raise ConfigError(
                f"nothing came on {topic} within {wait_s:g} s, and it has {publishers} publishers;"
                " there is no file of this name either. Is the driver running, with this"
                " ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE, and is its publisher latched"
                " (transient local)?"
            )
    finally:
        listener.close()
    if len(texts[0].encode()) > MOST_BYTES:
        raise ConfigError(
            f"the description on {topic} has {len(texts[0].encode())} bytes, expected at most"
            f" {MOST_BYTES}"
        )
    return texts[0]
