"""Hop 2 of the walk in lockstep: every published state gets one answer, in its callback.

The simulation steps when the command comes, and repeats its state while it waits. Of the guard only
stops from outside apply. Between transitions that the learner must have trained on, the command is
held back.
"""

from __future__ import annotations

import time

from sql_ros.nodes.control_loop import ControlLoop, LoopParts
from sql_ros.nodes.guard import FAULTS
from sql_ros.nodes.messages import LOCKSTEP_TRANSITIONS
from sql_ros.nodes.progress_intake import ProgressIntake
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.episode_actor import Step


class LockstepLoop(ControlLoop):
    """Answer states of a simulation that waits for commands.

    Args:
        parts: See `LoopParts`.
        learner: Says whether the learner has trained on everything.
        patience_s: Longest wait for the learner [s].
        trains: The actor makes transitions for the learner.

    Attributes:
        patience_s: As given; replaced when the parameter changes.
    """

    def __init__(
        self, parts: LoopParts, learner: ProgressIntake, patience_s: float, *, trains: bool
    ) -> None:
        super().__init__(parts)
        self._learner = learner
        self._trains = trains
        self.patience_s = patience_s
        self.prepare()

    def prepare(self) -> None:
        """Forget the last activation: no state was answered."""
        self._answered: tuple[RobotState, Vector] | None = None  # last state and its command
        self.waits_since = None
        self._was_learner_silent = False  # the last wait for the learner ended without it

    def on_state(self, state: RobotState, arrived: float) -> None:
        """Keep a state that arrived at a steady time [s], and answer it."""
        self._states.newest = state
        self._states.arrived = arrived
        self._answer(state)

    def begin(self) -> None:
        """Answer the state that came before the barrier opened."""
        self._was_learner_silent = False
        if self._states.newest is not None:
            self._answer(self._states.newest)

    def on_progress(self) -> None:
        """Send the command that is held back, if the report allows it."""
        self._was_learner_silent = False
        self.release()

    def _answer(self, state: RobotState) -> None:
        """Send a command for a state, then deliver what the step gave.

        A repeated state gets the same command again.
        """
        with self._lock:
            if self._ended.is_set():
                return
            if self._barrier.reasons:
                self._guard.note(self._barrier.reasons, time.monotonic())
                return
            is_stopped = self._is_stopped()
            if self._link.is_silent:
                self._answered = None
                self.waits_since = None
                return  # the simulation repeats the state
            step = self._command(state, is_stopped=is_stopped)
            if self.waits_since is None and self._answered is not None:
                self._output.send(self._answered[1], state)
            if step is not None:
                self._deliver(step)  # after the command: the simulation steps meanwhile
            if step is not None or is_stopped:
                self._stepped()
        self.release()

    def _command(self, state: RobotState, *, is_stopped: bool) -> Step | None:
        """Make the command for a state, and keep both as answered.

        Args:
            state: Of the arm.
            is_stopped: The command must be a hold.

        Returns:
            The step; None for a hold and for a repeated state.
        """
        if is_stopped:
            self.waits_since = None
            self._answered = (state, self._actor.interrupt(state))
            return None
        if self._answered is not None and state.stamp_ns == self._answered[0].stamp_ns:
            return None
        self._limit_speed()
        step = self._actor.step(state)
        self._meter.periods.tick()
        if step.fault:
            self._guard.note({step.fault: FAULTS[step.fault]}, time.monotonic())
        self._answered = (state, step.command)
        if self._trains and self._must_wait_after(step):
            self.waits_since = time.monotonic()
            self._meter.periods.forget()
        return step

    def _must_wait_after(self, step: Step) -> bool:
        """Return whether the command of a step waits for the learner.

        It does at the end of an episode, and after every `LOCKSTEP_TRANSITIONS` transitions unless
        the last wait ended without the learner.
        """
        if step.summary is not None:
            return True
        if step.transition is None or self._was_learner_silent:
            return False
        return (self._outbox.made + 1) % LOCKSTEP_TRANSITIONS == 0

    def release(self) -> None:
        """Send the command that is held back, once the learner has trained on every transition and
        its newest policy acts.

        So runs in lockstep are the same to the bit. A learner that is silent for `patience_s` is
        not waited for any longer.
        """
        with self._lock:
            if self._ended.is_set() or self.waits_since is None or self._answered is None:
                return
            waited_s = time.monotonic() - self.waits_since
            if self._is_stopped():
                self._answered = (self._answered[0], self._actor.interrupt(self._answered[0]))
            elif not self._learner.is_level:
                if waited_s < self.patience_s:
                    return
                self._give_learner_up(waited_s)
            self.waits_since = None
            self._output.send(self._answered[1], self._answered[0])

    def _give_learner_up(self, waited_s: float) -> None:
        """Go on without the learner after a wait [s]; report it unless no wait is asked for."""
        self._was_learner_silent = True
        if self.patience_s:
            self._diagnostics.fault(
                "learner_silent", f"no progress for {waited_s:.0f} s; going on without"
            )

    def _is_stopped(self) -> bool:
        """Note what holds the arm now, and return whether anything does."""
        now = time.monotonic()
        reasons = self._guard.stops(now)
        self._guard.note(reasons, now)
        return bool(reasons)
