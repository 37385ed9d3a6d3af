"""Swimmer: a snake is rewarded for speed in either direction, and more beyond a line ahead.

The line is not part of the observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.envs.snake import BEYOND, LINE_M
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import opened_env
from sql_ros.experiments.gym_training import sampled
from sql_ros.experiments.paper.best import BestSoFar
from sql_ros.experiments.paper.style import LABELS, bands, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of

FAR = "far"
ENVS = {"": "sql_ros/Snake-v0", FAR: "sql_ros/Snake-far-v0"}
COLUMNS = (
    "line at",
    "",
    "crossed in training",
    "ends beyond it",
    "furthest ahead, each seed [m]",
    "ends at, each seed [m]",
)
LINES = {
    variant: float(gymnasium.spec(env).kwargs.get("line_m", LINE_M))
    for variant, env in ENVS.items()
}
ALPHA, LAST_ALPHA = 0.2, 0.03  # first and last temperature
ANNEALED = 0.75  # share of the run over which the temperature is annealed
STEPS = {"": 60_000, FAR: 120_000}
COMMON = {
    "temperature": ALPHA,
    "final_temperature": LAST_ALPHA,
    "discount": 0.99,
    "hidden_sizes": (128, 128),
    "batch_size": 64,
    "q_networks": 1,
}
KINDS: dict[str, dict[str, Any]] = {"sql": {}, "ddpg": {"kind": "ddpg"}}
POINTS = 60  # points of a curve
EPISODES = 10  # episodes after the training


def setting(case: Case) -> Setting:
    """Return the setting of a case, whose variant is a key of `ENVS`: the place of the line.

    The number of transitions is in `STEPS`, in the quick version half of it. The temperature is
    annealed over the share `ANNEALED` of the training. Noise is added to all actions.
    """
    steps, ratio = STEPS[case.variant] // (2 if case.quick else 1), 0.5
    return Setting(
        env=ENVS[case.variant],
        steps=steps,
        algorithm={
            **COMMON,
            **KINDS[case.contender],
            "annealing_updates": round(ANNEALED * ratio * steps),
        },
        pace={
            "warmup_transitions": 2000,
            "replay_capacity": steps,
            "updates_per_transition": ratio,
        },
        envs=4,
        noisy=True,
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return the cases of soft Q-learning and DDPG.

    In the full version the first three seeds have another case, in which the line is twice as far
    ahead and the training has twice the transitions.
    """
    near = [Case(contender, seed=seed, quick=quick) for seed in seeds for contender in KINDS]
    return near + [
        Case(contender, FAR, seed) for seed in seeds[:3] for contender in KINDS if not quick
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train, and record how far ahead the snake comes in training and in episodes after it.

    Args:
        case: The case.
        out: Folder of the experiment; not used.

    Returns:
        "steps": numbers of transitions; "furthest": largest x of all training episodes until then
        [m]; "ends": last x of each episode after the training, with sampled actions [m].
    """
    best, chosen = BestSoFar("x", max), setting(case)
    trainer = chosen.train(case.seed, wrap=best.wrap).trainer
    steps = np.linspace(chosen.steps / POINTS, chosen.steps, POINTS).astype(int)
    ends = []
    with opened_env(chosen.env) as env:
        for episode in range(EPISODES):
            *_, (_, _, info) = play(env, sampled(trainer.learner), 50_000 + episode)
            ends.append(round(info["x"], 2))
    return {
        "steps": steps.tolist(),
        "furthest": [round(x, 3) for x in best.at(steps)],
        "ends": ends,
    }


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Count the runs that cross the line, in training and by the policy at the end.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. Its verdict counts the runs with the nearer line. The verdict is "reproduced"
        if every run of soft Q-learning crosses the line and ends beyond it, and a smaller share of
        DDPG's crosses it. The verdict is "partly" if only this last condition holds, and "not" if
        it does not. Figures: "<method>_success" and "<method>_ends_beyond", shares of the runs that
        cross the line in training and that end beyond it (median of the episodes), with "far_"
        before them for the farther line. Picture: furthest.png.

    Raises:
        KeyError: There is no run of soft Q-learning with the nearer line.
    """
    lines_m = {
        variant: line
        for variant, line in LINES.items()
        if any(case.variant == variant for case in results)
    }
    figure, axes = panels(len(lines_m), size=(6.0, 4.0))
    figures: dict[str, float] = {}
    rows = []
    for panel, (variant, line) in zip(axes[0], lines_m.items()):
        for kind in KINDS:
            found = results_of(results, kind, variant)
            if not found:
                continue
            furthest, ends = (
                [result["furthest"][-1] for result in found],
                [float(np.median(result["ends"])) for result in found],
            )
            prefix = f"{variant}_{kind}" if variant else kind
            figures[f"{prefix}_success"] = float(np.mean([x > line for x in furthest]))
            figures[f"{prefix}_ends_beyond"] = float(np.mean([x > line for x in ends]))
            bands(panel, found[0]["steps"], [result["furthest"] for result in found], kind)
            crossed, beyond = sum(x > line for x in furthest), sum(x > line for x in ends)
            rows.append(
                (
                    f"{line:g} m",
                    LABELS[kind],
                    f"{crossed} of {len(found)}",
                    f"{beyond} of {len(found)}",
                    ", ".join(f"{x:.1f}" for x in furthest),
                    ", ".join(f"{x:.1f}" for x in ends),
                )
            )
        panel.axhline(line, color="#c0392b", linewidth=1.0, linestyle="--")
        panel.set(
            title=f"line at {line:g} m", xlabel="transitions", ylabel="furthest ahead so far [m]"
        )
        panel.legend(frameon=False)
        tidy(panel)
    every, better = (
        figures["sql_success"] == 1.0,
        figures["sql_success"] > figures.get("ddpg_success", 0.0),
    )
    verdict = (
        "reproduced"
        if every and better and figures["sql_ends_beyond"] == 1.0
        else "partly"
        if better
        else "not"
    )
    text = (
        f"Beyond the line speed pays {BEYOND:g} times as much. Ends: median of {EPISODES} episodes"
        f" after training.\n\n{markdown_table(COLUMNS, rows)}"
    )
    return Finding(verdict, text, figures, [save_figure(figure, out / "furthest.png")])


EXPERIMENT = Experiment(
    name="swimmer",
    title="Swimmer: a finish line that only some find",
    paper=(
        "[SQL17] Fig. 3 (left): every run of soft Q-learning ends forward, past the line, and 80 %"
        " of DDPG's."
    ),
    seeds=(5, 2),
    cases=cases,
    run_case=run_case,
    report=report,
)
