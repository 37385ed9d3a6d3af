"""Hop 2 of the walk in real time: a control step each period, all in the thread that reads states.

A step is made as the state arrives that it is due with, so that the arm is answered without delay.
Where no state comes, the thread makes the step when it is overdue. `guard.py` says at every step
whether it must be a hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial

import numpy as np

from sql_ros.nodes.control_loop import ControlLoop, LoopParts
from sql_ros.nodes.guard import FAULTS
from sql_ros.nodes.identifying import Identifying
from sql_ros.nodes.real_arm import RealArm
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.cache_warmer import Rehearsal
from sql_ros.robot.control.step_schedule import Overload, Schedule
from sql_ros.robot.driver.following import LEAD_RAD
from sql_ros.robot.driver.response import SLOW_RAD_S
from sql_ros.robot.driver.state_rate import StateRate
from sql_ros.robot.safety.state_watchdog import NO_REASONS

SHORTEST_WAIT_S = 1e-3  # for a /clock that stands just before a control step
INTERVAL_WEIGHT = 0.05  # of the newest interval between two states in their mean


class RealtimeLoop(ControlLoop):
    """Make a control step each period.

    Args:
        parts: See `LoopParts`.
        max_state_age_s: Age of a state from which on a command that answers it must not leave [s].
        rehearsal: Of steps, before a state is due; None without one.
        real_arm: Notices that a held arm was moved; identifies it.
        states_topic: Name of the joint states, for a warning.
    """

    def __init__(
        self,
        parts: LoopParts,
        max_state_age_s: float,
        rehearsal: Rehearsal | None,
        real_arm: RealArm,
        states_topic: str,
    ) -> None:
        super().__init__(parts)
        self._max_state_age_s = max_state_age_s
        self.rehearsal = rehearsal
        self._held_pose = real_arm.held_pose
        self._identifying = real_arm.identifying
        self._states_topic = states_topic
        self._mode = parts.actor.task.spec.command_mode
        self._overload = Overload(parts.meter.periods.period_s)
        # the identification moves one joint at a time
        self._slow_rad_s = np.full(len(parts.actor.task.robot.joints), SLOW_RAD_S)
        self.prepare()

    def prepare(self) -> None:
        """Forget the last activation: the first step is due after a period."""
        period_s = self._meter.periods.period_s
        now = self._clock.at(time.monotonic())
        self._schedule = Schedule(period_s, now, is_coarse=self._clock.follows)
        self._state_rate = StateRate(period_s)
        self._interval_s = 0.0  # mean control time between two states
        self._last_arrival = now  # control time of the last state [s]
        self._due = 0.0  # control time at which the step under way was due [s]
        self._overload.forget()
        if self._held_pose is not None:
            self._held_pose.forget()

    # --- when a step is made ---

    def on_state(self, state: RobotState, arrived: float) -> None:
        """Keep a state that arrived at a steady time [s]; make the step that is due with it."""
        at = self._clock.at(arrived)
        interval_s = at - self._last_arrival
        self._last_arrival = at
        if self._interval_s:
            self._interval_s += INTERVAL_WEIGHT * (interval_s - self._interval_s)
        else:
            self._interval_s = interval_s
        states = self._states
        self._guard.watch.accept(state, at)
        states.arrived = arrived
        before = states.newest
        states.newest = self._guard.watch.state
        if states.newest is not before and self._state_rate.heard(at):
            self._warn_of_slow_states()
        with self._lock:
            if self._schedule.is_due(at, self._interval_s) and not self._ended.is_set():
                self._step(by_state=True)

    def _warn_of_slow_states(self) -> None:
        """Report that there are fewer states than control steps."""
        rate_hz, wanted_hz = self._state_rate.rate_hz, 1.0 / self._meter.periods.period_s
        self._diagnostics.fault(
            "states_slow",
            f"{self._states_topic} has {rate_hz:.1f} newer states per second for {wanted_hz:.1f}"
            " control steps: steps without a newer state make no transition",
        )

    def await_state(self) -> float:
        """Make the step for which no state came, if it is overdue; otherwise rehearse.

        Called by the reading thread while there is nothing to read.

        Returns:
            How long to wait for the next call [s].
        """
        if self._ended.is_set():
            return math.inf
        left_s = self._schedule.left_s(self._clock.at(time.monotonic()))
        if left_s > 0.0 and self._clock.follows:
            return max(left_s, SHORTEST_WAIT_S)  # a message of /clock ends the wait
        rehearsal = self.rehearsal
        if left_s > 0.0:
            return min(left_s, self._rehearse(rehearsal)) if rehearsal is not None else left_s
        with self._lock:
            if not self._ended.is_set():
                self._step(by_state=False)
        return 0.0

    def _rehearse(self, rehearsal: Rehearsal) -> float:
        """Rehearse a stage of a step, if one is due soon.

        Returns:
            How long the next state may be waited for without another stage [s].
        """
        state = self._states.newest
        if state is None:
            return self._meter.periods.period_s
        wait_s = rehearsal.wait_s(time.monotonic(), self._schedule.due)
        if wait_s == 0.0:
            with self._lock:  # a task may keep intermediate results
                rehearsal.run_stage(self._actor.policy, state)
        return wait_s

    def stop_at_once(self) -> None:
        """Make the hold that a stop leads to now; with position commands, which end by themselves,
        when it is due.

        A step under way is not waited for longer than a period: the next one is a hold, or the
        standby thread brakes.
        """
        if (
            self._mode == "position"
            or not self._output.left
            or not self._lock.acquire(timeout=self._meter.periods.period_s)
        ):
            return
        try:
            if not (self._ended.is_set() or self._guard.holds.present):
                self._step(by_state=False, is_early=True)
        finally:
            self._lock.release()

    # --- a step ---

    def _step(self, *, by_state: bool, is_early: bool = False) -> None:
        """Make a control step with the newest state, a hold if the guard says so.

        Before the first state nothing is sent.

        Args:
            by_state: It is made as a state arrives.
            is_early: It is a hold before the step is due.
        """
        now = time.monotonic()
        due = self._schedule.due
        state = self._states.newest
        arrived = self._states.arrived
        at = self._clock.at(now)
        self._due = due
        if is_early:
            self._schedule.interrupt(at)
        else:
            self._schedule.stepped(at, by_state=by_state)
        if self._barrier.reasons:  # not even the command watchdog may prove itself
            self._guard.note(self._barrier.reasons, now)
            return
        if self._link.was_stopped(now):
            self._actor.forget()
        self._output.take_back(now)
        self._safety.elapsed(self._output.elapsed_s(at), is_early=is_early)
        self._output.begin_step(now)
        self._notice_overload(at, at - due)
        self._notice_moved(state, at, now)
        identifying = self._due_identification(state)
        reasons = self._guard.reasons(now, at - due, self._actor.is_idle)
        if state is not None and reasons:
            self._hold(state, now)
            self._stepped()
        elif state is not None and identifying is not None:
            reasons = {"identifying": identifying.activity}
            self._identify(identifying, state)
            self._stepped()
        elif state is not None:
            reasons = self._act(state, arrived, due)
        self._guard.note(reasons, now)

    def _act(self, state: RobotState, arrived: float, due: float) -> Mapping[str, str]:
        """Let the actor answer a state; have the rest done in the thread of the outbox.

        Args:
            state: The newest.
            arrived: Steady time at which it arrived [s].
            due: Control time at which the step was due [s].

        Returns:
            Why the command is a hold; empty if it is none.
        """
        if self._link.is_trying:
            self._safety.trust(state, LEAD_RAD)
        self._limit_speed()
        step = self._actor.step(state, partial(self._output.send, state=state))
        self._stepped()
        self._meter.measure(step, arrived, due, self._output.left)
        if step.transition is not None or step.summary is not None or step.target is not None:
            self._outbox.put(partial(self._deliver, step))
        return {step.fault: FAULTS[step.fault]} if step.fault else NO_REASONS

    def _hold(self, state: RobotState, now: float) -> None:
        """Hold the arm; once it was out of reach, from where it is measured.

        Args:
            state: The newest.
            now: Steady time [s].
        """
        self._link.hold()
        is_fresh = self._guard.is_sound(now)
        may_brake = is_fresh and self._link.may_brake
        if self._identifying is not None and self._identifying.is_due:
            self._identifying.interrupt()
            may_brake &= self._mode != "torque"  # the effect of its torques is not known yet
        if self._link.held(state, fresh=is_fresh):
            self._safety.forget()
        command = self._actor.interrupt(state, fresh=may_brake)
        if self._mode == "position" and not self._output.left:
            self._safety.forget()
            return  # the controller holds by itself, and the measurement may be the reason to hold
        self._output.send(command, state, brakes=True)

    def is_late(self) -> bool:
        """Return whether a command that was just computed must not leave: it is late, its state is
        old, or the arm was stopped meanwhile.

        Where the command or its state is late, the filter reckons with the time that has passed:
        it brakes instead.
        """
        now = time.monotonic()
        at = self._clock.at(now)
        is_late = at - self._due > self._guard.most_late_s
        is_old = at - self._clock.at(self._states.arrived) > self._max_state_age_s
        is_stopped = bool(self._guard.latch.reasons(time.monotonic()))
        if is_late or is_old:
            self._safety.elapsed(self._output.elapsed_s(at))
            self._output.begin_step(time.monotonic())
        return is_late or is_old or is_stopped

    # --- what a step notices first ---

    def _notice_overload(self, at: float, lateness_s: float) -> None:
        """Hold a real arm whose loop is late all the time until it is started again; in
        simulation, warn.

        Args:
            at: Control time [s].
            lateness_s: Of this step, control time [s].
        """
        if self._clock.follows or not self._overload.is_noticed(at, lateness_s):
            return
        self._overload.forget()
        why = (
            "the control loop is overloaded: most steps of the last second began over a period"
            f" ({self._meter.periods.period_s:g} s) late"
        )
        self._diagnostics.fault("loop_overloaded", why)
        if self._link.is_real:
            self._guard.permit.withdraw(why)

    def _notice_moved(self, state: RobotState | None, at: float, now: float) -> None:
        """Let the position command follow an arm that was moved while it was to rest, and require
        a start.

        Args:
            state: The newest; None before the first.
            at: Control time [s].
            now: Steady time [s].
        """
        held_pose = self._held_pose
        if (
            held_pose is None
            or state is None
            or not self._output.left
            or not self._guard.is_sound(now)
        ):
            return
        if self._states.publishers.reasons(now):
            held_pose.interrupt()
            return
        if held_pose.was_moved(state, at, is_told_to_rest=self._safety.is_at_rest):
            self._actor.forget()
            self._guard.permit.withdraw("the arm was moved while it was held")

    # --- the identification of a real arm ---

    def _due_identification(self, state: RobotState | None) -> Identifying | None:
        """Return the identification if it is due, after asking the operator; None otherwise."""
        identifying = self._identifying
        if identifying is None or not identifying.is_due:
            return None
        if state is not None:
            identifying.request_start(state)
        return identifying

    def _identify(self, identifying: Identifying, state: RobotState) -> None:
        """Make a step of the identification.

        When it is over the arm is held, and the actor begins anew with the next start.
        """
        if self._link.is_trying:
            self._safety.trust(state, LEAD_RAD)
        self._limit_speed()
        self._safety.slow(self._slow_rad_s)
        command = identifying.step(state, self._safety, self._guard.state_delay_s)
        self._output.send(command, state)
        if not identifying.is_due:
            self._actor.forget()
            self._guard.allow_state_delay(identifying.state_delay_s)
            identifying.apply_latency(self._safety)  # the arm rests
