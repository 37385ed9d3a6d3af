"""Composition of skills that share their dynamics: how far the mean of their Qs is from the Q of
the mean reward, exactly.

N skills have rewards r_i and optimal Q_i; r_C = sum w_i r_i and Q_S = sum w_i Q_i with weights that
sum to 1. Q_C* is the optimal Q of r_C, and pi_S the Boltzmann policy of Q_S. [C18] is arXiv
1803.06773, where w_i = 1/N.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sql_ros.checks.verify.checks import Check
from sql_ros.checks.verify.tabular import (
    CLOSE,
    SWEEPS,
    FiniteMdp,
    FloatArray,
    log_sum,
    policy_of,
    random_mdp,
    soft_policy_evaluation,
    soft_q_iteration,
)

GROUP = "composition"
ROUNDING = 1e-9


def log_overlap(
    qs: Sequence[FloatArray], weights: Sequence[float], temperature: float
) -> FloatArray:
    """Return log of prod_i pi_i(a | s)^w_i: (X, U).

    Its log-sum over actions is 0 where the skills agree and negative elsewhere (Hoelder).

    Args:
        qs: Optimal Q of each skill (X, U).
        weights: w_i, which sum to 1.
        temperature: alpha.
    """
    return sum(
        (w * np.log(policy_of(q, temperature)) for q, w in zip(qs, weights)), np.zeros_like(qs[0])
    )


def divergence_bound(mdp: FiniteMdp, qs: Sequence[FloatArray], temperature: float) -> FloatArray:
    """Return C* (X, U), the bound by which Q_S may lie above Q_C*: [C18] Lemma 1.

    Args:
        mdp: The problem; its reward is not used.
        qs: Q of each skill (X, U).
        temperature: alpha.
    """
    # (X,), >= 0
    disagreement = -temperature * log_sum(log_overlap(qs, [1 / len(qs)] * len(qs), temperature))
    # [C18] Lemma 1
    return _fixed_point(mdp, lambda c: disagreement + c.max(axis=1))


def regret_bound(mdp: FiniteMdp, bound: FloatArray, composed: FloatArray) -> FloatArray:
    """Return D* (X, U), the bound by which the composed policy may fall short of Q_C*: [C18]
    Theorem 1.

    Args:
        mdp: The problem; its reward is not used.
        bound: C* (X, U), the result of `divergence_bound`.
        composed: Probability of each action under pi_S (X, U).
    """
    # [C18] Theorem 1
    return _fixed_point(mdp, lambda d: (composed * (bound + d)).sum(axis=1))


def correction(
    mdp: FiniteMdp, qs: Sequence[FloatArray], weights: Sequence[float], temperature: float
) -> FloatArray:
    """Return C_w (X, U), by which the weighted sum of Qs is above the optimal Q of the weighted
    reward.

    Q_w* = sum w_i Q_i - C_w holds exactly. It is Theorem 3.2 of Hunt et al. 2019, extended to any
    number of skills.

    Args:
        mdp: The problem; its reward is not used.
        qs: Optimal Q of each skill (X, U).
        weights: w_i, which sum to 1.
        temperature: alpha.
    """
    overlap = log_overlap(qs, weights, temperature)
    return _fixed_point(mdp, lambda c: -temperature * log_sum(overlap - c / temperature))


def _fixed_point(mdp: FiniteMdp, value: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Return the fixed point (X, U) of x = gamma E value(x)(s'), by iteration from zero.

    Args:
        mdp: Gives dynamics and discount.
        value: Maps x (X, U) to values of states (X,).

    Raises:
        RuntimeError: The iteration has not converged after `SWEEPS` sweeps.
    """
    x = np.zeros_like(mdp.reward)
    for _ in range(SWEEPS):
        previous = x
        x = mdp.discount * mdp.transition @ value(x)
        if np.abs(x - previous).max() < CLOSE * max(1.0, np.abs(x).max()):
            return x
    raise RuntimeError(
        f"no fixed point after {SWEEPS} sweeps at discount {mdp.discount}, expected a discount"
        " below 1"
    )


def _skills(rng: np.random.Generator, count: int) -> tuple[FiniteMdp, list[FloatArray], float]:
    """Draw random dynamics and the rewards of some skills.

    Args:
        rng: Random generator.
        count: Number of skills.

    Returns:
        A problem with 6 states and 3 actions for its dynamics and discount, `count` rewards (X, U),
        and a temperature.
    """
    mdp = random_mdp(rng, 6, 3, float(rng.uniform(0.5, 0.95)))
    return (
        mdp,
        [rng.normal(size=mdp.reward.shape) for _ in range(count)],
        float(np.exp(rng.uniform(np.log(0.1), np.log(3.0)))),
    )


def violations(
    mdp: FiniteMdp, rewards: Sequence[FloatArray], temperature: float
) -> tuple[float, float, float, float]:
    """Measure how far each bound of [C18] is broken, and how much it leaves open.

    Args:
        mdp: Gives dynamics and discount.
        rewards: Reward of each skill (X, U).
        temperature: alpha.

    Returns:
        The largest value over states and actions of four differences: Q_C* - Q_S, Q_S - C* - Q_C*
        (both Lemma 1), Q_C* - D* - Q^{pi_S} (Theorem 1), and Q_S - Q_C*, the gap that the bounds
        are about. A positive value of the first three breaks a bound.
    """
    qs = [soft_q_iteration(replace(mdp, reward=reward), temperature) for reward in rewards]
    mixed = replace(mdp, reward=np.mean(rewards, axis=0))
    mean = np.mean(qs, axis=0)
    exact = soft_q_iteration(mixed, temperature)
    bound = divergence_bound(mdp, qs, temperature)
    composed = policy_of(mean, temperature)
    achieved = soft_policy_evaluation(mixed, composed, temperature)
    shortfall = exact - regret_bound(mdp, bound, composed) - achieved
    return tuple(
        float(x.max()) for x in (exact - mean, mean - bound - exact, shortfall, mean - exact)
    )  # type: ignore[return-value]


def bounds(seed: int, problems: int = 20) -> list[Check]:
    """Check Lemma 1 and Theorem 1 of [C18] for two and three skills on random problems.

    Args:
        seed: Seed of the problems.
        problems: Problems per number of skills.

    Returns:
        For each number of skills four checks: the largest violation of the two bounds of Lemma 1
        and of that of Theorem 1, and the gap, which must be at least 0.01.
    """
    checks = []
    for count in (2, 3):
        rng = np.random.default_rng(seed)
        upper, lower, regret, gap = np.max(
            [violations(*_skills(rng, count)) for _ in range(problems)], axis=0
        )
        checks += [
            Check(GROUP, f"{count} skills: the mean of Qs below the exact Q", upper, ROUNDING),
            Check(
                GROUP, f"{count} skills: the mean of Qs less C* above the exact Q", lower, ROUNDING
            ),
            Check(
                GROUP,
                f"{count} skills: the composed policy below the exact Q less D*",
                regret,
                ROUNDING,
            ),
            Check(
                GROUP,
                f"{count} skills: error of the mean of Qs (the bounds have something to bound)",
                gap,
                0.01,
                "at least",
            ),
        ]
    return checks


def exact_composition(seed: int, problems: int = 20) -> list[Check]:
    """Check that the weighted sum of Qs less its correction is the optimal Q of the weighted
    reward, on random problems.

    Args:
        seed: Seed of the problems.
        problems: Number of problems, even; half have two skills, half three.

    Returns:
        One check: the largest difference.
    """
    worst = 0.0
    rng = np.random.default_rng(seed)
    for count in (2, 3) * (problems // 2):
        mdp, rewards, temperature = _skills(rng, count)
        weights = rng.dirichlet(np.ones(count))
        qs = [soft_q_iteration(replace(mdp, reward=reward), temperature) for reward in rewards]
        exact = soft_q_iteration(
            replace(mdp, reward=np.tensordot(weights, rewards, axes=1)), temperature
        )
        corrected = np.tensordot(weights, qs, axes=1) - correction(
            mdp, qs, list(weights), temperature
        )
        worst = max(worst, float(np.abs(corrected - exact).max()))
    return [
        Check(
            GROUP, "weighted Qs less the exact correction against soft Q-iteration", worst, ROUNDING
        )
    ]


def composition_checks(seed: int) -> list[Check]:
    """Return all checks of composed skills.

    Args:
        seed: Seed of the problems.
    """
    return bounds(seed) + exact_composition(seed)
