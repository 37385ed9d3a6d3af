"""Pass the messages that stop the arm to `robot/safety/stop_latch.py`, and watch their publishers.

The latch gets each message with its age, and learns which topics have no publisher or one of a
wrong type.

=====================  ============  =============================================================
`~/emergency_stop`     Bool          true: pressed, latches a stop
`~/stop_lock`          Bool          true: locked, as twist_mux has it; with `lock_timeout_s`
                                     silence locks too
`~/enable`             Bool          a deadman's switch: with `enable_timeout_s` only a fresh true
                                     lets the arm move
others                 Bool          topics of `required_stops` in the robot file, each of one of
                                     these kinds
=====================  ============  =============================================================

The graph is queried by a timer in the node's executor, and for a message that may end the stop of
its topic. It is never queried while the arm moves under control of the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from std_msgs.msg import Bool

from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.endpoint_names import endpoint_name
from sql_ros.nodes.managed import ManagedNode
from sql_ros.nodes.qos import LATCHED, RELIABLE, SENSOR
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.config import EMERGENCY_STOP, STOP_KINDS, RequiredStop
from sql_ros.robot.safety.stop_latch import StopLatch
from sql_ros.robot.safety.stop_switch import SourceLag, Switch

QUERY_S = 0.2  # between two queries of the publishers
# queries after which the types of publishers are checked although their number is the same
QUERIES_PER_TYPE_CHECK = 10
TYPE = "std_msgs/msg/Bool"
# profiles that together receive any publisher, and a message published before this node started
BY_ANYBODY = RELIABLE, SENSOR, LATCHED


class StopTopics:
    """Subscribes to the switches of an arm, and watches their publishers.

    A switch is a topic whose value may stop the arm.

    Args:
        node: Node whose `reading` subscribes to the topics.
        latch: Receives the messages.
        prefix: Prefix of the topics, instead of `~`.
        timeouts_s: Kind of switch to its longest silence [s]; 0: its messages are not required.
        required: Required stops of the robot file.
        diagnostics: Counts publishers of a wrong type.

    Attributes:
        hold_now: Called in the reading thread when a message stops the arm; makes a hold before the
            next control step is due.
    """

    def __init__(
        self,
        node: ManagedNode,
        latch: StopLatch,
        prefix: str,
        timeouts_s: dict[str, float],
        required: Sequence[RequiredStop],
        diagnostics: Diagnostics,
    ) -> None:
        self._node = node
        self._latch = latch
        self._diagnostics = diagnostics
        self._switches: dict[str, Switch] = {}  # by resolved topic
        self._lags: dict[str, SourceLag] = {}
        self._counts: dict[str, int] = {}  # publishers at the last query, by topic
        # topic, node and type of the publishers that were logged
        self._logged: set[tuple[str, str, str]] = set()
        self._queries = 0
        self.hold_now: Callable[[], None] = _no_action
        for kind in STOP_KINDS:
            self._add(kind, f"{prefix}/{kind}", timeouts_s.get(kind, 0.0))
        for stop in required:
            self._add(stop.kind, stop.topic or f"{prefix}/{stop.kind}", stop.deadline_s)
        for topic, switch in self._switches.items():
            qos = BY_ANYBODY if switch.kind == EMERGENCY_STOP else (RELIABLE,)
            node.reading.subscribe(Bool, topic, self._make_callback(switch), *qos)
        self._query_publishers()
        steady_timer(node, QUERY_S, self._query_publishers)

    def forget(self) -> None:
        """Begin a new activation: the delay of the next message of each topic is its usual one."""
        for lag in self._lags.values():
            lag.forget()

    def complaints(self) -> dict[str, str]:
        """Return what is wrong with publishers, /diagnostics key `stop<topic>` to text; empty if
        nothing is.
        """
        return {
            f"stop{topic}": switch.complaint or switch.several
            for topic, switch in self._switches.items()
            if switch.complaint or switch.several
        }

    def _add(self, kind: str, name: str, deadline_s: float) -> None:
        """Add a switch to the latch.

        Args:
            kind: Kind of switch, one of `STOP_KINDS`.
            name: Topic name, not resolved.
            deadline_s: Longest silence [s]; 0: its messages are not required.
        """
        topic = self._node.resolve_topic_name(name)
        self._switches[topic] = self._latch.switch(kind, topic, deadline_s)
        self._lags[topic] = SourceLag()

    def _make_callback(self, switch: Switch) -> Callable[[Bool], None]:
        """Return the callback for the topic of a switch."""
        lag = self._lags[switch.topic]

        def on_message(message: Bool) -> None:
            """Pass a message with its delay to the latch; hold the arm now if it must stop."""
            now = time.monotonic()
            late_s = lag.late_s(self._node.reading.source_ns, time.time_ns(), now)
            if switch.stops(now):  # another publisher, not seen yet, must not end the stop
                switch.several = self._several(switch)
            self._latch.take(switch, message.data, now, late_s)
            if self._latch.reasons(now):
                self.hold_now()

        return on_message

    def _query_publishers(self) -> None:
        """Count the publishers of each topic, and set `complaint` and `several` of its switch.

        Called by a timer. The types are queried only when the number of publishers has changed,
        while there are several, and every `QUERIES_PER_TYPE_CHECK` calls.
        """
        is_thorough = self._queries % QUERIES_PER_TYPE_CHECK == 0
        self._queries += 1
        for topic, switch in self._switches.items():
            count = self._node.count_publishers(topic)
            if is_thorough or switch.several or count != self._counts.get(topic):
                switch.complaint = self._complaint(switch)
                switch.several = self._several(switch)
            if not count:
                self._lags[topic].forget()  # the next publisher may have another clock
            self._counts[topic] = count

    def _several(self, switch: Switch) -> str:
        """Return that a switch has several publishers of its type, in words; empty if it has not.

        Args:
            switch: The switch.
        """
        publishers = self._node.get_publishers_info_by_topic(switch.topic)
        names = sorted(endpoint_name(each) for each in publishers if each.topic_type == TYPE)
        if len(names) < 2:
            return ""
        return (
            f"{switch.topic} has {len(names)} publishers, {' and '.join(names)}, and one could end"
            " the stop of another: end all but one, or give each a topic of its own"
            " (required_stops)"
        )

    def _complaint(self, switch: Switch) -> str:
        """Return what is wrong with the publishers of a switch, in words; empty if nothing is.

        A publisher of a wrong type is also counted as a fault, once.

        Args:
            switch: The switch.
        """
        publishers = self._node.get_publishers_info_by_topic(switch.topic)
        foreign = {
            (endpoint_name(each), each.topic_type) for each in publishers if each.topic_type != TYPE
        }
        if foreign:
            publishers_of_wrong_type = _list_publishers(foreign)
            complaint = (
                f"{switch.topic} cannot be received from {publishers_of_wrong_type}:"
                f" expected {TYPE}"
            )
            news = {(switch.topic, *each) for each in foreign} - self._logged
            if news:
                self._logged |= news
                self._diagnostics.fault("stop_type", complaint)
            return complaint
        if switch.is_required and not publishers:
            return f"nobody publishes on {switch.topic} ({TYPE}), which is required"
        return ""


def _list_publishers(foreign: set[tuple[str, str]]) -> str:
    """Return text that lists publishers, given pairs of node name and message type."""
    return " and ".join(f"{name}, which publishes {kind}" for name, kind in sorted(foreign))


def _no_action() -> None:
    """Do nothing: the next control step is a hold."""
