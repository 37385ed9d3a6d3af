"""Swimmer: a snake paid for swimming either way, and more beyond a line ahead that it does not know of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.envs.snake import LINE_M
from sql_ros.experiments.paper.best import BestSoFar
from sql_ros.experiments.paper.style import LABELS, bands, panels, save, tidy
from sql_ros.experiments.study import Case, Experiment, Finding, Setting

ENV = "sql_ros/Snake-v0"
COMMON = {"temperature": 0.01, "final_temperature": 0.01, "discount": 0.99, "hidden_sizes": (128, 128), "batch_size": 64}
KINDS: dict[str, dict[str, Any]] = {"sql": {}, "ddpg": {"kind": "ddpg", "q_networks": 1}}
POINTS = 60  # of the curves


def setting(case: Case) -> Setting:
    """Of a case."""
    return Setting(
        env=ENV,
        steps=30_000 if case.quick else 100_000,
        algorithm={**COMMON, **KINDS[case.contender]},
        pace={"warmup_transitions": 2000, "replay_capacity": 200_000, "updates_per_transition": 0.25},
        envs=4,
        noisy=True,
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Soft Q-learning and DDPG."""
    return [Case(contender, seed=seed, quick=quick) for seed in seeds for contender in KINDS]


def make(case: Case, out: Path) -> dict[str, Any]:
    """Trains, and notes how far ahead any training episode came so far."""
    best, chosen = BestSoFar("x", max), setting(case)
    chosen.train(case.seed, wrap=best.wrap)
    steps = np.linspace(chosen.steps / POINTS, chosen.steps, POINTS).astype(int)
    return {"steps": steps.tolist(), "furthest": [round(x, 3) for x in best.at(steps)]}


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Who crosses the line, and when."""
    figure, axes = panels(1, size=(6.0, 4.0))
    place, figures, lines = axes[0, 0], {}, ["| | crossed the line | furthest ahead, each seed [m] |", "|---|---|---|"]
    for kind in KINDS:
        found = [result for case, result in results.items() if case.contender == kind]
        if not found:
            continue
        furthest = [result["furthest"][-1] for result in found]
        figures[f"{kind}_success"] = float(np.mean([x > LINE_M for x in furthest]))
        bands(place, found[0]["steps"], [result["furthest"] for result in found], kind)
        crossed = sum(x > LINE_M for x in furthest)
        lines.append(f"| {LABELS[kind]} | {crossed} of {len(found)} | {', '.join(f'{x:.1f}' for x in furthest)} |")
    place.axhline(LINE_M, color="#c0392b", linewidth=1.0, linestyle="--")
    place.set(xlabel="transitions", ylabel="furthest ahead so far [m]")
    place.legend(frameon=False)
    tidy(place)
    verdict = "reproduced" if figures["sql_success"] == 1.0 and figures.get("ddpg_success", 0.0) < 1.0 else "partly"
    text = f"The line is {LINE_M:g} m ahead; beyond it speed pays three times as much.\n\n" + "\n".join(lines)
    return Finding(verdict if figures["sql_success"] == 1.0 else "not", text, figures, [save(figure, out / "furthest.png")])


EXPERIMENT = Experiment(
    name="swimmer",
    title="Swimmer: a finish line that only some find",
    paper="[SQL17] Fig. 3 (left): every run of soft Q-learning ends forward, past the line, and 80 % of DDPG's.",
    seeds=(5, 2),
    cases=cases,
    make=make,
    report=report,
)
