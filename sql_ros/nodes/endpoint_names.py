"""Find the node names of publishers, and the GID of a publisher of this process."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sql_ros.common.errors import ConfigError

UNDISCOVERED = "a publisher that is still being discovered"
UNKNOWN = "_NODE_NAME_UNKNOWN_"  # node name in rmw_fastrtps before it is discovered
ATTEMPTS = 5  # to create a publisher while no other one of this node name appears


def endpoint_name(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of a publisher's node; `UNDISCOVERED` while that name is not known."""
    if endpoint.node_name == UNKNOWN:
        return UNDISCOVERED
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def identified_publisher(
    node: Node, kind: Any, topic: str, qos: QoSProfile | int
) -> tuple[Publisher, bytes]:
    """Create a publisher and find its GID, for which rclpy has no function.

    A new publisher is in the graph of its node at once. Its GID is the one that is there after the
    creation and was not before.

    Args:
        node: Node of the publisher.
        kind: Message class.
        topic: Topic name, not resolved.
        qos: Quality of service.

    Returns:
        The publisher and its GID.

    Raises:
        ConfigError: The graph does not show the new publisher; or, in each of `ATTEMPTS` attempts,
            it showed several new publishers by nodes of this name.
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
    """Return the GIDs of a topic's publishers whose nodes have the full name of this node.

    Args:
        node: This node.
        topic: Resolved topic.
    """
    name = node.get_fully_qualified_name()
    return {
        bytes(e.endpoint_gid)
        for e in node.get_publishers_info_by_topic(topic)
        if endpoint_name(e) == name
    }
