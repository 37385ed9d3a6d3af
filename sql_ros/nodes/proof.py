"""Proof that an arm's controllers hear a publisher: each acknowledges a zero command from it.

A publisher may know a subscriber that does not know it yet, and a volatile subscriber never gets what
was published before it was matched. So the zero leaves only once every subscriber of the graph is
matched, and counts only if the same controllers are there when it is acknowledged.
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from sql_ros.nodes.listeners import is_reliable, may_move_an_arm, subscribers

LOOK_S = 0.1  # between two queries of the graph, once the proof is given
ACK_S = 0.02  # for which an acknowledgement is waited for in one go


class Proof:
    """Given, until other controllers come or all are gone.

    Args:
        node: Queries the graph.
        publisher: Of commands.
        zeros: A zero command.

    Attributes:
        is_given: Whether every controller has acknowledged a zero.
    """

    def __init__(self, node: Node, publisher: Publisher, zeros: Any) -> None:
        self._node, self._publisher, self._zeros = node, publisher, zeros
        self._controllers: frozenset[bytes] = frozenset()  # that a zero was sent to
        self._looked_at = 0.0
        self.is_given = False

    def seek(self) -> None:
        """Send a zero to the controllers, if all are matched and none is on its way. The arm is held."""
        if self._controllers:
            return
        self._controllers = self._matched_controllers()
        if self._controllers:
            self._publisher.publish(self._zeros)

    def look(self, now: float) -> None:
        """Take what changed: controllers, acknowledgements."""
        if not self._controllers:
            return
        if not self._publisher.get_subscription_count():
            self._lose()
        elif not self.is_given:
            is_acknowledged = self._publisher.wait_for_all_acked(Duration(seconds=ACK_S))
            if self._matched_controllers() != self._controllers:
                self._lose()
            else:
                self.is_given = is_acknowledged
        elif now - self._looked_at >= LOOK_S:
            self._looked_at = now
            present = self._present_controllers()
            if not present or not present <= self._controllers:
                self._lose()

    def _lose(self) -> None:
        self._controllers, self.is_given = frozenset(), False

    def _present_controllers(self) -> frozenset[bytes]:
        return _controllers(subscribers(self._node, self._publisher.topic_name))

    def _matched_controllers(self) -> frozenset[bytes]:
        """Return the controllers; none while a subscriber of the graph is not matched."""
        endpoints = subscribers(self._node, self._publisher.topic_name)
        if self._publisher.get_subscription_count() < len(endpoints):
            return frozenset()
        return _controllers(endpoints)


def _controllers(endpoints: list[Any]) -> frozenset[bytes]:
    return frozenset(bytes(e.endpoint_gid) for e in endpoints if is_reliable(e) and may_move_an_arm(e))
