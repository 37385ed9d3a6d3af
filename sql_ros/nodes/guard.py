"""Collect all reasons to hold the arm, and serve the requests to stop, reset and start it.

Holding means that a control step commands the arm to brake and then to rest. The reasons come from
`robot/safety/` (states, stops, permit), from the clocks and from the `conditions` of other files of
this package. The topics that stop the arm are in `stop_topics.py`. Each reason has a kind, such as
`state_too_old`; `docs/ur5e.md` lists all kinds. The services:

=====================  ============  ==============================================================
`~/stop`               Trigger       latches a stop; responds with success once rest was commanded
                                     and measured
`~/reset`              Trigger       the only end of a latched stop; refused while its cause lasts;
                                     moves nothing
`~/start`              Trigger       lets the arm move again after a stop, a real arm after any
                                     longer hold
=====================  ============  ==============================================================

A request to stop counts however old it is. A reset or start of a real arm that arrives late is
refused (`robot/safety/request_age.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from sql_ros.common.config import option
from sql_ros.nodes.diagnostics import ERROR, WARN, Diagnostics
from sql_ros.nodes.managed import ManagedConfig, ManagedNode
from sql_ros.nodes.qos import SENSOR
from sql_ros.nodes.stop_topics import StopTopics
from sql_ros.robot.config import ENABLE, STOP_LOCK, RobotConfig
from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.control.clock_match import ClockMatch
from sql_ros.robot.driver.intera import AssemblyState
from sql_ros.robot.safety.permit import MOMENT_S, Permit
from sql_ros.robot.safety.request_age import staleness
from sql_ros.robot.safety.speed_ramp import HELD_S, SpeedRamp
from sql_ros.robot.safety.state_delay import StateDelay
from sql_ros.robot.safety.state_watchdog import NO_REASONS, Holds, StateWatch
from sql_ros.robot.safety.stop_latch import StopLatch
from sql_ros.robot.safety.stop_switch import SourceLag
from sql_ros.robot.safety.suspension import Suspension

ROBOT_TIMEOUT_S = 1.0  # longest silence of an Intera robot, which reports at 100 Hz
ANSWER_S = 2.0  # longest wait of a caller of ~/stop
STOPPED_WELL = (
    "stopped: rest was commanded and measured; ~/reset releases it, then ~/start moves the arm"
)
STOPPED = ("stop", "emergency_stop")  # kinds that /diagnostics reports as an error
FAULTS = {  # faults of a `Step` of `robot/control/step.py`
    "policy_non_finite": "the policy's output is not finite",
    "policy_late": "the policy took too long: its command was not sent",
}


@dataclass(frozen=True)
class GuardConfig(ManagedConfig):
    """ROS parameters of the reasons to hold the arm."""

    max_state_age_s: float = option(
        0.1,
        "largest age of the last state; an older one is a hold [s of control time]",
        minimum=0.001,
        maximum=60.0,
    )
    max_state_delay_s: float = option(
        0.02,
        "real arm: largest delay of a state after its stamp, beyond the usual delay; a larger one"
        " is a hold [s]",
        minimum=0.001,
        maximum=1.0,
    )
    max_lateness_s: float = option(
        0.1,
        "largest lateness of a control step; a later one is a hold [s of control time]; on a real"
        " arm at most half a period, or 20 ms",
        minimum=0.0001,
        maximum=60.0,
    )
    max_clock_age_s: float = option(
        0.5,
        "use_sim_time: longest time for which /clock may stand still; a longer one is a hold [s of"
        " the steady clock]; a real arm has a lower maximum",
        minimum=0.001,
        maximum=60.0,
    )
    lock_timeout_s: float = option(
        0.0,
        "longest silence of ~/stop_lock; a longer one counts as locked; 0: no lock is required [s]",
        minimum=0.0,
        maximum=5.0,
    )
    enable_timeout_s: float = option(
        0.0,
        "longest time between two messages true on ~/enable; 0: none is required [s]",
        minimum=0.0,
        maximum=2.0,
    )

    def waits_s(self, *, follows_clock: bool) -> dict[str, float]:
        """Return for how long the arm may move on while an input is missing or late.

        Args:
            follows_clock: Whether control time is that of `/clock`.

        Returns:
            Parameter name to time [s]: `max_state_age_s`, `max_state_delay_s` and `max_lateness_s`,
            and `max_clock_age_s` if `/clock` is followed.
        """
        of_clock = dict(max_clock_age_s=self.max_clock_age_s) if follows_clock else {}
        return {
            **of_clock,
            "max_state_age_s": self.max_state_age_s,
            "max_state_delay_s": self.max_state_delay_s,
            "max_lateness_s": self.max_lateness_s,
        }


class Guard:
    """Decides at each control step whether the arm must be held.

    A node has one guard for its whole life, so that a latched stop outlives deactivation and
    cleanup.

    Args:
        node: The actor node.
        config: Parameters of the actor.
        prefix: Prefix of the topics and services, instead of `~`.

    Attributes:
        latch: Stops from outside: service, switches, robot.
        permit: Whether the arm may move again after a hold, or needs a start.
        ramp: Share of the speed limits that the arm may use after it stood.
        clock: Control clock; set it before `create_entities`.
        watch: Judges the states, by control time; created by `create_entities`.
        holds: Reasons in force, and how often each has begun.
        held: Number of control steps that were a hold.
        hold_now: Makes a hold before the next step is due. Any thread may call it. Set it before
            `create_entities`; by default it does nothing.
        obstacle_to_rest: Returns, for a steady time [s], why the arm cannot be said to rest since
            then (in words, empty if it does) and whether that answer is final.
        most_late_s: Lateness of a control step above which the step is a hold [s of control time].
        conditions: Functions that return further reasons to hold, in lockstep too. Each takes a
            steady time [s] and returns hold kind to description, `NO_REASONS` if there is none.
            Each is called at every control step, so it must be fast.
    """

    def __init__(self, node: ManagedNode, config: GuardConfig, prefix: str) -> None:
        self._node = node
        self._config = config
        self._prefix = prefix
        self.latch = StopLatch()
        self.permit = Permit()
        self.ramp = SpeedRamp()
        self.holds = Holds()
        self.clock = ControlClock()
        self._clock_match = ClockMatch()
        self._delay: StateDelay | None = None  # of a real arm
        self._suspension: Suspension | None = None  # of the computer of a real arm
        self.held = 0
        self._fault: Mapping[str, str] = NO_REASONS  # of the last step, a key of FAULTS
        self._stops = 0  # number of stops of the latch after which the permit was withdrawn
        self._stepped_at: float | None = None  # steady time of the last control step [s]
        self._robot_lag = SourceLag()
        self.hold_now: Callable[[], None] = _no_action
        self.obstacle_to_rest: Callable[[float], tuple[str, bool]] = _unknown_motion
        self.most_late_s = config.max_lateness_s
        self.conditions: list[Callable[[float], Mapping[str, str]]] = []

    def create_entities(
        self, robot: RobotConfig, mode: str, diagnostics: Diagnostics, state_delay_s: float = 0.0
    ) -> None:
        """Create the subscriptions, the services and `watch`.

        The services are `stop`, `reset` and `start`; the subscriptions are those of the switches
        (`StopTopics`) and, if it is followed, `/clock`. For a real arm on the steady clock, the
        delay of states and suspensions of the computer are measured from then on.

        Call it before the states are subscribed. If a message that stops the arm and a state are
        both ready, the message is then read first.

        Args:
            robot: The arm.
            mode: Command mode.
            diagnostics: Counts faults.
            state_delay_s: Usual time from the stamp of a state to its arrival [s].
        """
        config = self._config
        # simulated time may stand still or lag
        is_timed = self.permit.is_real and not self.clock.follows
        self._delay = (
            StateDelay(
                state_delay_s,
                config.max_state_delay_s,
                config.max_state_age_s,
                has_own_clock=robot.own_clock,
            )
            if is_timed
            else None
        )
        self._suspension = Suspension() if is_timed else None
        self.watch = StateWatch(
            config.max_state_age_s,
            robot.velocity_limit,
            robot.acceleration_limit,
            robot.position_lower,
            robot.position_upper,
        )
        self.latch.expect_robot(ROBOT_TIMEOUT_S if robot.interface(mode) == "intera" else 0.0)
        node = self._node
        prefix = self._prefix
        node.serving.serve(Trigger, f"{prefix}/stop", self._begin_stop)
        node.serving.serve(Trigger, f"{prefix}/reset", lambda: self._respond_with(self._reset))
        node.serving.serve(Trigger, f"{prefix}/start", lambda: self._respond_with(self._start))
        if self.clock.follows:
            node.reading.subscribe(Clock, "/clock", self._on_clock, SENSOR)
        timeouts_s = {STOP_LOCK: config.lock_timeout_s, ENABLE: config.enable_timeout_s}
        required = robot.required_stops if self.permit.is_real else ()
        self._topics = StopTopics(node, self.latch, prefix, timeouts_s, required, diagnostics)
        self._topics.hold_now = self.hold_now

    def forget(self) -> None:
        """Begin an activation: forget states, delays and reasons, but neither a latched stop nor a
        start that is needed.
        """
        self.watch.forget()
        self.permit.forget()
        self.ramp.forget()
        self.holds.forget()
        self._clock_match.forget()
        self._topics.forget()
        self._robot_lag.forget()
        self._fault = NO_REASONS
        self._stepped_at = None
        if self._delay is not None:
            self._delay.forget()
        if self._suspension is not None:
            self._suspension.forget()

    def allow_state_delay(self, seconds: float) -> None:
        """Set the usual delay of states from their stamp to their arrival.

        Args:
            seconds: The delay [s]. States later than this by `max_state_delay_s` are a hold.
        """
        if self._delay is not None:
            self._delay.allow(seconds)

    @property
    def state_delay_s(self) -> float:
        """Return the delay of the last state from its stamp to its arrival [s]; 0 for a simulated
        arm and where `/clock` is followed.
        """
        return self._delay.delay_s if self._delay is not None else 0.0

    def check_stamp(self, stamp_ns: int, now: float) -> None:
        """Compare the stamp of a state with `/clock` if that is followed; for a real arm on the
        steady clock, measure the delay of the state.

        A leap between the clocks of driver and this computer latches a stop. So do states of which
        only some have a stamp.

        Args:
            stamp_ns: Stamp of the state [ns]; 0: the state has no stamp.
            now: Steady time of its arrival [s].
        """
        if self.clock.follows and self.clock.stamp_ns is not None:
            self._clock_match.take(self.clock.stamp_ns, stamp_ns, now)
        if self._delay is None:
            return
        if doubt := self._delay.take(stamp_ns, time.time_ns(), now):
            self.latch.stop(doubt)

    def reasons(self, now: float, lateness_s: float, is_idle: bool) -> Mapping[str, str]:
        """Return why this control step must be a hold, in real time.

        It also updates permit and speed ramp, and latches a stop after a suspension of the
        computer. Call it once per step.

        Args:
            now: Steady time [s].
            lateness_s: Lateness of the step [s of control time].
            is_idle: Whether there is no policy and exploring is not allowed.

        Returns:
            Hold kind to description; empty if the arm may move. The kinds are those of the states
            and of the reasons from outside, `policy_missing`, `loop_late` and `start_needed`.
        """
        stops = self._outside_reasons(now)
        states = self.watch.reasons(self.clock.at(now))
        late = lateness_s > self.most_late_s
        if not (stops or states or late or is_idle):
            return self._apply_permit(NO_REASONS, now)
        reasons = {**states, **stops}  # states first: without one nothing else can be judged
        if is_idle:
            reasons["policy_missing"] = "no policy, and exploring is not allowed"
        if late:
            reasons["loop_late"] = (
                f"the control loop woke {lateness_s:.3f} s late, at most {self.most_late_s:.3f} s"
            )
        return self._apply_permit(reasons, now)

    def stops(self, now: float) -> Mapping[str, str]:
        """Return why this control step must be a hold, in lockstep: stops from outside, clocks and
        `conditions`, but neither states nor lateness.

        Like `reasons` it updates permit and speed ramp.

        Args:
            now: Steady time [s].

        Returns:
            Hold kind to description; empty if the arm may move.
        """
        return self._apply_permit(self._outside_reasons(now), now)

    def _apply_permit(self, reasons: Mapping[str, str], now: float) -> Mapping[str, str]:
        """Update permit and speed ramp with the reasons of a step.

        Args:
            reasons: Hold kind to description.
            now: Steady time [s].

        Returns:
            The reasons; if there are none but a start is needed, the kind `start_needed`.
        """
        self._notice_stops()
        self._notice_silence(now)
        reasons = self.permit.check(reasons, now, self._fault)
        self.ramp.update(bool(reasons or self._fault), now)
        return reasons

    def _notice_stops(self) -> None:
        """Withdraw the permit after a latched stop, even if the stop was reset before this step."""
        if self._stops != self.latch.stops:
            self._stops = self.latch.stops
            self.permit.withdraw("the arm was held by stop")

    def _notice_silence(self, now: float) -> None:
        """Treat a long time without control steps of a real arm as a hold: the process was
        suspended, or hung.

        After `MOMENT_S` the permit is withdrawn, after `HELD_S` the speed ramp begins again.

        Args:
            now: Steady time of this control step [s].
        """
        silent_s = now - self._stepped_at if self._stepped_at is not None else 0.0
        self._stepped_at = now
        if not self.permit.is_real:
            return
        if silent_s > MOMENT_S:
            self.permit.withdraw(f"the actor made no control step for {silent_s:.1f} s")
        if silent_s > HELD_S:
            self.ramp.begin()

    def _outside_reasons(self, now: float) -> Mapping[str, str]:
        """Return the reasons that hold the arm in lockstep too: stops, clocks and `conditions`.

        A suspension of the computer latches a stop.

        Args:
            now: Steady time [s].

        Returns:
            Hold kind to description.
        """
        suspended_s = self._suspension.suspended_s() if self._suspension is not None else 0.0
        if suspended_s:
            self.latch.stop(f"the computer was suspended for {suspended_s:.1f} s")
        stops = self.latch.reasons(now)
        if of_clock := self.clock.reasons(now):
            stops = {**stops, **of_clock}
        if self._clock_match.reasons:
            stops = {**stops, **self._clock_match.reasons}
        if self._delay is not None and self._delay.reasons:
            stops = {**stops, **self._delay.reasons}
        for condition in self.conditions:
            if more := condition(now):
                stops = {**stops, **more}
        return stops

    def is_sound(self, now: float) -> bool:
        """Return whether the last state can be trusted: it is plausible and recent, and no clock
        makes its age uncertain.

        Args:
            now: Steady time [s].
        """
        if (
            self.clock.reasons(now)
            or self._clock_match.reasons
            or (self._delay is not None and self._delay.reasons)
        ):
            return False
        return self.watch.is_sound(self.clock.at(now))

    def note(self, reasons: Mapping[str, str], now: float) -> None:
        """Record the reasons of a control step in `holds` and `held`; log which begin and end.

        Args:
            reasons: Hold kind to description; empty if the step was no hold.
            now: Steady time [s].
        """
        self._fault = reasons if reasons and FAULTS.keys() & reasons.keys() else NO_REASONS
        self.held += bool(reasons)
        for line in self.holds.note(reasons, now):
            log = self._node.get_logger()
            log.warning(line) if line.startswith("holding") else log.info(line)

    def why_held(self, now: float) -> str:
        """Return what holds the arm, in words; empty if nothing does: a latched stop, why a start
        is needed, or else the reasons of the last control step and the stops since then.

        Args:
            now: Steady time [s].
        """
        reasons = {**self.holds.present, **self.latch.reasons(now)}
        others = "; ".join(f"{kind}: {why}" for kind, why in reasons.items())
        return reasons.get("stop", "") or self.permit.obstacle or others

    def status(self) -> tuple[bytes, str] | None:
        """Return level and message for /diagnostics, of the reason to name first; None while
        nothing holds the arm. The level is ERROR for the kinds of `STOPPED`, otherwise WARN.
        """
        gravest = self.holds.gravest()
        if gravest is None:
            return None
        kind, why = gravest
        return ERROR if kind in STOPPED else WARN, f"holding, {kind}: {why}"

    def values(self) -> dict[str, int | str]:
        """Return counts of holds by kind, the delay of states, and complaints about stop topics,
        /diagnostics key to value.

        The keys are `holds`, `hold/<kind>` and those of `StopTopics.complaints`; for a real arm on
        the steady clock also `state_delay_ms`, and `state_delay_of`: "clock" if it is the delay by
        this computer's clock, "growth" for a driver's own clock: only the growth is known.
        """
        delay = self._delay
        of_states: dict[str, str] = {}
        if delay is not None:
            of_clock = "growth" if delay.has_own_clock else "clock"
            of_states = {"state_delay_ms": f"{1e3 * delay.delay_s:.1f}", "state_delay_of": of_clock}
        counts = {f"hold/{kind}": count for kind, count in dict(self.holds.counts).items()}
        return {"holds": self.held, **of_states, **counts, **self._topics.complaints()}

    def _on_clock(self, message: Clock) -> None:
        """Set the control clock to a message of `/clock`."""
        self.clock.take(message.clock.sec * 1_000_000_000 + message.clock.nanosec, time.monotonic())

    def on_condition(self, condition: AssemblyState, source_ns: int) -> None:
        """Take the condition that an Intera robot reports.

        A pressed emergency stop latches a stop. A robot that cannot move is a hold, which begins at
        once.

        Args:
            condition: The report.
            source_ns: Time of publication by the robot's clock [ns]; 0: unknown.
        """
        if condition.estop_pressed:
            self.latch.stop("the robot's emergency stop was pressed")
        now = time.monotonic()
        late_s = self._robot_lag.late_s(source_ns, time.time_ns(), now)
        self.latch.take_robot_report(condition.complaint, now - late_s)
        if condition.complaint:
            self.hold_now()

    def _begin_stop(self) -> Callable[[], Trigger.Response | None]:
        """Serve `~/stop`: latch a stop and hold the arm now.

        Returns:
            A function that returns the response: success once the arm rests, failure if it cannot
            be known to rest or does not within `ANSWER_S`, None before that.
        """
        began = time.monotonic()
        self.latch.stop("~/stop was called")
        self.hold_now()

        def answer() -> Trigger.Response | None:
            """Return the response of a stop: success once the arm rests, failure if that cannot be
            known or takes longer than `ANSWER_S`; None before that.
            """
            obstacle, is_final = self.obstacle_to_rest(began)
            if not obstacle:
                return Trigger.Response(success=True, message=STOPPED_WELL)
            if is_final or time.monotonic() - began > ANSWER_S:
                return Trigger.Response(
                    success=False, message=f"the stop is latched, but {obstacle}"
                )
            return None

        return answer

    def staleness(self, source_ns: int) -> str:
        """Return why a request must not move the arm because of its age, in words; empty if it may.

        A simulated arm has no limit of age.

        Args:
            source_ns: When the request was sent, by the clock of its sender [ns]; 0: unknown.
        """
        return staleness(source_ns, time.time_ns()) if self.permit.is_real else ""

    def _respond_with(self, work: Callable[[], tuple[bool, str]]) -> Callable[[], Trigger.Response]:
        """Serve a request now, unless it is too old for a real arm.

        Args:
            work: Serves the request; returns success and a message for the caller.

        Returns:
            A function that returns the response: that of `work`, or a failure with the reason if
            the request was too old.
        """
        stale = self.staleness(self._node.serving.source_ns)
        if stale:
            self._node.get_logger().warning(f"a request is refused: {stale}")
        success, message = (False, stale) if stale else work()
        response = Trigger.Response(success=success, message=message)
        return lambda: response

    def _reset(self) -> tuple[bool, str]:
        """Serve `~/reset`: end a latched stop; return success and a message for the caller."""
        return self.latch.reset(time.monotonic())

    def _start(self) -> tuple[bool, str]:
        """Serve `~/start`: permit motion, and begin the speed ramp if a start was needed.

        Returns:
            Success and a message for the caller. A start fails while something holds the arm, and
            where no control step was made within `MOMENT_S`.
        """
        now = time.monotonic()
        if self._stepped_at is None or now - self._stepped_at > MOMENT_S:
            return False, "nothing to start: the node is not active, or makes no control steps"
        self._notice_stops()
        was_needed = bool(self.permit.obstacle)
        success, message = self.permit.start(self.latch.reasons(now))
        if was_needed and success:
            self.ramp.begin()
        return success, message


def _no_action() -> None:
    """Do nothing: the next control step is a hold."""


def _unknown_motion(since: float) -> tuple[str, bool]:
    """Return that the motion of the arm is unknown, and that this answer is final."""
    return "the state of the arm is unknown", True
