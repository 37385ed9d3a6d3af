"""SAC and DDPG of stable-baselines3 under the same conditions as our own methods.

Environment, seeds, steps, widths, batches, learning rates and evaluation are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import reduce
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from sql_ros.checks.bench.sb3 import require_sb3
from sql_ros.common.errors import ConfigError
from sql_ros.experiments.curve import Act, Curve, CurveRecorder
from sql_ros.experiments.gym_task import Vector, Wrap, opened_env, spec_of
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.policy.task_spec import TaskSpec

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
    """Train SAC or DDPG of stable-baselines3, and evaluate as `gym_training.train` does.

    SAC tunes its temperature, as is the default of stable-baselines3.

    Args:
        method: "sac" or "ddpg".
        env_id: Gymnasium id.
        steps: Transitions of the training.
        seed: Seed of the model and of the environment.
        algorithm: Source of the discount, the hidden sizes, the batch size, the target rate, and
            the learning rate of Q, which is used for both networks (defaults of stable-baselines3:
            3e-4 for SAC, 1e-3 for DDPG). Other options are ignored.
        pace: Warm-up, updates per transition, and capacity of the replay buffer, which is at most
            `steps`.
        evaluate_every: Transitions between two points of the curve; the last transition always has
            a point.
        evaluation_episodes: Episodes per evaluation.
        evaluate_first: Number of episodes after which a bad evaluation is cut short; 0: never.
        wrap: Wraps the environment that is trained in.
        progress: Called with the model and the curve after each point; its return value is ignored.

    Returns:
        The curve.

    Raises:
        ConfigError: The method is unknown, stable-baselines3 is not installed, the environment
            cannot be used, or the updates per transition are not a whole number.
    """
    if not pace.updates_per_transition.is_integer():  # int() would make 0.5 none and 2.5 two
        raise ConfigError(
            f"updates_per_transition is {pace.updates_per_transition:g}, expected a whole number"
            " beside stable-baselines3"
        )
    with opened_env(env_id, wrap=wrap) as trained_in, opened_env(env_id) as evaluated:
        model = _build(method, ScaledEnv(trained_in), steps, seed, algorithm, pace)
        recorder = CurveRecorder(evaluated, evaluation_episodes, evaluate_first)
        act = _deterministic(model, ScaledEnv(evaluated))

        def add_point() -> None:
            """Evaluate the model, add a point to the curve and call `progress`."""
            recorder.add(model.num_timesteps, model._n_updates, act)
            if progress:
                progress(model, recorder.curve)

        def on_step(scope: dict[str, Any], _: dict[str, Any]) -> bool:
            """Add a point if one is due, between the transition and the update of a step.

            Args:
                scope: Local variables of the caller in stable-baselines3; not used.
            """
            if model.num_timesteps % evaluate_every == 0 and model.num_timesteps < steps:
                add_point()
            return True

        model.learn(steps, callback=on_step)
        add_point()
    return recorder.curve


def export_baseline(model: Any, spec: TaskSpec) -> bytes:
    """Export a model of stable-baselines3 as an ONNX policy that the actor accepts.

    The policy acts by the deterministic mode of the model, whatever the noise. The policy's Q is
    the smallest of the model's critics.

    Args:
        model: SAC or DDPG, trained on a `ScaledEnv`.
        spec: Interface of the task.

    Returns:
        The bytes of the file: a policy of version 1 without lineage, whose metadata have the
        temperature 1.0.
    """
    from sql_ros.learning.export import write_policy

    return write_policy(
        _Acting(model, spec), spec.action_size, spec, 1, int(model._n_updates), 1.0, ""
    )[0]


class _Acting(nn.Module):
    """The exported graph, from observation (1, S) and noise (K, A) to actions (K, A) and Q (K,).

    All K actions are the same one.

    Args:
        model: SAC or DDPG of stable-baselines3, whose networks are copied.
        spec: Interface of the task, for the scaling of observations.
    """

    def __init__(self, model: Any, spec: TaskSpec) -> None:
        super().__init__()
        self.actor, self.critic = copy.deepcopy(model.actor), copy.deepcopy(model.critic)
        self.offset, self.scale = (
            torch.tensor(values, dtype=torch.float32)
            for values in (spec.observation_offset, spec.observation_scale)
        )

    def forward(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the deterministic action, once for each row of noise, and its Q.

        Args:
            observation: Observation (1, S), not scaled.
            noise: Noise (K, A), whose values are ignored.

        Returns:
            Actions (K, A) in [-1, 1], and Q (K,), the smallest of the critics.
        """
        # the noise, times 0, gives as many rows as candidates
        state = (observation - self.offset) / self.scale + 0.0 * noise[:, :1]
        action = (
            torch.tanh(self.actor.get_action_dist_params(state)[0])
            if hasattr(self.actor, "log_std")
            else self.actor(state)
        )
        action = torch.clamp(action + 0.0 * noise, -1.0, 1.0)
        return action, reduce(torch.minimum, self.critic(state, action)).squeeze(-1)


class ScaledEnv(gymnasium.ObservationWrapper):
    """An environment with scaled observations, (o - offset) / scale.

    Models of stable-baselines3 need it. The networks of this library scale observations themselves.

    Args:
        env: The environment; offset and scale are those of its interface, see `spec_of`.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        spec = spec_of(env)
        self._offset, self._scale = (
            np.array(spec.observation_offset),
            np.array(spec.observation_scale),
        )
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, env.observation_space.shape, np.float32
        )

    def observation(self, observation: Any) -> Vector:
        """Scale one observation, (S,) -> (S,)."""
        scaled: Vector = ((observation - self._offset) / self._scale).astype(np.float32)
        return scaled


def _build(
    method: str, env: Any, steps: int, seed: int, algorithm: AlgorithmConfig, pace: TrainerConfig
) -> Any:
    """Build an untrained model of stable-baselines3, on the CPU; see `train_baseline`.

    DDPG explores with normal noise of `DDPG_NOISE`. The replay buffer has at most `steps`
    transitions.

    Args:
        method: "sac" or "ddpg".
        env: Environment to train in, with scaled observations.
        steps: Transitions of the training.
        seed: Seed of the model and of the environment.
        algorithm: Options of the learner.
        pace: Options of the trainer.

    Raises:
        ConfigError: The method is unknown, or stable-baselines3 is not installed.
    """
    require_sb3()
    from stable_baselines3 import DDPG, SAC
    from stable_baselines3.common.noise import NormalActionNoise

    if method not in ("sac", "ddpg"):
        raise ConfigError(f"unknown baseline '{method}', expected one of: sac, ddpg")
    size = env.action_space.shape[0]
    noise = (
        NormalActionNoise(np.zeros(size), np.full(size, DDPG_NOISE)) if method == "ddpg" else None
    )
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
    """Return a function that acts by a model's deterministic mode.

    Args:
        model: SAC or DDPG.
        scaled: Environment that scales the observations for the model.

    Returns:
        A function from an observation (S,), not scaled, to an action (A,) in [-1, 1].
    """

    def act(observation: Vector) -> Vector:
        """Return the action (A,) for an observation (S,)."""
        action, _ = model.predict(scaled.observation(observation), deterministic=True)
        return np.asarray(model.policy.scale_action(action), np.float32)

    return act
