"""Prove that the controllers of an arm receive a publisher: each must acknowledge a zero command.

Discovery is not mutual at once: a publisher may know a subscriber that does not know the publisher
yet, and a volatile subscriber never receives what was published before it knows the publisher. So
the zero is sent only when every subscriber in the graph is matched. The acknowledgement counts only
if the controllers are still the same when it arrives.
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from sql_ros.nodes.listeners import is_reliable, may_move_an_arm, subscribers

QUERY_S = 0.1  # time between two queries of the graph, once the proof is given
ACK_S = 0.02  # longest wait for an acknowledgement in one call


class Proof:
    """The proof for one publisher. It is lost when a new controller subscribes or none is left.

    Args:
        node: Node of the publisher; queries the graph.
        publisher: Publisher of commands.
        zeros: Message of a zero command.

    Attributes:
        is_given: Whether every controller has acknowledged a zero command. Updated by `update`.
    """

    def __init__(self, node: Node, publisher: Publisher, zeros: Any) -> None:
        self._node = node
        self._publisher = publisher
        self._zeros = zeros
        # GIDs of the controllers to which a zero was sent
        self._controllers: frozenset[bytes] = frozenset()
        self._queried_at = 0.0
        self.is_given = False

    def publish_zeros(self) -> None:
        """Publish a zero command, unless one was published already, a subscriber is not matched or
        there is no controller.

        Call it only while the arm is held.
        """
        if self._controllers:
            return
        self._controllers = self._matched_controllers()
        if self._controllers:
            self._publisher.publish(self._zeros)

    def update(self, now: float) -> None:
        """Check the acknowledgement, or whether the controllers are still the same; update
        `is_given`.

        The proof is lost if no controller is left or another one has come. Before the proof is
        given a call blocks for up to `ACK_S`.

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
        """Withdraw the proof; `publish_zeros` may publish another zero."""
        self._controllers = frozenset()
        self.is_given = False

    def _present_controllers(self) -> frozenset[bytes]:
        """Return the GIDs of the controllers in the graph."""
        return _controllers(subscribers(self._node, self._publisher.topic_name))

    def _matched_controllers(self) -> frozenset[bytes]:
        """Return the GIDs of the controllers in the graph; empty while the publisher is not matched
        with every subscriber in the graph.
        """
        endpoints = subscribers(self._node, self._publisher.topic_name)
        if self._publisher.get_subscription_count() < len(endpoints):
            return frozenset()
        return _controllers(endpoints)


def _controllers(endpoints: list[Any]) -> frozenset[bytes]:
    """Return the GIDs of the endpoints that acknowledge commands and may move an arm."""
    return frozenset(
        bytes(e.endpoint_gid) for e in endpoints if is_reliable(e) and may_move_an_arm(e)
    )
