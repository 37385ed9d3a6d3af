"""The control loop in real time: one control step per period, in the thread that reads states.

Step 2 of the path of a transition (CONTRIBUTING.md). A step is made in the callback of the state
with which it is due, so that the state is answered without delay. If no state arrives, the thread
makes the step when it is overdue. At every step `guard.py` decides whether it must be a hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial

import numpy as np

from sql_ros.nodes.control_loop import ControlLoop, LoopParts
from sql_ros.nodes.guard import FAULTS
from sql_ros.nodes.identifying import ArmIdentification
from sql_ros.nodes.real_arm import RealArm
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.cache_warmer import CacheWarmer
from sql_ros.robot.control.step_schedule import Overload, Schedule
from sql_ros.robot.driver.following import LEAD_RAD
from sql_ros.robot.driver.response import SLOW_RAD_S
from sql_ros.robot.driver.state_rate import StateRate
from sql_ros.robot.safety.state_watchdog import NO_REASONS

SHORTEST_WAIT_S = 1e-3  # wait while /clock stands still just before a control step is due
INTERVAL_WEIGHT = 0.05  # weight of the newest interval between two states in the running mean


class RealtimeLoop(ControlLoop):
    """Makes one control step per period.

    Args:
        parts: Parts of the actor node.
        max_state_age_s: Largest age of a state when the command that answers it is sent [s of
            control time].
        rehearsal: Runs the stages of a control step on copies before a state is due, to warm the
            caches; None: nothing does.
        real_arm: Checks of a real arm; gives `held_pose` and `identifying`.
        states_topic: Resolved topic of the joint states, for a warning.
    """

    def __init__(
        self,
        parts: LoopParts,
        max_state_age_s: float,
        rehearsal: CacheWarmer | None,
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
        """Reset the loop to the start of an activation: the first step is due after one period."""
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
        """Pass a state to the guard's watch; make a control step if one is due with this state.

        The newest state that the watch trusts becomes `states.newest`.

        Args:
            state: Well-formed state.
            arrived: Steady time of its arrival [s].
        """
        at = self._clock.at(arrived)
        interval_s = at - self._last_arrival
        self._last_arrival = at
        if self._interval_s:
            self._interval_s += INTERVAL_WEIGHT * (interval_s - self._interval_s)
        else:
            self._interval_s = interval_s
        states = self._states
        self._guard.watch.accept(state, at)
        before = states.newest
        states.take(self._guard.watch.state, arrived)
        if states.newest is not before and self._state_rate.heard(at):
            self._warn_of_slow_states()
        with self._lock:
            if self._schedule.is_due(at, self._interval_s) and not self._ended.is_set():
                self._step(by_state=True)

    def _warn_of_slow_states(self) -> None:
        """Count a fault: fewer new states arrive than control steps are made."""
        rate_hz, wanted_hz = self._state_rate.rate_hz, 1.0 / self._meter.periods.period_s
        self._diagnostics.fault(
            "states_slow",
            f"{self._states_topic} has {rate_hz:.1f} newer states per second for {wanted_hz:.1f}"
            " control steps: steps without a newer state make no transition",
        )

    def await_state(self) -> float:
        """Make the step for which no state came, if it is overdue; otherwise rehearse a stage.

        Called by the reading thread while there is no message, see `ReadingThread.meanwhile`.

        Returns:
            Longest time until the next call [s]; infinite while the node is not active.
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

    def _rehearse(self, rehearsal: CacheWarmer) -> float:
        """Run one stage of a control step on copies, to warm the caches, if a state is due soon.

        Args:
            rehearsal: Runs the stage.

        Returns:
            Time until the next stage is to be run [s]; 0 after a stage was run.
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
        """Make a hold now, for a stop, before the next step is due. Any thread may call it.

        Nothing is done in position mode, whose commands end at rest by themselves; before the first
        command; while the arm is held already; and if a step under way takes longer than a period.
        The next step is then a hold, or the standby thread brakes the arm.
        """
        if (
            self._mode == "position"
            or not self._output.left
            or not self._lock.acquire(timeout=self._meter.periods.period_s)
        ):
            return
        try:
            is_held = self._guard.holds.present.keys() - {"identifying"}  # the arm moves
            if not (self._ended.is_set() or is_held):
                self._step(by_state=False, is_early=True)
        finally:
            self._lock.release()

    # --- a step ---

    def _step(self, *, by_state: bool, is_early: bool = False) -> None:
        """Make a control step with the newest state. The loop's lock must be held.

        The step is a hold if the guard has a reason, one of the identification if that is due, and
        otherwise a step of the actor. Before the first state, and while the barrier of a training
        is closed, nothing is sent.

        Args:
            by_state: Whether the step is made in the callback of a state.
            is_early: Whether the step is a hold before it is due, see `stop_at_once`.
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
        if self._barrier.reasons:  # also returns before the command watchdog sends a zero
            self._guard.note(self._barrier.reasons, now)
            return
        self._output.take_back(now)
        if self._link.was_stopped(now):  # the standby's velocities were zeros of the watchdog
            self._actor.forget()
        self._safety.elapsed(self._output.elapsed_s(at), is_early=is_early)
        self._output.begin_step(now)
        self._notice_overload(at, at - due)
        self._notice_moved(state, at, now)
        identifying = self._due_identification(state)
        reasons = self._guard.reasons(now, at - due, self._actor.is_idle)
        if state is not None and reasons:
            self._hold(state, now)
        elif state is not None and identifying is not None:
            reasons = {"identifying": identifying.activity}
            self._identify(identifying, state)
        elif state is not None:
            reasons = self._act(state, arrived, due)
        self._guard.note(reasons, now)
        if state is not None:
            self._stepped()

    def _act(self, state: RobotState, arrived: float, due: float) -> Mapping[str, str]:
        """Let the actor answer a state: send the command, then measure the step.

        While `ArmLink.is_trying`, the command starts from the measured state. Transition, target
        and summary are published later, in the delivery thread of the outbox.

        Args:
            state: Newest state.
            arrived: Steady time of its arrival [s].
            due: Control time at which the step was due [s].

        Returns:
            Hold kind to description, if the policy failed and the command is a hold; else empty.
        """
        if self._link.is_trying:
            self._safety.trust(state, LEAD_RAD)
        self._limit_speed()
        step = self._actor.step(state, partial(self._output.send, state=state))
        self._meter.measure(step, arrived, due, self._output.left)
        if step.transition is not None or step.summary is not None or step.target is not None:
            self._outbox.put(partial(self._deliver, step))
        return {step.fault: FAULTS[step.fault]} if step.fault else NO_REASONS

    def _hold(self, state: RobotState, now: float) -> None:
        """Make a step that is a hold: brake the arm, or keep it at rest.

        The episode is given up, and an identification is interrupted. The command starts from the
        measured state if `ArmLink.held` says so, otherwise from the last command. In position mode
        nothing is sent before the first command, because the controller holds the arm by itself and
        the measured position may be the reason to hold.

        Args:
            state: Newest state.
            now: Steady time [s].
        """
        self._link.hold()
        is_fresh = self._guard.is_sound(now)
        may_brake = is_fresh and self._link.may_brake
        if self._identifying is not None and self._identifying.is_due:
            self._identifying.interrupt()
            may_brake &= (
                self._mode != "torque"
            )  # the effect of torques on this arm is not known yet
        if self._link.held(state, fresh=is_fresh):
            self._safety.forget()
        command = self._actor.interrupt(state, fresh=may_brake)
        if self._mode == "position" and not self._output.left:
            self._safety.forget()
            return
        self._output.send(command, state, brakes=True)

    def is_late(self) -> bool:
        """Return whether a command that was just computed must not be sent: the step is late, its
        state is too old, or the arm was stopped meanwhile.

        The actor then holds the arm instead. If step or state are late, the safety filter is first
        set to the present time, so that it brakes from there.
        """
        now = time.monotonic()
        at = self._clock.at(now)
        is_late = at - self._due > self._guard.most_late_s
        is_old = at - self._clock.at(self._states.arrived) > self._max_state_age_s
        is_stopped = bool(self._guard.latch.reasons(time.monotonic()))
        if is_late or is_old:
            self._safety.elapsed(self._output.elapsed_s(at))
            self._output.begin_step(time.monotonic())
            if self._link.is_trying and self._states.newest is not None:
                self._safety.trust(self._states.newest, LEAD_RAD)
        return is_late or is_old or is_stopped

    # --- what a step notices first ---

    def _notice_overload(self, at: float, lateness_s: float) -> None:
        """If most steps are late, count a fault; for a real arm also require a start.

        Nothing is done where `/clock` is followed.

        Args:
            at: Control time [s].
            lateness_s: Lateness of this step [s of control time].
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
        """If a real arm in position mode was moved while it was commanded to rest, forget the last
        command, so that the next one starts where the arm is, and require a start.

        Nothing is done before the first command, and while the newest state cannot be trusted.

        Args:
            state: Newest state; None before the first.
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

    def _due_identification(self, state: RobotState | None) -> ArmIdentification | None:
        """Return the identification if it is due, else None. Ask the operator to start it.

        Args:
            state: Newest state; None before the first, when the operator is not asked yet.
        """
        identifying = self._identifying
        if identifying is None or not identifying.is_due:
            return None
        if state is not None:
            identifying.request_start(state)
        return identifying

    def _identify(self, identifying: ArmIdentification, state: RobotState) -> None:
        """Make a control step of the identification.

        After its end the arm is held, usual delay of states and latency are set to what was
        measured, and the actor begins with an approach at the next start.

        Args:
            identifying: The identification.
            state: Newest state.
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
