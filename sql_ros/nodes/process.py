"""Run the process of a node: start, spin, one line of text for a wrong configuration, clean end."""

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
MOST_IN_A_ROW = 100  # consecutive failures of rclpy on received data; more have another cause
NO_LOG_FILE = "--disable-external-lib-logs"
POLL_S = 0.05  # longest time until a signal is acted on
CLEAN_END_S = 5.0  # time for rclpy and DDS to shut down after the node has stopped


class Runnable(Protocol):
    """A node with threads of its own, as `run_node` runs it.

    `start` is called before the node is spun, `stop` before its destruction.

    Attributes:
        finished: Set when the process is to end.
        failure: Error because of which the process must end; None: there is none.
    """

    finished: threading.Event
    failure: Exception | None

    def start(self) -> None:
        """Start the node's threads.

        Raises:
            SqlRosError: They cannot be started, for a reason that the user can remove.
        """

    def stop(self) -> None:
        """Send the last safe command, write what must be kept, and join the threads.

        Publishing still works during this call.
        """

    def bad_input(self, text: str) -> None:
        """Count and log received bytes that are no message, described by a text."""

    def on_ctrl_z(self) -> None:
        """React to Ctrl-Z (SIGTSTP): a node that moves an arm holds it. The process goes on."""

    def destroy_node(self) -> None:
        """Destroy the node, as rclpy does."""


class NodeThread(threading.Thread):
    """A thread of a node. An exception in the thread ends the whole node.

    Args:
        node: The node, whose `failure` and `finished` are then set.
        body: Function that the thread runs.
        name: Thread name.
    """

    def __init__(self, node: Runnable, body: Callable[[], None], name: str) -> None:
        super().__init__(name=name)
        self._node = node
        self._body = body

    def run(self) -> None:
        """Run the body; if it raises, set `failure` and `finished` of the node. The end of rclpy
        only ends the thread.
        """
        try:
            self._body()
        except ExternalShutdownException:
            pass
        except Exception as error:
            self._node.failure = error
            self._node.finished.set()


def run_node(make: Callable[[], Runnable], argv: list[str] | None = None) -> int:
    """Run a node until a signal asks for the end or the node sets `finished`.

    Signals are handled here (`ending.py`) and not by rclpy, so that the node can still publish
    while it stops. Output is redirected so that it never blocks, and rclpy is initialised.

    Args:
        make: Creates the node.
        argv: Arguments of the process; None: `sys.argv`.

    Returns:
        The exit code: 0; or `CONFIG_EXIT_CODE` after one line on stderr, if a `SqlRosError` was
        raised or rclpy cannot start.

    Raises:
        Exception: An unexpected error in a thread or a callback of the node. The node was stopped.
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
            if secured:  # rclpy warns if a node cannot be created; the error below says why
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
    """Add the argument that keeps rcl from writing a log file, and let `OUTPUT` write the file.

    In rcl, a full or slow disk would block every thread that logs; `OUTPUT` writes in a thread of
    its own. If the argument is there already, no log file is written at all.

    Args:
        words: Arguments of the process, the first of which names the log file.

    Returns:
        The arguments for rclpy.
    """
    if NO_LOG_FILE in words:
        return words
    try:
        OUTPUT.keep(make_log_file(Path(words[0]).stem))
    except OSError as error:
        print(f"no log file is written: {error}", file=sys.stderr, flush=True)
    return [*words, "--ros-args", NO_LOG_FILE]


def prepare_middleware() -> None:
    """Set the environment variables that rclpy reads, unless the user has set them.

    The variables set the discovery range (by default this host, unless DDS Security is configured),
    the log folder and the profiles of Fast DDS.

    Raises:
        ConfigError: ROS_DOMAIN_ID is not the number of a domain.
    """
    if "ROS_SECURITY_ENABLE" not in os.environ:
        os.environ.setdefault(RANGE, "LOCALHOST")
    check_domain()
    if moved := choose_log_folder():
        print(moved, file=sys.stderr, flush=True)
    _choose_profiles()


def _choose_profiles() -> None:
    """Set the Fast DDS profiles of config/fastdds*.xml, if the user has set none.

    For other middleware nothing is set. With the discovery range LOCALHOST, rmw_fastrtps would
    enable shared memory whatever the profiles say. So the range is set to SUBNET, and a profile
    restricts discovery to this host.
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
    """Return whether an exception was raised by rclpy's own code, and no callback was running.

    Examples are received bytes that are no message, and a parameter of an unknown type.
    """
    modules = [
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return not isinstance(error, ExternalShutdownException) and not any(
        _is_ours(name) for name in modules
    )


def _is_ours(module: str) -> bool:
    """Return whether a module may contain callbacks of a node: a module of sql_ros other than this
    one, or the main module of the process.
    """
    return module == "__main__" or (module.startswith("sql_ros.") and module != __name__)


def _is_secured() -> bool:
    """Return whether DDS Security is enabled.

    Raises:
        ConfigError: It is enabled without being enforced, so that an unsecured process would run.
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
    """Start a timer that ends the process if rclpy does not shut down by itself.

    Call it when the node has stopped. On ROS 2 Kilted the shutdown of rclpy sometimes hangs.

    Args:
        seconds: Time from now [s].
        code: Exit code of the process.
    """

    def leave() -> None:
        """Say so on stderr, flush the output, and end the process at once."""
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
    """Start the node, spin it in a thread, and wait in the main thread for the end; then stop it.

    A Ctrl-Z calls `node.on_ctrl_z`. If a signal asks for the end already, the node is not started.
    Stopping and shutting down follow the one order in which rclpy does not abort. The node is not
    destroyed. If rclpy hangs after `node.stop`, the process ends after `CLEAN_END_S`.

    Args:
        node: The node.

    Raises:
        Exception: `node.failure`, or an error of `node.start`.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    closing = threading.Event()

    def spin() -> None:
        """Spin until `closing` is set; report data that rclpy cannot read to the node.

        `executor.spin` is not used, because it ends only by a shutdown, which would destroy guard
        conditions that the wait still uses.
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
        if not ENDING.is_asked:  # a process that is to end starts no motion
            node.start()
        spinning.start()
        while not (ENDING.is_asked or node.finished.wait(POLL_S)):
            if ENDING.take_hold():
                node.on_ctrl_z()
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
