"""Pretrain: a quadruped is rewarded for speed in any direction, with several temperatures alpha."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import opened_env
from sql_ros.experiments.gym_training import sampled
from sql_ros.experiments.paper.style import COLOURS, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.learning.trainer import Trainer

ENV = "sql_ros/Quadruped-open-v0"
ALPHAS = ("10", "1", "0.1", "0.01")
MAIN = "0.1"  # alpha of the policies that `finetune` starts from
START = "start"  # variant with more updates and LayerNorm, from which the full `finetune` starts
EPISODES = 20  # episodes after the training, drawn from above
COMMON = {"discount": 0.97, "hidden_sizes": (128, 128), "batch_size": 128}
# with one update per transition the robot then walks as far after 20,000 transitions, and in more
# directions
LAYER_NORM = {"layer_norm": True}


def setting(case: Case) -> Setting:
    """Return the setting of a case, whose variant is one of `ALPHAS`, or `START`.

    `START` has the temperature `MAIN`. The training has 50,000 transitions, 60,000 for `START`, and
    20,000 in the quick version. `START` and the quick version have the options of `fine_tuned`, and
    one update per transition instead of 0.5. Noise is added to the actions of DDPG.
    """
    alpha = float(MAIN if case.variant == START else case.variant)
    kind = {"kind": "ddpg", "q_networks": 1} if case.contender == "ddpg" else {}
    often = case.quick or case.variant == START
    steps = 20_000 if case.quick else 60_000 if case.variant == START else 50_000
    return Setting(
        env=ENV,
        steps=steps,
        algorithm={
            **(fine_tuned(case.quick) if often else COMMON),
            **kind,
            "temperature": alpha,
            "final_temperature": alpha,
        },
        pace={
            "warmup_transitions": 2000,
            "replay_capacity": max(steps, 50_000),
            "updates_per_transition": 1.0 if often else 0.5,
        },
        envs=4,
        noisy=case.contender == "ddpg",
    )


def fine_tuned(quick: bool) -> dict[str, Any]:
    """Return the algorithm's options of policies that `finetune` starts from.

    In the full version there is one Q-network, as in the paper.
    """
    return {**COMMON, **LAYER_NORM, **({} if quick else {"q_networks": 1})}


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for every alpha, and the cases from which `finetune` starts.

    The quick version has two alphas, and `finetune` starts from one of them. DDPG has only the
    cases from which `finetune` starts.
    """
    sql = [
        Case("sql", variant, seed, quick)
        for seed in seeds
        for variant in (("1", MAIN) if quick else (*ALPHAS, START))
    ]
    return sql + [Case("ddpg", start(quick), seed, quick) for seed in seeds]


def start(quick: bool) -> str:
    """Return the variant from which `finetune` starts."""
    return MAIN if quick else START


def models(folder: Path, case: Case) -> Path:
    """Return the folder of a case's networks, in the folder of the experiment."""
    return folder / "models" / case.name


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train, save the networks in `models`, and return "tracks", the result of `walk`.

    Args:
        case: The case.
        out: Folder of the experiment.
    """
    trainer = setting(case).train(case.seed).trainer
    trainer.save_learner(models(out, case))
    return {"tracks": walk(trainer)}


def walk(trainer: Trainer) -> list[list[list[float]]]:
    """Run `EPISODES` with sampled actions in the open; return the tracks of the robot.

    Args:
        trainer: Trainer whose policy acts.

    Returns:
        Places (x, y) [m] at every half second of each episode, the first at the origin.
    """
    tracks = []
    act = sampled(trainer.learner)
    with opened_env(ENV) as env:
        for episode in range(EPISODES):
            track = [[0.0, 0.0]]
            for step, (_, _, info) in enumerate(play(env, act, 80_000 + episode)):
                if step and step % 5 == 0:
                    track.append([round(info["x"], 2), round(info["y"], 2)])
            tracks.append(track)
    return tracks


def spread(ends: Any) -> float:
    """Return the spread of the directions of points, seen from the origin.

    The spread is 1 minus the length of the mean of the unit vectors to the points: 0 if all have
    the same direction, 1 for directions all around.

    Args:
        ends: Points (n, 2).
    """
    units = np.asarray(ends) / np.maximum(np.linalg.norm(ends, axis=1, keepdims=True), 1e-9)
    return float(1.0 - np.linalg.norm(units.mean(0)))


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Compare how far and in how many directions the robot walks, by alpha.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if with alpha `MAIN` the robot walks more than
        three times as far as with alpha 10, and its directions have a spread above 0.5. Without a
        run with alpha 10, 0.3 m stand for its distance. The verdict is "partly" if one of the two
        holds, otherwise "not". Figures: "distance_alpha_<alpha>" [m] and "spread_alpha_<alpha>",
        means of the seeds. Picture: traces.png.

    Raises:
        KeyError: There is no run of soft Q-learning with alpha `MAIN`.
    """
    alphas = [
        alpha
        for alpha in ALPHAS
        if any(case.contender == "sql" and case.variant == alpha for case in results)
    ]
    figures: dict[str, float] = {}
    rows = []
    for alpha in alphas:
        ends = [
            np.array([track[-1] for track in result["tracks"]])
            for result in results_of(results, "sql", alpha)
        ]
        away, spreads = (
            [float(np.linalg.norm(end, axis=1).mean()) for end in ends],
            [spread(end) for end in ends],
        )
        figures |= {
            f"distance_alpha_{alpha}": float(np.mean(away)),
            f"spread_alpha_{alpha}": float(np.mean(spreads)),
        }
        rows.append(
            (
                alpha,
                ", ".join(f"{x:.1f}" for x in away),
                ", ".join(f"{x:.2f}" for x in spreads),
            )
        )
    moves = figures[f"distance_alpha_{MAIN}"] > 3.0 * figures.get("distance_alpha_10", 0.3)
    around = figures[f"spread_alpha_{MAIN}"] > 0.5
    table = markdown_table(
        ("alpha", "distance after an episode, each seed [m]", "spread of directions, each seed"),
        rows,
    )
    text = (
        f"{EPISODES} episodes per seed from the origin, heading anywhere; spread 1: all around, 0:"
        f" one direction.\n\n{table}"
    )
    verdict = "reproduced" if moves and around else "partly" if moves or around else "not"
    return Finding(verdict, text, figures, [_plot(results, alphas, out / "traces.png")])


def _plot(results: dict[Case, dict[str, Any]], alphas: Sequence[str], path: Path) -> str:
    """Draw the tracks from above, a row for each seed and a column for each alpha.

    Args:
        results: Results of `run_case` by case.
        alphas: Values in `ALPHAS` that have results.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    seeds = sorted({case.seed for case in results})
    figure, axes = panels(len(alphas), len(seeds), size=(2.6, 2.6))
    drawn = [
        result
        for case, result in results.items()
        if case.contender == "sql" and case.variant in alphas
    ]
    ends = [np.abs(np.concatenate(result["tracks"])).max() for result in drawn]
    reach = 1.05 * float(np.max(ends))
    for row, seed in zip(axes, seeds):
        for panel, alpha in zip(row, alphas):
            result = next(
                (
                    r
                    for case, r in results.items()
                    if (case.contender, case.variant, case.seed) == ("sql", alpha, seed)
                ),
                None,
            )
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            panel.tick_params(labelsize=6)
            panel.set_title(f"alpha {alpha}, seed {seed}", fontsize=8)
            for track in result["tracks"] if result else []:
                panel.plot(*np.array(track).T, color=COLOURS["sql"], linewidth=0.7, alpha=0.7)
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="pretrain",
    title="Pretrain: a quadruped that may walk anywhere",
    paper=(
        "[SQL17] last figure: traces from above of a quadruped paid for speed in any direction, for"
        " alpha 10, 1, 0.1 and 0.01."
    ),
    seeds=(3, 1),
    cases=cases,
    run_case=run_case,
    report=report,
)
