"""Run perturbation trials as the episodes of an actor. Without ROS.

The actor of a `TrialRunner` answers states with commands. The runner asks for the disturbances: a
simulation by `pending_disturbance`, an operator by `prompt`. The same runner is used with a
simulation in one process, in a stack with the sim_bridge, and on a real arm.

The recovery time of a trial is counted until the arm is at the goal and stays there. It begins with
the end of a push or move of the target; for other kinds, whose disturbance lasts during the whole
episode, with the episode. The trials of a kind and size have the same draws for every policy, so
policies can be compared in pairs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sql_ros.policy.runtime import Policy
from sql_ros.robot.arm import RobotState
from sql_ros.robot.control.action_mapper import ActionMapper
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

SETTLED_STEPS = 5  # least number of control steps of an episode before a disturbance
PATIENCE_S = 60.0  # time without a push after which a trial by hand starts again
STARTED_S = 1.0  # least time of motion before an operator is asked to push


class TrialRunner:
    """Runs the trials of a session as the episodes of an actor. Implements `EpisodeRules`.

    A trial that a stop interrupts starts again. A trial whose states cannot be trusted after its
    disturbance counts as failed: the arm did not recover.

    With `by_hand`, the arm stands still before the operator is asked to reach for it, and moves
    slowly until the operator has confirmed to be out of reach (`trials/person.py`). No trial begins
    before that confirmation. After a push by hand, the arm recovers slowly until then.

    Args:
        task: Task of the policy.
        policy: Policy that is tried, in its deterministic mode.
        session: Session with the trials.
        by_hand: Whether an operator makes the disturbances. Pushes are then asked for by a prompt,
            waited for and detected.
        mapper: Map from actions to commands of the task, with the safety filter.

    Attributes:
        actor: Actor that makes the control steps. Call its `step` and `interrupt`.
        session: As given.
        pending_disturbance: Disturbance that the simulation must make after this control step;
            None: there is none.
        unreachable: Number of trials left out because the arm could not reach their start pose.
    """

    def __init__(
        self,
        task: Task,
        policy: Policy,
        session: Session,
        *,
        by_hand: bool = False,
        mapper: ActionMapper,
    ) -> None:
        self.actor = Actor(task, 0, deterministic=True, explores=False, mapper=mapper, rules=self)
        self.actor.policy = policy
        self.session = session
        self._by_hand = by_hand
        self._task = task
        self._safety = mapper.safety
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
        """Return the prompt: what the operator is to do now. Empty if nothing is."""
        return self._person.prompt if self.session.trial is not None else ""

    def skip(self) -> None:
        """Give up the current trial without a result, and prepare the next one."""
        self.actor.give_up()
        self.session.skip()
        self._prepare()

    def repeat(self) -> None:
        """Give up the current trial, and prepare to start it again."""
        self.actor.give_up()
        self._prepare()

    def confirm(self, now: float) -> tuple[bool, str]:
        """Take a confirmation of the operator, see `Person.confirm`.

        The first confirmation after a call of the operator says that the operator is at the arm,
        which then moves at reduced speed. The second one says that the operator is out of its
        reach, and the arm moves at full speed. If the operator is to push the arm, the second one
        is refused until the push was seen.

        Args:
            now: Steady time [s].

        Returns:
            Whether the confirmation is accepted, and a message for the operator.
        """
        if self._person.is_near and self._waits_for_push:
            return False, "no push was seen yet: push, or skip or repeat the trial"
        return self._person.confirm(now)

    def abort(self) -> None:
        """Give up the current trial and end the session; from now on the arm is held."""
        self.actor.give_up()
        self.session.abort()
        self._prepare()

    # --- rules of the actor's episodes, see `EpisodeRules` ---

    def begin_step(self, state: RobotState) -> bool:
        """Begin a control step.

        Set `pending_disturbance` to the end of the last trial's disturbance, or to None. Reduce the
        speed while the operator is near.

        Args:
            state: Not used.

        Returns:
            Whether the arm may move. Not if the session is over, or the arm must stand still for
            the operator.
        """
        self._undo_last_disturbance()
        if self.session.trial is None or self._person.must_stand:
            return False
        self._safety.reduce_speed(self._person.is_near)
        return True

    def end_hold(self, state: RobotState) -> None:
        """Update the phase of the operator after a step in which the arm was held.

        Args:
            state: State of the arm.
        """
        self._person.observe(state, self._safety.is_at_rest)

    def end_step(self, state: RobotState, step: Step) -> None:
        """Measure the trial after a step, and begin its disturbance when it is due.

        The measurements are reset at the first step of an episode.

        Args:
            state: State of the arm that the step answered.
            step: The step.
        """
        if step.target is not None:
            self._enter(state)
        if self.actor.is_running and self.session.trial is not None:
            self._watch_state(state, self.session.trial, step)

    def begins_here(self) -> bool:
        """Return False: a trial begins at its start pose."""
        return False

    def may_approach(self, state: RobotState) -> bool:
        """Return whether the arm may move on to its start pose; otherwise it is held.

        If the arm is on the way for too long, `pending_disturbance` asks the simulation to reset
        the arm; the second time the trial is left out. With `by_hand` the operator is asked to
        clear the way of the arm instead, and the arm is held.

        Args:
            state: State of the arm.
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
        """Return whether the trial may begin: the operator is not near."""
        return not self._person.is_near

    def is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the time of the episode is up. In a trial with a push by hand, the time
        counts from the push, and is not up before.

        Args:
            steps: Number of control steps of the episode.
            state: State of the arm.
        """
        if self._by_hand and self._is_asked:
            since_s = 1e-9 * (state.stamp_ns - self._recovery_from_ns)
            return self._is_disturbed and since_s >= self._task.config.episode_s
        return steps >= self._task.episode_steps

    def next_episode(self, summary: EpisodeSummary, rng: np.random.Generator) -> Episode:
        """Record the result of the trial, and go on to the next one: its episode becomes that of
        the actor, and the operator is called if there is something to do.

        Args:
            summary: Summary of the trial's episode, of which success and outcome are used.
            rng: Not used, because all trials are drawn at the start of the session.

        Returns:
            The episode of the next trial; after the last one, the episode that has just ended.
        """
        self._close(summary.success, summary.outcome)
        return self.actor.episode

    def on_begin(self) -> None:
        """Replace the episode by that of the current trial. The simulation was reset, so that no
        disturbance has to be ended.
        """
        self._is_disturbed = False
        self._must_undo = False
        self._prepare()

    def on_give_up(self) -> None:
        """Prepare to start the current trial again, because its episode was given up."""
        self._prepare()

    def on_jump(self) -> None:
        """Record a running trial as failed, if its disturbance has begun: the arm has jumped."""
        if self.actor.is_running and self._is_disturbed:
            self._close(False)

    def on_interrupt(self, *, fresh: bool) -> None:
        """Record a running trial as failed, if its disturbance has begun and states are missing.
        After a stop the trial starts again. `pending_disturbance` is set as in `begin_step`.

        Args:
            fresh: Whether the last state is valid and recent, as in a stop.
        """
        self._undo_last_disturbance()
        if not fresh:
            self.on_jump()

    # --- a trial ---

    def _undo_last_disturbance(self) -> None:
        """Set `pending_disturbance` to "over" if the last trial's disturbance still lasts, else to
        None.
        """
        self.pending_disturbance = Disturbance("over", 0.0) if self._must_undo else None
        self._must_undo = False

    def _prepare(self) -> None:
        """Prepare the current trial: give its episode to the actor, and call the operator if there
        is something to do. The arm moves to the start pose next.

        In simulation, a disturbance of the trial before is marked as one that must end first. After
        the last trial, the actor keeps its episode.
        """
        self._waits_for_push = False
        self._must_undo |= self._is_disturbed and not self._by_hand
        self._is_disturbed = False
        self._was_reset = False
        if self.session.trial is not None:
            self.actor.episode = self.session.trial.episode
            self._call_operator(self.session.trial)

    def _call_operator(self, trial: Trial) -> None:
        """Ask the operator for what has to be done before a trial begins.

        For the kind "payload" the operator is to put the payload into the hand. Otherwise, an
        operator who was called before and may be in reach is to keep clear of the arm.

        Args:
            trial: The trial.
        """
        person = self._person
        if self._by_hand and trial.kind == "payload":
            person.call(f"put {trial.size:g} kg in the hand")
        elif person.must_stand:
            person.call("keep clear of its way to the next trial")
        else:
            person.say(STEP_OUT)

    def _enter(self, state: RobotState) -> None:
        """Reset all measurements of a trial, at the first state of its episode."""
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
        """Look for a push by hand, begin the disturbance when it is due, and update the largest
        deviation and the time at which the arm was last away from the goal.

        Args:
            state: State of the arm.
            trial: Current trial.
            step: Control step that answered the state.
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
        """Begin the disturbance of a trial.

        In simulation, set `pending_disturbance`; a moved target also changes the target of the
        episode. By hand, make the next step towards a push; a payload is in the hand already.

        Args:
            state: State of the arm.
            disturbance: The disturbance.
        """
        if self._by_hand and disturbance.kind == "push":
            self._await_push(state, disturbance)
            return
        self._is_disturbed = True
        if self._by_hand:
            return  # the operator has put the payload into the hand before
        self.pending_disturbance = disturbance
        if disturbance.kind == "moved_target":
            self.actor.episode = replace(self.actor.episode, target=np.array(disturbance.vector))
        if disturbance.kind in ("push", "moved_target"):  # recovery is counted from their end
            self._recovery_from_ns = state.stamp_ns + round(
                1e9 * (disturbance.duration_s + disturbance.ramp_s)
            )

    def _await_push(self, state: RobotState, push: Disturbance) -> None:
        """Go on with a push by hand. Called at every control step until the push was detected.

        The steps are: call the operator; after the confirmation let the arm move for `STARTED_S`;
        ask for the push; detect it. After `PATIENCE_S` without a push the trial starts again.

        Args:
            state: State of the arm.
            push: Push to ask for.
        """
        now_ns = state.stamp_ns
        if not self._is_asked:
            self._is_asked = True
            self._waits_for_push = True
            self._person.call(f"lay a hand on {push.body}", "wait until the push is asked for")
        # first step after the confirmation: the detector starts anew with the moving arm
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

    def _close(self, success: bool, outcome: str = "") -> None:
        """Record the result of the current trial, give up its episode, and prepare the next trial.

        Args:
            success: Whether the arm recovered.
            outcome: How its episode ended; empty: it is given up.
        """
        recovery_s = max(1e-9 * (self._last_away_ns - self._recovery_from_ns), 0.0)
        interventions = sum(self._safety.interventions.values()) - self._interventions
        self.session.close(
            success, recovery_s, self._deviation, interventions, self._push_seen_by, outcome
        )
        self.actor.give_up()
        self._prepare()


def _push_instruction(push: Disturbance) -> str:
    """Return text that asks an operator for a push, by the largest component of its force.

    The axes are those of the base frame: x away from the base, y to the robot's left, z up.

    Args:
        push: The push.
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
