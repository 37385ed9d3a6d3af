"""One trial, drawn from a protocol and a seed, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm, Vector
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.task import Episode, Task
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.protocol import KEYS, ProtocolConfig

MOST_DRAWS = 1000  # largest number of draws of a start pose
CLEAR_M = 0.05  # least height of the tool above the target at the start


@dataclass(frozen=True)
class Trial:
    """One trial: an episode with a disturbance.

    Attributes:
        kind: Kind of perturbation, a key of `protocol.UNITS`.
        size: Size in the unit of the kind.
        repeat: Number among the trials of this kind and size, from 0.
        seed: Seed of the session.
        episode: Start pose and target.
        disturbance: Disturbance of the arm; None for the kinds "undisturbed" and "displaced".
        at_s: Time of the episode at which the disturbance begins [s]; 0: with the episode.
    """

    kind: str
    size: float
    repeat: int
    seed: int
    episode: Episode
    disturbance: Disturbance | None
    at_s: float


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        kind: That of the trial.
        size: That of the trial.
        repeat: That of the trial.
        seed: That of the trial.
        success: Whether the arm recovered.
        recovery_s: Time of recovery [s]; NaN if the arm did not recover.
        deviation_m: Largest distance from the target since the disturbance [m].
        interventions: Number of commands that the safety filter changed.
        policy_sha256: SHA-256 of the policy file.
        push_seen_by: How a push by hand was detected: "motion" or "motion and torque"; empty for
            other trials.
        outcome: How the episode ended: "success", "failure" (the task ended it) or "time-out";
            empty: it was given up, because the arm jumped or states were missing.
    """

    kind: str
    size: float
    repeat: int
    seed: int
    success: bool
    recovery_s: float
    deviation_m: float
    interventions: int
    policy_sha256: str
    push_seen_by: str = ""
    outcome: str = ""


def draw_trial(
    task: Task,
    mapper: ActionMapper,
    config: ProtocolConfig,
    kind: str,
    size: float,
    repeat: int,
    seed: int,
) -> Trial:
    """Draw a trial of a kind and size. The same arguments always give the same trial.

    Start pose and target are drawn for every kind. A push also draws direction, body and time; a
    moved target its horizontal direction and the time; a displaced arm another start pose. Friction
    and damping are multiplied by `size` or divided by it, with equal probability.

    Args:
        task: Task; draws start poses and targets.
        mapper: Map from actions to commands, whose safety filter decides which start poses are
            allowed.
        config: Protocol, as returned by `protocol.fitted`.
        kind: A key of `protocol.UNITS`.
        size: Size in the unit of the kind.
        repeat: Number among the trials of this kind and size, from 0.
        seed: Seed of the session.

    Raises:
        ConfigError: No start pose that far from neutral is allowed.
    """
    rng = np.random.default_rng([seed, list(KEYS).index(kind), round(1e4 * size), repeat])
    episode = task.begin(rng)
    disturbance = None
    at_s = 0.0
    earliest, latest = config.at_s
    if kind == "push":
        direction = rng.standard_normal(3)
        x, y, z = (float(size * value) for value in direction / np.linalg.norm(direction))
        body = config.push_bodies[int(rng.integers(len(config.push_bodies)))]
        disturbance = Disturbance(kind, size, body, (x, y, z), config.push_s, config.push_ramp_s)
        at_s = float(rng.uniform(earliest, latest))
    elif kind == "moved_target":
        angle = float(rng.uniform(0.0, 2.0 * math.pi))
        x, y, z = (
            float(v)
            for v in episode.target + size * np.array([math.cos(angle), math.sin(angle), 0.0])
        )
        disturbance = Disturbance(kind, size, vector=(x, y, z))
        at_s = float(rng.uniform(earliest, latest))
    elif kind == "displaced":
        episode = replace(episode, start=_displaced_pose(task, mapper, size, episode.target, rng))
    elif kind in ("friction", "damping"):
        disturbance = Disturbance(kind, float(size if rng.random() < 0.5 else 1.0 / size))
    elif kind != "undisturbed":
        disturbance = Disturbance(kind, size)
    return Trial(kind, size, repeat, seed, episode, disturbance, at_s)


def _displaced_pose(
    task: Task, mapper: ActionMapper, size: float, target: Vector, rng: np.random.Generator
) -> Vector:
    """Draw a start pose in which at least one joint is between half of `size` and `size` from its
    neutral angle, and no joint is farther.

    The pose is within the limits, and the arm is clear of itself and its surroundings. If the task
    allows contact with the target, the tool is also above the target by `CLEAR_M`.

    Args:
        task: The task.
        mapper: Map from actions to commands, with the safety filter.
        size: Largest distance of a joint from neutral [rad].
        target: Target of the episode (3,) [m].
        rng: Source of the draws.

    Returns:
        Joint positions (N,) [rad].

    Raises:
        ConfigError: No pose was found in `MOST_DRAWS` draws.
    """
    robot = task.robot
    arm = Arm(task.robot)
    lower = np.array(robot.position_lower) + robot.position_margin_rad
    upper = np.array(robot.position_upper) - robot.position_margin_rad
    at_rest = np.zeros(len(robot.joints))
    for _ in range(MOST_DRAWS):
        offset = rng.uniform(-size, size, len(robot.joints))
        offset[int(rng.integers(len(offset)))] = rng.choice([-1.0, 1.0]) * rng.uniform(
            0.5 * size, size
        )
        state = arm.state(0, np.array(robot.neutral_position) + offset, at_rest, at_rest)
        if ((state.position < lower) | (state.position > upper)).any():
            continue
        # the safety filter keeps no distance from a target that may be touched
        above = not task.config.may_touch or state.tool_position[2] > target[2] + CLEAR_M
        if mapper.safety.is_stoppable(state) and above:
            return state.position
    raise ConfigError(
        f"no start pose {size} rad from neutral is within the limits and clear of arm, table and"
        " workspace: give a smaller displaced_rad"
    )
