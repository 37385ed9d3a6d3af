"""stable-baselines3's SAC and DDPG under the same conditions: environment, seeds, steps, widths, batches, learning rates, evaluation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import reduce
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from sql_ros.bench.sb3 import require_sb3
from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.errors import ConfigError
from sql_ros.core.spec import TaskSpec
from sql_ros.experiments.curve import Act, Curve, CurveRecorder
from sql_ros.experiments.gym_task import Vector, make_env, spec_of
from sql_ros.experiments.gym_training import Wrap

DDPG_NOISE = 0.1  # standard deviation of the normal exploration noise, in units of the action


def train_baseline(
    method: str,
    env_id: str,
    steps: int,
    seed: int,
    algorithm: AlgorithmConfig,
    pace: TrainerConfig,
    *,
    evaluate_every: int,
    evaluation_episodes: int,
    evaluate_first: int = 0,
    wrap: Wrap = lambda env: env,
    progress: Callable[[Any, Curve], None] | None = None,
) -> Curve:
    """Trains "sac" or "ddpg" of stable-baselines3; arguments as in `gym_training.train`.

    Of `algorithm` they take the discount, the hidden sizes, the batch size, the rate of the target and the learning rate of Q, for both
    networks (SB3's own: 3e-4 for SAC, 1e-3 for DDPG); SAC tunes its temperature, as SB3 does. What belongs to soft Q-learning is ignored.

    Raises:
        ConfigError: stable-baselines3 is not installed, the environment does not fit, or the updates per transition are no whole number.
    """
    if not pace.updates_per_transition.is_integer():  # rounded, 0.5 would be none, and 2.5 two
        raise ConfigError(f"updates_per_transition is {pace.updates_per_transition:g}, expected a whole number beside stable-baselines3")
    model = _build(method, ScaledEnv(wrap(make_env(env_id))), steps, seed, algorithm, pace)
    evaluation = make_env(env_id)
    recorder = CurveRecorder(evaluation, evaluation_episodes, evaluate_first)
    act = _deterministic(model, ScaledEnv(evaluation))

    def on_step(scope: dict[str, Any], _: dict[str, Any]) -> bool:
        """Called after the transition and before the update of a step."""
        made = model.num_timesteps
        if made % evaluate_every == 0 and made < steps:
            recorder.add(made, model._n_updates, act)
            if progress:
                progress(model, recorder.curve)
        return True

    model.learn(steps, callback=on_step)
    recorder.add(steps, model._n_updates, act)
    if progress:
        progress(model, recorder.curve)
    return recorder.curve


def export_baseline(model: Any, spec: TaskSpec) -> bytes:
    """A model of stable-baselines3 as a policy that our actor takes: its deterministic mode, whatever the noise, and the smallest of its Q.

    Args:
        model: SAC or DDPG, trained on a `ScaledEnv`.
        spec: of the task.
    """
    from sql_ros.core.export import write_policy

    return write_policy(_Acting(model, spec), spec.action_size, spec, 1, int(model._n_updates), 1.0, "")[0]


class _Acting(nn.Module):
    """observation (1, S), noise (K, A) -> action (K, A), q (K,)."""

    def __init__(self, model: Any, spec: TaskSpec) -> None:
        super().__init__()
        self.actor, self.critic = copy.deepcopy(model.actor), copy.deepcopy(model.critic)
        self.offset, self.scale = (
            torch.tensor(values, dtype=torch.float32) for values in (spec.observation_offset, spec.observation_scale)
        )

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What the exported graph computes."""
        state = (observation - self.offset) / self.scale + 0.0 * noise[:, :1]  # as many rows as candidates
        action = torch.tanh(self.actor.get_action_dist_params(state)[0]) if hasattr(self.actor, "log_std") else self.actor(state)
        action = torch.clamp(action + 0.0 * noise, -1.0, 1.0)
        return action, reduce(torch.minimum, self.critic(state, action)).squeeze(-1)


class ScaledEnv(gymnasium.ObservationWrapper):
    """Observations (o - offset) / scale of the task's spec: what our networks do inside, done for those of others."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        spec = spec_of(env)
        self._offset, self._scale = np.array(spec.observation_offset), np.array(spec.observation_scale)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float32)

    def observation(self, observation: Any) -> Vector:
        """Scales one observation, (S,) -> (S,)."""
        scaled: Vector = ((observation - self._offset) / self._scale).astype(np.float32)
        return scaled


def _build(method: str, env: Any, steps: int, seed: int, algorithm: AlgorithmConfig, pace: TrainerConfig) -> Any:
    """A model of stable-baselines3, on the CPU and silent."""
    require_sb3()
    from stable_baselines3 import DDPG, SAC
    from stable_baselines3.common.noise import NormalActionNoise

    if method not in ("sac", "ddpg"):
        raise ConfigError(f"unknown baseline '{method}', expected one of: sac, ddpg")
    size = env.action_space.shape[0]
    noise = NormalActionNoise(np.zeros(size), np.full(size, DDPG_NOISE)) if method == "ddpg" else None
    return (SAC if method == "sac" else DDPG)(
        "MlpPolicy",
        env,
        policy_kwargs={"net_arch": list(algorithm.hidden_sizes)},
        learning_rate=algorithm.q_learning_rate,
        batch_size=algorithm.batch_size,
        gamma=algorithm.discount,
        tau=algorithm.target_rate,
        buffer_size=min(pace.replay_capacity, steps),
        learning_starts=pace.warmup_transitions,
        train_freq=1,
        gradient_steps=int(pace.updates_per_transition),
        action_noise=noise,
        device="cpu",
        seed=seed,
    )


def _deterministic(model: Any, scaled: ScaledEnv) -> Act:
    """The mean of the policy, as an action in [-1, 1]."""

    def act(observation: Vector) -> Vector:
        action, _ = model.predict(scaled.observation(observation), deterministic=True)
        return np.asarray(model.policy.scale_action(action), np.float32)

    return act
