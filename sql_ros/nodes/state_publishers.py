"""The publishers on the topic of the joint states: those of other joints, and a second one of
the arm's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED, endpoint_name
from sql_ros.robot.driver.writers import WriterWatch
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 0.5  # between two queries of the graph while there are two publishers
MOST_OTHERS = 20  # sets of other joints that are logged


class StatePublishers:
    """Logs other publishers once; holds the arm while two publishers send states of its joints.

    Args:
        node: Knows the publishers of the topic.
        topic: Topic of the joint states, resolved.
        joints: Joint names of the arm on topics.
    """

    def __init__(self, node: Node, topic: str, joints: Sequence[str]) -> None:
        self._node = node
        self._topic = topic
        self._joints = list(joints)
        self._writers = WriterWatch()
        self._reasons: Mapping[str, str] = NO_REASONS
        self._queried_at = -float("inf")
        self._others: set[tuple[str, ...]] = set()
        self._was_unstamped = False
        self._has_unnamed = False  # a publisher of the last warning had no name yet

    def heard(self, number: int | None, now: float) -> None:
        """Take the publication number of a message with joints of the arm.

        Args:
            number: Publication number; None: unknown.
            now: Steady time [s].
        """
        if self._writers.heard(number, now) and now - self._queried_at > QUERY_S:
            self._queried_at = now
            self._name_publishers()

    def heard_unstamped(self) -> None:
        """Log once that states carry the stamp 0."""
        if not self._was_unstamped:
            self._was_unstamped = True
            self._node.get_logger().warning(
                f"states on {self._topic} have no stamp (0): their time of arrival is taken, so a "
                "driver that repeats an old state is not noticed"
            )

    def heard_other(self, names: Sequence[str]) -> None:
        """Log a message with none of the arm's joints, once for the same names."""
        key = tuple(names)
        if key in self._others or len(self._others) >= MOST_OTHERS:
            return
        self._others.add(key)
        self._node.get_logger().info(
            f"{self._topic} also has states of {', '.join(key) or 'no joints'}, which are ignored"
        )

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`."""
        return self._reasons if self._writers.is_contested(now) else NO_REASONS

    def others(self) -> str:
        """Return what else is on the topic, for a message about missing states of the arm;
        empty if nothing is.
        """
        if not self._others:
            return ""
        names = [name for names in sorted(self._others) for name in names]
        prefixed = next((name for name in names if name.endswith(self._joints[0])), "")
        prefix = prefixed.removesuffix(self._joints[0])
        hint = f"; joint_prefix:={prefix}?" if prefix else ""
        return f" (it has {', '.join(names)}{hint})"

    def _name_publishers(self) -> None:
        """Look up the names of the publishers for the reason to hold; log them when all are
        discovered.
        """
        found = Counter(map(endpoint_name, self._node.get_publishers_info_by_topic(self._topic)))
        why = self._description(found)
        self._reasons = {"two_publishers": why}
        had_unnamed = self._has_unnamed
        self._has_unnamed = UNDISCOVERED in found
        if had_unnamed and not self._has_unnamed:
            self._node.get_logger().warning(f"two_publishers: {why}")

    def _description(self, found: Mapping[str, int]) -> str:
        """Return the text of the hold.

        Args:
            found: Full node name to the number of its publishers.
        """
        publishers = [name + f" ({count} times)" * (count > 1) for name, count in found.items()]
        return (
            f"two publishers send states of {', '.join(self._joints)} on {self._topic}, which has "
            f"{' and '.join(publishers) or 'none any more'}: end one, or remap it"
        )
