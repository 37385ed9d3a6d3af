"""Watch the publishers of joint states: a second publisher of the arm's joints holds the arm
(`two_publishers`), and publishers of other joints are logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED, endpoint_name
from sql_ros.robot.driver.writers import WriterWatch
from sql_ros.robot.safety.state_watchdog import NO_REASONS

QUERY_S = 0.5  # time between two queries of the graph while there are two publishers
MOST_OTHERS = 20  # largest number of sets of other joints that are logged


class StatePublishers:
    """Detects a second publisher of the arm's states, by the publication numbers of messages.

    Args:
        node: Node that queries the graph and logs.
        topic: Resolved topic of the joint states.
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

        If it shows a second publisher, the names of the publishers are looked up.

        Args:
            number: Publication number; None if the middleware does not provide it, so that no
                second publisher is detected.
            now: Steady time [s].
        """
        if self._writers.heard(number, now) and now - self._queried_at > QUERY_S:
            self._queried_at = now
            self._name_publishers()

    def heard_unstamped(self) -> None:
        """Log a warning, once, that states have the stamp 0."""
        if not self._was_unstamped:
            self._was_unstamped = True
            self._node.get_logger().warning(
                f"states on {self._topic} have no stamp (0): their time of arrival is taken, so a "
                "driver that repeats an old state is not noticed"
            )

    def heard_other(self, names: Sequence[str]) -> None:
        """Log, once for each set of names, that a message had none of the arm's joints.

        Args:
            names: Joint names of the message.
        """
        key = tuple(names)
        if key in self._others or len(self._others) >= MOST_OTHERS:
            return
        self._others.add(key)
        self._node.get_logger().info(
            f"{self._topic} also has states of {', '.join(key) or 'no joints'}, which are ignored"
        )

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`.

        Args:
            now: Steady time [s].

        Returns:
            Hold kind (`two_publishers`) to description; empty if no second publisher was detected
            lately.
        """
        return self._reasons if self._writers.is_contested(now) else NO_REASONS

    def others(self) -> str:
        """Return text with the other joints on the topic, and perhaps the missing `joint_prefix`,
        for a warning about missing states; empty if there were none.
        """
        if not self._others:
            return ""
        names = [name for names in sorted(self._others) for name in names]
        prefixed = next((name for name in names if name.endswith(self._joints[0])), "")
        prefix = prefixed.removesuffix(self._joints[0])
        hint = f"; joint_prefix:={prefix}?" if prefix else ""
        return f" (it has {', '.join(names)}{hint})"

    def _name_publishers(self) -> None:
        """Query the graph for the names of the publishers, and put them into the reason to hold.

        If a name was not discovered at the query before and all are now, they are logged.
        """
        found = Counter(map(endpoint_name, self._node.get_publishers_info_by_topic(self._topic)))
        why = self._description(found)
        self._reasons = {"two_publishers": why}
        had_unnamed = self._has_unnamed
        self._has_unnamed = UNDISCOVERED in found
        if had_unnamed and not self._has_unnamed:
            self._node.get_logger().warning(f"two_publishers: {why}")

    def _description(self, found: Mapping[str, int]) -> str:
        """Return the description of the hold.

        Args:
            found: Full node name to the number of its publishers.
        """
        publishers = [name + f" ({count} times)" * (count > 1) for name, count in found.items()]
        return (
            f"two publishers send states of {', '.join(self._joints)} on {self._topic}, which has "
            f"{' and '.join(publishers) or 'none any more'}: end one, or remap it"
        )
