"""The gradient step of SAC in stable-baselines3, on transitions of the same sizes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.policy.transition import Array


def require_sb3() -> None:
    """Check that stable-baselines3 can be imported.

    Raises:
        ConfigError: stable-baselines3 cannot be imported. The text names the command that installs
            it.
    """
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"stable-baselines3 is missing ({error}): pip install 'sql_ros[bench]'"
        ) from None


def build_sac(arrays: dict[str, Array], width: int, batch_size: int, seed: int) -> Any:
    """Build SAC on the CPU with a full replay buffer, all other settings at their defaults.

    Args:
        arrays: observation (N, S), action (N, A), reward (N,), next_observation (N, S), terminated
            (N,), where N becomes the size of the buffer.
        width: Units of each of two hidden layers, in the actor and the two critics.
        batch_size: Transitions per gradient step, B.
        seed: Seed of weights and draws.

    Returns:
        The `stable_baselines3.SAC`, ready for `train`. It writes no log.

    Raises:
        ConfigError: stable-baselines3 is not installed.
    """
    require_sb3()
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import Logger

    model = SAC(
        "MlpPolicy",
        _still_env(arrays["observation"].shape[1], arrays["action"].shape[1]),
        policy_kwargs={"net_arch": [width, width]},
        buffer_size=len(arrays["reward"]),
        batch_size=batch_size,
        device="cpu",
        seed=seed,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    _fill(model.replay_buffer, arrays)
    return model


def seconds_per_update(model: Any, updates: int, batch_size: int) -> float:
    """Make gradient steps of SAC and return the mean time of one, with the drawing of its batch
    [s].

    Args:
        model: Result of `build_sac`. Its weights change.
        updates: Number of gradient steps, at least 1.
        batch_size: Transitions per gradient step, B.
    """
    start = time.perf_counter()
    model.train(gradient_steps=updates, batch_size=batch_size)
    return (time.perf_counter() - start) / updates


def _fill(buffer: Any, arrays: dict[str, Array]) -> None:
    """Write all transitions into the replay buffer of SAC and mark it as full.

    The buffer then holds what N calls of `buffer.add` for one environment would leave.

    Args:
        buffer: Replay buffer of stable-baselines3 of size N, for one environment.
        arrays: Transitions: observation (N, S), action (N, A), reward (N,), next_observation (N,
            S), terminated (N,).
    """
    buffer.observations[:, 0] = arrays["observation"]
    buffer.next_observations[:, 0] = arrays["next_observation"]
    buffer.actions[:, 0] = arrays["action"]
    buffer.rewards[:, 0] = arrays["reward"]
    buffer.dones[:, 0] = arrays["terminated"]
    buffer.pos = 0
    buffer.full = True


def _still_env(observation_size: int, action_size: int) -> Any:
    """Return a Gymnasium environment that has spaces and no dynamics.

    SAC needs the spaces at construction. `train` never steps the environment.

    Args:
        observation_size: Numbers in an observation, S; unbounded.
        action_size: Numbers in an action, A; each in [-1, 1].
    """
    import gymnasium

    class StillEnv(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation_size,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_size,), np.float32)

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Array, dict[str, Any]]:
            super().reset(seed=seed)
            return np.zeros(observation_size, np.float32), {}

        def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
            return np.zeros(observation_size, np.float32), 0.0, False, False, {}

    return StillEnv()
