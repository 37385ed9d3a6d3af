"""The actor: it takes a state, returns a safe command, and completes the transition that led to
this state.

=============  ==============================================  =====================================
phase          what the actor does                             ends with
=============  ==============================================  =====================================
`APPROACHING`  moves to the start pose and rests there         the first action of the episode
`ACTING`       sends actions, completes transitions            the end of the episode
`RELEASING`    leaves the arm alone for `release_steps`        the summary of the episode
`RETRYING`     holds, because the policy's last action was     an action that is finite and in time
               not finite or came too late
=============  ==============================================  =====================================

`Actor.forget` and `Actor.interrupt` give up an episode and lead back to `APPROACHING`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from sql_ros.policy.blend import Blend
from sql_ros.policy.runtime import Policy
from sql_ros.policy.transition import Transition
from sql_ros.robot.arm import RobotState, Vector, has_jumped
from sql_ros.robot.control.action_mapper import Action, ActionMapper, AppliedAction
from sql_ros.robot.control.episode_rules import DrawnEpisodes, EpisodeRules
from sql_ros.robot.control.object_placement import ObjectPlacement
from sql_ros.robot.control.step import EpisodeSummary, Step
from sql_ros.robot.control.way_to_start import WayToStart
from sql_ros.robot.task import Episode, Task

# largest number of candidates that are compared where an obstacle or position limit forbids the
# first one
MOST_CANDIDATES = 8
CANDIDATE_S = 0.5e-3  # largest time to filter one candidate near an obstacle
SEARCH_SHARE = 0.1  # share of a control period that the comparison may take


class Phase(enum.Enum):
    """What the actor does in a control step, see the module's table."""

    APPROACHING = enum.auto()
    ACTING = enum.auto()
    RELEASING = enum.auto()
    RETRYING = enum.auto()


@dataclass
class _Running:
    """An episode under way.

    Attributes:
        observation: Observation for which the last action was selected (S,).
        applied: The last action; None before the first.
        is_first: The last action is the first one since a newer state came. Only then does the next
            state complete a transition.
        policy_version: Version of the policy that selected the last action; 0 for uniform
            exploration.
        steps: Number of control steps so far.
        total_reward: Sum of rewards so far.
        streak: Number of consecutive states at the goal, up to now.
    """

    observation: Action
    applied: AppliedAction | None = None
    is_first: bool = True
    policy_version: int = 0
    steps: int = 0
    total_reward: float = 0.0
    streak: int = 0


class Actor:
    """Select actions, pair them to transitions, and count episodes.

    One call of `step` per control period does what `select_action` and `observe` do in Acme.

    Args:
        task: The task. It gives observation, reward and episodes.
        seed: Seed of start poses, targets, exploration and the policy's noise.
        deterministic: Act by the ranking of many candidates (`Policy.ranked`) instead of sampling
            one.
        explores: Act uniformly at random while there is no policy; if false, hold.
        mapper: Maps actions to commands; None: a new one for the task. Building one takes a moment,
            so several actors may share one.
        rules: Rules of the episodes; None: they are drawn from the task (`DrawnEpisodes`).

    Attributes:
        rules: As given.
        policy: The acting policy; None: there is none yet. Replace it by one assignment between two
            steps.
        safety: Safety filter that every command passes.
        deterministic: As given. If true, the policy must be able to rank.
        temperature: Temperature of a deterministic actor. At 0 the best candidate acts; above 0 a
            candidate is drawn with probability proportional to exp(Q / temperature). Replace it by
            one assignment between two steps.
        is_late: Function that is called after the policy has answered. It returns whether the
            command would leave too late; then the actor holds.
        episode: The episode under way, or the one whose start pose is approached.
        phase: Phase of the next step.
        way: Way to the start pose of the episode.
        placement: Asks for the episode's objects to be placed; the episode waits for them.
        given_up: Number of episodes that were begun and not finished.
        skipped: Number of control steps of episodes that made no transition, because the state was
            not newer than at the step before, or because two actions had acted since the last newer
            state.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        *,
        deterministic: bool = False,
        explores: bool = True,
        mapper: ActionMapper | None = None,
        rules: EpisodeRules | None = None,
    ) -> None:
        self.task = task
        self.rules = rules or DrawnEpisodes(task)
        self.policy: Policy | Blend | None = None
        self._mapper = mapper or ActionMapper(task)
        self.safety = self._mapper.safety
        self.deterministic = deterministic
        self._explores = explores
        self.temperature = 0.0
        period_s = 1.0 / task.config.control_rate_hz
        affordable = max(round(SEARCH_SHARE * period_s / CANDIDATE_S), 1)
        self._most_candidates = min(affordable, MOST_CANDIDATES)
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self.phase = Phase.APPROACHING
        self.way = WayToStart(self._mapper, period_s)
        self.placement = ObjectPlacement(task.config.objects, period_s)
        self._running: _Running | None = None  # while ACTING or RELEASING
        self._released = 0  # control steps while RELEASING
        self._index = 0  # number of the episode
        self._switched_from: EpisodeSummary | None = None  # summary for the step that begins
        self._spent = 0  # control steps of attempts at this episode that were given up
        self.given_up = 0
        self.skipped = 0
        self._last_state: RobotState | None = None
        self._is_repeated = False  # the state of this step is the same as at the step before
        self._inference_s = 0.0  # time that the policy took for this step's first candidate
        self.is_late: Callable[[], bool] = _never
        self._fastest = np.array(task.robot.velocity_limit)
        self.episode = task.begin(self._rng)

    # --- between steps ---

    def begin(self, episode: Episode) -> None:
        """Start an episode with the next step, right where the arm is, instead of moving to its
        start pose first.

        An episode under way is dropped without a summary, and is not counted in `given_up`. In
        phase `RETRYING`, the episode starts once the policy gives a valid action. The safety filter
        forgets what was sent, since the caller has put a simulated arm elsewhere. The rules may
        replace the episode (`EpisodeRules.on_begin`).

        Args:
            episode: Start pose, target and objects, which the caller has placed.
        """
        self.episode = episode
        self._running = None
        self._released = 0
        self._spent = 0
        self.way.skip()
        self.placement.assume_requested()
        if self.phase is not Phase.RETRYING:
            self.phase = Phase.APPROACHING
        self._last_state = None
        self.safety.forget()
        self.rules.on_begin()

    def reseed_after(self, transitions: int) -> None:
        """Restart the random numbers from the seed and a number of transitions.

        A run that is resumed after some transitions so draws other numbers than at its beginning.

        Args:
            transitions: Number of transitions made before the run was resumed.
        """
        self._rng = np.random.default_rng([self._seed, transitions])

    @property
    def is_idle(self) -> bool:
        """Return whether there is nothing to act with: no policy, and `explores` is false."""
        return self.policy is None and not self._explores

    @property
    def is_running(self) -> bool:
        """Return whether an episode is under way: it has begun, and has no summary yet."""
        return self._running is not None

    @property
    def is_at_goal(self) -> bool:
        """Return whether an episode is under way, and the tool is at its goal for the task's
        `hold_steps` or longer.
        """
        return self._running is not None and self._running.streak >= self.task.hold_steps

    def forget(self) -> None:
        """Give up an episode under way, and forget the last state, the trail and the commands sent.

        Call this when the arm may have been moved by something else.
        """
        self.give_up()
        self.safety.forget()
        self.way.trail.clear()
        self._last_state = None

    def interrupt(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Give up an episode under way, and return the command of a hold.

        The safety filter records the hold as sent. No transition spans the gap.

        Args:
            state: The last known state.
            fresh: Whether the state was measured just now; see `SafetyFilter.hold`.

        Returns:
            Command (N,), in the unit of the command mode.
        """
        self.rules.on_interrupt(fresh=fresh)
        self.give_up()
        return self.safety.hold(state, fresh=fresh)

    def give_up(self) -> None:
        """Give up an episode under way, count it in `given_up`, and return to the way to the start
        pose (phase `APPROACHING`).

        The control steps made so far still count in `EpisodeSummary.robot_steps`. The rules are
        told (`EpisodeRules.on_give_up`). Between episodes nothing happens.
        """
        if self._running is not None:
            self.given_up += 1
            self._spent += self.way.steps + self._running.steps + self._released
            self._running = None
            self._released = 0
            self.way.restart()
            self.placement.forget()
            self.phase = Phase.APPROACHING
            self.rules.on_give_up()

    def switch_episode(
        self, episode: Episode, state: RobotState, *, finishes_present: bool
    ) -> None:
        """Replace the episode by another one. Only for `EpisodeRules.begin_step`.

        Args:
            episode: The new episode.
            state: State of the arm now.
            finishes_present: Whether an episode under way is finished: its summary becomes that of
                the step that begins. Otherwise it is given up.
        """
        if self._running is not None and finishes_present:
            self._switched_from = self._finish(self._running, state, success=self.is_at_goal)
        self.give_up()
        self.episode = episode

    # --- a step ---

    def step(
        self, state: RobotState, send: Callable[[Vector], None] = lambda command: None
    ) -> Step:
        """Advance by one control step, and call the rules before and after it.

        If the rules forbid motion (`EpisodeRules.begin_step`), the step is a hold. If the arm is
        where it cannot have moved to since the last state (`has_jumped`), the actor first calls
        `EpisodeRules.on_jump` and `forget`.

        Args:
            state: State of the arm now, one control period after the last call. The same state
                again means that no newer one came.
            send: Receives the command (N,) as soon as it is known, once per step. Reward and
                transition are computed after that.

        Returns:
            The command, and what the step completed.
        """
        may_move = self.rules.begin_step(state)
        summary = self._switched_from
        self._switched_from = None
        if self._jumped(state):
            self.rules.on_jump()
            self.forget()
        last = self._last_state
        self._last_state = state
        self._is_repeated = last is not None and state.stamp_ns == last.stamp_ns
        if not may_move:
            held = self.safety.hold(state)
            send(held)
            self.rules.end_hold(state)
            return Step(held)
        step = self._make_step(state, send)
        if summary is not None:
            step = replace(step, summary=summary)
        self.rules.end_step(state, step)
        return step

    def _make_step(self, state: RobotState, send: Callable[[Vector], None]) -> Step:
        """Make a control step of the present phase in which the arm may move, and give its command
        to `send` once. In phase `RELEASING` the pose is added to the trail.

        Args:
            state: State of the arm now.
            send: Receives the command (N,) as soon as it is known.

        Returns:
            The result of the method of the phase.
        """
        running = self._running
        if self.phase is Phase.ACTING:
            assert running is not None
            return self._continue_episode(running, state, send)
        if self.phase is Phase.RELEASING:
            assert running is not None
            self.way.trail.add(state.position)
            step = self._release(running, state)
        elif self.phase is Phase.RETRYING:
            step = self._retry(state)
        else:
            step = self._approach(state)
        send(step.command)
        return step

    def _jumped(self, state: RobotState) -> bool:
        """Return whether the arm cannot have moved to this state since the last one.

        Then the arm was reset, or the state is wrong. False if there is no last state.
        """
        return self._last_state is not None and has_jumped(self._last_state, state, self._fastest)

    def _approach(self, state: RobotState) -> Step:
        """Make a step in phase `APPROACHING`: move towards the start pose, or begin the episode.

        The episode begins at once if the rules say so (`EpisodeRules.begins_here`), otherwise after
        more than `rest_steps` at rest at the start pose, or when the time for the way is up. The
        arm is held if the actor is idle, if the rules forbid to move or to begin, or while objects
        are to be placed. Unless the rules forbid to move, `way.rested` is updated.

        Args:
            state: State of the arm now.

        Returns:
            The result of `_begin_episode` if the episode begins, otherwise a step with the command
            alone. The command is not given to `send` here.
        """
        if self.rules.begins_here() and not self.is_idle:
            return self._begin_episode(state)
        if not self.rules.may_approach(state):
            return Step(self.safety.hold(state))
        has_arrived = self.way.count_rest(self.episode.start, state)
        if self.is_idle:
            return Step(self.safety.hold(state))
        if self.way.rested <= self.task.rest_steps and not self.way.is_too_long:
            return Step(self.way.command(self.episode.start, state))
        if has_arrived:
            self.way.trail.clear()
        if not self.rules.may_begin() or not self.placement.is_done(self.episode, state):
            return Step(self.safety.hold(state))
        return self._begin_episode(state)

    def _begin_episode(self, state: RobotState) -> Step:
        """Select the first action of the episode and enter phase `ACTING`, or `RETRYING` if the
        action has a fault.

        Returns:
            The step, with the episode's target and without a transition. If the action has a fault,
            the command is a hold, and the episode is given up and counted. The command is not given
            to `send` here.
        """
        observation = self.task.observe(state, self.episode)
        self._running = _Running(observation)
        self.phase = Phase.ACTING
        command, fault = self._act(self._running, state, observation)
        return Step(command, target=self.episode.target, fault=fault, inference_s=self._inference_s)

    def _continue_episode(
        self, running: _Running, state: RobotState, send: Callable[[Vector], None]
    ) -> Step:
        """Make a step in phase `ACTING`: select the next action, or end the episode.

        If the next action has a fault, the command is a hold, and the episode is given up. The
        transition of the last action is returned all the same. The pose is added to the trail.

        Args:
            running: The episode.
            state: State that the last action led to.
            send: Receives the command as soon as it is known.

        Returns:
            The step. Its command was already given to `send`. Its transition is that of the last
            action. The transition is None, and the step counted in `skipped`, if the state is not
            newer than the last one or if another action acted since the last newer state. The step
            has a summary if the episode ended, unless the arm is left alone first.
        """
        observation = self.task.observe(state, self.episode)
        terminated = self.task.is_terminated(state, self.episode)
        running.steps += 1
        truncated = not terminated and self.rules.is_over(running.steps, state)
        index, step_index, version = self._index, running.steps - 1, running.policy_version
        before, applied = running.observation, running.applied
        assert applied is not None  # an episode begins with an action
        is_whole = running.is_first and not self._is_repeated
        is_over = terminated or truncated
        fault = ""
        inference_s = 0.0
        if not is_over:
            command, fault = self._act(running, state, observation)
            inference_s = self._inference_s
            send(command)
        self.way.trail.add(state.position)
        reward = self._reward(running, applied, state)
        summary = None
        if is_over:
            command, summary = self._end_episode(running, state, truncated=truncated)
            send(command)
        transition = None
        if is_whole:
            transition = Transition(
                before, applied.action, reward, observation, terminated, truncated
            )
        else:
            self.skipped += 1
        return Step(
            command,
            transition,
            summary,
            None,
            index,
            step_index,
            version,
            fault,
            inference_s,
        )

    def _reward(self, running: _Running, applied: AppliedAction, state: RobotState) -> float:
        """Return the reward of an action that led to a state, and update `total_reward` and
        `streak`. The reward is computed from the action that corresponds to the filtered command.
        """
        reward = self.task.transition_reward(state, applied.applied, self.episode)
        running.total_reward += reward
        running.streak = running.streak + 1 if self.task.is_reached(state, self.episode) else 0
        return reward

    def _end_episode(
        self, running: _Running, state: RobotState, *, truncated: bool
    ) -> tuple[Vector, EpisodeSummary | None]:
        """End the actions of an episode, and finish it or enter phase `RELEASING`.

        Args:
            running: The episode.
            state: The last state.
            truncated: The episode's time is up. If the task has a `release_s`, the arm is then left
                alone before success is judged.

        Returns:
            Command (N,) in the unit of the command mode, and the summary. If the arm is left alone
            first, the command is that of `ActionMapper.release`, and the summary is None. Otherwise
            the command already moves the arm towards the start pose of the next episode.
        """
        if truncated and self.task.release_steps:
            self.phase = Phase.RELEASING
            self._released = 1
            return self._mapper.release(state), None
        success = self.is_at_goal
        summary = self._finish(running, state, success=success, terminated=not truncated)
        return self.way.command(self.episode.start, state), summary

    def _release(self, running: _Running, state: RobotState) -> Step:
        """Make a step in phase `RELEASING`: leave the arm alone, or finish the episode after
        `release_steps`.

        The episode succeeds if the tool was at the goal in the last `hold_steps` states before the
        release, and is there now.

        Args:
            running: The episode.
            state: State of the arm now.

        Returns:
            A step with the command alone while the arm is left alone. The step that finishes the
            episode has its summary, and its command already moves the arm towards the start pose of
            the next episode (phase `APPROACHING`). The command is not given to `send` here.
        """
        if self._released < self.task.release_steps:
            self._released += 1
            return Step(self._mapper.release(state))
        success = self.is_at_goal and self.task.is_reached(state, self.episode)
        summary = self._finish(running, state, success=success)
        return Step(self.way.command(self.episode.start, state), None, summary)

    def _retry(self, state: RobotState) -> Step:
        """Make a step in phase `RETRYING`: hold, and ask the policy for an action that is not sent.

        If the action is finite and in time, the next step continues on the way to the start pose.

        Args:
            state: State of the arm now.

        Returns:
            A hold, with the fault of the action; empty if the action is finite and in time.
        """
        observation = self.task.observe(state, self.episode)
        wished = next(self._candidates(self.policy, observation))
        fault = self._fault(wished)
        if not fault:
            self.phase = Phase.APPROACHING
        return Step(self.safety.hold(state), fault=fault)

    # --- parts of a step ---

    def _act(self, running: _Running, state: RobotState, observation: Action) -> tuple[Vector, str]:
        """Select an action for an observation, filter it, and store both in the episode.

        If the action is not finite or late, the episode is given up and the phase becomes
        `RETRYING`. The time of the policy is stored in `_inference_s`. The safety filter records
        the command as sent; the caller has to give it to `send`.

        Args:
            running: The episode.
            state: The last state of the arm.
            observation: Observation of this state (S,).

        Returns:
            Command (N,) in the unit of the command mode; and the fault that made it a hold, empty
            without one. See `Step.fault`.
        """
        policy = self.policy  # one read: the node may swap it at any time
        candidates = self._candidates(policy, observation)
        began = time.perf_counter()
        wished = next(candidates)
        self._inference_s = time.perf_counter() - began if policy else 0.0
        fault = self._fault(wished)
        if fault:
            self.give_up()
            self.phase = Phase.RETRYING
            return self.safety.hold(state), fault
        running.applied = self._mapper.act(wished, state, lambda: candidates)
        running.is_first = not self._is_repeated
        running.observation = observation
        running.policy_version = policy.info.version if policy else 0
        return running.applied.command, ""

    def _candidates(self, policy: Policy | Blend | None, observation: Action) -> Iterator[Action]:
        """Yield at most `_most_candidates` actions (A,), the preferred one first, each computed
        when it is asked for.

        A deterministic actor yields `Policy.ranked`, or `Policy.tempered` if `temperature` is not
        0. Any other actor samples each action from the policy.

        Args:
            policy: The acting policy; None: the actions are uniform in [-1, 1].
            observation: Observation (S,) for which the actions are selected.
        """
        if policy is None:
            for _ in range(self._most_candidates):
                yield self._rng.uniform(-1.0, 1.0, self.task.spec.action_size).astype(np.float32)
        elif self.deterministic and self.temperature:
            yield from islice(
                policy.tempered(observation, self._rng, self.temperature), self._most_candidates
            )
        elif self.deterministic:
            yield from islice(policy.ranked(observation, self._rng), self._most_candidates)
        else:
            for _ in range(self._most_candidates):
                yield policy.sample(observation, self._rng)

    def _fault(self, wished: Action) -> str:
        """Return why an action (A,) that the policy has just given must not be sent; empty if it
        may be.

        See `Step.fault`.
        """
        if not np.isfinite(wished).all():
            return "policy_non_finite"
        return "policy_late" if self.is_late() else ""

    def _finish(
        self, running: _Running, state: RobotState, *, success: bool, terminated: bool = False
    ) -> EpisodeSummary:
        """Close the episode, set `episode` to the next one that the rules give, and return to
        phase `APPROACHING`.

        The way to the start pose begins anew, and the number of the episode rises by 1.

        Args:
            running: The episode.
            state: Its last state, from which `distance` is computed.
            success: Whether the episode succeeded.
            terminated: Whether the task ended it.

        Returns:
            The summary of the closed episode.
        """
        summary = EpisodeSummary(
            index=self._index,
            steps=running.steps,
            robot_steps=self._spent + self.way.steps + running.steps + self._released,
            undiscounted_return=running.total_reward,
            success=success,
            distance=self.task.distance(state, self.episode),
            policy_version=running.policy_version,
            terminated=terminated,
        )
        self.phase = Phase.APPROACHING
        self._running = None
        self._released = 0
        self._spent = 0
        self.way.begin()
        self.placement.forget()
        self._index += 1
        self.episode = self.rules.next_episode(summary, self._rng)
        return summary


def _never() -> bool:
    """Return False: no command is too late. The default of `Actor.is_late`, where time waits for
    the policy.
    """
    return False
