"""The actor: a state comes in, a safe command goes out, and with it the transition that this state completes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sql_ros.core.policy import Policy
from sql_ros.core.replay import Transition
from sql_ros.robot.arm import RobotState, Vector, has_jumped
from sql_ros.robot.drive import Action, Drive, Driven
from sql_ros.robot.homing import LONGEST_S, STUCK_S, WAYS, Trail, has_arrived
from sql_ros.robot.task import Episode, Task

CANDIDATES = 8  # at most, where a limit of place forbids what the first one wants
CANDIDATE_S, SEARCH_SHARE = 0.5e-3, 0.1  # what one may cost, near something, and the share of a period that the search may take


@dataclass(frozen=True)
class EpisodeSummary:
    """A finished episode.

    Attributes:
        index: counts episodes of this actor from 0.
        steps: control steps; each makes a transition, except where no newer state came.
        robot_steps: control steps including the way to the start pose.
        undiscounted_return: sum of rewards.
        success: when the episode ended, the goal had been held as long as the task asks, and still was when the arm had been left alone.
        distance: to the goal in the last state [m].
        policy_version: that acted last; 0 stands for uniform exploration.
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
    """What one control step gave: the command (N,) to send now, and what the state completed, if anything."""

    command: Vector
    transition: Transition | None = None
    summary: EpisodeSummary | None = None
    target: Vector | None = None  # of the episode that begins with it
    episode_index: int = 0
    step_index: int = 0
    policy_version: int = 0
    fault: str = ""  # why the command is a hold: "policy_non_finite"
    inference_s: float = 0.0  # that the policy took to give its first action; 0 where it was not asked [s]


@dataclass
class _Running:
    """An episode under way."""

    observation: Action
    driven: Driven | None = None  # what became of the action chosen for it
    is_first: bool = True  # it is the first action for this state: no other acted between the two
    policy_version: int = 0
    steps: int = 0
    total_reward: float = 0.0
    streak: int = 0  # steps at the goal without a break, up to now


class Actor:
    """Acts, pairs (s, a, r, s') and keeps count of episodes; acme's select_action and observe in one call per control step.

    Args:
        task: what to do.
        seed: of start poses, targets, exploration and the policy's noise.
        deterministic: act by what many candidates say, see `Policy.ranked`, instead of sampling one.
        explores: act uniformly while there is no policy; otherwise hold.
        drive: of the task; one's own by default. Building one takes a moment, so those who make many actors share it.

    Attributes:
        policy: in use; replace it by one assignment between two steps.
        safety: the filter every command passes.
        deterministic: as given; a policy must then be able to rank.
        temperature: Of a deterministic actor; 0, or a policy's candidates are drawn as exp(Q / temperature).
            Replace it by one assignment between two steps.
        given_up: episodes that were interrupted.
        skipped: Control steps of episodes that made no transition: the state was not newer than at the
            step before, or two actions had acted since the last newer one.
    """

    def __init__(self, task: Task, seed: int, *, deterministic: bool = False, explores: bool = True, drive: Drive | None = None) -> None:
        self.task = task
        self.policy: Policy | None = None
        self._period = 1.0 / task.config.control_rate_hz
        self._drive = drive or Drive(task)
        self.safety = self._drive.safety
        self.deterministic, self._explores = deterministic, explores
        self.temperature = 0.0
        self._most_candidates = min(max(round(SEARCH_SHARE * self._period / CANDIDATE_S), 1), CANDIDATES)
        self._seed, self._rng = seed, np.random.default_rng(seed)
        self._index = 0
        self._moved = 0  # control steps on the way to the start pose
        self._rested = 0  # of these, at rest there
        self._stood = 0  # of these, at rest on the way, lately
        self._spent = 0  # before, on attempts at the same episode that were given up
        self._way = 0  # to the start pose: an index into WAYS
        self._trail = Trail()
        self._released = 0  # control steps since the end of the episode, while the arm is left alone
        self._running: _Running | None = None
        self.given_up = 0
        self.skipped = 0
        self._last_state: RobotState | None = None
        self._is_repeated = False  # the state of this step is that of the step before
        self._inference_s = 0.0
        self._doubts = False  # the policy's last output was not finite
        self._fastest = np.array(task.robot.velocity_limit)
        self.episode = task.begin(self._rng)

    def begin(self, episode: Episode) -> None:
        """Starts an episode right where the arm is (a simulation was put there), instead of moving to its start pose first."""
        self.episode, self._running, self._moved = episode, None, round(LONGEST_S / self._period)
        self._spent = self._released = 0
        self._last_state = None
        self.safety.forget()

    def draw_after(self, transitions: int) -> None:
        """Draws from now on other numbers than an actor of this seed that came to fewer: a run that goes on does not repeat itself."""
        self._rng = np.random.default_rng([self._seed, transitions])

    @property
    def is_idle(self) -> bool:
        """There is nothing to act with: no policy, and exploring is not allowed."""
        return self.policy is None and not self._explores

    def step(self, state: RobotState, send: Callable[[Vector], None] = lambda command: None) -> Step:
        """Advances by one control step.

        Args:
            state: of the arm now, one control period after the last call.
            send: takes the command as soon as it is known; what the arm need not wait for comes after.
        """
        if self._jumped(state):
            self.forget()
        last = self._last_state
        self._last_state = state
        self._is_repeated = last is not None and state.stamp_ns == last.stamp_ns
        if self._running is not None and not self._released:
            return self._go_on(self._running, state, send)
        if self._running is not None:
            self._trail.add(state.position)
            step = self._release(self._running, state)
        else:
            step = self._retry(state) if self._doubts else self._approach(state)
        send(step.command)
        return step

    def forget(self) -> None:
        """The arm may have been moved meanwhile: an episode under way is given up, and what was sent no longer counts."""
        self._give_up()
        self.safety.forget()
        self._trail.clear()
        self._last_state = None

    def interrupt(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """Gives the episode up (the state was late, or something is wrong) and holds: no transition spans the gap."""
        self._give_up()
        return self.safety.hold(state, fresh=fresh)

    def _give_up(self) -> None:
        """Starts over from the way to the start pose; the steps made still count as robot time."""
        if self._running is not None:
            self.given_up += 1
            self._spent += self._moved + self._running.steps + self._released
            self._running, self._moved, self._released = None, 0, 0

    def _go_on(self, running: _Running, state: RobotState, send: Callable[[Vector], None]) -> Step:
        """In the middle of an episode, or at its end: the next action, and the transition that the last one led to."""
        observation = self.task.observe(state, self.episode)
        terminated = self.task.is_terminated(state, self.episode)
        running.steps += 1
        truncated = not terminated and self._is_over(running.steps, state)
        made = (self._index, running.steps - 1, running.policy_version)
        before, driven = running.observation, running.driven
        assert driven is not None  # an episode begins with an action
        is_whole = running.is_first and not self._is_repeated
        fault, inference_s, is_over = "", 0.0, terminated or truncated
        if not is_over:
            command, fault = self._act(running, state, observation)
            inference_s = self._inference_s
            send(command)
        self._trail.add(state.position)
        reward = self.task.reward(state, driven.applied, self.episode)
        running.total_reward += reward
        running.streak = running.streak + 1 if self.task.is_reached(state, self.episode) else 0
        summary = None
        if truncated and self.task.release_steps:
            self._released = 1
            command = self._drive.release(state)
        elif is_over:
            summary = self._finish(running, state, running.streak >= self.task.hold_steps)
            command = self._way_to_start(state)
        if is_over:
            send(command)
        transition = None
        if is_whole:
            transition = Transition(before, driven.action, reward, observation, terminated, truncated)
        else:
            self.skipped += 1
        return Step(command, transition, summary, None, *made, fault=fault, inference_s=inference_s)

    def _jumped(self, state: RobotState) -> bool:
        """The arm is where it cannot have moved to since the last state: it was reset, or the state is wrong."""
        return self._last_state is not None and has_jumped(self._last_state, state, self._fastest)

    def _approach(self, state: RobotState) -> Step:
        """On the way to the start pose, or there: then the first action of the episode."""
        arrived = has_arrived(self.episode.start, state)
        self._rested = self._rested + 1 if arrived else 0
        if self.is_idle:
            return Step(self.safety.hold(state))
        if self._rested <= self.task.rest_steps and self._moved * self._period < LONGEST_S:
            return Step(self._way_to_start(state))
        if arrived:
            self._trail.clear()
        return self._set_out(state)

    def _set_out(self, state: RobotState) -> Step:
        """Begin the episode with this state: its first action."""
        observation = self.task.observe(state, self.episode)
        self._running = _Running(observation)
        command, fault = self._act(self._running, state, observation)
        return Step(command, target=self.episode.target, fault=fault, inference_s=self._inference_s)

    def _release(self, running: _Running, state: RobotState) -> Step:
        """After the episode the arm is left alone; what is then still at the goal is a success."""
        if self._released < self.task.release_steps:
            self._released += 1
            return Step(self._drive.release(state))
        lasting = running.streak >= self.task.hold_steps and self.task.is_reached(state, self.episode)
        summary = self._finish(running, state, lasting)
        return Step(self._way_to_start(state), None, summary)

    def _retry(self, state: RobotState) -> Step:
        """Holds until the policy gives finite actions again; then the way to the start pose begins."""
        wished = next(self._candidates(self.policy, self.task.observe(state, self.episode)))
        self._doubts = not np.isfinite(wished).all()
        return Step(self.safety.hold(state), fault="policy_non_finite" if self._doubts else "")

    def _way_to_start(self, state: RobotState) -> Vector:
        """Straight there; where the filter lets it move no further that way, back where it came from, or a part of the joints first."""
        self._moved += 1
        stands = self.safety.is_nearly_at_rest and not has_arrived(self.episode.start, state)
        self._stood = self._stood + 1 if stands else 0
        if self._stood * self._period > STUCK_S:
            self._stood, self._way = 0, (self._way + 1) % len(WAYS)
        if WAYS[self._way] == "back":
            goal = self._trail.before(state.position)
            if goal is not None:
                return self._drive.approach(goal, state)
            self._way = 0 if self._trail.clear() else self._way + 1
        else:
            self._trail.add(state.position)
        return self._drive.approach(self.episode.start, state, WAYS[self._way])

    def _act(self, running: _Running, state: RobotState, observation: Action) -> tuple[Vector, str]:
        """Chooses an action for the observation, filters it, and remembers both; or holds, and says why."""
        policy = self.policy  # one read: the node may swap it at any time
        candidates = self._candidates(policy, observation)
        began = time.perf_counter()
        wished = next(candidates)
        self._inference_s = time.perf_counter() - began if policy else 0.0
        if not np.isfinite(wished).all():
            self._give_up()
            self._doubts = True
            return self.safety.hold(state), "policy_non_finite"
        self._doubts = False
        running.driven = self._drive.act(wished, state, lambda: candidates)
        running.is_first = not self._is_repeated
        running.observation = observation
        running.policy_version = policy.info.version if policy else 0
        return running.driven.command, ""

    def _candidates(self, policy: Policy | None, observation: Action) -> Iterator[Action]:
        """Actions (A,) in order of preference, drawn one by one as they are asked for."""
        if policy is None:
            for _ in range(self._most_candidates):
                yield self._rng.uniform(-1.0, 1.0, self.task.spec.action_size).astype(np.float32)
        elif self.deterministic and self.temperature:
            yield from islice(policy.tempered(observation, self._rng, self.temperature), self._most_candidates)
        elif self.deterministic:
            yield from islice(policy.ranked(observation, self._rng), self._most_candidates)
        else:
            for _ in range(self._most_candidates):
                yield policy.sample(observation, self._rng)

    def _is_over(self, steps: int, state: RobotState) -> bool:
        """The episode's time is up with this state."""
        return steps >= self.task.episode_steps

    def _finish(self, running: _Running, state: RobotState, success: bool) -> EpisodeSummary:
        """Closes the episode and draws the next."""
        summary = EpisodeSummary(
            index=self._index,
            steps=running.steps,
            robot_steps=self._spent + self._moved + running.steps + self._released,
            undiscounted_return=running.total_reward,
            success=success,
            distance=self.task.distance(state, self.episode),
            policy_version=running.policy_version,
        )
        self._running, self._spent, self._moved, self._rested, self._released = None, 0, 0, 0, 0
        self._stood = self._way = 0
        self._index += 1
        self.episode = self._next_episode(summary)
        return summary

    def _next_episode(self, summary: EpisodeSummary) -> Episode:
        """Drawn when one was finished."""
        return self.task.begin(self._rng)
