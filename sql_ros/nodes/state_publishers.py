"""Who publishes on the topic of the joint states: others beside the arm, and a second one of its states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rclpy.node import Node

from sql_ros.nodes.endpoint_names import UNDISCOVERED, endpoint_name
from sql_ros.robot.watchdog import NO_REASONS
from sql_ros.robot.writers import WriterWatch

LOOK_S = 0.5  # between two looks at the graph while two publishers speak
MOST_OTHERS = 20  # kinds of other messages that are logged


class StatePublishers:
    """Log others once; hold while two publishers send states of the arm's joints.

    Args:
        node: Knows the publishers of the topic.
        topic: Of the joint states, resolved.
        joints: Of the arm, as on the wire.
    """

    def __init__(self, node: Node, topic: str, joints: Sequence[str]) -> None:
        self._node, self._topic, self._joints = node, topic, list(joints)
        self._writers = WriterWatch()
        self._reasons: Mapping[str, str] = NO_REASONS
        self._looked = -float("inf")
        self._others: set[tuple[str, ...]] = set()
        self._was_unstamped = False
        self._has_unnamed = False  # the publishers said last

    def heard(self, number: int | None, now: float) -> None:
        """Take the publication number of a message with joints of the arm."""
        if self._writers.heard(number, now) and now - self._looked > LOOK_S:
            self._looked = now
            self._name_publishers()

    def heard_unstamped(self) -> None:
        """Log that states carry the stamp 0, once."""
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
        self._node.get_logger().info(f"{self._topic} also has states of {', '.join(key) or 'no joints'}, which are left alone")

    def reasons(self, now: float) -> Mapping[str, str]:
        """Return why the arm must be held, see `Guard.conditions`."""
        return self._reasons if self._writers.is_contested(now) else NO_REASONS

    def others(self) -> str:
        """Return what else is on the topic, for a message about the arm's missing states."""
        if not self._others:
            return ""
        names = [name for names in sorted(self._others) for name in names]
        prefixed = next((name for name in names if name.endswith(self._joints[0])), "")
        prefix = prefixed.removesuffix(self._joints[0])
        hint = f"; joint_prefix:={prefix}?" if prefix else ""
        return f" (it has {', '.join(names)}{hint})"

    def _name_publishers(self) -> None:
        """Say who they are; once more, where a name was not known yet."""
        found = Counter(map(endpoint_name, self._node.get_publishers_info_by_topic(self._topic)))
        why = self._description(found)
        self._reasons = {"two_publishers": why}
        had_unnamed, self._has_unnamed = self._has_unnamed, UNDISCOVERED in found
        if had_unnamed and not self._has_unnamed:
            self._node.get_logger().warning(f"two_publishers: {why}")

    def _description(self, found: Mapping[str, int]) -> str:
        publishers = [name + f" ({count} times)" * (count > 1) for name, count in found.items()]
        return (
            f"two publishers send states of {', '.join(self._joints)} on {self._topic}, which has "
            f"{' and '.join(publishers) or 'none any more'}: end one, or remap it"
        )
