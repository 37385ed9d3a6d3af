"""The life of a node's process: start, spin, one readable line when the configuration is wrong, and a clean end."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier

from sql_ros.core.errors import CONFIG_EXIT_CODE, ConfigError, SqlRosError
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.log_folder import choose_log_folder
from sql_ros.share import find_file
from sql_ros.stack.arguments import check_domain

SECURITY_HELP = "The wheels of PyPI have no DDS Security, a distribution's ROS 2 does: docs/reliability.md"
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # of Fast DDS 2 and 3
MOST_IN_A_ROW = 100  # failures of rclpy; with more it is not what somebody sent
LOOK_S = 0.05  # how soon a signal is answered, at the latest
CLEAN_END_S = 5.0  # for rclpy and DDS to take themselves down, after the node has stopped


class Runnable(Protocol):
    """A node with threads of its own: `start` after construction, before it is spun, `stop` before destruction.

    Attributes:
        finished: set when the node wants to end, or must.
        failure: why it must.
    """

    finished: threading.Event
    failure: Exception | None

    def start(self) -> None:
        """Starts the node's threads.

        Raises:
            SqlRosError: it cannot, for a reason that is the user's to mend.
        """

    def stop(self) -> None:
        """Sends the last safe command, writes what must last, joins the threads. Publishing still works."""

    def bad_input(self, text: str) -> None:
        """Somebody sent what is no message at all: counts it and says so."""

    def destroy_node(self) -> None:
        """Rclpy's."""


class NodeThread(threading.Thread):
    """A thread of a node; an exception in it ends the node instead of leaving it half alive."""

    def __init__(self, node: Runnable, body: Callable[[], None], name: str) -> None:
        super().__init__(name=name)
        self._node, self._body = node, body

    def run(self) -> None:
        """Runs the body."""
        try:
            self._body()
        except ExternalShutdownException:
            pass
        except Exception as error:
            self._node.failure = error
            self._node.finished.set()


def run_node(make: Callable[[], Runnable], argv: list[str] | None = None) -> int:
    """Runs a node until SIGINT, SIGTERM, SIGHUP or until it sets `finished`.

    Signals are taken here and not by rclpy, so that `stop` can still publish; `ending` says what each means.

    Returns:
        The exit code: 0, or 2 with one line on stderr when the node could not be configured.

    Raises:
        Exception: what failed in one of the node's threads or callbacks, after the node was stopped.
    """
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    ENDING.listen()
    node = None
    try:
        secured = _is_secured()
        prepare_middleware()
        rclpy.init(args=argv if argv is not None else sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        with warnings.catch_warnings():
            if secured:  # rclpy's, where a node cannot be made: the one line below says it
                warnings.simplefilter("ignore", RuntimeWarning)
            node = make()
        _spin(node)
        return 0
    except SqlRosError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return CONFIG_EXIT_CODE
    except rclpy_implementation.RCLError as error:
        if node is not None:
            raise
        reason = str(error).splitlines()[0].split(", at /")[0].rstrip(".")
        if not secured:
            print(f"this process cannot start: {reason}; 'sql-ros doctor' looks at this machine", file=sys.stderr, flush=True)
            return CONFIG_EXIT_CODE
        print(f"ROS_SECURITY_ENABLE is true, but this process cannot start: {reason}. {SECURITY_HELP}", file=sys.stderr, flush=True)
        return CONFIG_EXIT_CODE
    except ExternalShutdownException:
        return 0
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def prepare_middleware() -> None:
    """Set what rclpy reads of the environment: reach, log folder, profiles of DDS.

    Raises:
        ConfigError: ROS_DOMAIN_ID is none.
    """
    if "ROS_SECURITY_ENABLE" not in os.environ:
        os.environ.setdefault(RANGE, "LOCALHOST")
    check_domain()
    if moved := choose_log_folder():
        print(moved, file=sys.stderr, flush=True)
    _choose_profiles()


def _choose_profiles() -> None:
    """Fast DDS takes the profiles of config/fastdds*.xml, where nobody asked for others; another middleware reads none of this.

    For LOCALHOST, rmw_fastrtps turns shared memory on whatever the profiles say. They keep to this host themselves, and it is told SUBNET.
    """
    asked_for = {"RMW_FASTRTPS_USE_QOS_FROM_XML", *PROFILES} & os.environ.keys()
    if asked_for or not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        return
    is_local = os.environ.get(RANGE) == "LOCALHOST"
    if is_local:
        os.environ[RANGE] = "SUBNET"
    os.environ["RMW_FASTRTPS_USE_QOS_FROM_XML"] = "1"
    os.environ |= dict.fromkeys(PROFILES, str(find_file("fastdds_localhost" if is_local else "fastdds", "config", ".xml")))


def _is_of_rclpy(error: BaseException) -> bool:
    """It is rclpy's own work that failed, on what somebody sent: bytes that are no message, a parameter of a type that is none."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, ExternalShutdownException) and not any(_is_ours(name) for name in modules)


def _is_ours(module: str) -> bool:
    """A callback of a node, whose module is the main one of its process."""
    return module == "__main__" or (module.startswith("sql_ros.") and module != __name__)


def _is_secured() -> bool:
    """DDS Security is asked for.

    Raises:
        ConfigError: but in a way in which a process without it would run too.
    """
    if os.environ.get("ROS_SECURITY_ENABLE") != "true":
        return False
    if os.environ.get("ROS_SECURITY_STRATEGY") != "Enforce":
        raise ConfigError(
            f"ROS_SECURITY_ENABLE is true, but without ROS_SECURITY_STRATEGY=Enforce nothing need be secured. {SECURITY_HELP}"
        )
    return True


def _end_within(seconds: float, code: int) -> None:
    """Ends the process even if rclpy does not let go, with what matters done (one test on Kilted, of many, waited in vain for an end)."""

    def leave() -> None:
        print(f"rclpy did not shut down within {seconds} s: leaving without it", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _spin(node: Runnable) -> None:
    """Spins in a thread of its own; the main thread waits for a reason to end, then closes in the one order that does not abort."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)  # type: ignore[arg-type]
    closing = threading.Event()

    def spin() -> None:
        """As `executor.spin`, but ended before the executor is shut down: it would pull its guards away from under a wait."""
        in_a_row = 0
        while not closing.is_set():
            try:
                executor.spin_once()
                in_a_row = 0
            except Exception as error:
                in_a_row += 1
                if in_a_row > MOST_IN_A_ROW or not _is_of_rclpy(error):
                    raise
                node.bad_input(f"rclpy cannot take it: {type(error).__name__}: {error}")

    spinning = NodeThread(node, spin, "executor")
    try:
        node.start()
        spinning.start()
        while not (ENDING.is_asked or node.finished.wait(LOOK_S)):
            pass
    finally:
        try:
            node.stop()
        finally:
            _end_within(CLEAN_END_S, int(node.failure is not None))
            closing.set()
            executor.wake()
            if spinning.is_alive():
                spinning.join()
            executor.shutdown()
    if node.failure is not None:
        raise node.failure
