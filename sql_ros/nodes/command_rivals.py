"""Other publishers of a real arm's commands: while there is one, the arm is held (`commands_shared`).

The arm obeys whoever publishes. A transition would tell of an action that did not act alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED
from sql_ros.nodes.presence import Presence
from sql_ros.robot.watchdog import NO_REASONS

LOOK_S = 0.1  # between two looks at the graph
GONE_S = 2.0  # for which the last one must have been gone
NAMING_S = 0.5  # for which the name of a new publisher is waited for: it may be this node's watchdog


class CommandRivals:
    """Look for them, in the thread of the node's timers.

    Args:
        node: Publishes the commands.
        presence: Knows the nodes of sql_ros, which give way by themselves.
        topic: Of the commands, resolved.

    Attributes:
        reasons: Why the arm must be held, see `Guard.conditions`.
    """

    def __init__(self, node: Node, presence: Presence, topic: str) -> None:
        self._presence, self._topic = presence, topic
        self.reasons: Mapping[str, str] = NO_REASONS
        self._names: list[str] = []
        self._seen = 0.0
        self._unnamed_since: float | None = None
        node.create_timer(LOOK_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def look(self) -> None:
        """Look at the graph now."""
        now = time.monotonic()
        names = self._found(now)
        if names:
            self._seen = now
            if names != self._names:
                self.reasons = {"commands_shared": self._description(names)}
        elif now - self._seen > GONE_S:
            self.reasons = NO_REASONS
        self._names = names or self._names if self.reasons else []

    def _found(self, now: float) -> list[str]:
        found = self._presence.strangers()
        names = [name for name in found if name != UNDISCOVERED]
        if len(names) == len(found):
            self._unnamed_since = None
        elif self._unnamed_since is None:
            self._unnamed_since = now
        elif now - self._unnamed_since > NAMING_S:
            names.append(UNDISCOVERED)
        return names

    def _description(self, names: list[str]) -> str:
        publishes = "publishes" if len(names) == 1 else "publish"
        return f"{' and '.join(names)} {publishes} on {self._topic}, too, and the arm obeys both: end one"
