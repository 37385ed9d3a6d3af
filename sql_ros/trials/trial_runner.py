"""Perturbation trials as the episodes of an actor.

It knows no ROS. The actor of a `TrialRunner` takes states and gives commands. The runner asks for
disturbances: a simulation by a `Disturbance`, an operator by a prompt. The same runner works in one
process with a simulation, in the stack beside the bridge, and on a real arm.

The recovery time of a trial counts from the end of its disturbance until the arm is at the goal for
good; where something is different during the whole episode, it counts from the beginning of the
episode. Every trial of a kind and size has the same draws for every policy, so policies can be
compared in pairs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sql_ros.policy.runtime import Policy
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.homing import has_arrived
from sql_ros.robot.control.step import EpisodeSummary, Step
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


class TrialRunner:
    """Runs the trials of a session as the episodes of an actor. Implements `EpisodeRules`.

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
        actor: The actor that makes the control steps.
        session: As given.
        pending_disturbance: What the simulation must do after this step; None: nothing.
        unreachable: Number of trials left out because the arm could not get to their start pose.
    """

    def __init__(
        self, task: Task, policy: Policy, session: Session, *, by_hand: bool = False, drive: Drive
    ) -> None:
        self.actor = Actor(task, 0, deterministic=True, explores=False, drive=drive, rules=self)
        self.actor.policy = policy
        self.session = session
        self._by_hand = by_hand
        self._task = task
        self._safety = drive.safety
        self.pending_disturbance: Disturbance | None = None
        self.unreachable = 0
        self._person = Person()
        self._waits_for_push = False
        self._is_disturbed = False  # the disturbance of the trial has begun
        self._was_reset = False  # the simulation was asked to put the arm at the start pose
        self._must_undo = False  # a disturbance that lasts must end before the next trial
        self._dynamics = Dynamics(task.robot, task.config.scene, 1.0 / task.config.control_rate_hz)
        self._prepare()

    @property
    def prompt(self) -> str:
        """Return what the operator is to do now; empty: nothing."""
        return self._person.prompt if self.session.trial is not None else ""

    def skip(self) -> None:
        """Leave the current trial out."""
        self.actor.give_up()
        self.session.skip()
        self._prepare()

    def repeat(self) -> None:
        """Start the current trial again."""
        self.actor.give_up()
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
        self.actor.give_up()
        self.session.abort()
        self._prepare()

    # --- rules of the actor's episodes, see `EpisodeRules` ---

    def begin_step(self) -> bool:
        """Return whether the arm may move: there is a trial, and no person needs it to stand.

        End the disturbance of the trial before, and set the largest speed.
        """
        self._undo_last_disturbance()
        if self.session.trial is None or self._person.must_stand:
            return False
        self._safety.reduce_speed(self._person.is_near)
        return True

    def end_hold(self, state: RobotState) -> None:
        """Tell the person near the arm whether it stands."""
        self._person.observe(state, self._safety.is_at_rest)

    def end_step(self, state: RobotState, step: Step) -> None:
        """Measure the trial, and begin its disturbance when it is due."""
        if step.target is not None:
            self._enter(state)
        if self.actor.is_running and self.session.trial is not None:
            self._watch_state(state, self.session.trial, step)

    def may_approach(self, state: RobotState) -> bool:
        """Return whether the arm moves on to its start pose; a trial begins there only.

        An arm that cannot get there is put back by the simulation; if that does not help, the trial
        is left out. With an operator, he is asked, and the arm is held.
        """
        way = self.actor.way
        if not way.is_too_long or has_arrived(self.actor.episode.start, state):
            return True
        way.restart()
        if self._by_hand:
            self._person.call(
                "it does not get to its start pose; clear its way, or skip the trial, or abort"
            )
            return False
        if self._was_reset:
            self.unreachable += 1
            self.skip()
        else:
            self._was_reset = True
            self.pending_disturbance = Disturbance("reset", 0.0)
        return True

    def may_begin(self) -> bool:
        """Return whether the trial may begin: no person is in reach."""
        return not self._person.is_near

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the time of the trial is up; by hand it begins with the push."""
        if self._by_hand and self._is_asked:
            since_s = 1e-9 * (state.stamp_ns - self._recovery_from_ns)
            return self._is_disturbed and since_s >= self._task.config.episode_s
        return steps >= self._task.episode_steps

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Close the trial, and return the episode of the next one."""
        self._close(summary.success)
        return self.actor.episode

    def on_begin(self) -> None:
        """Replace the episode by that of the current trial, in a simulation that was reset."""
        self._is_disturbed = False
        self._must_undo = False
        self._prepare()

    def on_give_up(self) -> None:
        """Prepare the trial again."""
        self._prepare()

    def on_jump(self) -> None:
        """Close a running trial as failed, after its disturbance."""
        if self.actor.is_running and self._is_disturbed:
            self._close(False)

    def on_interrupt(self, *, fresh: bool) -> None:
        """Close a running trial as failed, after its disturbance, if states are missing.

        Args:
            fresh: The last state was measured just now: the interruption is a stop.
        """
        self._undo_last_disturbance()
        if not fresh:
            self.on_jump()

    # --- a trial ---

    def _undo_last_disturbance(self) -> None:
        """Set `pending_disturbance` to end the disturbance of the trial before, or to None."""
        self.pending_disturbance = Disturbance("over", 0.0) if self._must_undo else None
        self._must_undo = False

    def _prepare(self) -> None:
        """Prepare the current trial: the arm moves to its start pose next."""
        self._waits_for_push = False
        self._must_undo |= self._is_disturbed and not self._by_hand
        self._is_disturbed = False
        self._was_reset = False
        if self.session.trial is not None:
            self.actor.episode = self.session.trial.episode
            self._call_operator(self.session.trial)

    def _call_operator(self, trial: Trial) -> None:
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

    def _enter(self, state: RobotState) -> None:
        """Start to measure the trial, at the first state of its episode."""
        self._entered_ns = state.stamp_ns
        self._recovery_from_ns = state.stamp_ns
        self._last_away_ns = state.stamp_ns
        self._deviation = 0.0
        self._interventions = sum(self._safety.interventions.values())
        self._is_disturbed = False
        self._pushed = False
        self._is_asked = False
        self._waits_for_push = False
        self._moved_on_ns = 0
        self._prompted_ns = 0
        self._push_detector = PushDetector(self._dynamics)
        self._push_seen_by = ""

    def _watch_state(self, state: RobotState, trial: Trial, step: Step) -> None:
        """Begin the disturbance when it is due, and update deviation and time of recovery.

        Args:
            state: The state of the arm.
            trial: The current trial.
            step: The control step in answer to the state.
        """
        at_s = 1e-9 * (state.stamp_ns - self._entered_ns)
        period_ns = round(1e9 / self._task.config.control_rate_hz)
        if self._by_hand and self._task.spec.command_mode == "torque":
            self._pushed = self._push_detector.sees(state, step.command)
        elif self._by_hand:
            self._pushed = self._push_detector.sees(state, None)
        if (
            not self._is_disturbed
            and trial.disturbance is not None
            and at_s >= max(trial.at_s, 1e-9 * SETTLED_STEPS * period_ns)
        ):
            self._disturb(state, trial.disturbance)
        if not self._task.is_reached(state, self.actor.episode):
            self._last_away_ns = state.stamp_ns
        if self._is_disturbed or trial.at_s == 0.0:
            self._deviation = max(self._deviation, self._task.distance(state, self.actor.episode))

    def _disturb(self, state: RobotState, disturbance: Disturbance) -> None:
        """Begin a disturbance.

        In simulation it becomes `pending_disturbance`, and a moved target changes the episode. By
        hand, a push is asked for, and a payload is in the hand already.

        Args:
            state: The state of the arm.
            disturbance: The disturbance of the trial.
        """
        if self._by_hand and disturbance.kind == "push":
            self._await_push(state, disturbance)
            return
        self._is_disturbed = True
        if self._by_hand:
            return  # the operator has put the payload there before
        self.pending_disturbance = disturbance
        if disturbance.kind == "moved_target":
            self.actor.episode = replace(self.actor.episode, target=np.array(disturbance.vector))
        if disturbance.kind in ("push", "moved_target"):  # recovery counts from their end
            self._recovery_from_ns = state.stamp_ns + round(
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
            self._is_asked = True
            self._waits_for_push = True
            self._person.call(f"lay a hand on {push.body}", "wait until the push is asked for")
        # first step after the confirmation: estimates of the standing arm do not count
        elif not self._moved_on_ns:
            self._moved_on_ns = now_ns
            self._push_detector = PushDetector(self._dynamics)
        elif not self._prompted_ns:
            if self._push_detector.is_ready and 1e-9 * (now_ns - self._moved_on_ns) > STARTED_S:
                self._prompted_ns = now_ns
                self._person.say(f"{_push_instruction(push)}, and {STEP_OUT}")
        elif self._pushed:
            self._waits_for_push = False
            self._is_disturbed = True
            self._recovery_from_ns = now_ns
            has_torques = self._push_detector.has_torques
            self._push_seen_by = "motion and torque" if has_torques else "motion"
            self._person.say(STEP_OUT)
        elif 1e-9 * (now_ns - self._prompted_ns) > PATIENCE_S:
            self.repeat()

    def _close(self, success: bool) -> None:
        """Record the result of the current trial, and prepare the next."""
        recovery_s = max(1e-9 * (self._last_away_ns - self._recovery_from_ns), 0.0)
        interventions = sum(self._safety.interventions.values()) - self._interventions
        self.session.close(success, recovery_s, self._deviation, interventions, self._push_seen_by)
        self.actor.give_up()
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
