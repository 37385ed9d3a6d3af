"""Any Gymnasium environment with Box observations and Box actions, seen as a task of this library."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

import sql_ros.envs  # noqa: F401  (registers sql_ros/...)
from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import TaskSpec

Vector = npt.NDArray[np.float32]


def make_env(env_id: str) -> Any:
    """Builds an environment by its Gymnasium id.

    Raises:
        ConfigError: no such id, what it needs is not installed, or its spaces are not one-dimensional bounded Boxes.
    """
    try:
        env: Any = gymnasium.make(env_id)
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigError(f"Gymnasium cannot make '{env_id}': {error}") from None
    for name, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise ConfigError(f"the {name} space of '{env_id}' is {space}, expected a Box of one dimension")
    if not np.isfinite([env.action_space.low, env.action_space.high]).all():
        raise ConfigError(f"the action space of '{env_id}' is {env.action_space}, expected finite bounds")
    return env


def spec_of(env: Any) -> TaskSpec:
    """The interface of an environment: its own where it is an arm's, else labels o0.. and a0.., observations as they come."""
    own = getattr(getattr(env.unwrapped, "task", None), "spec", None)
    if isinstance(own, TaskSpec):
        return own
    (observation_size,), (action_size,) = env.observation_space.shape, env.action_space.shape
    half_range = (env.action_space.high - env.action_space.low) / 2.0
    return TaskSpec(
        task=env.spec.id,
        observation=tuple(f"o{i}" for i in range(observation_size)),
        observation_offset=(0.0,) * observation_size,
        observation_scale=(1.0,) * observation_size,
        joints=tuple(f"a{i}" for i in range(action_size)),
        command_mode="torque",
        action_scale=tuple(float(value) for value in half_range),
        control_rate_hz=_rate_hz(env),
    )


def to_env(action: Vector, space: gymnasium.spaces.Box) -> npt.NDArray[Any]:
    """Brings an action (A,) in [-1, 1] into the bounds of the environment."""
    return (space.low + (np.clip(action, -1.0, 1.0) + 1.0) / 2.0 * (space.high - space.low)).astype(space.dtype)


def _rate_hz(env: Any) -> float:
    """Control steps per second of simulated time, 1 where the environment knows no time."""
    period_s = getattr(env.unwrapped, "dt", None)
    if isinstance(period_s, (int, float)) and period_s > 0.0:
        return 1.0 / float(period_s)
    return float((env.metadata or {}).get("render_fps") or 1.0)
