"""/diagnostics at 1 Hz after REP-107, and warnings that do not flood."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

Status = tuple[bytes, str, Mapping[str, Any]]
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes what a callable reports, once a second on the steady clock, and counts faults.

    Args:
        node: publishes; its fully qualified name is the hardware id.
        component: the part after the colon in "namespace/node: component".
        report: gives level, message and values.
    """

    def __init__(self, node: Node, component: str, report: Callable[[], Status]) -> None:
        self._node, self._component, self._report = node, component, report
        self.faults: Counter[str] = Counter()
        self._last_warning: dict[str, float] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def fault(self, kind: str, message: str) -> None:
        """Counts a fault and warns about its kind at most once a second."""
        self.faults[kind] += 1
        now = time.monotonic()
        if now - self._last_warning.get(kind, -1.0) >= 1.0:
            self._last_warning[kind] = now
            self._node.get_logger().warning(f"{kind} ({self.faults[kind]} so far): {message}")

    def publish(self) -> None:
        """Publishes now."""
        level, message, values = self._report()
        entries = {**values, **{f"fault/{kind}": count for kind, count in dict(self.faults).items()}}
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
