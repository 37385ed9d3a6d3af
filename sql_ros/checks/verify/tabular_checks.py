"""The theorems of soft Q-learning on finite problems, measured on random ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sql_ros.checks.verify.checks import Check
from sql_ros.checks.verify.tabular import (
    FiniteMdp,
    random_mdp,
    soft_backup,
    soft_policy_iteration,
    soft_q_iteration,
)

GROUP = "finite problems"
ROUNDING = 1e-9  # float64, after some thousand operations on values of order 10
TEMPERATURES = (0.05, 0.5, 5.0)
DISCOUNTS = (0.5, 0.9)


def random_problems(seed: int) -> Iterator[tuple[FiniteMdp, float]]:
    """Yield random problems of 8 states and 4 actions, each with a temperature.

    There is one for each discount of `DISCOUNTS` with each temperature of `TEMPERATURES`. The
    problems are the same for the same seed.

    Args:
        seed: Seed of the problems.
    """
    rng = np.random.default_rng(seed)
    for discount in DISCOUNTS:
        for temperature in TEMPERATURES:
            yield random_mdp(rng, 8, 4, discount), temperature


def contraction(seed: int) -> list[Check]:
    """Check how much one soft backup reduces the distance of two Q (sup norm).

    The ratio may be at most gamma ([SQL17] Theorem 3), and must be gamma for a constant shift of Q.

    Args:
        seed: Seed of problems and Qs.

    Returns:
        Two checks: the largest excess of the ratio over gamma, and the largest difference from
        gamma for a constant shift.
    """
    rng = np.random.default_rng(seed + 1)
    excess = []
    shift = []
    for mdp, temperature in random_problems(seed):
        first = rng.normal(scale=5.0, size=mdp.reward.shape)
        for second in (
            first + rng.normal(size=first.shape),
            rng.normal(scale=5.0, size=first.shape),
            first + 3.0,
        ):
            before = np.abs(first - second).max()
            after = np.abs(
                soft_backup(mdp, first, temperature) - soft_backup(mdp, second, temperature)
            ).max()
            excess.append(after / before - mdp.discount)
        shift.append(abs(excess[-1]))
    return [
        Check(
            GROUP, "sup-norm ratio of the soft backup beyond the discount", max(excess), ROUNDING
        ),
        Check(
            GROUP,
            "the same ratio for a constant shift, distance from the discount",
            max(shift),
            ROUNDING,
        ),
    ]


def fixed_point(seed: int) -> list[Check]:
    """Check that soft Q-iteration ends at a fixed point of the soft backup, and soft policy
    iteration at the same Q.

    Args:
        seed: Seed of the problems.

    Returns:
        Two checks: the largest residual, and the largest difference after 30 improvements.
    """
    residual = []
    gap = []
    for mdp, temperature in random_problems(seed):
        q = soft_q_iteration(mdp, temperature)
        residual.append(np.abs(soft_backup(mdp, q, temperature) - q).max())
        gap.append(np.abs(soft_policy_iteration(mdp, temperature, 30)[-1] - q).max())
    return [
        Check(GROUP, "residual of the soft Bellman equation", max(residual), ROUNDING),
        Check(GROUP, "soft policy iteration against soft Q-iteration", max(gap), ROUNDING),
    ]


def scale_invariance(seed: int) -> list[Check]:
    """Check Q*(k r, k alpha) = k Q*(r, alpha): reward scale and temperature are one setting.

    Args:
        seed: Seed of the problems.
    """
    worst = 0.0
    for mdp, temperature in random_problems(seed):
        for factor in (0.1, 20.0):
            scaled = soft_q_iteration(
                replace(mdp, reward=factor * mdp.reward), factor * temperature
            )
            worst = max(
                worst, float(np.abs(scaled / factor - soft_q_iteration(mdp, temperature)).max())
            )
    return [Check(GROUP, "scale invariance Q*(k r, k alpha) = k Q*(r, alpha)", worst, ROUNDING)]


def policy_improvement(seed: int) -> list[Check]:
    """Check that Q of pi_new = exp(Q^pi / alpha) / Z is nowhere below Q^pi ([SQL17] Theorem 4), and
    that the first improvement of the uniform policy raises Q somewhere.

    Args:
        seed: Seed of the problems.

    Returns:
        Two checks: the largest loss of Q in five improvements, and the least gain by the first one,
        which must be at least 0.001.
    """
    worst = 0.0
    first = np.inf
    for mdp, temperature in random_problems(seed):
        history = soft_policy_iteration(mdp, temperature, 5)
        worst = max(worst, *(float((old - new).max()) for old, new in itertools.pairwise(history)))
        first = min(first, float((history[1] - history[0]).max()))
    return [
        Check(GROUP, "largest loss of Q by a policy improvement", worst, ROUNDING),
        Check(GROUP, "gain of Q by the first improvement", first, 1e-3, "at least"),
    ]


def tabular_checks(seed: int) -> list[Check]:
    """Return all checks of finite problems with one reward; they take about a second.

    Args:
        seed: Seed of the problems.
    """
    return contraction(seed) + fixed_point(seed) + scale_invariance(seed) + policy_improvement(seed)
