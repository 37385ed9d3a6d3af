"""Validation: DDPG and SAC of this library are compared with those of stable-baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.config import config_from_mapping
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.experiments.baselines import train_baseline
from sql_ros.experiments.paper.style import LABELS, bands, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig

ENV = "Pendulum-v1"
LAST = 3  # last evaluations of a run, whose mean is its result
COMMON = {
    "discount": 0.99,
    "hidden_sizes": (128, 128),
    "batch_size": 128,
    "q_learning_rate": 1e-3,
    "sampler_learning_rate": 1e-3,
}
KINDS: dict[str, dict[str, Any]] = {
    "sac": {
        "kind": "sac",
        "temperature_mode": "tuned",
        "target_entropy": -1.0,
        "temperature": 1.0,
        "temperature_learning_rate": 1e-3,
    },
    "ddpg": {"kind": "ddpg", "q_networks": 1},
}
NEAR = 2.0  # standard errors within which two means count as alike


def setting(case: Case) -> Setting:
    """Return the setting of a case: the contender is "ours" or "sb3", the variant the algorithm.

    The training has 12,000 transitions, in the quick version 6,000, and twelve evaluations of ten
    episodes. Noise is added to the actions of our DDPG.
    """
    return Setting(
        env=ENV,
        steps=6_000 if case.quick else 12_000,
        algorithm={**COMMON, **KINDS[case.variant]},
        pace={"warmup_transitions": 1000, "replay_capacity": 100_000},
        noisy=case.variant == "ddpg",
        points=12,
        evaluation_episodes=10,
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for each seed, each algorithm and each library: "ours" and "sb3"."""
    return [
        Case(side, kind, seed, quick)
        for seed in seeds
        for kind in KINDS
        for side in ("ours", "sb3")
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train, and return the learning curve: "steps" (transitions) and "returns".

    Args:
        case: The case.
        out: Folder of the experiment; not used.
    """
    chosen = setting(case)
    if case.contender == "ours":
        curve = chosen.train(case.seed).curve
    else:
        curve = train_baseline(
            case.variant,
            ENV,
            chosen.steps,
            case.seed,
            config_from_mapping(AlgorithmConfig, chosen.algorithm, "algorithm"),
            config_from_mapping(TrainerConfig, chosen.pace, "trainer"),
            evaluate_every=chosen.steps // chosen.points,
            evaluation_episodes=chosen.evaluation_episodes,
        )
    return {"steps": curve.steps, "returns": [round(value, 2) for value in curve.returns]}


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Compare the returns at the end, by their difference in standard errors.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if each method of this library is better than the
        method of stable-baselines3, or worse by less than `NEAR` standard errors. Otherwise, or
        with one run alone, the verdict is "not". Figures: mean returns "<method>_ours" and
        "<method>_sb3", and their difference "<method>_apart" in standard errors. Picture:
        validation.png.

    Raises:
        IndexError: A method of one of the libraries has no run.
    """
    figure, axes = panels(len(KINDS), size=(5.0, 3.6))
    figures: dict[str, float] = {}
    header = ["", "ours, each seed", "stable-baselines3, each seed", "apart by, in standard errors"]
    rows = []
    alike = []
    for panel, kind in zip(axes[0], KINDS):
        ends = {}
        for side, colour, label in (("ours", kind, "ours"), ("sb3", "random", "stable-baselines3")):
            found = results_of(results, side, kind)
            bands(
                panel,
                found[0]["steps"],
                [r["returns"] for r in found],
                colour,
                f"{label}, {len(found)} seeds",
            )
            ends[side] = np.array([np.mean(r["returns"][-LAST:]) for r in found])
        figures |= {
            f"{kind}_ours": float(ends["ours"].mean()),
            f"{kind}_sb3": float(ends["sb3"].mean()),
        }
        said = "- (one run has no scatter)"
        if several := all(len(values) > 1 for values in ends.values()):
            apart = figures[f"{kind}_apart"] = _standardised_difference(ends["ours"], ends["sb3"])
            said = f"{apart:+.1f}"
        alike.append(several and (abs(apart) < NEAR or apart > 0.0))
        cells = (", ".join(f"{value:.0f}" for value in ends[side]) for side in ("ours", "sb3"))
        rows.append([LABELS[kind], *cells, said])
        panel.set(title=f"{LABELS[kind]}, {ENV}", xlabel="transitions", ylabel="return")
        panel.legend(frameon=False)
        tidy(panel)
    table = markdown_table(header, rows)
    text = f"Mean return of the last {LAST} evaluations of ten episodes.\n\n{table}"
    return Finding(
        "reproduced" if all(alike) else "not",
        text,
        figures,
        [save_figure(figure, out / "validation.png")],
    )


def _standardised_difference(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]
) -> float:
    """Return the difference of two means, ours less theirs, in standard errors.

    Args:
        ours: Results of our runs, two or more.
        theirs: Results of the other runs, two or more.
    """
    error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in (ours, theirs)))
    return float((ours.mean() - theirs.mean()) / max(error, 1e-9))


EXPERIMENT = Experiment(
    name="validation",
    title="Validation: our DDPG and SAC beside stable-baselines3's",
    paper="No figure of the paper: what it is compared with must be as good as it is elsewhere.",
    seeds=(5, 3),
    cases=cases,
    run_case=run_case,
    report=report,
)
