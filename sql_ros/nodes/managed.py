"""The base class of the managed nodes learner, actor and sim_bridge (life cycle as in REP-2002).

============  =====================================  ===============================================
transition    what the node adds                     what this base class does
============  =====================================  ===============================================
(created)     parameters are declared                they can be read, and /diagnostics says
                                                     "unconfigured"
configure     `configure`: loads, creates entities   an error is one line, and everything that was
                                                     created is destroyed
activate      `prepare`, then `activate`: threads,   with `autostart` both happen by themselves when
              motion                                 the process starts; between the two callbacks
                                                     are let in
deactivate    `deactivate`: the safe command last    also when the process ends, whatever the reason
cleanup       `cleanup`: releases what was loaded    every publisher, subscription, service and
                                                     timer of `configure` is destroyed
============  =====================================  ===============================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sql_ros.common.child_process import report_active
from sql_ros.common.config import Config, option
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.common.output import OUTPUT
from sql_ros.nodes.diagnostics import ERROR, OK, Diagnostics, Status
from sql_ros.nodes.ending import NOT_SUSPENDED
from sql_ros.nodes.parameters import LiveParameters, declare_configs
from sql_ros.nodes.presence import Presence
from sql_ros.nodes.reading import ReadingThread
from sql_ros.nodes.serving import ServiceThread
from sql_ros.nodes.steady_timer import steady_timer
from sql_ros.robot.control.realtime import (
    RealtimeConfig,
    freeze_objects,
    lower_priority,
    request_realtime,
)

QUERY_S = 5.0  # time between two queries of the graph
DONE = TransitionCallbackReturn.SUCCESS
REFUSED = TransitionCallbackReturn.FAILURE
BROKEN = TransitionCallbackReturn.ERROR


@dataclass(frozen=True)
class ManagedConfig(Config):
    """ROS parameters that every managed node has."""

    autostart: bool = option(
        True, "configure and activate when the process starts; false: wait for change_state"
    )
    session: str = option(
        "",
        "session of one start of a stack, whose nodes belong together; a node that is started again"
        " after a crash stays in it",
    )


class ManagedNode(LiveParameters, LifecycleNode):
    """A node that loads nothing before `configure` and moves nothing before `activate`.

    Args:
        name: Node name.
        component: Component of its diagnostics, see `Diagnostics`.
        configs: Prefix to config class, as for `declare_configs`; the first is a `ManagedConfig`.

    Attributes:
        configs: Validated configs, in the order of the argument.
        config: The first of them.
        finished: Set when the process is to end.
        failure: Error because of which the process must end; None: there is none.
        phase: "unconfigured", "inactive" or "active".
        ended: Set unless the node is active and stays so. While it is set, threads end and
            callbacks ignore messages.
        reading: Reads topics in a thread of its own. Subscribe in `configure`.
        serving: Serves requests in a thread of its own. Add services in `configure`.
        presence: Announces this node to other processes, and finds conflicting ones.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """

    def __init__(self, name: str, component: str, configs: dict[str, type[Config]]) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.configs: list[Any] = declare_configs(self, configs)
        self.config = self.configs[0]
        self.accept_changes()
        self.finished = threading.Event()
        self.ended = threading.Event()
        self.ended.set()
        self.failure: Exception | None = None
        self.phase = "unconfigured"
        self._error: Exception | None = None  # why the last transition failed
        self._is_starting = False  # `start` runs, and raises the error of a transition
        # held during a transition, which the executor or the main thread makes
        self._transition_lock = threading.RLock()
        self.reading = ReadingThread(self)
        self.serving = ServiceThread(self)
        self._diagnostics = Diagnostics(self, component, self._status)
        self.presence = Presence(
            self, self.configs[0].session, self._diagnostics, self._yield_place
        )
        self._yield_trigger = self.create_guard_condition(self.trigger_deactivate)
        steady_timer(self, QUERY_S, self._query_graph)
        self._permanent = self._entities()

    # --- to be overridden by a node ---

    def configure(self) -> None:
        """Load what the parameters name; create publishers, subscriptions and services.

        Raises:
            SqlRosError: A parameter or a file is wrong.
        """

    def prepare(self) -> None:
        """Reset what `activate` and the callbacks use, and do slow work, while `ended` is still
        set and nothing moves.
        """

    def activate(self) -> None:
        """Start the threads; the arm may move from here on."""

    def deactivate(self) -> None:
        """Join the threads, and send the safe command last. `ended` is set before."""

    def cleanup(self) -> None:
        """Release what `configure` loaded. It may be only a part, as after a failed `configure`."""

    def commanded(self) -> str:
        """Return the resolved topic on which the node commands an arm; empty: it commands none."""
        return ""

    def owns(self, gid: bytes, name: str) -> bool:
        """Return whether a publisher of the topic `commanded` belongs to this node.

        To be overridden; False by default.

        Args:
            gid: GID of the publisher.
            name: Full name of its node.
        """
        return False

    def report(self) -> Status:
        """Return level, message and values for /diagnostics while the node is active."""
        raise NotImplementedError

    # --- the process ---

    def take_real_time(self, config: RealtimeConfig) -> dict[str, str]:
        """Apply the real-time settings to all threads of the process, and log the result of each.

        Called in `prepare`. Garbage is collected once, and all remaining objects are excluded from
        later collections. The threads that write stdout, stderr and the log file get a lower
        priority than the others.

        Args:
            config: The settings, such as priority and core.

        Returns:
            Each setting that was requested ("SCHED_FIFO", "cpu", "lock_memory") to "granted" or the
            reason of the refusal.
        """
        freeze_objects()
        outcome = request_realtime(config)
        for thread in OUTPUT.threads():
            lower_priority(thread)
        for what, came in outcome.items():
            (self.get_logger().info if came == "granted" else self.get_logger().warning)(
                f"{what}: {came}"
            )
        return outcome

    def start(self) -> None:
        """Announce this process; configure and activate, if `autostart` is true.

        Raises:
            Exception: The one for which the transition failed, mostly a `SqlRosError`.
        """
        self.presence.start()
        if not self.configs[0].autostart:
            return
        self._is_starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != DONE and self._error is not None:
                raise self._error
        self._is_starting = False

    def stop(self) -> None:
        """Deactivate, if the node is active, and end all its threads, at the end of the process."""
        with self._transition_lock:
            if self.phase == "active":
                self._end_activation()
            self.reading.stop()
            self.serving.stop()
        self.presence.stop()
        self.get_logger().info(f"{self.get_fully_qualified_name()}: ended")

    def bad_input(self, text: str) -> None:
        """Count a fault for received bytes that are no message, described by a text."""
        self._diagnostics.fault("input_malformed", text)

    def on_ctrl_z(self) -> None:
        """Log that Ctrl-Z does not suspend a node. `ActorNode` also holds the arm."""
        self.get_logger().warning(NOT_SUSPENDED)

    # --- lifecycle transitions, called by rclpy ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go from unconfigured to inactive. After a `SqlRosError` stay unconfigured, with all that
        was created destroyed.
        """
        return self._attempt("configure", "inactive", self._configure, self._destroy_entities)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go from inactive to active. Refuse if another process has the same node name or commands
        the same topic (`claims.py`).

        Returns:
            `DONE`; `REFUSED` after a `SqlRosError`, upon which the node is inactive again; `BROKEN`
            after another error, upon which rclpy calls `on_error`.
        """
        claimed = self._attempt("activate", "inactive", self._claim_place, lambda: None)
        if claimed != DONE:
            return claimed
        return self._attempt("activate", "active", self._activate, self._end_activation)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go from active to inactive."""
        return self._attempt("deactivate", "inactive", self._end_activation)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go from inactive to unconfigured."""
        return self._attempt("cleanup", "unconfigured", self._destroy_entities)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go to finalized: deactivate, and let the process end."""
        self.stop()
        self.finished.set()
        return DONE

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy all that `configure` created, after an unexpected error, so that the node can be
        configured again.
        """
        with self._transition_lock:
            self._destroy_entities()
            self.phase = "unconfigured"
        return DONE

    def _attempt(
        self,
        what: str,
        phase: str,
        work: Callable[[], None],
        undo: Callable[[], None] | None = None,
    ) -> TransitionCallbackReturn:
        """Make a lifecycle transition, holding the transition lock: set `phase` and log it.

        An error is kept for `start` and the diagnostics, and logged unless `start` runs.

        Args:
            what: Name of the transition, for the log.
            phase: Phase after the transition.
            work: Function that makes the transition.
            undo: Function that restores the former phase after a `SqlRosError` of `work`; None:
                there is none.

        Returns:
            `DONE`; `REFUSED` after `undo`; `BROKEN` after any other error, upon which rclpy calls
            `on_error`.
        """
        with self._transition_lock:
            try:
                work()
            except Exception as error:  # rclpy would drop it silently
                self._error = error
                if not self._is_starting:
                    self.get_logger().error(f"cannot {what}: {type(error).__name__}: {error}")
                if undo is None or not isinstance(error, SqlRosError):
                    return BROKEN
                undo()
                return REFUSED
            if phase != self.phase:
                self.get_logger().info(f"{self.get_fully_qualified_name()}: {phase}")
            self._error = None
            self.phase = phase
            return DONE

    def _configure(self) -> None:
        """Configure, then start the threads of `reading` and `serving`."""
        self.configure()
        self.reading.start()
        self.serving.start()

    def _claim_place(self) -> None:
        """Claim node name and command topic for this process (`Presence.claim`).

        Raises:
            ConfigError: Another process has one of them.
        """
        self.presence.claim(self.commanded())

    def _yield_place(self, why: str) -> None:
        """Stop motion and deactivate, because an older process has this node name or command topic.

        With `autostart` the process ends with a `ConfigError`. Without it an error is logged, and
        the executor deactivates the node. Called in a thread of `presence`.

        Args:
            why: The conflict, in words.
        """
        self.ended.set()
        if self.configs[0].autostart:
            self.failure = ConfigError(why)
            self.finished.set()
        else:
            self.get_logger().error(f"deactivating: {why}")
            self._yield_trigger.trigger()

    def _activate(self) -> None:
        """Call `prepare`, clear `ended`, call `activate`, and report that to the supervisor."""
        self.prepare()
        self.ended.clear()
        self.activate()
        report_active()

    def _end_activation(self) -> None:
        """Set `ended`, call `deactivate`, then withdraw the claim of this process."""
        self.ended.set()
        self.phase = "inactive"
        self.deactivate()
        self.presence.release()

    def _destroy_entities(self) -> None:
        """End the reading and the service thread, call `cleanup`, and destroy every publisher,
        subscription, service and timer that the constructor did not create.
        """
        self.reading.stop()
        self.serving.stop()
        self.cleanup()
        destroy = (
            self.destroy_publisher,
            self.destroy_subscription,
            self.destroy_service,
            self.destroy_timer,
        )
        for before, now, remove in zip(self._permanent, self._entities(), destroy):
            for entity in now:
                if entity not in before:
                    remove(entity)

    def _entities(self) -> list[list[Any]]:
        """Return lists of the publishers, subscriptions, services and timers of the node, in this
        order.
        """
        return [
            list(self.publishers),
            list(self.subscriptions),
            list(self.services),
            list(self.timers),
        ]

    def _query_graph(self) -> None:
        """Count faults for publishers that cannot be received because of their quality of service,
        and for other publishers of the commands. Called by a timer.
        """
        for line in self.reading.incompatible_publishers():
            self._diagnostics.fault("incompatible_qos", line)
        self._report_unclaimed_publishers()

    def _report_unclaimed_publishers(self) -> None:
        """Count a fault if nodes that are not of sql_ros publish on the command topic."""
        if others := self.presence.unclaimed_publishers(self.owns):
            names = ", ".join(others)
            self._diagnostics.fault(
                "commands_shared",
                f"{names} publishes on {self.commanded()}, too: the arm obeys both",
            )

    def _status(self) -> Status:
        """Return the status for /diagnostics, in any phase.

        Before an activation the level is ERROR if the last transition failed, otherwise OK.
        """
        if self.phase == "active":
            return self.report()
        if self._error is not None:
            return ERROR, f"{self.phase}: {self._error}", {}
        return OK, self.phase, {}
