"""Timers on the steady clock, which does not follow simulated time."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Create a timer on the steady clock, and return it.

    Args:
        node: Node of the timer, whose executor calls the callback.
        period_s: Period [s].
        callback: Called once per period.
    """
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
