"""The tuned temperature against the exact temperature at which the Boltzmann policy has the target
entropy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import Batch

GROUP = "tuned temperature"
STEEPNESS = 4.0
CENTRE = 0.2
TARGET = -0.3  # target entropy per component [nat]
CELLS = 4000  # of the quadrature


def reward(action: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the reward of a bandit, r = -4 |a - 0.2|^2: (B, A) -> (B,)."""
    value: npt.NDArray[Any] = -STEEPNESS * np.square(action - CENTRE).sum(-1)
    return value


def entropy_at(temperature: float) -> float:
    """Return the exact entropy per component of exp(r / alpha) / Z on [-1, 1], by quadrature [nat].

    Args:
        temperature: alpha.
    """
    point = ((np.arange(CELLS) + 0.5) / CELLS * 2.0 - 1.0)[:, None]
    logit = reward(point) / temperature
    log_z = np.log(np.exp(logit).sum() * 2.0 / CELLS)
    return float(log_z - (np.exp(logit - log_z) * logit).sum() * 2.0 / CELLS)


def exact_temperature(target: float) -> float:
    """Return the temperature alpha at which the entropy per component is the target, by bisection.

    Args:
        target: Entropy per component [nat], below log 2.
    """
    low = 1e-4
    high = 1e3
    for _ in range(100):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if entropy_at(float(middle)) < target else (low, middle)
    return float(low)


def tuned_temperature(size: int, updates: int, seed: int, progress: Progress) -> list[Check]:
    """Train the learner on the bandit with a tuned temperature that begins at ten times the exact
    one.

    Args:
        size: Components of the action, A.
        updates: Number of updates, at least 4.
        seed: Seed of weights and draws.
        progress: Called with one line of text at the end.

    Returns:
        The check of the temperature, averaged over the last quarter of the updates.
    """
    exact = exact_temperature(TARGET)
    config = AlgorithmConfig(
        temperature=10.0 * exact,
        temperature_mode="tuned",
        target_entropy=TARGET,
        temperature_learning_rate=5e-3,
        discount=0.0,
        hidden_sizes=(128, 128),
        batch_size=128,
        q_learning_rate=2e-3,
        q_networks=1,
        value_particles=16,
        uniform_particles=2,
    )
    learner = Learner(config, Scaling((0.0,), (1.0,)), size, seed)
    rng = np.random.default_rng(seed)
    tail: list[float] = []
    for update in range(updates):
        action = rng.uniform(-1.0, 1.0, (config.batch_size, size)).astype(np.float32)
        state = np.zeros((config.batch_size, 1), np.float32)
        learner.step(
            Batch(
                state,
                action,
                reward(action).astype(np.float32),
                state,
                np.zeros(config.batch_size, np.float32),
            )
        )
        if update >= updates * 3 // 4:
            tail.append(learner.temperature)
    progress(f"tuned temperature, A = {size}: {np.mean(tail):.4f}, exact {exact:.4f}")
    return [
        Check(
            GROUP,
            f"A = {size}: relative error of alpha",
            abs(float(np.mean(tail)) / exact - 1.0),
            0.1,
        )
    ]
