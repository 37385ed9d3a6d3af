"""Everything that may hold the arm, wired to topics and services: `robot/watchdog.py` and `robot/latch.py` decide.

=====================  ============  ===========================================================================================
`~/stop`               Trigger       latches a stop
`~/reset`              Trigger       the only end of a latched stop, refused while its cause is there
`~/emergency_stop`     Bool          true: pressed, latches a stop
`~/stop_lock`          Bool          true: locked, as twist_mux has it; with `lock_timeout_s` silence locks too
`~/enable`             Bool          a deadman's switch: with `enable_timeout_s` only a fresh true lets the arm move
=====================  ============  ===========================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from sql_ros.core.config import option
from sql_ros.nodes.diagnostics import ERROR, WARN
from sql_ros.nodes.managed import ManagedConfig, ManagedNode
from sql_ros.nodes.qos import LATCHED, RELIABLE, SENSOR
from sql_ros.robot.clock import ControlClock
from sql_ros.robot.clock_match import ClockMatch
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.intera import Condition
from sql_ros.robot.latch import StopLatch
from sql_ros.robot.watchdog import NO_REASONS, Holds, StateWatch

ROBOT_TIMEOUT_S = 1.0  # of an Intera robot's own reports, which come at 100 Hz
STOPPED = ("stop", "emergency_stop")
FAULTS = {"policy_non_finite": "the policy's output is not finite"}  # of a `robot.actor.Step`


@dataclass(frozen=True)
class GuardConfig(ManagedConfig):
    """Parameters of what may hold the arm."""

    max_state_age_s: float = option(0.1, "an older state leads to a hold [s of control time]", minimum=0.001)
    max_lateness_s: float = option(0.1, "a control step that wakes later than this is a hold [s of control time]", minimum=0.0001)
    max_clock_age_s: float = option(0.5, "use_sim_time: a /clock that stands for longer is a hold [s of the steady clock]", minimum=0.001)
    lock_timeout_s: float = option(0.0, "silence of ~/stop_lock for longer counts as locked; 0: no lock is required [s]", minimum=0.0)
    enable_timeout_s: float = option(0.0, "~/enable must be refreshed with true within this; 0: not required [s]", minimum=0.0)


class Guard:
    """One per process, so that a latched stop outlives deactivation and cleanup.

    Args:
        node: that drives the arm.
        config: its parameters.
        where: its topics and services are found under, in the place of `~`.

    Attributes:
        latch: stops from outside.
        clock: of control; set before `wire`.
        watch: of the states, by control time; from `wire` on.
        holds: the book of reasons.
        held: control steps that were a hold.
        conditions: further reasons to hold, in lockstep too: each returns kind to description for a
            steady time, `NO_REASONS` while there is none. Asked at every step: must be cheap.
    """

    def __init__(self, node: ManagedNode, config: GuardConfig, where: str) -> None:
        self._node, self._config, self._where = node, config, where
        self.latch = StopLatch(config.lock_timeout_s, config.enable_timeout_s)
        self.holds = Holds()
        self.clock = ControlClock()
        self._match = ClockMatch()
        self.held = 0
        self.conditions: list[Callable[[float], Mapping[str, str]]] = []

    def wire(self, robot: RobotConfig, mode: str) -> None:
        """Creates subscriptions and services, and a watch for this arm; topics that stop it are read before states where both came.

        Args:
            robot: The arm.
            mode: Of its commands.
        """
        self.watch = StateWatch(self._config.max_state_age_s, robot.velocity_limit, robot.position_lower, robot.position_upper)
        self.latch.expect_robot(ROBOT_TIMEOUT_S if robot.interface(mode) == "intera" else 0.0)
        node, where = self._node, self._where
        node.create_service(Trigger, f"{where}/stop", self._on_stop)
        node.create_service(Trigger, f"{where}/reset", self._on_reset)
        if self.clock.follows:
            node.reading.subscribe(Clock, "/clock", self._on_clock, SENSOR)
        heard = RELIABLE, SENSOR, LATCHED  # by anybody, also from somebody who said it once, before this node was there
        node.reading.subscribe(Bool, f"{where}/emergency_stop", lambda message: self.latch.emergency_stop(message.data), *heard)
        node.reading.subscribe(Bool, f"{where}/stop_lock", lambda message: self.latch.lock(message.data, time.monotonic()), RELIABLE)
        node.reading.subscribe(Bool, f"{where}/enable", lambda message: self.latch.enable(message.data, time.monotonic()), RELIABLE)

    def forget(self) -> None:
        """A new activation: states and reasons of the last one do not count; a latched stop does."""
        self.watch.forget()
        self.holds.forget()
        self._match.forget()

    def took_state(self, stamp_ns: int, now: float) -> None:
        """Compare `/clock`, where it is followed, with the stamp [ns] of a state; 0: it has none."""
        if self.clock.follows and self.clock.stamp_ns is not None:
            self._match.take(self.clock.stamp_ns, stamp_ns, now)

    def reasons(self, now: float, lateness_s: float, is_idle: bool) -> Mapping[str, str]:
        """Return why this control step must be a hold, by kind; empty if it need not.

        Args:
            now: Steady time [s].
            lateness_s: Of the step, control time [s].
            is_idle: Whether there is nothing to act with.
        """
        stops = self.stops(now)
        states = self.watch.reasons(self.clock.at(now))
        late = lateness_s > self._config.max_lateness_s
        if not (stops or states or late or is_idle):
            return NO_REASONS
        reasons = {**states, **stops}  # where no state can be used, nothing else can be judged
        if is_idle:
            reasons["policy_missing"] = "no policy, and exploring is not allowed"
        if late:
            reasons["loop_late"] = f"the control loop woke {lateness_s:.3f} s late, at most {self._config.max_lateness_s} s"
        return reasons

    def stops(self, now: float) -> Mapping[str, str]:
        """Return the reasons that hold the arm in lockstep as well: stops from outside and `conditions`."""
        stops = self.latch.reasons(now)
        if of_clock := self.clock.reasons(now):
            stops = {**stops, **of_clock}
        if self._match.reasons:
            stops = {**stops, **self._match.reasons}
        for condition in self.conditions:
            if more := condition(now):
                stops = {**stops, **more}
        return stops

    def is_sound(self, now: float) -> bool:
        """Return whether the state kept is good and recent at a steady time [s]."""
        return self.watch.is_sound(self.clock.at(now))

    def note(self, reasons: Mapping[str, str], now: float) -> None:
        """Logs what begins and ends, counts."""
        self.held += bool(reasons)
        for line in self.holds.note(reasons, now):
            log = self._node.get_logger()
            log.warning(line) if line.startswith("holding") else log.info(line)

    def status(self) -> tuple[bytes, str] | None:
        """Level and message for /diagnostics; None while nothing holds the arm."""
        gravest = self.holds.gravest()
        if gravest is None:
            return None
        kind, why = gravest
        return ERROR if kind in STOPPED else WARN, f"holding, {kind}: {why}"

    def values(self) -> dict[str, int]:
        """Occurrences by kind, for /diagnostics."""
        return {"holds": self.held, **{f"hold/{kind}": count for kind, count in dict(self.holds.counts).items()}}

    def _on_clock(self, message: Clock) -> None:
        self.clock.take(message.clock.sec * 1_000_000_000 + message.clock.nanosec, time.monotonic())

    def on_condition(self, condition: Condition) -> None:
        """Takes what an Intera robot says of itself; its emergency stop latches."""
        if condition.estop_pressed:
            self.latch.stop("the robot's emergency stop was pressed")
        self.latch.robot(condition.complaint, time.monotonic())

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.latch.stop("~/stop was called")
        response.success, response.message = True, "stopped; ~/reset releases it"
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.latch.reset(time.monotonic())
        return response
