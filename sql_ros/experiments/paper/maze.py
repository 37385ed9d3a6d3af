"""Maze: two passages, the one that looks shorter is a dead end; who looks into the other?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from sql_ros.core.trainer import Trainer
from sql_ros.envs import quadruped
from sql_ros.envs.maze import HEIGHT, RADIUS, TARGET, UPPER_BEST, WALLS, WIDTH
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import make_env
from sql_ros.experiments.gym_training import sampled
from sql_ros.experiments.paper.best import BestSoFar
from sql_ros.experiments.paper.style import COLOURS, LABELS, bands, panels, save, tidy
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, of

COMMON = {"temperature": 0.1, "hidden_sizes": (128, 128)}
OF_ROBOT: dict[str, dict[str, Any]] = {
    "point": {"final_temperature": 0.1, "batch_size": 64, "discount": 0.99},
    "quadruped": {"final_temperature": 0.01, "annealing_updates": 15_000, "batch_size": 128, "discount": 0.98},
}
KINDS: dict[str, dict[str, Any]] = {"sql": {}, "ddpg": {"kind": "ddpg", "q_networks": 1}}
ROBOTS = {"point": "sql_ros/PointMaze-v0", "quadruped": "sql_ros/Quadruped-maze-v0"}
THRESHOLDS = {"point": UPPER_BEST, "quadruped": quadruped.UPPER_BEST}
POINTS, EPISODES = 60, 12  # of the curves; drawn at the end


def setting(case: Case) -> Setting:
    """Of a case; its variant is the robot."""
    small = case.variant == "point"
    return Setting(
        env=ROBOTS[case.variant],
        steps=(10_000 if case.quick else 30_000) if small else 40_000,
        algorithm={**COMMON, **OF_ROBOT[case.variant], **KINDS[case.contender]},
        pace={"warmup_transitions": 1000 if small else 2000, "replay_capacity": 40_000, "updates_per_transition": 0.5},
        envs=1 if small else 4,
        noisy=True,
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Soft Q-learning and DDPG; the quadruped for the first three seeds, quick: not at all."""
    point = [Case(contender, "point", seed, quick) for seed in seeds for contender in KINDS]
    return point + [Case(contender, "quadruped", seed) for seed in seeds[:3] for contender in KINDS if not quick]


def make(case: Case, out: Path) -> dict[str, Any]:
    """Trains, and notes how near the target any training episode came so far; then a few episodes for the picture."""
    best, chosen = BestSoFar("distance", min), setting(case)
    trainer = chosen.train(case.seed, wrap=best.wrap).trainer
    steps = np.linspace(chosen.steps / POINTS, chosen.steps, POINTS).astype(int)
    paths = _walk(trainer) if case.variant == "point" else []
    return {"steps": steps.tolist(), "nearest": [round(x, 3) for x in best.at(steps)], "paths": paths}


def _walk(trainer: Trainer) -> list[list[list[float]]]:
    """Episodes of the point robot, its actions drawn."""
    env, paths = make_env(ROBOTS["point"]), []
    for episode in range(EPISODES):
        states = play(env, sampled(trainer.learner), 60_000 + episode)
        paths.append([[round(float(x), 2) for x in env.unwrapped.place] for _ in states])
    return paths


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Who comes nearer than the dead end does."""
    robots = [robot for robot in ROBOTS if any(case.variant == robot for case in results)]
    figure, axes = panels(len(robots), size=(6.0, 4.0))
    figures: dict[str, float] = {}
    lines = ["| | | past the dead end | nearest to the target, each seed [m] |", "|---|---|---|---|"]
    for place, robot in zip(axes[0], robots):
        threshold = THRESHOLDS[robot]
        for kind in KINDS:
            found = of(results, kind, robot)
            if not found:
                continue
            nearest = [result["nearest"][-1] for result in found]
            figures[f"{robot}_{kind}_success"] = float(np.mean([x < threshold for x in nearest]))
            bands(place, found[0]["steps"], [result["nearest"] for result in found], kind)
            past = sum(x < threshold for x in nearest)
            lines.append(f"| {robot} | {LABELS[kind]} | {past} of {len(found)} | {', '.join(f'{x:.1f}' for x in nearest)} |")
        place.axhline(threshold, color="#c0392b", linewidth=1.0, linestyle="--", label="best through the upper passage")
        place.set(title=robot, xlabel="transitions", ylabel="nearest to the target so far [m]")
        place.legend(frameon=False)
        tidy(place)
    sides = {kind: found for kind in KINDS if (found := of(results, kind, "point"))}
    pictures = [save(figure, out / "nearest.png"), _draw_paths(sides, out / "paths.png")]
    for kind in KINDS:
        figures[f"{kind}_success"] = float(np.mean([figures[f"{robot}_{kind}_success"] for robot in robots]))
    others = [figures[f"{robot}_ddpg_success"] for robot in robots]
    all_pass = [figures[f"{robot}_sql_success"] == 1.0 for robot in robots]
    verdict = "reproduced" if all(all_pass) and max(others) < 1.0 and len(robots) == len(ROBOTS) else "partly" if any(all_pass) else "not"
    limits = ", ".join(f"{robot} {THRESHOLDS[robot]:.1f} m" for robot in robots)
    return Finding(verdict, f"The dead end gets so near to the target: {limits}.\n\n" + "\n".join(lines), figures, pictures)


def _draw_paths(sides: dict[str, list[dict[str, Any]]], path: Path) -> str:
    """Episodes of the trained policies."""
    columns = min(max(len(found) for found in sides.values()), 5)
    figure, axes = panels(columns, len(sides), size=(3.0, 2.2))
    for row, (kind, found) in zip(axes, sides.items()):
        for column, place in enumerate(row):
            place.set(xlim=(0, WIDTH), ylim=(-HEIGHT / 2, HEIGHT / 2), xticks=[], yticks=[], aspect="equal")
            for x0, y0, x1, y1 in WALLS:
                place.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color="#5d6d7e"))
            place.plot(*TARGET, "s", color="#c0392b", markersize=2 * RADIUS * 9)
            if column < len(found):
                for line in found[column]["paths"]:
                    place.plot(*np.array(line).T, color=COLOURS[kind], linewidth=0.8, alpha=0.7)
                place.set_title(f"{LABELS[kind]}, seed {column}", fontsize=8)
    return save(figure, path)


EXPERIMENT = Experiment(
    name="maze",
    title="Maze: the shorter passage is a dead end",
    paper="BAIR post Fig. 4 and [SQL17] Fig. 3 (right): all runs of soft Q-learning get past; 60 % of DDPG's.",
    seeds=(5, 2),
    cases=cases,
    make=make,
    report=report,
)
