"""The life of a node's process: start, spin, one readable line for a wrong configuration, and
a clean end.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier

from sql_ros.common.data_files import find_file
from sql_ros.common.errors import CONFIG_EXIT_CODE, ConfigError, SqlRosError
from sql_ros.common.output import OUTPUT
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.log_folder import choose_log_folder, make_log_file
from sql_ros.stack.arguments import check_domain

SECURITY_HELP = (
    "The wheels of PyPI have no DDS Security, a distribution's ROS 2 does: docs/reliability.md"
)
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
# environment variables of Fast DDS 2 and 3
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
MOST_IN_A_ROW = 100  # failures of rclpy on received data; more have another cause
NO_LOG_FILE = "--disable-external-lib-logs"
POLL_S = 0.05  # longest delay of the answer to a signal
CLEAN_END_S = 5.0  # for rclpy and DDS to shut down, after the node has stopped


class Runnable(Protocol):
    """A node with threads of its own.

    `start` is called after construction and before the node is spun, `stop` before its destruction.

    Attributes:
        finished: Set when the node wants to end, or must.
        failure: Why it must.
    """

    finished: threading.Event
    failure: Exception | None

    def start(self) -> None:
        """Start the node's threads.

        Raises:
            SqlRosError: That is impossible for a reason that the user can remove.
        """

    def stop(self) -> None:
        """Send the last safe command, write what must be kept, join the threads. Publishing
        still works.
        """

    def bad_input(self, text: str) -> None:
        """Count and report bytes that are no message."""

    def suspend(self) -> None:
        """Take a Ctrl-Z: hold the arm, where the node moves one. The process goes on."""

    def destroy_node(self) -> None:
        """Destroy the node, as rclpy does."""


class NodeThread(threading.Thread):
    """A thread of a node. An exception in it ends the node, so that it never runs on with a part
    missing.

    Args:
        node: The node.
        body: Function that the thread runs.
        name: Name of the thread.
    """

    def __init__(self, node: Runnable, body: Callable[[], None], name: str) -> None:
        super().__init__(name=name)
        self._node = node
        self._body = body

    def run(self) -> None:
        """Run the body; end the node if it raises."""
        try:
            self._body()
        except ExternalShutdownException:
            pass
        except Exception as error:
            self._node.failure = error
            self._node.finished.set()


def run_node(make: Callable[[], Runnable], argv: list[str] | None = None) -> int:
    """Run a node until a signal ends it or until it sets `finished`.

    Signals are handled here and not by rclpy, so that `stop` can still publish. `ending.py` says
    what each of them means.

    Args:
        make: Creates the node.
        argv: Arguments of the process; None: those of `sys`.

    Returns:
        The exit code: 0, or `CONFIG_EXIT_CODE` after one line on stderr when the node could not be
        configured.

    Raises:
        Exception: One of the node's threads or callbacks failed. The node was stopped.
    """
    ENDING.listen()
    OUTPUT.redirect()
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    words = argv if argv is not None else sys.argv
    node = None
    try:
        secured = _is_secured()
        prepare_middleware()
        rclpy.init(args=_without_log_file(words), signal_handler_options=SignalHandlerOptions.NO)
        with warnings.catch_warnings():
            if secured:  # rclpy warns where a node cannot be created; the line below says it
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
            print(
                f"this process cannot start: {reason}; 'sql-ros doctor' checks this machine",
                file=sys.stderr,
                flush=True,
            )
            return CONFIG_EXIT_CODE
        print(
            f"ROS_SECURITY_ENABLE is true, but this process cannot start: {reason}."
            f" {SECURITY_HELP}",
            file=sys.stderr,
            flush=True,
        )
        return CONFIG_EXIT_CODE
    except ExternalShutdownException:
        return 0
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _without_log_file(words: list[str]) -> list[str]:
    """Return the arguments of a process with one that keeps rcl from writing a log file.

    A full or slow disk could block every thread that logs. A thread of this process writes the file
    instead, unless the arguments disable it already.
    """
    if NO_LOG_FILE in words:
        return words
    try:
        OUTPUT.keep(make_log_file(Path(words[0]).stem))
    except OSError as error:
        print(f"no log file is written: {error}", file=sys.stderr, flush=True)
    return [*words, "--ros-args", NO_LOG_FILE]


def prepare_middleware() -> None:
    """Set the environment that rclpy reads: discovery range, log folder, profiles of DDS.

    Raises:
        ConfigError: ROS_DOMAIN_ID is no domain.
    """
    if "ROS_SECURITY_ENABLE" not in os.environ:
        os.environ.setdefault(RANGE, "LOCALHOST")
    check_domain()
    if moved := choose_log_folder():
        print(moved, file=sys.stderr, flush=True)
    _choose_profiles()


def _choose_profiles() -> None:
    """Set the profiles of config/fastdds*.xml, where the user has set none.

    Another middleware does not read them. For LOCALHOST, rmw_fastrtps would enable shared memory
    whatever the profiles say. Therefore the discovery range becomes SUBNET, and the profiles
    restrict it to this host.
    """
    asked_for = {"RMW_FASTRTPS_USE_QOS_FROM_XML", *PROFILES} & os.environ.keys()
    if asked_for or not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        return
    is_local = os.environ.get(RANGE) == "LOCALHOST"
    if is_local:
        os.environ[RANGE] = "SUBNET"
    os.environ["RMW_FASTRTPS_USE_QOS_FROM_XML"] = "1"
    os.environ |= dict.fromkeys(
        PROFILES, str(find_file("fastdds_localhost" if is_local else "fastdds", "config", ".xml"))
    )


def _is_of_rclpy(error: BaseException) -> bool:
    """Return whether an exception is from rclpy's own work on received data.

    Examples are bytes that are no message, and a parameter of an unknown type.
    """
    modules = [
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return not isinstance(error, ExternalShutdownException) and not any(
        _is_ours(name) for name in modules
    )


def _is_ours(module: str) -> bool:
    """Return whether a module has callbacks of a node; it may be the main module of the process."""
    return module == "__main__" or (module.startswith("sql_ros.") and module != __name__)


def _is_secured() -> bool:
    """Return whether DDS Security is enabled.

    Raises:
        ConfigError: It is enabled in a way in which a process without it would run, too.
    """
    if os.environ.get("ROS_SECURITY_ENABLE") != "true":
        return False
    if os.environ.get("ROS_SECURITY_STRATEGY") != "Enforce":
        raise ConfigError(
            "ROS_SECURITY_ENABLE is true, but without ROS_SECURITY_STRATEGY=Enforce nothing need"
            f" be secured. {SECURITY_HELP}"
        )
    return True


def _end_within(seconds: float, code: int) -> None:
    """End the process after a time even if rclpy does not shut down. The node has stopped by then.

    On Kilted rclpy sometimes does not return.

    Args:
        seconds: Time from now [s].
        code: Exit code.
    """

    def leave() -> None:
        """End the process without rclpy's shutdown."""
        print(
            f"rclpy did not shut down within {seconds} s: the process ends without it",
            file=sys.stderr,
            flush=True,
        )
        OUTPUT.finish()
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _spin(node: Runnable) -> None:
    """Spin the node in a thread of its own; the main thread waits for a reason to end.

    Then close in the one order in which rclpy does not abort.

    Raises:
        Exception: The failure of the node.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    closing = threading.Event()

    def spin() -> None:
        """Spin until `closing` is set, as `executor.spin` does.

        It ends before the executor is shut down. The shutdown would destroy guard conditions that a
        wait still uses. Data that rclpy cannot read are reported to the node.
        """
        in_a_row = 0
        while not closing.is_set():
            try:
                executor.spin_once()
                in_a_row = 0
            except Exception as error:
                in_a_row += 1
                if in_a_row > MOST_IN_A_ROW or not _is_of_rclpy(error):
                    raise
                node.bad_input(f"rclpy cannot read received data: {type(error).__name__}: {error}")

    spinning = NodeThread(node, spin, "executor")
    try:
        if not ENDING.is_asked:  # nothing moves in a process that is to end
            node.start()
        spinning.start()
        while not (ENDING.is_asked or node.finished.wait(POLL_S)):
            if ENDING.take_hold():
                node.suspend()
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
