"""Finite Markov decision processes, solved exactly, with X states and U actions.

The letters differ from those elsewhere, because S and A are sizes of vectors there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
CLOSE = 1e-13  # change, relative to the largest value, at which an iteration has converged
SWEEPS = 100_000  # sweeps after which an iteration has failed


@dataclass(frozen=True)
class FiniteMdp:
    """A problem with finitely many states and actions.

    Attributes:
        reward: r(s, a), (X, U).
        transition: p(s' | s, a), (X, U, X); the last axis sums to 1.
        discount: gamma, below 1.
        log_weight: Logarithm of the weight w(a) of each action in sums over actions, (U,) or one
            number. If the actions are cells of a continuous space, it is the log volume of each
            cell, so that sums are integrals. 0: plain sums.
    """

    reward: FloatArray
    transition: FloatArray
    discount: float
    log_weight: FloatArray | float = 0.0


def random_mdp(rng: np.random.Generator, states: int, actions: int, discount: float) -> FiniteMdp:
    """Return a problem with rewards from N(0, 1) and transitions drawn uniformly from the simplex.

    Args:
        rng: Random generator.
        states: Number of states, X.
        actions: Number of actions, U.
        discount: gamma, below 1.
    """
    transition = rng.dirichlet(np.ones(states), size=(states, actions))
    return FiniteMdp(rng.normal(size=(states, actions)), transition, discount)


def log_sum(x: FloatArray) -> FloatArray:
    """Return log sum exp over the last axis without overflow: (..., N) -> (...)."""
    largest = x.max(axis=-1)
    total: FloatArray = largest + np.log(np.exp(x - largest[..., None]).sum(axis=-1))
    return total


def soft_value(
    q: FloatArray, temperature: float, log_weight: FloatArray | float = 0.0
) -> FloatArray:
    """Return V(s) = alpha log sum_a w(a) exp(Q(s, a) / alpha): (X, U) -> (X,).

    Args:
        q: Q (X, U).
        temperature: alpha.
        log_weight: log w(a), (U,) or one number.
    """
    # [SQL17] Theorem 1, with a sum for the integral
    return temperature * log_sum(q / temperature + log_weight)


def policy_of(
    q: FloatArray, temperature: float, log_weight: FloatArray | float = 0.0
) -> FloatArray:
    """Return the probability w(a) exp((Q - V) / alpha) of each action: (X, U) -> (X, U).

    Args:
        q: Q (X, U).
        temperature: alpha.
        log_weight: log w(a), (U,) or one number.
    """
    # [SQL17] Theorem 1
    policy: FloatArray = np.exp(
        (q - soft_value(q, temperature, log_weight)[:, None]) / temperature + log_weight
    )
    return policy


def backup(mdp: FiniteMdp, value: FloatArray) -> FloatArray:
    """Return Q = r + gamma E V(s') of the values of the next states: (X,) -> (X, U).

    Args:
        mdp: The problem.
        value: V of each state (X,).
    """
    # [SQL17] Theorem 2
    q: FloatArray = mdp.reward + mdp.discount * mdp.transition @ value
    return q


def soft_backup(mdp: FiniteMdp, q: FloatArray, temperature: float) -> FloatArray:
    """Return Q after one sweep of soft Q-iteration: (X, U) -> (X, U).

    Args:
        mdp: The problem.
        q: Q before the sweep (X, U).
        temperature: alpha.
    """
    return backup(mdp, soft_value(q, temperature, mdp.log_weight))


def soft_q_iteration(mdp: FiniteMdp, temperature: float) -> FloatArray:
    """Return Q* (X, U), the fixed point of `soft_backup`, by iteration from zero.

    Args:
        mdp: The problem.
        temperature: alpha.

    Raises:
        RuntimeError: The iteration has not converged after `SWEEPS` sweeps.
    """
    q = np.zeros_like(mdp.reward)
    for _ in range(SWEEPS):
        previous = q
        q = soft_backup(mdp, q, temperature)
        if np.abs(q - previous).max() < CLOSE * max(1.0, np.abs(q).max()):
            return q
    raise RuntimeError(
        f"soft Q-iteration has not converged after {SWEEPS} sweeps at discount {mdp.discount},"
        " expected a discount below 1"
    )


def soft_policy_evaluation(mdp: FiniteMdp, policy: FloatArray, temperature: float) -> FloatArray:
    """Return the soft Q of a policy (X, U), by one linear solve.

    Entropy counts from the next step on. If the actions are cells, it is the entropy of the density
    pi(a) / w(a).

    Args:
        mdp: The problem.
        policy: Probability of each action (X, U).
        temperature: alpha.
    """
    # (X, U)
    surprise = temperature * (np.log(np.maximum(policy, np.finfo(float).tiny)) - mdp.log_weight)
    reward = (policy * (mdp.reward - surprise)).sum(axis=1)  # (X,)
    transition = np.einsum("xu,xuy->xy", policy, mdp.transition)
    value = np.linalg.solve(np.eye(len(reward)) - mdp.discount * transition, reward)
    return backup(mdp, value)


def soft_policy_iteration(
    mdp: FiniteMdp, temperature: float, improvements: int
) -> list[FloatArray]:
    """Evaluate the uniform policy and the policies that follow from it by pi = exp(Q / alpha) / Z.

    Args:
        mdp: The problem.
        temperature: alpha.
        improvements: Number of improvements.

    Returns:
        Q (X, U) of each policy, `improvements` + 1 in number, that of the uniform policy first.
    """
    policy = policy_of(np.zeros_like(mdp.reward), temperature, mdp.log_weight)
    history = [soft_policy_evaluation(mdp, policy, temperature)]
    for _ in range(improvements):
        # [SQL17] Theorem 4
        policy = policy_of(history[-1], temperature, mdp.log_weight)
        history.append(soft_policy_evaluation(mdp, policy, temperature))
    return history
