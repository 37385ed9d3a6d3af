"""Hold a real arm while another node publishes on its command topic (`commands_shared`).

The arm executes the commands of every publisher. A transition would then record an action that was
not the only one executed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED
from sql_ros.nodes.presence import Presence
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 0.1  # time between two queries of the graph
GONE_S = 2.0  # time without another publisher after which the hold ends
NAMING_S = 0.5  # time to discover the node name of a new publisher


class CommandRivals:
    """Looks for other publishers of the commands, in a timer of the node.

    Args:
        node: Node that publishes the commands.
        presence: Knows the other nodes of sql_ros. They do not count as rivals, because one of two
            such nodes deactivates itself (`claims.py`).
        topic: Resolved command topic.
        owns: Returns whether a publisher belongs to this node, given its GID and the full name of
            its node.

    Attributes:
        reasons: Hold kind (`commands_shared`) to description; empty while there is no rival.
    """

    def __init__(
        self, node: Node, presence: Presence, topic: str, owns: Callable[[bytes, str], bool]
    ) -> None:
        self._presence = presence
        self._topic = topic
        self._owns = owns
        self.reasons: Mapping[str, str] = NO_REASONS
        self._names: list[str] = []
        self._seen = 0.0
        self._unnamed_since: float | None = None
        steady_timer(node, QUERY_S, self.update)

    def update(self) -> None:
        """Query the graph now, and update `reasons`.

        The hold ends when there has been no rival for `GONE_S`.
        """
        now = time.monotonic()
        names = self._find_names(now)
        if names:
            self._seen = now
            if names != self._names:
                self.reasons = {"commands_shared": self._description(names)}
        elif now - self._seen > GONE_S:
            self.reasons = NO_REASONS
        self._names = names or self._names if self.reasons else []

    def _find_names(self, now: float) -> list[str]:
        """Return the node names of the other publishers; empty if there are none.

        A publisher whose node name is not discovered yet is included, as `UNDISCOVERED`, only after
        `NAMING_S`: it may be a node of sql_ros.

        Args:
            now: Steady time [s].
        """
        found = self._presence.unclaimed_publishers(self._owns)
        names = [name for name in found if name != UNDISCOVERED]
        if len(names) == len(found):
            self._unnamed_since = None
        elif self._unnamed_since is None:
            self._unnamed_since = now
        elif now - self._unnamed_since > NAMING_S:
            names.append(UNDISCOVERED)
        return names

    def _description(self, names: list[str]) -> str:
        """Return the description of the hold, given the node names of the other publishers."""
        publishes = "publishes" if len(names) == 1 else "publish"
        return (
            f"{' and '.join(names)} {publishes} on {self._topic}, too, and the arm obeys both:"
            " end one"
        )
