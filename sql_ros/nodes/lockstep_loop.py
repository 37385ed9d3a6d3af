"""The control loop in lockstep: one command answers each state, in the callback of the state.

Step 2 of the path of a transition (CONTRIBUTING.md). The simulation waits for the command, steps
once on it, and publishes its state again while it waits. Only those reasons to hold that do not
depend on time apply (`Guard.stops`). At certain steps the command waits until the learner has
trained on all transitions, so that a run depends on its seed alone.
"""

from __future__ import annotations

import time

from sql_ros.nodes.control_loop import ControlLoop, LoopParts
from sql_ros.nodes.guard import FAULTS
from sql_ros.nodes.messages import LOCKSTEP_TRANSITIONS
from sql_ros.nodes.progress_intake import ProgressIntake
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.step import Step


class LockstepLoop(ControlLoop):
    """Answers the states of a simulation that waits for commands.

    Args:
        parts: Parts of the actor node.
        learner: Reports of the learner, which say whether it has trained on all transitions.
        patience_s: Longest wait of a command for the learner [s].
        trains: Whether the actor makes transitions for a learner.

    Attributes:
        patience_s: As given; may be replaced between two steps.
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
        """Reset the loop to the start of an activation: no state was answered."""
        # the last state that was answered, and its command
        self._answered: tuple[RobotState, Vector] | None = None
        self.waits_since = None
        self._was_learner_silent = False  # the last wait for the learner ended without a report

    def on_state(self, state: RobotState, arrived: float) -> None:
        """Store a state as the newest, and answer it.

        Args:
            state: The state.
            arrived: Steady time of its arrival [s].
        """
        self._states.take(state, arrived)
        self._answer(state)

    def begin(self) -> None:
        """Answer the newest state, which came before the barrier opened."""
        self._was_learner_silent = False
        if self._states.newest is not None:
            self._answer(self._states.newest)

    def on_progress(self) -> None:
        """Send the command that waits for the learner, if the report ends the wait."""
        self._was_learner_silent = False
        self.release()

    def _answer(self, state: RobotState) -> None:
        """Make a control step: send the command for a state, then publish the transition.

        A repeated state gets the same command again. Nothing is sent while the barrier is closed,
        while the link is silent, and while the command waits for the learner.

        Args:
            state: The state.
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
                self._output.send(self._answered[1], state, brakes=is_stopped)
            if step is not None:
                self._deliver(step)  # after the command: the simulation steps meanwhile
            if step is not None or is_stopped:
                self._stepped()
        self.release()

    def _command(self, state: RobotState, *, is_stopped: bool) -> Step | None:
        """Compute the command for a state, and store both in `_answered`.

        If the command must wait for the learner, `waits_since` is set.

        Args:
            state: State of the arm.
            is_stopped: Whether the command must be a hold.

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
        """Return whether the command of a step must wait for the learner.

        The command must wait at the end of an episode, and at every `LOCKSTEP_TRANSITIONS`-th
        transition unless the last wait ended without a report of the learner.

        Args:
            step: The step, whose transition is not published yet.
        """
        if step.summary is not None:
            return True
        if step.transition is None or self._was_learner_silent:
            return False
        return (self._outbox.made + 1) % LOCKSTEP_TRANSITIONS == 0

    def release(self) -> None:
        """Send the command that waits for the learner, if the wait is over.

        The wait ends when the learner has trained on every transition and its newest policy acts,
        or after `patience_s`. If the arm must be held by now, a hold is sent instead.
        """
        with self._lock:
            if self._ended.is_set() or self.waits_since is None or self._answered is None:
                return
            waited_s = time.monotonic() - self.waits_since
            is_stopped = self._is_stopped()
            if is_stopped:
                self._answered = (self._answered[0], self._actor.interrupt(self._answered[0]))
            elif not self._learner.is_level:
                if waited_s < self.patience_s:
                    return
                self._give_learner_up(waited_s)
            self.waits_since = None
            self._output.send(self._answered[1], self._answered[0], brakes=is_stopped)

    def _give_learner_up(self, waited_s: float) -> None:
        """Note that a wait ended without a report of the learner, so that commands wait at the ends
        of episodes only, until the next report. Count a fault, unless `patience_s` is 0.

        Args:
            waited_s: How long the command has waited [s].
        """
        self._was_learner_silent = True
        if self.patience_s:
            self._diagnostics.fault(
                "learner_silent", f"no progress for {waited_s:.0f} s; going on without"
            )

    def _is_stopped(self) -> bool:
        """Return whether the arm must be held now; record the reasons in the guard."""
        now = time.monotonic()
        reasons = self._guard.stops(now)
        self._guard.note(reasons, now)
        return bool(reasons)
