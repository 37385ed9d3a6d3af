"""Who takes an arm's commands: reliable subscribers, except those that only record or show them.

ros2_control subscribes reliably; the way to an Intera robot need not. A reliable `ros2 bag record` or `ros2 topic echo` is known by the
name of its node; one whose name is not known yet does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from sql_ros.robot.watchdog import NO_REASONS

ONLOOKERS = ("rosbag2", "_ros2cli", "ros2cli", "_CREATED_BY_BARE_DDS_APP_", "_NODE_NAME_UNKNOWN_")
OWN = ("monitor", "chaos")  # nodes of this package that never move an arm
LOOK_S = 0.2  # between two queries of the graph, of about 0.3 ms each


def subscribers(node: Node, topic: str) -> list[Any]:
    """Return the endpoints that a volatile publisher of commands can reach. Queries the graph."""
    endpoints = node.get_subscriptions_info_by_topic(topic)
    return [e for e in endpoints if e.qos_profile.durability == DurabilityPolicy.VOLATILE]


def is_reliable(endpoint: Any) -> bool:
    """Return whether an endpoint acknowledges commands."""
    return bool(endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE)


def may_move_an_arm(endpoint: Any) -> bool:
    """Return whether an endpoint is of no node that is known to only record or show."""
    name: str = endpoint.node_name
    return name not in OWN and not name.startswith(ONLOOKERS)


class Listeners:
    """Says whether a controller listens to an actor's commands.

    The graph is queried by a timer in the node's executor, never in the control path.

    Args:
        node: The actor.
        publisher: Of its commands.
        is_real: The commands go to a real arm; those of a simulation are taken by any subscriber.
        is_bridged: A best-effort subscriber counts, too: ros1_bridge may be one.
    """

    def __init__(self, node: Node, publisher: Any, *, is_real: bool, is_bridged: bool) -> None:
        self._node, self._publisher, self._topic = node, publisher, publisher.topic_name
        self._is_bridged = is_bridged
        self._nobody = self._complaint("nobody")
        self._reasons = self._nobody if is_real else NO_REASONS
        if is_real:
            node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def reasons(self) -> Mapping[str, str]:
        """Return why the arm must be held: no subscriber now, or no controller at the last query."""
        return self._reasons if self._publisher.get_subscription_count() else self._nobody

    def _look(self) -> None:
        endpoints = subscribers(self._node, self._topic)
        if any(may_move_an_arm(e) and (is_reliable(e) or self._is_bridged) for e in endpoints):
            self._reasons = NO_REASONS
            return
        names = ", ".join(sorted({e.node_name for e in endpoints}))
        self._reasons = self._complaint(f"only {names}") if names else self._nobody

    def _complaint(self, who: str) -> Mapping[str, str]:
        return {"unheard": f"{who} listens to {self._topic}: is the arm's controller running?"}
