"""Names of the nodes behind the endpoints of a topic."""

from __future__ import annotations

from rclpy.topic_endpoint_info import TopicEndpointInfo

UNDISCOVERED = "a publisher that is still being discovered"
UNKNOWN = "_NODE_NAME_UNKNOWN_"  # in rmw_fastrtps


def endpoint_name(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of a publisher's node, or `UNDISCOVERED`: an endpoint may be found first."""
    if endpoint.node_name == UNKNOWN:
        return UNDISCOVERED
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
