"""The actor: a state comes in, a safe command goes out, and with it the transition that this state
completes.

=============  ==============================================  =====================================
phase          what the actor does                             ends with
=============  ==============================================  =====================================
`APPROACHING`  moves to the start pose and rests there         the first action of the episode
`ACTING`       sends actions, completes transitions            the end of the episode
`RELEASING`    leaves the arm alone for `release_steps`        the summary of the episode
`RETRYING`     holds, as the policy's last action was not      an action that is finite and in time
               finite or late
=============  ==============================================  =====================================

`Actor.forget` and `Actor.interrupt` give up an episode and lead back to `APPROACHING`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sql_ros.policy.runtime import Policy
from sql_ros.policy.transition import Transition
from sql_ros.robot.arm import RobotState, Vector, has_jumped
from sql_ros.robot.control.action_mapper import Action, Drive, Driven
from sql_ros.robot.control.way_to_start import WayToStart
from sql_ros.robot.task import Episode, Task

# largest number of candidates that are compared where a limit of place forbids the first one
MOST_CANDIDATES = 8
CANDIDATE_S = 0.5e-3  # largest time that one candidate takes near an obstacle
SEARCH_SHARE = 0.1  # share of a control period that the comparison may take


class Phase(enum.Enum):
    """What the actor does in a control step."""

    APPROACHING = enum.auto()
    ACTING = enum.auto()
    RELEASING = enum.auto()
    RETRYING = enum.auto()


@dataclass(frozen=True)
class EpisodeSummary:
    """A finished episode.

    Attributes:
        index: Number of the episode of this actor, from 0.
        steps: Control steps. Each makes a transition, except where no newer state came.
        robot_steps: Control steps including the way to the start pose.
        undiscounted_return: Sum of rewards.
        success: At the end of the episode the goal had been held as long as the task asks, and
            still was when the arm had been left alone.
        distance: To the goal in the last state [m].
        policy_version: Version of the policy that acted last; 0 for uniform exploration.
    """

    index: int
    steps: int
    robot_steps: int
    undiscounted_return: float
    success: bool
    distance: float
    policy_version: int


@dataclass(frozen=True)
class Step:
    """Result of one control step.

    Attributes:
        command: (N,) to send now, in the unit of the mode.
        transition: That the state completed; None if it completed none.
        summary: Of the episode that the state ended; None if it ended none.
        target: (3,) [m] of the episode that begins with this step; None if none begins.
        episode_index: Of the transition.
        step_index: Of the transition in its episode.
        policy_version: Version of the policy that chose the action of the transition.
        fault: Why the command is a hold: "policy_non_finite", "policy_late", or empty.
        inference_s: Time that the policy took for its first action; 0 where it was not asked [s].
    """

    command: Vector
    transition: Transition | None = None
    summary: EpisodeSummary | None = None
    target: Vector | None = None
    episode_index: int = 0
    step_index: int = 0
    policy_version: int = 0
    fault: str = ""
    inference_s: float = 0.0


@dataclass
class _Running:
    """An episode under way.

    Attributes:
        observation: (O,) that the last action answers.
        driven: The last action; None before the first.
        is_first: No other action has acted since the last newer state.
        policy_version: Version of the policy that chose the last action.
        steps: Control steps so far.
        total_reward: Sum of rewards so far.
        streak: Steps at the goal without a break, up to now.
    """

    observation: Action
    driven: Driven | None = None
    is_first: bool = True
    policy_version: int = 0
    steps: int = 0
    total_reward: float = 0.0
    streak: int = 0


class Actor:
    """Select actions, pair them to transitions and count episodes.

    Acme's select_action and observe in one call per control step.

    Args:
        task: Gives observation, reward and episodes.
        seed: Of start poses, targets, exploration and the policy's noise.
        deterministic: Act by the ranking of many candidates, see `Policy.ranked`, instead of
            sampling one.
        explores: Act uniformly while there is no policy; otherwise hold.
        drive: Of the task; one's own by default. Building one takes a moment, so those who make
            many actors share it.

    Attributes:
        policy: In use; replace it by one assignment between two steps.
        safety: Filter that every command passes.
        deterministic: As given; a policy must then be able to rank.
        temperature: Of a deterministic actor. At 0 it takes the best candidate, otherwise
            candidates are drawn as exp(Q / temperature). Replace it by one assignment between two
            steps.
        is_late: Asked once the policy has answered: whether its command would leave too late.
        episode: Under way, or approached.
        phase: Of the next step.
        given_up: Episodes that were interrupted.
        skipped: Control steps of episodes that made no transition: the state was not newer than at
            the step before, or two actions had acted since the last newer one.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        *,
        deterministic: bool = False,
        explores: bool = True,
        drive: Drive | None = None,
    ) -> None:
        self.task = task
        self.policy: Policy | None = None
        self._drive = drive or Drive(task)
        self.safety = self._drive.safety
        self.deterministic = deterministic
        self._explores = explores
        self.temperature = 0.0
        period_s = 1.0 / task.config.control_rate_hz
        affordable = max(round(SEARCH_SHARE * period_s / CANDIDATE_S), 1)
        self._most_candidates = min(affordable, MOST_CANDIDATES)
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self.phase = Phase.APPROACHING
        self._way = WayToStart(self._drive, period_s)
        self._running: _Running | None = None  # while ACTING or RELEASING
        self._released = 0  # control steps while RELEASING
        self._index = 0  # of the episode
        self._spent = 0  # control steps on attempts at the episode that were given up
        self.given_up = 0
        self.skipped = 0
        self._last_state: RobotState | None = None
        self._is_repeated = False  # the state of this step is that of the step before
        self._inference_s = 0.0  # of this step
        self.is_late: Callable[[], bool] = _never
        self._fastest = np.array(task.robot.velocity_limit)
        self.episode = task.begin(self._rng)

    # --- between steps ---

    def begin(self, episode: Episode) -> None:
        """Start an episode right where the arm is (a simulation was put there), instead of moving
        to its start pose first.
        """
        self.episode = episode
        self._running = None
        self._released = 0
        self._spent = 0
        self._way.skip()
        if self.phase is not Phase.RETRYING:
            self.phase = Phase.APPROACHING
        self._last_state = None
        self.safety.forget()

    def draw_after(self, transitions: int) -> None:
        """Draw from now on other numbers than an actor of this seed after fewer transitions: a run
        that goes on does not repeat itself.
        """
        self._rng = np.random.default_rng([self._seed, transitions])

    @property
    def is_idle(self) -> bool:
        """Return whether there is nothing to act with: no policy, and no leave to explore."""
        return self.policy is None and not self._explores

    def forget(self) -> None:
        """Give up an episode under way and forget what was sent: the arm may have been moved
        meanwhile.
        """
        self._give_up()
        self.safety.forget()
        self._way.trail.clear()
        self._last_state = None

    def interrupt(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Give up an episode under way and hold: no transition spans the gap.

        Args:
            state: Last known.
            fresh: It was measured just now.

        Returns:
            Command (N,) of the hold.
        """
        self._give_up()
        return self.safety.hold(state, fresh=fresh)

    def _give_up(self) -> None:
        """Start over from the way to the start pose; the steps made still count as robot time."""
        if self._running is not None:
            self.given_up += 1
            self._spent += self._way.steps + self._running.steps + self._released
            self._running = None
            self._released = 0
            self._way.restart()
            self.phase = Phase.APPROACHING

    # --- a step ---

    def step(
        self, state: RobotState, send: Callable[[Vector], None] = lambda command: None
    ) -> Step:
        """Advance by one control step.

        Args:
            state: Of the arm now, one control period after the last call.
            send: Takes the command as soon as it is known. What the arm need not wait for is
                computed after that.
        """
        if self._jumped(state):
            self.forget()
        last = self._last_state
        self._last_state = state
        self._is_repeated = last is not None and state.stamp_ns == last.stamp_ns
        running = self._running
        if self.phase is Phase.ACTING:
            assert running is not None
            return self._continue_episode(running, state, send)
        if self.phase is Phase.RELEASING:
            assert running is not None
            self._way.trail.add(state.position)
            step = self._release(running, state)
        elif self.phase is Phase.RETRYING:
            step = self._retry(state)
        else:
            step = self._approach(state)
        send(step.command)
        return step

    def _jumped(self, state: RobotState) -> bool:
        """Return whether the arm is where it cannot have moved to since the last state: it was
        reset, or the state is wrong.
        """
        return self._last_state is not None and has_jumped(self._last_state, state, self._fastest)

    def _approach(self, state: RobotState) -> Step:
        """Move towards the start pose, or begin the episode: after rest at the start pose, or where
        the way there takes too long.
        """
        has_arrived = self._way.look(self.episode.start, state)
        if self.is_idle:
            return Step(self.safety.hold(state))
        if self._way.rested <= self.task.rest_steps and not self._way.is_too_long:
            return Step(self._way.command(self.episode.start, state))
        if has_arrived:
            self._way.trail.clear()
        return self._begin_episode(state)

    def _begin_episode(self, state: RobotState) -> Step:
        """Select the first action of the episode."""
        observation = self.task.observe(state, self.episode)
        self._running = _Running(observation)
        self.phase = Phase.ACTING
        command, fault = self._act(self._running, state, observation)
        return Step(command, target=self.episode.target, fault=fault, inference_s=self._inference_s)

    def _continue_episode(
        self, running: _Running, state: RobotState, send: Callable[[Vector], None]
    ) -> Step:
        """Select the next action, or end the episode; complete the transition of the last action.

        Args:
            running: The episode.
            state: That the last action led to.
            send: Takes the command as soon as it is known.
        """
        observation = self.task.observe(state, self.episode)
        terminated = self.task.is_terminated(state, self.episode)
        running.steps += 1
        truncated = not terminated and self._is_over(running.steps, state)
        index, step_index, version = self._index, running.steps - 1, running.policy_version
        before, driven = running.observation, running.driven
        assert driven is not None  # an episode begins with an action
        is_whole = running.is_first and not self._is_repeated
        is_over = terminated or truncated
        fault = ""
        inference_s = 0.0
        if not is_over:
            command, fault = self._act(running, state, observation)
            inference_s = self._inference_s
            send(command)
        self._way.trail.add(state.position)
        reward = self._reward(running, driven, state)
        summary = None
        if is_over:
            command, summary = self._end_episode(running, state, truncated=truncated)
            send(command)
        transition = None
        if is_whole:
            transition = Transition(
                before, driven.action, reward, observation, terminated, truncated
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

    def _reward(self, running: _Running, driven: Driven, state: RobotState) -> float:
        """Return the reward of an action that led to a state; count it, and steps at the goal."""
        reward = self.task.reward(state, driven.applied, self.episode)
        running.total_reward += reward
        running.streak = running.streak + 1 if self.task.is_reached(state, self.episode) else 0
        return reward

    def _end_episode(
        self, running: _Running, state: RobotState, *, truncated: bool
    ) -> tuple[Vector, EpisodeSummary | None]:
        """End the actions of an episode.

        Args:
            running: The episode.
            state: The last one.
            truncated: Its time is up. The arm is then left alone before success is judged.

        Returns:
            Command (N,); and the summary, None where the arm is left alone first.
        """
        if truncated and self.task.release_steps:
            self.phase = Phase.RELEASING
            self._released = 1
            return self._drive.release(state), None
        summary = self._finish(running, state, running.streak >= self.task.hold_steps)
        return self._way.command(self.episode.start, state), summary

    def _release(self, running: _Running, state: RobotState) -> Step:
        """Leave the arm alone; then judge success by the goal that it is still at."""
        if self._released < self.task.release_steps:
            self._released += 1
            return Step(self._drive.release(state))
        is_held = running.streak >= self.task.hold_steps
        success = is_held and self.task.is_reached(state, self.episode)
        summary = self._finish(running, state, success)
        return Step(self._way.command(self.episode.start, state), None, summary)

    def _retry(self, state: RobotState) -> Step:
        """Hold; once the policy gives a finite action in time, the way to the start pose begins."""
        observation = self.task.observe(state, self.episode)
        wished = next(self._candidates(self.policy, observation))
        fault = self._fault(wished)
        if not fault:
            self.phase = Phase.APPROACHING
        return Step(self.safety.hold(state), fault=fault)

    # --- parts of a step ---

    def _act(self, running: _Running, state: RobotState, observation: Action) -> tuple[Vector, str]:
        """Select an action for an observation, filter it, and remember both.

        Args:
            running: The episode; given up where the action must not be sent.
            state: Of the arm.
            observation: (O,) of the state.

        Returns:
            Command (N,); and why it is a hold, empty if it is the action's. See `Step.fault`.
        """
        policy = self.policy  # one read: the node may swap it at any time
        candidates = self._candidates(policy, observation)
        began = time.perf_counter()
        wished = next(candidates)
        self._inference_s = time.perf_counter() - began if policy else 0.0
        fault = self._fault(wished)
        if fault:
            self._give_up()
            self.phase = Phase.RETRYING
            return self.safety.hold(state), fault
        running.driven = self._drive.act(wished, state, lambda: candidates)
        running.is_first = not self._is_repeated
        running.observation = observation
        running.policy_version = policy.info.version if policy else 0
        return running.driven.command, ""

    def _candidates(self, policy: Policy | None, observation: Action) -> Iterator[Action]:
        """Yield actions (A,) in order of preference, each drawn when it is asked for."""
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
        """Return what keeps an action (A,) that the policy has just given from being sent.

        Empty if nothing does. See `Step.fault`.
        """
        if not np.isfinite(wished).all():
            return "policy_non_finite"
        return "policy_late" if self.is_late() else ""

    def _is_over(self, steps: int, state: RobotState) -> bool:
        """Return whether the episode's time is up with this state."""
        return steps >= self.task.episode_steps

    def _finish(self, running: _Running, state: RobotState, success: bool) -> EpisodeSummary:
        """Close the episode, draw the next and return the summary."""
        summary = EpisodeSummary(
            index=self._index,
            steps=running.steps,
            robot_steps=self._spent + self._way.steps + running.steps + self._released,
            undiscounted_return=running.total_reward,
            success=success,
            distance=self.task.distance(state, self.episode),
            policy_version=running.policy_version,
        )
        self.phase = Phase.APPROACHING
        self._running = None
        self._released = 0
        self._spent = 0
        self._way.begin()
        self._index += 1
        self.episode = self._next_episode(summary)
        return summary

    def _next_episode(self, summary: EpisodeSummary) -> Episode:
        """Return the episode that follows a finished one: a drawn one."""
        return self.task.begin(self._rng)


def _never() -> bool:
    """Return that no command is too late, as where time waits for the policy."""
    return False
