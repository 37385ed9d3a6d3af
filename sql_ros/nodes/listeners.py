"""Find the subscribers that may execute an arm's commands, and report a missing one (`unheard`).

They are the reliable subscribers, because ros2_control subscribes reliably; a bridge to an Intera
robot need not. Recorders and displays (`ros2 bag record`, `ros2 topic echo`) may be reliable too,
and are known by their node names. A subscriber whose node name is not discovered yet does not
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.safety.state_watchdog import NO_REASONS

OBSERVERS = ("rosbag2", "_ros2cli", "ros2cli", "_CREATED_BY_BARE_DDS_APP_", "_NODE_NAME_UNKNOWN_")
OWN_OBSERVERS = ("monitor", "chaos")  # nodes of this package that never move an arm
QUERY_S = 0.2  # time between two queries of the graph


def subscribers(node: Node, topic: str) -> list[Any]:
    """Return the volatile subscriptions of a topic in the graph, as endpoint infos of rclpy.

    Only these can receive commands, because the publisher of commands is volatile.

    Args:
        node: Node that queries the graph.
        topic: Resolved topic.
    """
    endpoints = node.get_subscriptions_info_by_topic(topic)
    return [e for e in endpoints if e.qos_profile.durability == DurabilityPolicy.VOLATILE]


def is_reliable(endpoint: Any) -> bool:
    """Return whether an endpoint is reliable, so that it acknowledges commands."""
    return bool(endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE)


def may_move_an_arm(endpoint: Any) -> bool:
    """Return whether an endpoint may belong to a controller.

    False for nodes that are known to record or display only, and while the node name is not
    discovered.
    """
    name: str = endpoint.node_name
    return name not in OWN_OBSERVERS and not name.startswith(OBSERVERS)


class Listeners:
    """Reports whether a controller subscribes to the actor's commands.

    The graph is queried by a timer in the node's executor, not by the control loop.

    Args:
        node: The actor node.
        publisher: Publisher of the commands.
        is_real: Whether the commands go to a real arm. For a simulated arm any subscriber counts.
        is_bridged: Whether best-effort subscribers count too, because ros1_bridge may be one.
    """

    def __init__(self, node: Node, publisher: Any, *, is_real: bool, is_bridged: bool) -> None:
        self._node = node
        self._publisher = publisher
        self._topic = publisher.topic_name
        self._is_bridged = is_bridged
        self._no_subscriber = self._complaint("nobody")
        self._reasons = self._no_subscriber if is_real else NO_REASONS
        if is_real:
            steady_timer(node, QUERY_S, self._query)

    def reasons(self) -> Mapping[str, str]:
        """Return why the arm must be held: there is no subscriber now, or, for a real arm, there
        was no controller at the last query.

        Returns:
            Hold kind (`unheard`) to description; empty if the arm need not be held.
        """
        return self._reasons if self._publisher.get_subscription_count() else self._no_subscriber

    def _query(self) -> None:
        """Query the graph for controllers; set the reasons, empty if one subscribes.

        Called by a timer. Best-effort subscribers count only with `is_bridged`.
        """
        endpoints = subscribers(self._node, self._topic)
        if any(may_move_an_arm(e) and (is_reliable(e) or self._is_bridged) for e in endpoints):
            self._reasons = NO_REASONS
            return
        names = ", ".join(sorted({e.node_name for e in endpoints}))
        self._reasons = self._complaint(f"only {names}") if names else self._no_subscriber

    def _complaint(self, who: str) -> Mapping[str, str]:
        """Return the reason to hold, given text that says who subscribes."""
        return {"unheard": f"{who} listens to {self._topic}: is the arm's controller running?"}
