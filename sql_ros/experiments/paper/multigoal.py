"""Multigoal: a point robot starts between four equally good goals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure
from sql_ros.envs.multigoal import GOALS, HALF_WIDTH
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import opened_env
from sql_ros.experiments.gym_training import sampled
from sql_ros.experiments.paper.style import COLOURS, LABELS, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.learning.trainer import Trainer

ENV = "sql_ros/MultiGoal-v0"
STATES = ((-2.5, 0.0), (0.0, 0.0), (2.5, 2.5))  # at which the authors' code draws Q
EPISODES, DRAWN = 400, 24  # episodes from the origin, and how many of them are drawn
SAMPLES, GRID = 150, 41  # sampled actions per state, and grid points of Q per axis
SHARE = (0.15, 0.35)  # range of the share of episodes at each goal, for "reproduced"
COMMON = {
    "temperature": 10.0,
    "final_temperature": 10.0,
    "discount": 0.99,
    "hidden_sizes": (128, 128),
    "batch_size": 64,
    "q_networks": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "sql": {"value_particles": 16, "uniform_particles": 4},
    "sac": {"kind": "sac"},
    "ddpg": {"kind": "ddpg"},
}


def setting(case: Case) -> Setting:
    """Return the setting of a case, whose contender is a key of `KINDS`.

    The training has 20,000 transitions, in the quick version 10,000. Noise is added to the actions
    of DDPG alone.
    """
    return Setting(
        env=ENV,
        steps=10_000 if case.quick else 20_000,
        algorithm={**COMMON, **KINDS[case.contender]},
        pace={"warmup_transitions": 1000, "replay_capacity": 100_000},
        noisy=case.contender == "ddpg",
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for each method and seed; the quick version has no SAC."""
    return [
        Case(contender, seed=seed, quick=quick)
        for seed in seeds
        for contender in KINDS
        if not quick or contender != "sac"
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train, then run episodes from the origin with sampled actions.

    Args:
        case: The case.
        out: Folder of the experiment; not used.

    Returns:
        "shares": share of the episodes that end at each goal; "steps": mean length of an episode;
        "paths": the first `DRAWN` paths, lists of (x, y); "q": result of `_probe` for soft
        Q-learning with seed 0, otherwise empty.
    """
    trainer = setting(case).train(case.seed).trainer
    goals, lengths, paths = _act(trainer)
    shares = [float(np.mean([goal == g for goal in goals])) for g in range(len(GOALS))]
    drawn = _probe(trainer) if case.contender == "sql" and case.seed == 0 else []
    return {"shares": shares, "steps": float(np.mean(lengths)), "paths": paths[:DRAWN], "q": drawn}


def _act(trainer: Trainer) -> tuple[list[int], list[int], list[Any]]:
    """Run `EPISODES` from the origin with sampled actions.

    Args:
        trainer: Trainer whose policy acts.

    Returns:
        Of each episode: index of the goal reached (-1: none), number of control steps, and path
        (x, y).
    """
    goals, lengths, paths = [], [], []
    act = sampled(trainer.learner)
    with opened_env(ENV) as env:
        for episode in range(EPISODES):
            states = list(play(env, act, 50_000 + episode, {"state": (0.0, 0.0)}))
            goals.append(states[-1][2]["goal"])
            lengths.append(len(states) - 1)
            paths.append([[round(float(x), 3) for x in place] for place, _, _ in states])
    return goals, lengths, paths


@torch.no_grad()
def _probe(trainer: Trainer) -> list[dict[str, Any]]:
    """Evaluate Q on a grid of actions, and sample actions, in each of `STATES`.

    Args:
        trainer: Trainer whose networks are evaluated.

    Returns:
        For each state "q": Q rounded to integers (`GRID`, `GRID`), first index along x; and
        "actions": sampled actions (`SAMPLES`, 2).
    """
    learner, axis = trainer.learner, torch.linspace(-0.99, 0.99, GRID)
    grid = torch.cartesian_prod(axis, axis)[None]
    found = []
    for place in STATES:
        state = torch.tensor([place])
        q = learner.q(state, grid)[0].view(GRID, GRID)
        samples = learner.sample(state, SAMPLES)[0]
        found.append(
            {
                "q": np.round(q.numpy()).astype(int).tolist(),
                "actions": np.round(samples.numpy(), 3).tolist(),
            }
        )
    return found


def entropy(shares: Sequence[float]) -> float:
    """Return the entropy of the goal that is reached [nats]; failure is a fifth outcome.

    Four goals with equal shares have 1.386.

    Args:
        shares: Share of the episodes that end at each goal; the rest reach none.
    """
    all_ = np.array([*shares, max(1.0 - sum(shares), 0.0)])
    return float((all_[all_ > 0] * -np.log(all_[all_ > 0])).sum()) + 0.0


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Report the shares of the goals and their entropy for every seed.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if with every seed soft Q-learning reaches each
        goal in a share of the episodes within `SHARE`, and DDPG reaches at most one goal. The
        verdict is "partly" if with every seed soft Q-learning reaches each goal in more than 2 % of
        the episodes, otherwise "not". DDPG counts as reaching a goal in which more than 2 % of its
        episodes end. Figures: "goals_reached" (by soft Q-learning, the fewest of the seeds),
        "min_share" and "max_share" of a goal, and "entropy_<method>" (mean of the seeds). Pictures:
        trajectories.png, and q_and_samples.png if seed 0 of soft Q-learning was run.

    Raises:
        KeyError: There is no run of soft Q-learning.
    """
    sides = {kind: found for kind in KINDS if (found := results_of(results, kind))}
    rows = []
    for kind, found in sides.items():
        shares = "; ".join(
            " ".join(f"{share:.2f}" for share in result["shares"]) for result in found
        )
        entropies = ", ".join(f"{entropy(result['shares']):.2f}" for result in found)
        visited = ", ".join(
            str(sum(share > 0.02 for share in result["shares"])) for result in found
        )
        rows.append((LABELS[kind], shares, entropies, visited))
    sql = np.array([result["shares"] for result in sides["sql"]])
    balanced = bool((sql >= SHARE[0]).all() and (sql <= SHARE[1]).all())
    commits = all(
        sum(share > 0.02 for share in result["shares"]) <= 1 for result in sides.get("ddpg", [])
    )
    verdict = "reproduced" if balanced and commits else "partly" if (sql > 0.02).all() else "not"
    table = markdown_table(
        ("", "shares of the four goals, each seed", "entropy [nats]", "goals per seed"), rows
    )
    text = (
        f"{EPISODES} episodes from the origin, actions drawn from the policy (DDPG has one).\n\n"
        + table
    )
    figures = {
        "goals_reached": float((sql > 0.0).sum(1).min()),
        "min_share": float(sql.min()),
        "max_share": float(sql.max()),
        **{
            f"entropy_{kind}": float(np.mean([entropy(r["shares"]) for r in found]))
            for kind, found in sides.items()
        },
    }
    pictures = [_plot_paths(sides, out / "trajectories.png")]
    pictures += [
        _plot_q(result, out / "q_and_samples.png") for result in sides["sql"] if result["q"]
    ]
    return Finding(verdict, text, figures, pictures)


def _plot_paths(sides: dict[str, list[dict[str, Any]]], path: Path) -> str:
    """Draw the paths over the level curves of the distance to the nearest goal.

    Args:
        sides: Results of the runs by method, at most five of which are drawn.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    columns = min(max(len(found) for found in sides.values()), 5)
    figure, axes = panels(columns, len(sides), size=(2.6, 2.6))
    axis = np.linspace(-HALF_WIDTH, HALF_WIDTH, 121)
    x, y = np.meshgrid(axis, axis)
    level = -np.min([(x - goal[0]) ** 2 + (y - goal[1]) ** 2 for goal in GOALS], axis=0)
    for row, (kind, found) in enumerate(sides.items()):
        for column, panel in enumerate(axes[row]):
            panel.set(
                xlabel="x" if row == len(axes) - 1 else "",
                ylabel="" if column else "y",
                aspect="equal",
                xlim=(-HALF_WIDTH, HALF_WIDTH),
                ylim=(-HALF_WIDTH, HALF_WIDTH),
            )
            panel.contour(x, y, level, levels=14, colors="#b9c2cc", linewidths=0.6)
            panel.plot(*GOALS.T, "o", color="#c0392b", markersize=5)
            if column < len(found):
                for line in found[column]["paths"]:
                    panel.plot(*np.array(line).T, color=COLOURS[kind], linewidth=0.8, alpha=0.7)
                panel.set_title(f"{LABELS[kind]}, seed {column}", fontsize=8)
    return save_figure(figure, path)


def _plot_q(result: dict[str, Any], path: Path) -> str:
    """Draw level curves of Q over the actions, and sampled actions, in each of `STATES`.

    Args:
        result: Result of `run_case` with "q".
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    figure, axes = panels(len(STATES), size=(3.2, 3.2))
    axis = np.linspace(-0.99, 0.99, GRID)
    for panel, state, found in zip(axes[0], STATES, result["q"]):
        q = np.array(found["q"])
        panel.contour(
            axis,
            axis,
            q.T,
            levels=np.linspace(q.max() - 60.0, q.max(), 16),
            cmap="Blues",
            linewidths=0.9,
        )
        panel.plot(*np.array(found["actions"]).T, ".", color="#c0392b", markersize=3.5, alpha=0.7)
        panel.set(title=f"state {state}", xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        panel.set(xlabel="action x", ylabel="action y" if panel is axes[0][0] else "")
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="multigoal",
    title="Multigoal: four goals, all kept",
    paper=(
        "[SQL17] Fig. 1, trajectories over the level curves, and Q with samples at three states:"
        " all four goals are reached."
    ),
    seeds=(5, 1),
    cases=cases,
    run_case=run_case,
    report=report,
)
