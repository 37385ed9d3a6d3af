"""An actor whose episodes are perturbation trials.

It knows no ROS: states come in, and commands and wishes go out. A wish is a `Disturbance` for a
simulation, or a prompt for an operator. The same `TrialActor` runs in one process with a
simulation, in the stack beside the bridge, and on a real arm.

The recovery time of a trial counts from the end of its disturbance until the arm is at the goal for
good; where something is different during the whole episode, it counts from the beginning of the
episode. Every trial of a kind and size has the same draws for every policy, so policies can be
compared in pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sql_ros.policy.runtime import Policy
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.control.episode_actor import Actor, EpisodeSummary, Step
from sql_ros.robot.control.homing import has_arrived
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.task import Episode, Task
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.person import STEP_OUT, Person
from sql_ros.trials.push_detector import PushDetector
from sql_ros.trials.session import Session
from sql_ros.trials.trial import Trial

SETTLED_STEPS = 5  # steps of an episode before a disturbance
PATIENCE_S = 60.0  # time to wait for an operator's push, after which the trial starts again
STARTED_S = 1.0  # time of motion before an operator is asked to push


class TrialActor(Actor):
    """An actor whose episodes are the trials of a session.

    A trial that is interrupted by a stop starts again. After a disturbance that led to states that
    cannot be trusted, the arm did not recover.

    Before an operator is asked for something the arm stands, and it is slow until he has confirmed
    that he is out of reach (`trials/person.py`). No trial begins before that. In a trial with a
    push by hand, the arm recovers as slowly until then.

    Args:
        task: Task of the policy.
        policy: Policy that is tried, in its deterministic mode.
        session: Session with the trials.
        by_hand: An operator does what a simulation would do: pushes are asked for, waited for and
            detected.
        drive: Drive of the task.

    Attributes:
        policy: As given.
        session: As given.
        wish: What the simulation must do after this step; None: nothing.
        unreachable: Number of trials left out because the arm could not get to their start pose.
    """

    def __init__(
        self, task: Task, policy: Policy, session: Session, *, by_hand: bool = False, drive: Drive
    ) -> None:
        super().__init__(task, 0, deterministic=True, explores=False, drive=drive)
        self.policy, self.session, self._by_hand = policy, session, by_hand
        self.wish: Disturbance | None = None
        self.unreachable = 0
        self._person = Person()
        self._waits_for_push = False
        self._done = self._lasts = False
        self._dynamics = Dynamics(task.robot, task.config.scene, 1.0 / task.config.control_rate_hz)
        self._prepare()

    @property
    def prompt(self) -> str:
        """Return what the operator is to do now; empty: nothing."""
        return self._person.prompt if self.session.trial is not None else ""

    def step(
        self, state: RobotState, send: Callable[[Vector], None] = lambda command: None
    ) -> Step:
        """Make a control step as `Actor.step`, and set `wish`.

        Args:
            state: The state of the arm.
            send: Called with the command (N,) as soon as it is known.
        """
        self._wish_for_the_end()
        if self.session.trial is None or self._person.must_stand:
            held = self.safety.hold(state)
            send(held)
            self._person.observe(state, self.safety.is_at_rest)
            return Step(held)
        self.safety.reduce_speed(self._person.is_near)
        step = super().step(state, send)
        if step.target is not None:
            self._enter(state)
        if self._running is not None and self.session.trial is not None:
            self._watch_state(state, self.session.trial, step)
        return step

    def interrupt(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Hold the arm as `Actor.interrupt`, and close a trial whose states cannot be trusted.

        Args:
            state: The last state of the arm.
            fresh: It was measured just now: the interruption is a stop, not missing states.
        """
        self._wish_for_the_end()
        if not fresh and self._running is not None and self._done:
            self._close(False)
        return super().interrupt(state, fresh=fresh)

    def _wish_for_the_end(self) -> None:
        """Set `wish` to end what was done to the arm in the trial before, or to None."""
        self.wish = Disturbance("over", 0.0) if self._lasts else None
        self._lasts = False

    def _give_up(self) -> None:
        """End the episode as the actor, and prepare the trial again if it was running."""
        was_running = self._running is not None
        super()._give_up()
        if was_running:
            self._prepare()

    def skip(self) -> None:
        """Leave the current trial out."""
        self._give_up()
        self.session.skip()
        self._prepare()

    def repeat(self) -> None:
        """Start the current trial again."""
        self._give_up()
        self._prepare()

    def confirm(self, now: float) -> tuple[bool, str]:
        """Take that the operator did as asked, or is out of reach.

        Args:
            now: Steady time [s].

        Returns:
            Whether that is accepted, and a message for the operator.
        """
        if self._person.is_near and self._waits_for_push:
            return False, "no push was seen yet: push, or skip or repeat the trial"
        return self._person.confirm(now)

    def abort(self) -> None:
        """End the session; from now on the arm is held."""
        self._give_up()
        self.session.abort()
        self._prepare()

    def begin(self, episode: Episode) -> None:
        """Begin an episode as `Actor.begin`; it is replaced by that of the current trial."""
        super().begin(episode)
        self._done = self._lasts = False  # the simulation was reset
        self._prepare()

    def _prepare(self) -> None:
        """Prepare the current trial: the arm moves to its start pose next."""
        self._waits_for_push = False
        # a disturbance that lasts must end before the next trial
        self._lasts |= self._done and not self._by_hand
        # whether the disturbance has begun; whether the simulation was reset
        self._done = self._was_reset = False
        if self.session.trial is not None:
            self.episode = self.session.trial.episode
            self._call_for(self.session.trial)

    def _call_for(self, trial: Trial) -> None:
        """Ask the operator for what has to be done before a trial.

        An operator who was asked for something else may be in reach.
        """
        person = self._person
        if self._by_hand and trial.kind == "payload":
            person.call(f"put {trial.size:g} kg in the hand")
        elif person.must_stand:
            person.call("keep clear of its way to the next trial")
        else:
            person.say(STEP_OUT)

    def _approach(self, state: RobotState) -> Step:
        """Approach the start pose as the actor; a trial begins at its start pose only.

        An arm that cannot get there is put back by the simulation; if that does not help, the trial
        is left out. With an operator, he is asked.
        """
        if self._way.is_too_long and not has_arrived(self.episode.start, state):
            self._way.restart()
            if self._by_hand:
                self._person.call(
                    "it does not get to its start pose; clear its way, or skip the trial, or abort"
                )
                return Step(self.safety.hold(state))
            if self._was_reset:
                self.unreachable += 1
                self.skip()
            else:
                self._was_reset, self.wish = True, Disturbance("reset", 0.0)
        return super()._approach(state)

    def _begin_episode(self, state: RobotState) -> Step:
        """Begin the episode as the actor, once no person is in reach."""
        if self._person.is_near:
            return Step(self.safety.hold(state))
        return super()._begin_episode(state)

    def _enter(self, state: RobotState) -> None:
        """Start to measure the trial, at the first state of its episode."""
        self._entered_ns = self._from_ns = state.stamp_ns
        self._last_away_ns = state.stamp_ns
        self._deviation = 0.0
        self._interventions = sum(self.safety.interventions.values())
        self._done = self._pushed = self._is_asked = self._waits_for_push = False
        self._moved_on_ns = self._prompted_ns = 0
        self._push, self._seen_by = PushDetector(self._dynamics), ""

    def _watch_state(self, state: RobotState, trial: Trial, step: Step) -> None:
        """Begin the disturbance when it is due, and update deviation and time of recovery.

        Args:
            state: The state of the arm.
            trial: The current trial.
            step: The control step in answer to the state.
        """
        at_s = 1e-9 * (state.stamp_ns - self._entered_ns)
        period_ns = round(1e9 / self.task.config.control_rate_hz)
        if self._by_hand and self.task.spec.command_mode == "torque":
            self._pushed = self._push.sees(state, step.command)
        elif self._by_hand:
            self._pushed = self._push.sees(state, None)
        if (
            not self._done
            and trial.disturbance is not None
            and at_s >= max(trial.at_s, 1e-9 * SETTLED_STEPS * period_ns)
        ):
            self._disturb(state, trial.disturbance)
        if not self.task.is_reached(state, self.episode):
            self._last_away_ns = state.stamp_ns
        if self._done or trial.at_s == 0.0:
            self._deviation = max(self._deviation, self.task.distance(state, self.episode))

    def _disturb(self, state: RobotState, disturbance: Disturbance) -> None:
        """Begin a disturbance.

        In simulation it becomes `wish`, and a moved target changes the episode. By hand, a push is
        asked for, and a payload is in the hand already.

        Args:
            state: The state of the arm.
            disturbance: The disturbance of the trial.
        """
        if self._by_hand and disturbance.kind == "push":
            self._await_push(state, disturbance)
            return
        self._done = True
        if self._by_hand:
            return  # the operator has put the payload there before
        self.wish = disturbance
        if disturbance.kind == "moved_target":
            self.episode = replace(self.episode, target=np.array(disturbance.vector))
        if disturbance.kind in ("push", "moved_target"):  # recovery counts from their end
            self._from_ns = state.stamp_ns + round(
                1e9 * (disturbance.duration_s + disturbance.ramp_s)
            )

    def _await_push(self, state: RobotState, push: Disturbance) -> None:
        """Make the next step of a push by hand: call the operator, let the arm move, ask for the
        push, detect it.

        After `PATIENCE_S` without a push the trial starts again.

        Args:
            state: The state of the arm.
            push: The push to ask for.
        """
        now_ns = state.stamp_ns
        if not self._is_asked:
            self._is_asked = self._waits_for_push = True
            self._person.call(f"lay a hand on {push.body}", "wait until the push is asked for")
        # first step after the confirmation: estimates of the standing arm do not count
        elif not self._moved_on_ns:
            self._moved_on_ns = now_ns
            self._push = PushDetector(self._dynamics)
        elif not self._prompted_ns:
            if self._push.is_ready and 1e-9 * (now_ns - self._moved_on_ns) > STARTED_S:
                self._prompted_ns = now_ns
                self._person.say(f"{_push_instruction(push)}, and {STEP_OUT}")
        elif self._pushed:
            self._waits_for_push = False
            self._done, self._from_ns = True, now_ns
            self._seen_by = "motion and torque" if self._push.has_torques else "motion"
            self._person.say(STEP_OUT)
        elif 1e-9 * (now_ns - self._prompted_ns) > PATIENCE_S:
            self.repeat()

    def _jumped(self, state: RobotState) -> bool:
        """Return whether the arm has jumped, as the actor; the running trial is then closed as
        failed.
        """
        jumped = super()._jumped(state)
        if jumped and self._running is not None and self._done:
            self._close(False)
        return jumped

    def _is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the episode is over by time; with an operator its time begins with the
        push.
        """
        if self._by_hand and self._is_asked:
            return (
                self._done and 1e-9 * (state.stamp_ns - self._from_ns) >= self.task.config.episode_s
            )
        return super()._is_over(steps, state)

    def _next_episode(self, summary: EpisodeSummary) -> Episode:
        """Close the trial, and return the episode of the next one."""
        self._close(summary.success)
        return self.episode

    def _close(self, success: bool) -> None:
        """Record the result of the current trial, and prepare the next."""
        recovery_s = max(1e-9 * (self._last_away_ns - self._from_ns), 0.0)
        interventions = sum(self.safety.interventions.values()) - self._interventions
        self.session.close(success, recovery_s, self._deviation, interventions, self._seen_by)
        self._give_up()
        self._prepare()


def _push_instruction(push: Disturbance) -> str:
    """Describe a push for an operator who looks along x away from the robot's base, with y to his
    left.
    """
    axis = int(np.argmax(np.abs(push.vector)))
    directions = (
        ("back towards the base", "away from the base"),
        ("to the robot's right", "to the robot's left"),
        ("down", "up"),
    )
    return (
        f"push {push.body} {directions[axis][push.vector[axis] > 0]}, with about {push.size:g} N"
        f" for {push.duration_s:g} s, then let go"
    )
