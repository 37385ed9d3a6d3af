"""The learner of this package, trained off-policy on small problems, against the exact answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.checks.verify.lqr import SoftLqr
from sql_ros.checks.verify.problems import (
    Draw,
    Fork,
    regulator_with_one_action,
    regulator_with_two_actions,
    transitions_of,
)
from sql_ros.checks.verify.tabular import FloatArray, policy_of, soft_q_iteration, soft_value
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling

UPDATES = 3000
# one Q-network: the minimum of two is too low by a share of their disagreement, and the backup adds
# these errors up to several hundredths of a unit of V
SETTINGS: dict[str, Any] = {
    "hidden_sizes": (64, 64),
    "batch_size": 256,
    "target_rate": 0.02,
    "q_learning_rate": 3e-3,
    "q_networks": 1,
    "value_particles": 16,
    "uniform_particles": 2,
}
TEST_STATES = 64
REPEATS = 32  # estimates of V per state: their mean shows the bias
PARTICLES = 8192  # actions drawn from the policy per state
BINS = 32  # bins of the action for the total variation
# states in which the policies of the fork are compared: one good action, nearly two, two, and two
FORK_STATES = (-0.8, -0.2, 0.4, 0.8)


def silent(_line: str) -> None:
    """Report no progress."""


def train(
    draw: Draw,
    states: int,
    actions: int,
    discount: float,
    temperature: float,
    seed: int,
    updates: int,
    settings: dict[str, Any],
    progress: Progress,
) -> Learner:
    """Train a new learner on transitions that are drawn anew for every update.

    Args:
        draw: Draws transitions.
        states: Components of the state, S.
        actions: Components of the action, A.
        discount: gamma.
        temperature: alpha.
        seed: Seed of weights and draws.
        updates: Number of updates.
        settings: Fields of `AlgorithmConfig` that replace `SETTINGS`; `discount` and `temperature`
            are not among them.
        progress: Called with a line of text after every 1000 updates.

    Returns:
        The trained learner.
    """
    config = AlgorithmConfig(
        **{**SETTINGS, **settings, "discount": discount, "temperature": temperature}
    )
    learner = Learner(config, Scaling((0.0,) * states, (1.0,) * states), actions, seed)
    rng = np.random.default_rng(seed)
    for update in range(1, updates + 1):
        learner.step(draw(config.batch_size, rng))
        if update % 1000 == 0:
            progress(f"{update} of {updates} updates")
    return learner


def values_of(learner: Learner, state: FloatArray) -> FloatArray:
    """Return independent estimates of V by the learner: (B, S) -> (B, REPEATS).

    Args:
        learner: The trained learner.
        state: States (B, S).
    """
    observation = torch.from_numpy(np.repeat(state, REPEATS, axis=0).astype(np.float32))
    values: FloatArray = (
        learner.value(observation).numpy().astype(np.float64).reshape(len(state), REPEATS)
    )
    return values


def samples_of(learner: Learner, state: FloatArray) -> FloatArray:
    """Draw actions of the learner's policy: (B, S) -> (B, PARTICLES, A).

    Args:
        learner: The trained learner.
        state: States (B, S).
    """
    action: FloatArray = (
        learner.sample(torch.from_numpy(state.astype(np.float32)), PARTICLES)
        .numpy()
        .astype(np.float64)
    )
    return action


@torch.no_grad()
def q_of(learner: Learner, state: FloatArray, action: FloatArray) -> FloatArray:
    """Return the learner's Q at the same actions in every state: (B, S), (U, A) -> (B, U).

    Args:
        learner: The trained learner.
        state: States (B, S).
        action: Actions (U, A).
    """
    grid = torch.from_numpy(action.astype(np.float32)).expand(len(state), -1, -1)
    q: FloatArray = (
        learner.q(torch.from_numpy(state.astype(np.float32)), grid).numpy().astype(np.float64)
    )
    return q


def value_checks(
    group: str,
    values: FloatArray,
    exact: FloatArray,
    temperature: float,
    largest: float,
    mean: float,
) -> list[Check]:
    """Compare estimates of V with the exact V, and with the limit of the estimates for many
    particles.

    Args:
        group: Group of the checks.
        values: Estimates of V (B, REPEATS).
        exact: Exact V (B,).
        temperature: alpha.
        largest: Limit of the largest error over states [reward].
        mean: Limit of the mean error over states [reward].

    Returns:
        Three checks: the largest error, the absolute mean error, and the bias by the number of
        particles.
    """
    error = values.mean(axis=1) - exact
    # the mean of exp(V / alpha) has no bias; its logarithm has the bias of an estimate with REPEATS
    # times as many particles
    pooled = soft_value(values, temperature, -np.log(REPEATS))
    return [
        Check(group, "V: largest error over states [reward]", float(np.abs(error).max()), largest),
        Check(
            group, "V: mean error over states, absolute [reward]", float(abs(error.mean())), mean
        ),
        Check(
            group,
            "V: bias of the estimate for want of particles [nat]",
            float((pooled - values.mean(axis=1)).mean()) / temperature,
            0.05,
        ),
    ]


def regulator(
    group: str,
    lqr: SoftLqr,
    seed: int,
    updates: int = UPDATES,
    settings: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> list[Check]:
    """Train on a soft linear-quadratic regulator; compare V, with its constant, and the policy with
    the closed form.

    Args:
        group: Group of the checks.
        lqr: The regulator.
        seed: Seed of weights, draws and test states.
        updates: Number of updates.
        settings: Fields of `AlgorithmConfig` that replace `SETTINGS`; None: no changes.
        progress: Called with a line of text after every 1000 updates.

    Returns:
        Three checks of V (`value_checks`), one of the mean of the policy, and two of its
        covariance: averaged over states, and mean error over states.
    """
    states, actions = lqr.control.shape
    learner = train(
        transitions_of(lqr),
        states,
        actions,
        lqr.discount,
        lqr.temperature,
        seed,
        updates,
        settings or {},
        progress,
    )
    state = np.random.default_rng(seed).uniform(-1, 1, (TEST_STATES, states))
    sample = samples_of(learner, state)
    shift = sample.mean(axis=1) - lqr.policy_mean(state)
    whitened = np.linalg.solve(
        np.linalg.cholesky(lqr.policy_covariance),
        (sample - sample.mean(axis=1, keepdims=True)).swapaxes(1, 2),
    )
    # (B, A, A), the identity where it is exact
    covariance = whitened @ whitened.swapaxes(1, 2) / PARTICLES
    return [
        *value_checks(
            group, values_of(learner, state), lqr.value(state), lqr.temperature, 0.1, 0.05
        ),
        Check(
            group,
            "policy: error of the mean, root mean square over states [action]",
            float(np.sqrt(np.square(shift).mean())),
            0.05,
        ),
        Check(
            group,
            "policy: covariance averaged over states, error [exact = 1]",
            _distance(covariance.mean(axis=0)),
            0.2,
        ),
        Check(
            group,
            "policy: covariance, mean error over states [exact = 1]",
            float(np.mean([*map(_distance, covariance)])),
            0.3,
        ),
    ]


def _distance(covariance: FloatArray) -> float:
    """Return the spectral norm of a whitened covariance (A, A) less the identity; 0 if exact."""
    return float(np.linalg.norm(covariance - np.eye(len(covariance)), 2))


def regulators(
    seed: int,
    updates: int = UPDATES,
    settings: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> list[Check]:
    """Train on each of the two regulators in turn, and return the checks of both.

    Args:
        seed: Seed of weights, draws and test states.
        updates: Number of updates per regulator.
        settings: Fields of `AlgorithmConfig` that replace `SETTINGS`; None: no changes.
        progress: Called with a line of text after every 1000 updates.
    """
    one = regulator_with_one_action()
    two = regulator_with_two_actions()
    checks = regulator("regulator, one action", one, seed, updates, settings, progress)
    return checks + regulator("regulator, two actions", two, seed, updates, settings, progress)


def fork(
    seed: int,
    updates: int = UPDATES,
    settings: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> list[Check]:
    """Train on a problem whose policy has one mode in some states and two in others; compare with
    soft Q-iteration on a fine grid.

    Args:
        seed: Seed of weights and draws.
        updates: Number of updates.
        settings: Fields of `AlgorithmConfig` that replace `SETTINGS`; None: no changes.
        progress: Called with a line of text after every 1000 updates.

    Returns:
        Three checks of V (`value_checks`); the largest total variation of exp(Q / alpha) and of
        drawn actions from the exact density; the largest error of the mass of positive actions.
    """
    problem = Fork()
    group = "fork"
    mdp, state, action = problem.on_a_grid(101, 4 * BINS)
    exact = soft_q_iteration(mdp, problem.temperature)
    learner = train(
        problem.draw,
        1,
        1,
        problem.discount,
        problem.temperature,
        seed,
        updates,
        settings or {},
        progress,
    )
    values = values_of(learner, state[:, None])
    value = soft_value(exact, problem.temperature, mdp.log_weight)
    chosen = np.array([np.abs(state - place).argmin() for place in FORK_STATES])
    place = state[chosen, None]
    density = _binned(policy_of(exact[chosen], problem.temperature, mdp.log_weight))
    of_q = _binned(
        policy_of(q_of(learner, place, action[:, None]), problem.temperature, mdp.log_weight)
    )
    drawn = np.array(
        [np.histogram(x, BINS, (-1, 1))[0] / PARTICLES for x in samples_of(learner, place)[..., 0]]
    )
    right = np.abs((drawn - density)[:, BINS // 2 :].sum(axis=1))
    return [
        *value_checks(group, values, value, problem.temperature, 0.02, 0.005),
        Check(
            group,
            "exp(Q / alpha): largest total variation",
            float(_variation(of_q, density).max()),
            0.07,
        ),
        Check(
            group, "sampler: largest total variation", float(_variation(drawn, density).max()), 0.06
        ),
        Check(group, "sampler: largest error of the mass on the right", float(right.max()), 0.06),
    ]


def _binned(cells: FloatArray) -> FloatArray:
    """Return the probabilities of cells summed by bin: (B, U) -> (B, BINS), U a multiple
    of BINS.
    """
    binned: FloatArray = cells.reshape(len(cells), BINS, -1).sum(axis=2)
    return binned


def _variation(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the total variation between rows of probabilities: (B, N), (B, N) -> (B,)."""
    variation: FloatArray = np.abs(first - second).sum(axis=1) / 2
    return variation
