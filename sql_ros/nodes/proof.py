"""Checks that an arm's controllers receive a publisher: each must acknowledge a zero command from
it.

A publisher may have discovered a subscriber that has not discovered it yet. A volatile subscriber
never receives what was published before that. So the zero is sent only when every subscriber of the
graph is matched. It counts only if the same controllers are there when it is acknowledged.
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from sql_ros.nodes.listeners import is_reliable, may_move_an_arm, subscribers

QUERY_S = 0.1  # between two queries of the graph, once the proof is given
ACK_S = 0.02  # longest wait for an acknowledgement in one call


class Proof:
    """The proof for one publisher. It is lost when other controllers come or all of them are gone.

    Args:
        node: Queries the graph.
        publisher: Publisher of commands.
        zeros: A zero command.

    Attributes:
        is_given: Whether every controller has acknowledged a zero command.
    """

    def __init__(self, node: Node, publisher: Publisher, zeros: Any) -> None:
        self._node = node
        self._publisher = publisher
        self._zeros = zeros
        self._controllers: frozenset[bytes] = frozenset()  # GIDs of those that a zero was sent to
        self._queried_at = 0.0
        self.is_given = False

    def seek(self) -> None:
        """Send a zero command, if all subscribers are matched and no other zero is on its way.

        The arm is held.
        """
        if self._controllers:
            return
        self._controllers = self._matched_controllers()
        if self._controllers:
            self._publisher.publish(self._zeros)

    def look(self, now: float) -> None:
        """Check the controllers and the acknowledgement; update `is_given`.

        Args:
            now: Steady time [s].
        """
        if not self._controllers:
            return
        if not self._publisher.get_subscription_count():
            self._reset()
        elif not self.is_given:
            is_acknowledged = self._publisher.wait_for_all_acked(Duration(seconds=ACK_S))
            if self._matched_controllers() != self._controllers:
                self._reset()
            else:
                self.is_given = is_acknowledged
        elif now - self._queried_at >= QUERY_S:
            self._queried_at = now
            present = self._present_controllers()
            if not present or not present <= self._controllers:
                self._reset()

    def _reset(self) -> None:
        """Forget the controllers and the proof."""
        self._controllers = frozenset()
        self.is_given = False

    def _present_controllers(self) -> frozenset[bytes]:
        """Return the GIDs of the controllers in the graph."""
        return _controllers(subscribers(self._node, self._publisher.topic_name))

    def _matched_controllers(self) -> frozenset[bytes]:
        """Return the GIDs of the controllers; none while a subscriber of the graph is not
        matched.
        """
        endpoints = subscribers(self._node, self._publisher.topic_name)
        if self._publisher.get_subscription_count() < len(endpoints):
            return frozenset()
        return _controllers(endpoints)


def _controllers(endpoints: list[Any]) -> frozenset[bytes]:
    """Return the GIDs of those endpoints that acknowledge commands and may move an arm."""
    return frozenset(
        bytes(e.endpoint_gid) for e in endpoints if is_reliable(e) and may_move_an_arm(e)
    )
