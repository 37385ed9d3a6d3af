"""A ROS node of a check, with a context and an executor of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

SPIN_S = 0.05  # longest wait for a message before a condition is tested again


class ListenerNode:
    """A node with which a check subscribes and publishes; callbacks run while one of the spin
    methods runs.

    Args:
        name: Name of the node.
        domain: ROS_DOMAIN_ID; None: that of the environment.

    Attributes:
        node: The rclpy node, with which the check creates publishers, subscriptions, clients and
            timers.
    """

    def __init__(self, name: str, domain: int | None = None) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node: Node = rclpy.create_node(name, context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def spin_for(self, seconds: float) -> None:
        """Run callbacks in the calling thread for a time.

        Args:
            seconds: Length of the time [s].
        """
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Run callbacks in the calling thread until a condition holds or the time is over.

        Args:
            condition: Tested before each callback, and at least every `SPIN_S`.
            timeout_s: Longest time [s].

        Returns:
            True as soon as the condition holds; False after the longest time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(SPIN_S, left_s))
        return True

    def spin_in_thread(self) -> None:
        """Start a thread that runs callbacks until `close`. Return at once."""
        self._thread = threading.Thread(target=self._spin, name=self.node.get_name())
        self._thread.start()

    def close(self) -> None:
        """End the thread of `spin_in_thread`, if it was started, and destroy the node and its
        context.
        """
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        """Run callbacks until `close`: the body of the thread."""
        while not self._is_closing.is_set():
            self._executor.spin_once(timeout_sec=SPIN_S)
