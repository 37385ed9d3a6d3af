"""The life of a managed node (REP-2002 states): what learner, actor and sim_bridge share.

============  =====================================  ==========================================================================
transition    what the node adds                     what this base sees to
============  =====================================  ==========================================================================
(made)        parameters are declared                they can be read, and /diagnostics says "unconfigured"
configure     `configure`: loads, creates entities   an error is one line, and all that was made goes again
activate      `prepare`, then `activate`: threads,   with `autostart` both happen by themselves when the process starts;
              motion                                 between the two callbacks are let in
deactivate    `deactivate`: the safe command last    also when the process ends, whatever the reason
cleanup       `cleanup`: lets go of what was loaded  every publisher, subscription, service and timer of `configure` is destroyed
============  =====================================  ==========================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sql_ros.core.config import Config, option
from sql_ros.core.errors import ConfigError, SqlRosError
from sql_ros.core.parent import report_active
from sql_ros.nodes.diagnostics import ERROR, OK, Diagnostics, Status
from sql_ros.nodes.parameters import LiveParameters, declare_configs
from sql_ros.nodes.presence import Presence
from sql_ros.nodes.reading import Reading
from sql_ros.robot.realtime import RealtimeConfig, claim, settle

LOOK_S = 5.0  # between two looks at the graph
DONE, REFUSED, BROKEN = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.ERROR


@dataclass(frozen=True)
class ManagedConfig(Config):
    """Parameters that every managed node has."""

    autostart: bool = option(True, "configure and activate when the process starts; false: wait for change_state")
    session: str = option("", "of one start of a stack, whose nodes belong together; a node that crashed goes on within it")


class ManagedNode(LiveParameters, LifecycleNode):
    """A node that loads nothing before `configure` and moves nothing before `activate`.

    Args:
        name: of the node.
        component: of its diagnostics, see `Diagnostics`.
        configs: as for `declare_configs`; the first is a `ManagedConfig`.

    Attributes:
        finished: the process is to end.
        failure: why it must.
        phase: "unconfigured", "inactive" or "active".
        ended: not set from `activate` until the node is to be active no longer: for its threads, and for callbacks, which leave messages
            alone where it is.
        reading: of the topics that come at the rate of a control loop, from `configure` on.
        presence: tells others of this node, and gives way to an older one in its place.
    """

    def __init__(self, name: str, component: str, configs: dict[str, type[Config]]) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.configs: list[Any] = declare_configs(self, configs)
        self.config = self.configs[0]
        self.accept_changes()
        self.finished, self.ended = threading.Event(), threading.Event()
        self.ended.set()
        self.failure: Exception | None = None
        self.phase = "unconfigured"
        self._error: Exception | None = None  # why the last transition failed
        self._starting = False  # `start` is at work and raises what fails
        self._changing = threading.RLock()  # a transition is under way: the executor's, or the main thread's at start and end
        self.reading = Reading(self)
        self._diagnostics = Diagnostics(self, component, self._status)
        self.presence = Presence(self, self.configs[0].session, self._diagnostics, self._give_way)
        self._gives_way = self.create_guard_condition(self.trigger_deactivate)
        self.create_timer(LOOK_S, self._look_at_graph, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._permanent = self._entities()

    # --- what a node adds ---

    def configure(self) -> None:
        """Loads what the parameters name and creates publishers, subscriptions and services.

        Raises:
            SqlRosError: something is wrong with it.
        """

    def prepare(self) -> None:
        """What `activate` and callbacks rely on, as if new; and what takes so long that nothing should move meanwhile."""

    def activate(self) -> None:
        """Starts threads; from here on things move."""

    def deactivate(self) -> None:
        """Ends threads (`ended` is set); the safe command last."""

    def cleanup(self) -> None:
        """Lets go of what `configure` loaded; it may have failed half-way."""

    def commanded(self) -> str:
        """Return the topic on which the node commands an arm, resolved; empty: none."""
        return ""

    def report(self) -> Status:
        """For /diagnostics, while active."""
        raise NotImplementedError

    # --- the process ---

    def take_real_time(self, config: RealtimeConfig) -> dict[str, str]:
        """Takes what is asked for, in `prepare`, and says in the log what came of it; see `claim`."""
        settle()
        outcome = claim(config)
        for what, came in outcome.items():
            (self.get_logger().info if came == "granted" else self.get_logger().warning)(f"{what}: {came}")
        return outcome

    def start(self) -> None:
        """Configures and activates, if `autostart` says so.

        Raises:
            SqlRosError: that was not possible.
        """
        self.presence.start()
        if not self.configs[0].autostart:
            return
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != DONE and self._error is not None:
                raise self._error
        self._starting = False

    def stop(self) -> None:
        """The process ends: deactivates, wherever the node is in its life."""
        with self._changing:
            if self.phase == "active":
                self._end_activation()
            self.reading.stop()
        self.presence.stop()
        self.get_logger().info(f"{self.get_fully_qualified_name()}: ended")

    def bad_input(self, text: str) -> None:
        """See `process.Runnable`."""
        self._diagnostics.fault("input_malformed", text)

    # --- the transitions, as rclpy calls them ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unconfigured to inactive; a failure leaves it unconfigured, with nothing made."""
        return self._attempt("configure", "inactive", self._configure, self._remove)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive to active; refused where another process is in the place of this one."""
        claimed = self._attempt("activate", "inactive", self._claim, lambda: None)
        if claimed != DONE:
            return claimed
        return self._attempt("activate", "active", self._activate, self._end_activation)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Active to inactive."""
        return self._attempt("deactivate", "inactive", self._end_activation)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive to unconfigured."""
        return self._attempt("cleanup", "unconfigured", self._remove)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To finalized: the process ends."""
        self.stop()
        self.finished.set()
        return DONE

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error nobody expected: everything is removed, and the node can be configured again."""
        with self._changing:
            self._remove()
            self.phase = "unconfigured"
        return DONE

    def _attempt(self, what: str, phase: str, work: Callable[[], None], undo: Callable[[], None] | None = None) -> TransitionCallbackReturn:
        """An expected error is undone and refuses the transition; any other, or one without undo, leads to `on_error`."""
        with self._changing:
            try:
                work()
            except Exception as error:  # rclpy would drop it without a word
                self._error = error
                if not self._starting:
                    self.get_logger().error(f"cannot {what}: {type(error).__name__}: {error}")
                if undo is None or not isinstance(error, SqlRosError):
                    return BROKEN
                undo()
                return REFUSED
            if phase != self.phase:
                self.get_logger().info(f"{self.get_fully_qualified_name()}: {phase}")
            self._error, self.phase = None, phase
            return DONE

    def _configure(self) -> None:
        self.configure()
        self.reading.start()

    def _claim(self) -> None:
        self.presence.claim(self.commanded())

    def _give_way(self, why: str) -> None:
        """Move nothing from now on and deactivate; with `autostart` the process ends."""
        self.ended.set()
        if self.configs[0].autostart:
            self.failure = ConfigError(why)
            self.finished.set()
        else:
            self.get_logger().error(f"deactivating: {why}")
            self._gives_way.trigger()

    def _activate(self) -> None:
        self.prepare()
        self.ended.clear()
        self.activate()
        report_active()

    def _end_activation(self) -> None:
        self.ended.set()
        self.phase = "inactive"
        self.deactivate()
        self.presence.release()

    def _remove(self) -> None:
        """Destroys every entity that was not there when the node was made."""
        self.reading.stop()
        self.cleanup()
        destroy = (self.destroy_publisher, self.destroy_subscription, self.destroy_service, self.destroy_timer)
        for before, now, remove in zip(self._permanent, self._entities(), destroy):
            for entity in now:
                if entity not in before:
                    remove(entity)

    def _entities(self) -> list[list[Any]]:
        return [list(self.publishers), list(self.subscriptions), list(self.services), list(self.timers)]

    def _look_at_graph(self) -> None:
        """Say who cannot be heard, and who else commands the arm."""
        for line in self.reading.unheard():
            self._diagnostics.fault("incompatible_qos", line)
        self._say_strangers()

    def _say_strangers(self) -> None:
        if strangers := self.presence.strangers():
            names = ", ".join(strangers)
            self._diagnostics.fault("commands_shared", f"{names} publishes on {self.commanded()}, too: the arm obeys both")

    def _status(self) -> Status:
        if self.phase == "active":
            return self.report()
        if self._error is not None:
            return ERROR, f"{self.phase}: {self._error}", {}
        return OK, self.phase, {}
