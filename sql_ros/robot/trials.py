"""Perturbation trials: a seeded protocol of things done to an arm at work, and an actor whose episodes are these trials.

Pure: states come in, commands and wishes (a `Disturbance` for a simulation, a prompt for an operator) go out. The same `TrialActor` runs in
one process with a simulation, in the stack beside the bridge, and on a real arm.

The recovery time of a trial counts from the end of its disturbance (from the beginning of the episode, where something is different all the
time) until the arm is at the goal for good. Every trial of a kind and size has the same draws for every policy, so policies can be compared
in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sql_ros.core.config import Config, config_from_yaml, option
from sql_ros.core.errors import ConfigError
from sql_ros.core.policy import Policy
from sql_ros.robot.actor import Actor, EpisodeSummary, Step
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.disturbance import LARGEST, Disturbance
from sql_ros.robot.drive import Drive
from sql_ros.robot.dynamics import Dynamics
from sql_ros.robot.homing import LONGEST_S, has_arrived
from sql_ros.robot.model import HELD, load_model
from sql_ros.robot.push_watch import PushWatch
from sql_ros.robot.task import Episode, Task
from sql_ros.share import find_file

BROKEN_BELOW = 0.5  # share of successes at which the sizes of a kind go up no further
SETTLED_STEPS = 5  # of an episode, before which nothing is done to the arm
BY_HAND = ("undisturbed", "push", "displaced", "payload")  # what an operator and a real arm can do
MOST_DRAWS, CLEAR_M = 1000, 0.05  # of a start pose, and its height over the target
PATIENCE_S = 60.0  # for an operator's push, then the trial begins anew
EARLIEST, LATEST = 0.08, 0.48  # shares of an episode between which pushes and moves come: of sawyer_stack's 12.5 s the seconds 1 to 6


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig(Config):
    """The keys of a config/trials/*.yaml: the sizes of every kind, growing; none: not tried."""

    repeats: int = option(10, "trials per kind and size", minimum=1)
    undisturbed: tuple[float, ...] = option((0.0,), "size has no meaning here", minimum=0.0)
    push_n: tuple[float, ...] = option((), "force [N]", minimum=0.0, maximum=LARGEST)
    displaced_rad: tuple[float, ...] = option((), "start pose: largest distance of a joint from neutral [rad]", minimum=0.0)
    payload_kg: tuple[float, ...] = option((), "in the hand, unknown to gravity compensation [kg]", minimum=0.0, maximum=LARGEST)
    friction_factor: tuple[float, ...] = option((), "of contact friction, or 1 / this", minimum=1.0, maximum=LARGEST)
    damping_factor: tuple[float, ...] = option((), "of joint damping, or 1 / this", minimum=1.0, maximum=LARGEST)
    delay_steps: tuple[float, ...] = option((), "control steps by which commands are late", minimum=0.0, maximum=20.0)
    lost_share: tuple[float, ...] = option((), "of state messages", minimum=0.0, maximum=0.95)
    moved_m: tuple[float, ...] = option((), "the target sideways, while the arm is at work [m]", minimum=0.0, maximum=LARGEST)
    push_s: float = option(0.3, "a push lasts at full force [s]", minimum=0.0)
    push_ramp_s: float = option(0.1, "and this long on the way down [s]", minimum=0.0)
    push_bodies: tuple[str, ...] = option((), "that are pushed, one of them per trial; none: links amid and near the end, and the hand")
    at_s: tuple[float, ...] = option(
        (), "pushes and moves come at some time between these of the episode [s]; none: from 8 to 48 % of it", minimum=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at_s and (len(self.at_s) != 2 or self.at_s[0] > self.at_s[1]):
            raise ConfigError(f"'at_s' is {self.at_s}, expected two times, the earlier first")
        for kind, sizes in self.sizes().items():
            if list(sizes) != sorted(sizes):
                raise ConfigError(f"'{_KEYS[kind]}' is {sizes}, expected growing sizes")

    def sizes(self) -> dict[str, tuple[float, ...]]:
        """By kind, those with any."""
        return {kind: getattr(self, key) for kind, key in _KEYS.items() if getattr(self, key)}


_KEYS = {
    "undisturbed": "undisturbed",
    "push": "push_n",
    "displaced": "displaced_rad",
    "payload": "payload_kg",
    "friction": "friction_factor",
    "damping": "damping_factor",
    "delay": "delay_steps",
    "lost_states": "lost_share",
    "moved_target": "moved_m",
}
UNITS = {
    "undisturbed": "", "push": "N", "displaced": "rad", "payload": "kg", "friction": "x", "damping": "x", "delay": "steps",
    "lost_states": "of all", "moved_target": "m",
}  # fmt: skip


def load_protocol(name: str, task: Task, repeats: int = 0) -> ProtocolConfig:
    """A protocol by the name of a file in config/trials/, or a path, fitted to the task.

    Args:
        name: of the protocol.
        task: that is tried.
        repeats: trials per kind and size; 0: as the file says.

    Raises:
        ConfigError: no such file, something is wrong with it, or it cannot be done to this task's arm.
    """
    path = find_file(name, "config/trials")
    config = config_from_yaml(ProtocolConfig, path)
    try:
        return fitted(replace(config, repeats=repeats) if repeats else config, task)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def fitted(config: ProtocolConfig, task: Task) -> ProtocolConfig:
    """The protocol with the bodies and times that it leaves to the task.

    Raises:
        ConfigError: a body that the scene lacks or that nothing can move, or a disturbance that would not be over before the episode is.
    """
    return replace(config, push_bodies=_bodies(config, task), at_s=_times(config, task))


def _bodies(config: ProtocolConfig, task: Task) -> tuple[str, ...]:
    """Those named; else the link amid the arm, the last but one, and the hand."""
    model, joints = load_model(task.config.scene), task.robot.joints
    movable = [model.body(i).name for i in range(model.nbody) if model.body_dofnum[model.body_weldid[i]]]
    for name in config.push_bodies:
        if name not in movable:
            raise ConfigError(f"'push_bodies' names '{name}', but what can be pushed in {task.config.scene} is: {', '.join(movable)}")
    if config.push_bodies:
        return config.push_bodies
    hand = int(model.site(task.robot.tool).bodyid[0])
    while model.body(hand).name.startswith(f"{HELD}/"):
        hand = int(model.body_parentid[hand])
    links = [int(model.joint(name).bodyid[0]) for name in (joints[(len(joints) - 1) // 2], joints[-2:][0])]
    return tuple(dict.fromkeys(model.body(i).name for i in (*links, hand)))


def _times(config: ProtocolConfig, task: Task) -> tuple[float, ...]:
    """Those named; else as `EARLIEST` and `LATEST` say."""
    episode_s, lasts_s = task.config.episode_s, config.push_s + config.push_ramp_s if config.push_n else 0.0
    times = config.at_s or (EARLIEST * episode_s, LATEST * episode_s)
    if (config.push_n or config.moved_m) and times[1] + lasts_s > episode_s - 1.0 / task.config.control_rate_hz:
        push = f" and a push lasts {lasts_s:g} s" if lasts_s else ""
        raise ConfigError(f"'at_s' goes up to {times[1]:g} s{push}, but an episode of {task.name} has {episode_s:g} s")
    return times


@dataclass(frozen=True)
class Trial:
    """One trial, drawn: where the episode begins, what is done to the arm, and when [s of the episode]."""

    kind: str
    size: float
    repeat: int
    seed: int
    episode: Episode
    disturbance: Disturbance | None
    at_s: float


@dataclass(frozen=True)
class Row:
    """What a trial gave, in SI units; `recovery_s` is nan where it did not recover."""

    kind: str
    size: float
    repeat: int
    seed: int
    success: bool
    recovery_s: float
    deviation_m: float  # largest distance from the target since the disturbance
    interventions: int  # of the safety filter
    policy_sha256: str
    push_seen_by: str = ""  # what a push by hand was detected by: "motion", or "motion and torque"


def draw(task: Task, drive: Drive, config: ProtocolConfig, kind: str, size: float, repeat: int, seed: int) -> Trial:
    """The trial of a kind and size; depends on these numbers and the seed only.

    Args:
        task: gives start poses and targets.
        drive: of the task: its safety filter says which poses the arm may be taken to.
        config: of the protocol, fitted to the task.
        kind: a key of `UNITS`.
        size: in the kind's unit.
        repeat: from 0.
        seed: of the session.

    Raises:
        ConfigError: no pose that far from neutral is allowed.
    """
    rng = np.random.default_rng([seed, list(_KEYS).index(kind), round(1e4 * size), repeat])
    episode = task.begin(rng)
    disturbance, at_s, (earliest, latest) = None, 0.0, config.at_s
    if kind == "push":
        direction = rng.standard_normal(3)
        x, y, z = (float(size * value) for value in direction / np.linalg.norm(direction))
        body = config.push_bodies[int(rng.integers(len(config.push_bodies)))]
        disturbance, at_s = (
            Disturbance(kind, size, body, (x, y, z), config.push_s, config.push_ramp_s),
            float(rng.uniform(earliest, latest)),
        )
    elif kind == "moved_target":
        angle = float(rng.uniform(0.0, 2.0 * math.pi))
        x, y, z = (float(v) for v in episode.target + size * np.array([math.cos(angle), math.sin(angle), 0.0]))
        disturbance, at_s = Disturbance(kind, size, vector=(x, y, z)), float(rng.uniform(earliest, latest))
    elif kind == "displaced":
        episode = replace(episode, start=_far(task, drive, size, episode.target, rng))
    elif kind in ("friction", "damping"):
        disturbance = Disturbance(kind, float(size if rng.random() < 0.5 else 1.0 / size))
    elif kind != "undisturbed":
        disturbance = Disturbance(kind, size)
    return Trial(kind, size, repeat, seed, episode, disturbance, at_s)


def _far(task: Task, drive: Drive, size: float, target: Vector, rng: np.random.Generator) -> Vector:
    """A start pose with one joint between half and all of `size` from neutral, the others anywhere within, clear of everything."""
    robot, arm = task.robot, Arm(task.robot)
    lower, upper = np.array(robot.position_lower) + robot.position_margin_rad, np.array(robot.position_upper) - robot.position_margin_rad
    at_rest = np.zeros(len(robot.joints))
    for _ in range(MOST_DRAWS):
        offset = rng.uniform(-size, size, len(robot.joints))
        offset[int(rng.integers(len(offset)))] = rng.choice([-1.0, 1.0]) * rng.uniform(0.5 * size, size)
        state = arm.state(0, np.array(robot.neutral_position) + offset, at_rest, at_rest)
        if ((state.position < lower) | (state.position > upper)).any():
            continue
        # what is meant to touch the target has no clearance to it
        above = not task.config.may_touch or state.tool_position[2] > target[2] + CLEAR_M
        if drive.safety.is_stoppable(state) and above:
            return state.position
    raise ConfigError(
        f"no start pose {size} rad from neutral is within the limits and clear of arm, table and workspace: give a smaller displaced_rad"
    )


class Session:
    """Which trial is next, and what those before gave.

    Args:
        task: of the arm.
        drive: of the task.
        config: the protocol.
        seed: of every draw.
        policy_sha256: for the rows.
        by_hand: only what an operator and a real arm can do.

    Raises:
        ConfigError: the protocol cannot be done to this task's arm.

    Attributes:
        rows: of the trials made.
        trial: under way; None: the session is over.
        broken: size at which fewer than half succeeded, by kind.
        aborted: somebody ended it early.
    """

    def __init__(
        self, task: Task, drive: Drive, config: ProtocolConfig, seed: int, policy_sha256: str = "", *, by_hand: bool = False
    ) -> None:
        config = fitted(config, task)
        self._sha256 = policy_sha256
        self._kinds = {kind: sizes for kind, sizes in config.sizes().items() if kind in BY_HAND or not by_hand}
        self.rows: list[Row] = []
        self.broken: dict[str, float] = {}
        self.aborted = False
        # all of them at once: one that cannot be drawn ends the session before the arm moves
        self._drawn = {
            (kind, size): [draw(task, drive, config, kind, size, repeat, seed) for repeat in range(config.repeats)]
            for kind, sizes in self._kinds.items()
            for size in sizes
        }
        self._plan = self._trials()
        self.trial: Trial | None = next(self._plan, None)

    @property
    def most_trials(self) -> int:
        """If no kind breaks."""
        return sum(len(self._drawn[kind, size]) for kind, sizes in self._kinds.items() for size in sizes)

    def close(self, success: bool, recovery_s: float, deviation_m: float, interventions: int, push_seen_by: str = "") -> Row:
        """Notes what the trial under way gave; the next one is under way then."""
        assert self.trial is not None
        t = self.trial
        recovery_s = recovery_s if success else math.nan
        row = Row(t.kind, t.size, t.repeat, t.seed, success, recovery_s, deviation_m, interventions, self._sha256, push_seen_by)
        self.rows.append(row)
        self.trial = next(self._plan, None)
        return row

    def skip(self) -> None:
        """Goes on to the next trial; the present one leaves no row."""
        self.trial = next(self._plan, None)

    def abort(self) -> None:
        """Ends the session for good; the rows stay."""
        self._plan = iter(())
        self.trial, self.aborted = None, True

    def _trials(self) -> Iterator[Trial]:
        for kind, sizes in self._kinds.items():
            for size in sizes:
                yield from self._drawn[kind, size]
                made = [row.success for row in self.rows if (row.kind, row.size) == (kind, size)]
                if made and np.mean(made) < BROKEN_BELOW:
                    self.broken[kind] = size
                    break


class TrialActor(Actor):
    """An actor whose episodes are the trials of a session.

    A trial interrupted by a stop begins anew; after one whose disturbance led to states that cannot be trusted, the arm did not recover.

    Args:
        task: of the policy.
        policy: that is tried, in its deterministic mode.
        session: what to do.
        by_hand: an operator does what a simulation would: pushes are asked for, waited for and recognised.
        drive: of the task.

    Attributes:
        wish: what the simulation is to do now, after this step; None: nothing.
        prompt: what the operator is to do now; empty: nothing.
        unreachable: trials left out because the arm could not get to their start pose.
    """

    def __init__(self, task: Task, policy: Policy, session: Session, *, by_hand: bool = False, drive: Drive) -> None:
        super().__init__(task, 0, deterministic=True, explores=False, drive=drive)
        self.policy, self.session, self._by_hand = policy, session, by_hand
        self.wish: Disturbance | None = None
        self.prompt, self.unreachable = "", 0
        self._done = self._lasts = False
        self._dynamics = Dynamics(task.robot, task.config.scene, 1.0 / task.config.control_rate_hz)
        self._prepare()

    def step(self, state: RobotState, send: Callable[[Vector], None] = lambda command: None) -> Step:
        """As `Actor.step`; sets `wish` and `prompt`."""
        self._wish_for_the_end()
        if self.session.trial is None:
            held = self.safety.hold(state)
            send(held)
            return Step(held)
        step = super().step(state, send)
        if step.target is not None:
            self._enter(state)
        if self._running is not None and self.session.trial is not None:
            self._watch_state(state, self.session.trial, step)
        return step

    def interrupt(self, state: RobotState, *, fresh: bool = True) -> Vector:
        """As `Actor.interrupt`; `fresh`: it was a stop, and not the states."""
        self._wish_for_the_end()
        if not fresh and self._running is not None and self._done:
            self._close(False)
        return super().interrupt(state, fresh=fresh)

    def _wish_for_the_end(self) -> None:
        """Of what was done to the arm in the trial before."""
        self.wish = Disturbance("over", 0.0) if self._lasts else None
        self._lasts = False

    def _give_up(self) -> None:
        """As the actor; what was done to the arm, or to the target, does not stay where the trial begins anew."""
        was_running = self._running is not None
        super()._give_up()
        if was_running:
            self._prepare()

    def skip(self) -> None:
        """Leaves the trial under way out."""
        self._give_up()
        self.session.skip()
        self._prepare()

    def repeat(self) -> None:
        """Begins the trial under way anew."""
        self._give_up()
        self._prepare()

    def abort(self) -> None:
        """Ends the session: from here on the arm is held."""
        self._give_up()
        self.session.abort()
        self._prepare()

    def begin(self, episode: Episode) -> None:
        """As `Actor.begin`; of the trial under way."""
        super().begin(episode)
        self._done = self._lasts = False  # the simulation was put back
        self._prepare()

    def _prepare(self) -> None:
        """The trial under way is to begin: on the way to its start pose."""
        self.prompt = ""
        self._lasts |= self._done and not self._by_hand  # what was done to the arm, and must not be in the way of the next trial
        self._done = self._was_reset = False  # the disturbance came; the simulation has put the arm back
        if self.session.trial is not None:
            self.episode = self.session.trial.episode
            if self._by_hand and self.session.trial.kind == "payload":
                self.prompt = f"put {self.session.trial.size:g} kg in the hand, clear of the arm's way"

    def _approach(self, state: RobotState) -> Step:
        """As the actor; but a trial begins at its start pose only.

        An arm that cannot get there is put back by the simulation, and where that does not help the trial is left out; an operator is
        asked.
        """
        if self._moved * self._period >= LONGEST_S and not has_arrived(self.episode.start, state):
            self._moved = 0
            if self._by_hand:
                self.prompt = "the arm cannot get to its start pose: clear its way, skip the trial, or abort"
            elif self._was_reset:
                self.unreachable += 1
                self.skip()
            else:
                self._was_reset, self.wish = True, Disturbance("reset", 0.0)
        return super()._approach(state)

    def _enter(self, state: RobotState) -> None:
        """The episode of the trial begins with this state."""
        self._entered_ns = self._from_ns = state.stamp_ns
        self._last_away_ns = state.stamp_ns
        self._deviation = 0.0
        self._interventions = sum(self.safety.interventions.values())
        self._done, self._pushed, self._prompted_ns = False, False, 0
        self._push, self._seen_by = PushWatch(self._dynamics), ""
        self.prompt = ""

    def _watch_state(self, state: RobotState, trial: Trial, step: Step) -> None:
        at_s = 1e-9 * (state.stamp_ns - self._entered_ns)
        period_ns = round(1e9 / self.task.config.control_rate_hz)
        if self._by_hand and self.task.spec.command_mode == "torque":
            self._pushed = self._push.sees(state, step.command)
        elif self._by_hand:
            self._pushed = self._push.sees(state, None)
        if not self._done and trial.disturbance is not None and at_s >= max(trial.at_s, 1e-9 * SETTLED_STEPS * period_ns):
            self._disturb(state, trial.disturbance)
        if not self.task.is_reached(state, self.episode):
            self._last_away_ns = state.stamp_ns
        if self._done or trial.at_s == 0.0:
            self._deviation = max(self._deviation, self.task.distance(state, self.episode))

    def _disturb(self, state: RobotState, disturbance: Disturbance) -> None:
        if self._by_hand and disturbance.kind == "push":
            if not self._prompted_ns:
                self.prompt = _words(disturbance)
                self._prompted_ns = state.stamp_ns
            elif self._pushed:
                self.prompt, self._done, self._from_ns = "", True, state.stamp_ns
                self._seen_by = "motion and torque" if self._push.has_torques else "motion"
            elif 1e-9 * (state.stamp_ns - self._prompted_ns) > PATIENCE_S:
                self.repeat()
            return
        self._done = True
        if self._by_hand:
            return  # a payload was put there before
        self.wish = disturbance
        if disturbance.kind == "moved_target":
            self.episode = replace(self.episode, target=np.array(disturbance.vector))
        if disturbance.kind in ("push", "moved_target"):  # of which the end is what counts
            self._from_ns = state.stamp_ns + round(1e9 * (disturbance.duration_s + disturbance.ramp_s))

    def _jumped(self, state: RobotState) -> bool:
        """As the actor; an arm that was thrown about faster than it can move did not recover."""
        jumped = super()._jumped(state)
        if jumped and self._running is not None and self._done:
            self._close(False)
        return jumped

    def _is_over(self, steps: int, state: RobotState) -> bool:
        """By time; where an operator is waited for, the episode's time begins with the push."""
        if self._by_hand and self._prompted_ns:
            return self._done and 1e-9 * (state.stamp_ns - self._from_ns) >= self.task.config.episode_s
        return super()._is_over(steps, state)

    def _next_episode(self, summary: EpisodeSummary) -> Episode:
        """Closes the trial; the episode of the next one."""
        self._close(summary.success)
        return self.episode

    def _close(self, success: bool) -> None:
        recovery_s = max(1e-9 * (self._last_away_ns - self._from_ns), 0.0)
        interventions = sum(self.safety.interventions.values()) - self._interventions
        self.session.close(success, recovery_s, self._deviation, interventions, self._seen_by)
        self._give_up()
        self._prepare()


def _words(push: Disturbance) -> str:
    """For an operator who stands where x points away from the robot's base and y to its left."""
    axis = int(np.argmax(np.abs(push.vector)))
    where = (("back towards the base", "away from the base"), ("to the robot's right", "to the robot's left"), ("down", "up"))
    return f"push {push.body} {where[axis][push.vector[axis] > 0]}, with about {push.size:g} N for {push.duration_s:g} s, then let go"
