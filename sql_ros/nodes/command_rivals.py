"""Hold a real arm while another node publishes its commands (`commands_shared`).

The arm executes the commands of every publisher. A transition would record an action that was not
the only one to act.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED
from sql_ros.nodes.presence import Presence
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 0.1  # between two queries of the graph
GONE_S = 2.0  # without another publisher, after which the hold ends
NAMING_S = 0.5  # to discover the name of a new publisher, which may be a node of sql_ros


class CommandRivals:
    """Looks for other publishers of the commands, in a timer of the node.

    Args:
        node: Publishes the commands.
        presence: Knows the other nodes of sql_ros, which yield by themselves.
        topic: Command topic, resolved.
        owns: Returns whether a publisher belongs to this node, from its GID and the full name of
            its node.

    Attributes:
        reasons: Why the arm must be held, see `Guard.conditions`.
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
        steady_timer(node, QUERY_S, self.look)

    def look(self) -> None:
        """Query the graph now, and update `reasons`."""
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
        """Return the node names of the other publishers.

        A publisher whose name is not discovered yet counts only after `NAMING_S`.

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
        """Return the text of the hold for the names of other publishers."""
        publishes = "publishes" if len(names) == 1 else "publish"
        return (
            f"{' and '.join(names)} {publishes} on {self._topic}, too, and the arm obeys both:"
            " end one"
        )
