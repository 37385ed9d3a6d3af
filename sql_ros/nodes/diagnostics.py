"""Publish /diagnostics at 1 Hz as in REP-107; count faults and log them at a limited rate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.node import Node

from sql_ros.common.output import OUTPUT
from sql_ros.nodes.steady_timer import steady_timer

Status = tuple[bytes, str, Mapping[str, Any]]  # level, message, and key to value
OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
LAST_ACK_S = 1.0  # longest wait for the acknowledgements of a node's last status


class Diagnostics:
    """Publishes the status of a node once a second, on the steady clock, and counts faults.

    The counts are published with the values, under the keys `fault/<kind>`.

    Args:
        node: Node of the publisher. Its full name is the hardware id.
        component: Text after the colon in the name "namespace/node: component" of the status.
        report: Returns level, message and values of the status, see `Status`.

    Attributes:
        faults: Number of faults by kind since the node was created.
    """

    def __init__(self, node: Node, component: str, report: Callable[[], Status]) -> None:
        self._node = node
        self._component = component
        self._report = report
        self.faults: Counter[str] = Counter()
        self._last_warning: dict[str, float] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady_timer(node, 1.0, self.publish)

    def fault(self, kind: str, message: str) -> None:
        """Count a fault. Log it as a warning, unless one of its kind was logged within the last
        second.

        Args:
            kind: Key of the count, such as "state_dropped".
            message: Description for the log.
        """
        self.faults[kind] += 1
        now = time.monotonic()
        if now - self._last_warning.get(kind, -1.0) >= 1.0:
            self._last_warning[kind] = now
            self._node.get_logger().warning(f"{kind} ({self.faults[kind]} so far): {message}")

    def publish(self) -> None:
        """Publish the status, the fault counts and the number of lost output bytes now."""
        level, message, values = self._report()
        entries = {
            **values,
            **{f"fault/{kind}": count for kind, count in dict(self.faults).items()},
        }
        if OUTPUT.dropped:
            entries["output_dropped_bytes"] = OUTPUT.dropped
        status = DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {self._component}",
            message=message,
            hardware_id=self._node.get_fully_qualified_name(),
            values=[KeyValue(key=key, value=str(value)) for key, value in entries.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def publish_last(self) -> None:
        """Publish the status, and wait until all subscribers have acknowledged it, at most
        `LAST_ACK_S`.

        Without the wait the last message would be lost when the publisher is destroyed.
        """
        self.publish()
        self._publisher.wait_for_all_acked(Duration(seconds=LAST_ACK_S))
