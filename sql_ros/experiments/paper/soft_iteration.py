"""Soft iteration: the algorithms of the lecture, computed exactly on small random problems.

Soft Q-iteration, soft policy iteration and the entropy-regularised policy gradient have one fixed
point. A greedy learner that explores by a Boltzmann distribution has another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.checks.verify.tabular import (
    FiniteMdp,
    FloatArray,
    backup,
    policy_of,
    random_mdp,
    soft_backup,
    soft_policy_evaluation,
    soft_policy_iteration,
    soft_q_iteration,
    soft_value,
)
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.experiments.paper.style import COLOURS, panels
from sql_ros.experiments.study import Case, Experiment, Finding

STATES, ACTIONS, DISCOUNT, TEMPERATURE = 12, 4, 0.9, 0.5
SWEEPS, IMPROVEMENTS, ASCENTS = 120, 8, 4000
RATE = 0.5  # step size of the policy gradient on the logits
ROUNDING = 1e-9  # by which rounding may raise the contraction ratio


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for each seed; the seed draws the problem."""
    return [Case("tabular", seed=seed, quick=quick) for seed in seeds]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Run all four algorithms on the problem of a seed.

    An error is the distance of a Q to the optimal soft Q in the sup norm. A gap is the mean over
    the states of the optimal soft value minus the value of a policy.

    Args:
        case: The case.
        out: Folder of the experiment; not used.

    Returns:
        "iteration" and "boltzmann": errors of soft and of greedy Q-iteration, by sweep; "ratios":
        ratios of successive errors of soft Q-iteration; "improvement": errors of soft policy
        iteration, by improvement; "gradient": gaps of the policy gradient; "explorer_gap" and
        "explorer_entropy" [nats]: gap and mean entropy of the Boltzmann policy of the greedy Q;
        "soft_entropy" [nats]: mean entropy of the optimal policy.
    """
    mdp = random_mdp(np.random.default_rng(case.seed), STATES, ACTIONS, DISCOUNT)
    exact = soft_q_iteration(mdp, TEMPERATURE)
    best = soft_value(exact, TEMPERATURE)
    q, greedy = np.zeros_like(exact), np.zeros_like(exact)
    iteration, boltzmann = [], []
    for _ in range(SWEEPS):
        iteration.append(_sup_distance(q, exact))
        boltzmann.append(_sup_distance(greedy, exact))
        q, greedy = soft_backup(mdp, q, TEMPERATURE), backup(mdp, greedy.max(axis=1))
    policies = [
        _sup_distance(found, exact)
        for found in soft_policy_iteration(mdp, TEMPERATURE, IMPROVEMENTS)
    ]
    explorer = policy_of(greedy, TEMPERATURE)
    return {
        "iteration": iteration,
        "ratios": [
            later / before for before, later in itertools.pairwise(iteration) if before > 1e-6
        ],
        "improvement": policies,
        "gradient": _gradient(mdp, best),
        "boltzmann": boltzmann,
        "explorer_gap": float((best - _objective(mdp, explorer)).mean()),
        "explorer_entropy": _entropy(explorer),
        "soft_entropy": _entropy(policy_of(exact, TEMPERATURE)),
    }


def _sup_distance(q: FloatArray, exact: FloatArray) -> float:
    """Return the distance of two tables of Q (X, U) in the sup norm."""
    return float(np.abs(q - exact).max())


def _entropy(policy: FloatArray) -> float:
    """Return the entropy of a policy (X, U), averaged over the states [nats]."""
    return float(-(policy * np.log(np.maximum(policy, 1e-300))).sum(axis=1).mean())


def _objective(mdp: FiniteMdp, policy: FloatArray) -> FloatArray:
    """Return the soft value of a policy: discounted reward and entropy, (X, U) -> (X,)."""
    q = soft_policy_evaluation(mdp, policy, TEMPERATURE)
    surprise = TEMPERATURE * np.log(np.maximum(policy, np.finfo(float).tiny))
    value: FloatArray = (policy * (q - surprise)).sum(axis=1)
    return value


def _gradient(mdp: FiniteMdp, best: FloatArray) -> list[float]:
    """Ascend the mean soft value by its exact gradient, over the logits of a softmax policy.

    Args:
        mdp: The problem.
        best: Optimal soft value of every state (X,).

    Returns:
        `SWEEPS` gaps at equal distances in the `ASCENTS` steps: mean over the states of `best`
        minus the value of the policy.
    """
    logits = np.zeros_like(mdp.reward)
    start = np.full(len(best), 1.0 / len(best))
    gaps = []
    for ascent in range(ASCENTS):
        policy = policy_of(logits, 1.0)
        q = soft_policy_evaluation(mdp, policy, TEMPERATURE) - TEMPERATURE * np.log(
            np.maximum(policy, np.finfo(float).tiny)
        )
        value = (policy * q).sum(axis=1)
        if ascent % (ASCENTS // SWEEPS) == 0:
            gaps.append(float((best - value).mean()))
        moves = np.einsum("xu,xuy->xy", policy, mdp.transition)
        visits = np.linalg.solve(np.eye(len(start)) - mdp.discount * moves.T, start)
        # the policy-gradient theorem with the entropy in the advantage
        logits = logits + RATE * len(best) * (1.0 - mdp.discount) * visits[:, None] * policy * (
            q - value[:, None]
        )
    return gaps


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Report the contraction, the fixed points, and the gap of the greedy explorer.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if the three soft algorithms agree (error of soft
        policy iteration below 1e-6, gap of the policy gradient below 1e-3), every sweep shrinks the
        error at least by the discount, and the explorer has a gap in every problem. Otherwise the
        verdict is "partly". Figures: "contraction_ratio" (largest), "discount",
        "policy_iteration_gap" and "policy_gradient_gap" (largest), "explorer_gap" (of the values)
        and "explorer_q_gap" (of the Q), means. Picture: convergence.png, of the first problem.
    """
    found = list(results.values())
    ratio = max(max(result["ratios"]) for result in found)
    figures = {
        "contraction_ratio": ratio,
        "discount": DISCOUNT,
        "policy_iteration_gap": max(result["improvement"][-1] for result in found),
        "policy_gradient_gap": max(result["gradient"][-1] for result in found),
        "explorer_gap": float(np.mean([result["explorer_gap"] for result in found])),
        "explorer_q_gap": float(np.mean([result["boltzmann"][-1] for result in found])),
    }
    entropies = [(result["explorer_entropy"], result["soft_entropy"]) for result in found]
    text = (
        f"{len(found)} random problems, {STATES} states, {ACTIONS} actions, discount {DISCOUNT},"
        f" alpha {TEMPERATURE}; all exact.\n\n- Soft Q-iteration shrinks its error by {ratio:.4f}"
        f" per sweep at most (the bound is the discount, {DISCOUNT}).\n- Soft policy iteration is"
        f" there too after {IMPROVEMENTS} improvements (error"
        f" {figures['policy_iteration_gap']:.1e}).\n- The entropy-regularised policy gradient comes"
        f" within {figures['policy_gradient_gap']:.1e} of the optimum in {ASCENTS} steps.\n- A"
        " greedy learner that explores by exp(Q / alpha) is not maximum entropy: its Q backs up"
        f" the maximum, so it ends {figures['explorer_q_gap']:.2f} from the soft one, and its"
        f" policy is {figures['explorer_gap']:.4f} short of the optimum of reward and entropy: it"
        " is random now, but does not seek states from which it can be random later (mean entropy"
        f" {np.mean([e for e, _ in entropies]):.3f} nats, soft"
        f" {np.mean([s for _, s in entropies]):.3f})."
    )
    good = (
        ratio <= DISCOUNT + ROUNDING
        and figures["policy_iteration_gap"] < 1e-6
        and figures["policy_gradient_gap"] < 1e-3
    )
    distinct = min(result["explorer_gap"] for result in found) > 1e-6
    picture = _plot(found[0], out / "convergence.png")
    return Finding("reproduced" if good and distinct else "partly", text, figures, [picture])


def _plot(result: dict[str, Any], path: Path) -> str:
    """Draw the errors and gaps of the four algorithms on one problem.

    Left: errors of soft Q-iteration, soft policy iteration and the greedy explorer, by sweep.
    Right: gaps of the policy gradient, by step, and of the greedy explorer.

    Args:
        result: Result of `run_case`.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    figure, axes = panels(2, size=(4.8, 3.6))
    left, right = axes[0]
    sweeps = np.arange(SWEEPS)
    left.semilogy(sweeps, result["iteration"], color=COLOURS["sql"], label="soft Q-iteration")
    left.semilogy(
        sweeps,
        result["iteration"][0] * DISCOUNT**sweeps,
        ":",
        color="#5d6d7e",
        label="the discount's power",
    )
    left.semilogy(
        range(IMPROVEMENTS + 1),
        np.maximum(result["improvement"], 1e-15),
        "o-",
        color=COLOURS["sac"],
        label="soft policy iteration",
    )
    left.semilogy(
        sweeps, result["boltzmann"], color="#c0392b", label="greedy Q, Boltzmann explorer"
    )
    left.set(xlabel="sweep", ylabel="distance to the soft Q, sup norm")
    gaps = np.maximum(result["gradient"], 1e-15)
    right.semilogy(
        np.arange(len(gaps)) * (ASCENTS // SWEEPS),
        gaps,
        color=COLOURS["ddpg"],
        label="entropy-regularised policy gradient",
    )
    right.axhline(
        result["explorer_gap"],
        color="#c0392b",
        linestyle="--",
        label="greedy Q, Boltzmann explorer",
    )
    right.set(xlabel="gradient step", ylabel="short of the optimum of reward and entropy")
    for axes_ in (left, right):
        tidy(axes_)
        axes_.legend(frameon=False, fontsize=8)
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="soft-iteration",
    title="Soft iteration: four algorithms on one small problem",
    paper=(
        "The lecture's slides: soft Q-iteration and soft policy iteration share a fixed point;"
        " Boltzmann exploration has another."
    ),
    seeds=(5, 5),
    cases=cases,
    run_case=run_case,
    report=report,
)
