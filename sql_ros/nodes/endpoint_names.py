"""Names and GIDs of the publishers of a topic, and the GID of an own publisher."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sql_ros.common.errors import ConfigError

UNDISCOVERED = "a publisher that is still being discovered"
UNKNOWN = "_NODE_NAME_UNKNOWN_"  # node name in rmw_fastrtps before it is discovered
ATTEMPTS = 5  # to create a publisher without another new one of the node's name


def endpoint_name(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of a publisher's node, or `UNDISCOVERED` while only the publisher
    is known.
    """
    if endpoint.node_name == UNKNOWN:
        return UNDISCOVERED
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def identified_publisher(
    node: Node, kind: Any, topic: str, qos: QoSProfile | int
) -> tuple[Publisher, bytes]:
    """Create a publisher and find its GID, which rclpy does not tell.

    A node's own publishers are in its graph as soon as they are created, with its name.

    Args:
        node: Publishes.
        kind: Message type.
        topic: Topic name.
        qos: Quality of service.

    Returns:
        The publisher and its GID.

    Raises:
        ConfigError: The graph does not show the new publisher, or shows another new one of the same
            node name in every attempt.
    """
    resolved = node.resolve_topic_name(topic)
    for _ in range(ATTEMPTS):
        before = _gids(node, resolved)
        publisher = node.create_publisher(kind, topic, qos)
        new = _gids(node, resolved) - before
        if len(new) == 1:
            return publisher, new.pop()
        node.destroy_publisher(publisher)
    raise ConfigError(
        f"{len(new)} new publishers of {resolved} by {node.get_fully_qualified_name()} are in the"
        " graph, expected this node's one: look for another node of this name ('ros2 topic info"
        " --verbose')"
    )


def _gids(node: Node, topic: str) -> set[bytes]:
    """Return the GIDs of the publishers of a topic whose node has the name of this one."""
    name = node.get_fully_qualified_name()
    return {
        bytes(e.endpoint_gid)
        for e in node.get_publishers_info_by_topic(topic)
        if endpoint_name(e) == name
    }
