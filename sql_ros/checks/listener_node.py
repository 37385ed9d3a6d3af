"""A ROS node of a check, with a context and an executor of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

SPIN_S = 0.05  # longest wait for one message, before a condition is tested again


class ListenerNode:
    """A node for subscriptions and publishers; callbacks run while it spins.

    Args:
        name: Of the node.
        domain: ROS_DOMAIN_ID; None: that of the environment.

    Attributes:
        node: Creates the entities.
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
        """Run callbacks for a time [s]."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Run callbacks until a condition holds.

        Args:
            condition: Tested before each wait for a message.
            timeout_s: Longest time [s].

        Returns:
            Whether the condition came to hold in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(SPIN_S, left_s))
        return True

    def spin_in_thread(self) -> None:
        """Run callbacks in a thread of their own until `close`."""
        self._thread = threading.Thread(target=self._spin, name=self.node.get_name())
        self._thread.start()

    def close(self) -> None:
        """Destroy the node and end its thread, if it has one."""
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while not self._is_closing.is_set():
            self._executor.spin_once(timeout_sec=SPIN_S)
