"""Maze: there are two passages to the target, and the one that looks shorter is a dead end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.envs import quadruped
from sql_ros.envs.maze import HEIGHT, RADIUS, TARGET, UPPER_BEST, WALLS, WIDTH
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import opened_env
from sql_ros.experiments.gym_training import sampled
from sql_ros.experiments.paper.best import PLACE_INTERVAL, BestSoFar, PlaceRecorder
from sql_ros.experiments.paper.style import COLOURS, LABELS, bands, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.learning.trainer import Trainer

COMMON = {"discount": 0.99, "hidden_sizes": (128, 128)}
OF_ROBOT: dict[str, dict[str, Any]] = {
    "point": {"temperature": 0.1, "final_temperature": 0.1, "batch_size": 64},
    "quadruped": {
        "temperature": 0.5,
        "final_temperature": 0.1,
        "annealing_updates": 60_000,
        "batch_size": 128,
        "layer_norm": True,
        "q_networks": 1,  # as the paper has it
    },
}
PACE: dict[str, dict[str, Any]] = {
    "point": {"warmup_transitions": 1000, "updates_per_transition": 0.5},
    "quadruped": {"warmup_transitions": 2000, "updates_per_transition": 1.0},
}
STEPS, ENVS = {"point": 30_000, "quadruped": 80_000}, {"point": 1, "quadruped": 4}
KINDS: dict[str, dict[str, Any]] = {"sql": {}, "ddpg": {"kind": "ddpg", "q_networks": 1}}
ROBOTS = {"point": "sql_ros/PointMaze-v0", "quadruped": "sql_ros/Quadruped-maze-v0"}
# variants of the quadruped's maze with another value of one measure; none is published
OTHERS = {
    "maze-deep": "the barrier 0.5 m into the passage, not 0.2 m",
    "maze-thick": "the block 1.4 m thick, not 1.0 m",
    "maze-near": "the target seen from less far (2.5 m, not 3.0 m)",
}
# smallest distance to the target in the dead end [m]
THRESHOLDS = {"point": UPPER_BEST, "quadruped": quadruped.UPPER_BEST["maze"]}
COLUMNS = ("", "past the dead end", "nearest to the target, each seed [m]")  # after the first
Row = tuple[str, str, str, str]  # a line of the table
POINTS = 60  # points of a curve
EPISODES = 12  # episodes drawn after the training
PARTS = 5  # parts of a training, one panel of the picture each


def setting(case: Case) -> Setting:
    """Return the setting of a case, whose variant is a key of `ROBOTS` or of `OTHERS`.

    A variant in `OTHERS` has the settings of the quadruped. The number of transitions is in
    `STEPS`, in the quick version 10,000. Noise is added to the actions of the point robot, and of
    DDPG.
    """
    robot = "quadruped" if case.variant in OTHERS else case.variant
    steps = 10_000 if case.quick else STEPS[robot]
    return Setting(
        env=ROBOTS.get(case.variant, f"sql_ros/Quadruped-{case.variant}-v0"),
        steps=steps,
        algorithm={**COMMON, **OF_ROBOT[robot], **KINDS[case.contender]},
        pace={**PACE[robot], "replay_capacity": steps},
        envs=ENVS[robot],
        # the paper adds noise for both methods; with soft Q-learning the quadruped does without it
        noisy=robot == "point" or case.contender == "ddpg",
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return the cases of soft Q-learning and DDPG.

    The variants of the quadruped's maze (`OTHERS`) have the first three seeds. The quick version
    has no quadruped.
    """
    robots = ["point"] if quick else ["point", "quadruped"]
    of_robots = [
        Case(contender, robot, seed, quick)
        for robot in robots
        for seed in seeds
        for contender in KINDS
    ]
    return of_robots + [
        Case(contender, maze, seed)
        for maze in OTHERS
        if not quick
        for seed in seeds[:3]
        for contender in KINDS
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train, and record how near the robot comes to the target.

    Args:
        case: The case.
        out: Folder of the experiment; not used.

    Returns:
        "steps": numbers of transitions; "nearest": smallest distance to the target in training
        until then [m]. Point robot: "paths", places (x, y) in `EPISODES` after the training.
        Quadruped: "places" (x, y) during the training, one of every `PLACE_INTERVAL` transitions.
    """
    best, places, chosen = BestSoFar("distance", min), PlaceRecorder(), setting(case)
    if case.variant == "point":
        trainer = chosen.train(case.seed, wrap=best.wrap).trainer
        seen: dict[str, Any] = {"paths": _walk(trainer)}
    else:
        chosen.train(case.seed, wrap=lambda env: places.wrap(best.wrap(env)))
        seen = {"places": places.recorded}
    steps = np.linspace(chosen.steps / POINTS, chosen.steps, POINTS).astype(int)
    return {"steps": steps.tolist(), "nearest": [round(x, 3) for x in best.at(steps)], **seen}


def _walk(trainer: Trainer) -> list[list[list[float]]]:
    """Run `EPISODES` of the trained point robot, with actions sampled from the policy.

    Args:
        trainer: Trainer whose policy acts.

    Returns:
        The path of each episode, a list of places (x, y).
    """
    paths = []
    with opened_env(ROBOTS["point"]) as env:
        robot: Any = env.unwrapped
        for episode in range(EPISODES):
            states = play(env, sampled(trainer.learner), 60_000 + episode)
            paths.append([[round(float(x), 2) for x in robot.place] for _ in states])
    return paths


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Count the runs that get past the dead end: nearer to the target than is possible in it.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if every run of soft Q-learning gets past, and not
        every run of DDPG with the quadruped. The verdict is "partly" if every run of soft
        Q-learning gets past with at least one of the robots, otherwise "not". Figures: shares of
        the runs that get past, "<robot>_<method>_success", their mean "<method>_success", and
        "others_<method>_success" in the variants `OTHERS`. Pictures: nearest.png, paths.png, and
        places.png with the quadruped.
    """
    robots = [robot for robot in ROBOTS if any(case.variant == robot for case in results)]
    figure, axes = panels(len(robots), size=(6.0, 4.0))
    figures: dict[str, float] = {}
    rows: list[Row] = []
    for panel, robot in zip(axes[0], robots):
        threshold = THRESHOLDS[robot]
        for kind in KINDS:
            found = results_of(results, kind, robot)
            if not found:
                continue
            bands(panel, found[0]["steps"], [result["nearest"] for result in found], kind)
            figures[f"{robot}_{kind}_success"], row = _judge(robot, kind, found, threshold)
            rows.append(row)
        panel.axhline(
            threshold,
            color="#c0392b",
            linewidth=1.0,
            linestyle="--",
            label="best through the upper passage",
        )
        panel.set(title=robot, xlabel="transitions", ylabel="nearest to the target so far [m]")
        panel.legend(frameon=False)
        tidy(panel)
    sides = {kind: found for kind in KINDS if (found := results_of(results, kind, "point"))}
    pictures = [save_figure(figure, out / "nearest.png"), _plot_paths(sides, out / "paths.png")]
    if "quadruped" in robots:
        pictures.append(_plot_places(results, out / "places.png"))
    for kind in KINDS:
        figures[f"{kind}_success"] = float(
            np.mean([figures[f"{robot}_{kind}_success"] for robot in robots])
        )
    all_pass = [figures[f"{robot}_sql_success"] == 1.0 for robot in robots]
    # the paper compares soft Q-learning with DDPG on the quadruped alone
    stands_out = figures.get("quadruped_ddpg_success", 1.0) < 1.0
    verdict = "reproduced" if all(all_pass) and stands_out else "partly" if any(all_pass) else "not"
    limits = ", ".join(f"{robot} {THRESHOLDS[robot]:.1f} m" for robot in robots)
    others, more = _judge_others(results)
    table = markdown_table(("", *COLUMNS), rows)
    text = f"The dead end gets so near to the target: {limits}.\n\n{table}{others}"
    return Finding(verdict, text, figures | more, pictures)


def _judge(
    name: str, kind: str, found: list[dict[str, Any]], threshold: float
) -> tuple[float, Row]:
    """Count the runs that come nearer to the target than a threshold.

    Args:
        name: First cell of the table line.
        kind: Key of `KINDS`.
        found: Results of the runs.
        threshold: Distance to the target [m].

    Returns:
        Share of the runs that come nearer, and the cells of the table line.
    """
    nearest = [result["nearest"][-1] for result in found]
    past = sum(x < threshold for x in nearest)
    row = (
        name,
        LABELS[kind],
        f"{past} of {len(found)}",
        ", ".join(f"{x:.1f}" for x in nearest),
    )
    return past / len(found), row


def _judge_others(results: dict[Case, dict[str, Any]]) -> tuple[str, dict[str, float]]:
    """Report the runs in the variants of the quadruped's maze, `OTHERS`.

    Args:
        results: Results of `run_case` by case.

    Returns:
        Markdown with a table, and the share of runs that get past as a figure for each method. The
        text is empty and there are no figures if no variant has a run.
    """
    rows: list[Row] = []
    shares: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for maze, words in OTHERS.items():
        threshold = quadruped.UPPER_BEST[maze]
        for kind in KINDS:
            if found := results_of(results, kind, maze):
                share, row = _judge(f"{words}: {threshold:.1f} m", kind, found, threshold)
                rows.append(row)
                shares[kind].append(share)
    if not rows:
        return "", {}
    intro = "\n\nThe quadruped's maze with one measure chosen otherwise, all else the same:\n\n"
    table = markdown_table(("maze: dead end", *COLUMNS), rows)
    return intro + table, {
        f"others_{kind}_success": float(np.mean(found)) for kind, found in shares.items() if found
    }


def _plot_paths(sides: dict[str, list[dict[str, Any]]], path: Path) -> str:
    """Draw paths of the trained point robots, a panel for each run.

    Args:
        sides: Results of the runs by method, at most five of which are drawn.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    columns = min(max(len(found) for found in sides.values()), 5)
    figure, axes = panels(columns, len(sides), size=(3.0, 2.2))
    for row, (kind, found) in zip(axes, sides.items()):
        for column, panel in enumerate(row):
            panel.set(
                xlim=(0, WIDTH),
                ylim=(-HEIGHT / 2, HEIGHT / 2),
                xticks=[],
                yticks=[],
                aspect="equal",
            )
            for x0, y0, x1, y1 in WALLS:
                panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color="#5d6d7e"))
            panel.plot(*TARGET, "s", color="#c0392b", markersize=2 * RADIUS * 9)
            if column < len(found):
                for line in found[column]["paths"]:
                    panel.plot(*np.array(line).T, color=COLOURS[kind], linewidth=0.8, alpha=0.7)
                panel.set_title(f"{LABELS[kind]}, seed {column}", fontsize=8)
    return save_figure(figure, path)


def _plot_places(results: dict[Case, dict[str, Any]], path: Path) -> str:
    """Draw where the quadruped was in training, a row for each run and a panel for each part.

    Args:
        results: Results of `run_case` by case.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    runs = {case: result for case, result in results.items() if case.variant == "quadruped"}
    rows = sorted(runs, key=lambda case: (list(KINDS).index(case.contender), case.seed))
    figure, axes = panels(PARTS, len(rows), size=(2.6, 1.9))
    walls = np.array(quadruped.COURSES["maze"].walls)
    for row, case in zip(axes, rows):
        for part, (panel, seen) in enumerate(
            zip(row, np.array_split(np.array(runs[case]["places"]), PARTS))
        ):
            panel.set(
                xlim=(walls[:, 0].min(), walls[:, 2].max()),
                ylim=(walls[:, 1].min(), walls[:, 3].max()),
            )
            panel.set(xticks=[], yticks=[], aspect="equal")
            for x0, y0, x1, y1 in walls:
                panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color="#5d6d7e"))
            panel.plot(*quadruped.COURSES["maze"].target, "s", color="#c0392b", markersize=5)
            panel.plot(*seen.T, ".", color=COLOURS[case.contender], markersize=2, alpha=0.6)
            until = round((part + 1) * PLACE_INTERVAL * len(runs[case]["places"]) / PARTS)
            panel.set_title(f"{LABELS[case.contender]}, seed {case.seed}, to {until:,}", fontsize=7)
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="maze",
    title="Maze: the shorter passage is a dead end",
    paper=(
        "[SQL17] Fig. 3 (right) and BAIR post Fig. 4, a quadruped: all runs of soft Q-learning get"
        " past, 60 % of DDPG's."
    ),
    seeds=(5, 2),
    cases=cases,
    run_case=run_case,
    report=report,
)
