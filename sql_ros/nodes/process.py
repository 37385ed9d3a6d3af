"""The life of a node's process: start, spin, one readable line when the configuration is wrong, and a clean end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from sql_ros.core.errors import SqlRosError

CONFIG_EXIT_CODE = 2


class Runnable(Protocol):
    """A node with threads of its own: `start` after construction, `stop` before destruction, `finished` when it wants to end."""

    finished: threading.Event

    def start(self) -> None:
        """Starts the node's threads."""

    def stop(self) -> None:
        """Sends the last safe command, writes what must last, joins the threads. Publishing still works."""

    def destroy_node(self) -> None:
        """Rclpy's."""


def run_node(make: Callable[[], Runnable], argv: list[str] | None = None) -> int:
    """Runs a node until SIGINT, SIGTERM or until it sets `finished`.

    Signals are taken here and not by rclpy, so that `stop` can still publish.

    Returns:
        The exit code: 0, or 2 with one line on stderr when the node could not be configured.
    """
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    if "ROS_SECURITY_ENABLE" not in os.environ:
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(args=argv if argv is not None else sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = make()
        _spin(node, stopping)
        return 0
    except SqlRosError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return CONFIG_EXIT_CODE
    except ExternalShutdownException:
        return 0
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _spin(node: Runnable, stopping: threading.Event) -> None:
    """Spins in a thread of its own; the main thread waits for a reason to end, then closes in the one order that does not abort."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)  # type: ignore[arg-type]
    faults: list[Exception] = []
    spinning = threading.Thread(target=_spin_quietly, args=(executor, node, faults), name="executor")
    spinning.start()
    try:
        node.start()
        while not (stopping.is_set() or node.finished.is_set()):
            stopping.wait(0.1)
    finally:
        node.stop()
        executor.shutdown()
        spinning.join()
    if faults:
        raise faults[0]


def _spin_quietly(executor: SingleThreadedExecutor, node: Runnable, faults: list[Exception]) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception as error:  # a callback failed: the node must not live on deaf
        faults.append(error)
        node.finished.set()
