"""Pusher: two skills are composed by the mean of their Q, without further training.

A skill pushes the puck along one axis. The joint task rewards both axes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sql_ros.common.errors import ConfigError
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import Vector, opened_env, spec_of
from sql_ros.experiments.paper.style import COLOURS, LABELS, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.experiments.workers import write_json
from sql_ros.learning.export import compose
from sql_ros.learning.learner import Learner
from sql_ros.learning.losses import soft_value
from sql_ros.learning.squash import log_volume, squash
from sql_ros.learning.trainer import load_learner
from sql_ros.policy.task_spec import TaskSpec

SKILLS, JOINT = ("x", "y"), "both"
EPISODES = 50  # episodes of an evaluation
CANDIDATES = 32  # rows of noise per control step, from which the best action is taken
PARTICLES = 256  # actions from each proposal in an estimate of V
VISITED = 10  # control steps between two states that C* sums up
ALPHA, DISCOUNT = 0.03, 0.99
COMMON = {
    "temperature": ALPHA,
    "final_temperature": ALPHA,
    "discount": DISCOUNT,
    "hidden_sizes": (128, 128),
    "batch_size": 128,
}
# quick: fewer updates, of more transitions each
SMALL = {"hidden_sizes": (64, 64), "batch_size": 256}
KINDS: dict[str, dict[str, Any]] = {
    "sql": {},
    "sac": {"kind": "sac"},
    "ddpg": {"kind": "ddpg", "q_networks": 1},
}


def env_of(task: str) -> str:
    """Return the Gymnasium id of a task."""
    return f"sql_ros/Pusher-{task}-v0"


def setting(case: Case) -> Setting:
    """Return the setting of a case, whose variant is the task: "x", "y" or "both".

    The training has 100,000 transitions. In the quick version it has 30,000, and the smaller
    networks of `SMALL`. Noise is added to the actions of DDPG.
    """
    return Setting(
        env=env_of(case.variant),
        steps=30_000 if case.quick else 100_000,
        algorithm={**COMMON, **KINDS[case.contender], **(SMALL if case.quick else {})},
        pace={
            "warmup_transitions": 2000,
            "replay_capacity": 100_000,
            "updates_per_transition": 0.5 if case.quick else 0.3,
        },
        envs=4,
        noisy=case.contender == "ddpg",
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for each seed, each method and each task: both skills and the joint task.

    The quick version has soft Q-learning as its only method.
    """
    kinds = ["sql"] if quick else list(KINDS)
    return [
        Case(kind, task, seed, quick)
        for seed in seeds
        for kind in kinds
        for task in (*SKILLS, JOINT)
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Train on a task and save the networks; return the result of `evaluate` on this task.

    The file with the results of the composed policy is removed, because it was made with the former
    networks.

    Args:
        case: The case.
        out: Folder of the experiment.
    """
    trainer = setting(case).train(case.seed).trainer
    trainer.save_learner(_models(out, case))
    _composed(out, case.contender, case.seed).unlink(missing_ok=True)
    return evaluate(case.variant, best_of(trainer.learner))


def _models(out: Path, case: Case) -> Path:
    """Return the folder of a case's networks, in the folder of the experiment."""
    return out / "models" / case.name


def _composed(out: Path, kind: str, seed: int) -> Path:
    """Return the path of the file with the results of a composed policy."""
    return out / "composed" / f"{kind}-seed{seed}.json"


Act = Callable[[Tensor], Tensor]  # observation (1, S) -> action (A,)


@torch.no_grad()
def best_of(learner: Learner) -> Act:
    """Return a policy that samples `CANDIDATES` actions and takes the one with the highest Q.

    Q is the smallest of the target networks.
    """
    generator = torch.Generator().manual_seed(0)

    def act(observation: Tensor) -> Tensor:
        noise = torch.randn(1, CANDIDATES, learner.sampler.noise_size, generator=generator)
        action = squash(learner.sampler(observation, noise))
        best: Tensor = action[0, learner.q_target(observation, action)[0].argmax()]
        return best

    return act


def composed_act(learners: Sequence[Learner], spec: TaskSpec) -> Act:
    """Return the composed policy of several skills, which acts as the exported one would.

    For each of `CANDIDATES` rows of noise, each skill draws an action, and one is drawn uniformly.
    Of all these actions the policy takes the one with the highest mean Q of the skills (every skill
    has the weight 1 / number of skills).

    Args:
        learners: Learners of the skills.
        spec: Interface of the joint task.
    """
    composed, generator = (
        compose(learners, [1.0 / len(learners)] * len(learners), spec),
        torch.Generator().manual_seed(0),
    )

    def act(observation: Tensor) -> Tensor:
        """Return the best of the sampled actions: observation (1, S) -> (A,)."""
        action, q = composed(
            observation, torch.randn(CANDIDATES, composed.noise_size, generator=generator)
        )
        best: Tensor = action[q.argmax()]
        return best

    return act


@torch.no_grad()
def evaluate(
    task: str, act: Act, visit: Callable[[Tensor], None] = lambda observations: None
) -> dict[str, Any]:
    """Evaluate a policy in `EPISODES` with fixed seeds.

    Args:
        task: Task whose reward is summed up: "x", "y" or "both".
        act: The policy.
        visit: Called after all episodes with the observations (T, S) of each, without the last.

    Returns:
        Means over the episodes: "x", "y" and "distance", distance of the puck to the goal at the
        end, along each axis and in the plane [m]; "return", discounted. "tracks": paths of the puck
        in the first 12 episodes, (x, y) at every tenth control step [m].
    """

    def act_of_row(observation: Vector) -> Vector:
        action: Vector = act(torch.from_numpy(observation[None])).numpy()
        return action

    away, returns, tracks = [], [], []
    with opened_env(env_of(task)) as env:
        episodes = [list(play(env, act_of_row, 70_000 + episode)) for episode in range(EPISODES)]
    for states in episodes:
        seen = np.array([observation for observation, _, _ in states])
        rewards = [reward for _, reward, _ in states[1:]]
        away.append([states[-1][2]["distance"][axis] for axis in SKILLS])
        returns.append(float(np.dot(rewards, DISCOUNT ** np.arange(len(rewards)))))
        tracks.append(seen[:-1:10, 9:11].astype(float).round(3).tolist())
        visit(torch.from_numpy(seen[:-1]))
    x, y = np.array(away).T
    return {
        "x": float(x.mean()),
        "y": float(y.mean()),
        "distance": float(np.hypot(x, y).mean()),
        "return": float(np.mean(returns)),
        "tracks": tracks[:12],
    }


@torch.no_grad()
def bound_on_data(learners: Sequence[Learner], joint: Learner, spec: TaskSpec) -> dict[str, float]:
    """Estimate C* of [C18] Lemma 1 in episodes of the composed policy, and the gap that it bounds.

    C* is a discounted sum of the disagreement of the skills, mean_i V_i - V_S. V_i is the soft
    value of skill i and V_S that of the mean Q.

    Args:
        learners: Learners of the skills.
        joint: Learner trained on the joint task.
        spec: Interface of the joint task.

    Returns:
        "c_star": C* with the composed action in place of the maximum over actions, an estimate from
        below. "c_star_largest": C* with the largest disagreement seen in place of that of each
        state, an estimate from above. "gap": V_S - V_joint, mean over the first states.
    """
    sums, largest, gaps = [], [0.0], []

    def visit(observations: Tensor) -> None:
        """Add the sums of one episode: its C*, its largest disagreement and its gap.

        Args:
            observations: Observations of the episode, (T, S).
        """
        states = observations[::VISITED]
        apart = (
            torch.stack([value(states, [learner]) for learner in learners]).mean(0)
            - value(states, learners)
        ).clamp_min(0.0)
        factors = DISCOUNT ** (VISITED * torch.arange(len(states)))
        sums.append(float((factors * apart).sum() * (1 - DISCOUNT**VISITED) / (1 - DISCOUNT)))
        largest[0] = max(largest[0], float(apart.max()))
        gaps.append(float(value(states[:1], learners) - value(states[:1], [joint])))

    evaluate(JOINT, composed_act(learners, spec), visit)
    return {
        "c_star": float(np.mean(sums)),
        "c_star_largest": largest[0] / (1 - DISCOUNT),
        "gap": float(np.mean(gaps)),
    }


def value(states: Tensor, learners: Sequence[Learner]) -> Tensor:
    """Estimate the soft value V of exp(mean Q / alpha).

    `PARTICLES` actions are drawn from the sampler of each skill, and as many uniformly.

    Args:
        states: States (B, S).
        learners: Learners whose target Q are averaged; one: V of its Q.

    Returns:
        V in each state, (B,).
    """
    generator = torch.Generator().manual_seed(0)
    size = learners[0].action_size
    latents = [torch.randn(len(states), PARTICLES, size, generator=generator)]
    mixtures = [
        learner.sampler.distribution(states)  # type: ignore[operator]
        for learner in learners
    ]
    latents += [
        mixture.draw(torch.randn(len(states), PARTICLES, size + 1, generator=generator))
        for mixture in mixtures
    ]
    latent = torch.cat(latents, dim=1)
    uniform = torch.full(latent.shape[:2], -log_volume(size))
    log_densities = torch.stack([uniform, *(mixture.log_density(latent) for mixture in mixtures)])
    log_density = torch.logsumexp(log_densities, 0) - float(np.log(len(log_densities)))
    q = torch.stack([learner.q_target(states, squash(latent)) for learner in learners]).mean(0)
    return soft_value(q, log_density, ALPHA)


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Compose the skills of every method and seed, and compare with the policy of the joint task.

    Seeds without both skills and the joint task are left out.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures and the composed results.

    Returns:
        The finding, by the ratio of the distances at the end, composed to joint. The verdict is
        "reproduced" if the ratio of soft Q-learning is below 1.3 and below those of the other
        methods, "not" if it is above 2, otherwise "partly". Figures: distances
        "<method>_composed_distance" and "<method>_joint_distance" [m], their ratio
        "composed_to_joint_ratio" (with "<method>_" before it for other methods than soft
        Q-learning), "<method>_return_gap" (joint less composed), and the means of `bound_on_data`.
        Picture: pusher.png.

    Raises:
        ConfigError: No seed of soft Q-learning has both skills and the joint task.
    """
    figures: dict[str, float] = {}
    rows = []
    composed: dict[str, list[dict[str, Any]]] = {}
    bounds = []
    for kind in KINDS:
        seeds = [case.seed for case in results if case.contender == kind and case.variant == JOINT]
        seeds = [
            seed for seed in seeds if all(_result(results, kind, skill, seed) for skill in SKILLS)
        ]
        if not seeds:
            continue
        both = [_compose(out, kind, seed) for seed in seeds]
        composed[kind] = [result["composed"] for result in both]
        bounds += [result["bound"] for result in both if "bound" in result]
        alone = {
            task: [_result(results, kind, task, seed) for seed in seeds]
            for task in (*SKILLS, JOINT)
        }
        cells = [_cell(composed[kind]), *(_cell(alone[task]) for task in (JOINT, *SKILLS))]
        rows.append((LABELS[kind], *cells))
        distance = {"composed": _mean(composed[kind]), "joint": _mean(alone[JOINT])}
        figures |= {f"{kind}_{name}_distance": number for name, number in distance.items()}
        prefix = "" if kind == "sql" else f"{kind}_"
        figures[f"{prefix}composed_to_joint_ratio"] = distance["composed"] / max(
            distance["joint"], 1e-9
        )
        figures[f"{kind}_return_gap"] = float(
            np.mean([j["return"] - c["return"] for j, c in zip(alone[JOINT], composed[kind])])
        )
    if not bounds:
        raise ConfigError(f"{out}: no seed has both skills and the joint task of soft Q-learning")
    figures |= {name: float(np.mean([bound[name] for bound in bounds])) for name in bounds[0]}
    ratio = figures["composed_to_joint_ratio"]
    others = [figures[f"{kind}_composed_to_joint_ratio"] for kind in composed if kind != "sql"]
    verdict = (
        "not"
        if ratio > 2.0
        else "reproduced"
        if ratio < 1.3 and all(other > ratio for other in others)
        else "partly"
    )
    header = (
        "",
        "composed: distance at the end [m]",
        "trained on both",
        "skill x alone",
        "skill y alone",
    )
    table = markdown_table(header, rows)
    text = (
        f"Mean of {EPISODES} episodes per seed; in brackets each seed. The puck starts about 1.7 m"
        f" away.\n\n{table}\n\nLemma 1: V of the mean Q lies {figures['gap']:.2f} above V of the"
        " joint task at the start; C* along the composed policy's own episodes is"
        f" {figures['c_star']:.2f} (at most {figures['c_star_largest']:.0f} if the largest"
        " disagreement seen were everywhere). In discounted return the composed policy is"
        f" {figures['sql_return_gap']:.2f} short of the one trained on both."
    )
    return Finding(verdict, text, figures, [_plot(composed, results, out / "pusher.png")])


def _compose(out: Path, kind: str, seed: int) -> dict[str, Any]:
    """Compose the skills of one seed and evaluate the composed policy on the joint task.

    The result is written to `out`/composed/METHOD-seedSEED.json. If this file exists already, it is
    read instead.

    Args:
        out: Folder of the experiment.
        kind: Key of `KINDS`.
        seed: Seed of the skills.

    Returns:
        "composed": result of `evaluate`; for soft Q-learning also "bound": result of
        `bound_on_data`.
    """
    path = _composed(out, kind, seed)
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    *skills, joint = (
        load_learner(_models(out, Case(kind, task, seed)))[0] for task in (*SKILLS, JOINT)
    )
    with opened_env(env_of(JOINT)) as env:
        spec = spec_of(env)
    made: dict[str, Any] = {"composed": evaluate(JOINT, composed_act(skills, spec))}
    if kind == "sql":
        made["bound"] = bound_on_data(skills, joint, spec)
    write_json(path, made, indent=None)
    return made


def _result(results: dict[Case, dict[str, Any]], kind: str, task: str, seed: int) -> dict[str, Any]:
    """Return the result of the case with a method, a task and a seed; empty without one.

    Args:
        results: Results of `run_case` by case.
        kind: Method, a key of `KINDS`.
        task: Task: "x", "y" or "both".
        seed: Seed of the case.
    """
    return next(
        (
            r
            for case, r in results.items()
            if (case.contender, case.variant, case.seed) == (kind, task, seed)
        ),
        {},
    )


def _mean(found: Sequence[dict[str, Any]]) -> float:
    """Return the mean of the distances at the end in several results [m]."""
    return float(np.mean([result["distance"] for result in found]))


def _cell(found: Sequence[dict[str, Any]]) -> str:
    """Return a table cell: mean distance, each seed in brackets, and mean distance by axis [m]."""
    each = ", ".join(f"{result['distance']:.2f}" for result in found)
    x, y = (np.mean([result[axis] for result in found]) for axis in SKILLS)
    return f"**{_mean(found):.2f}** ({each}); x {x:.2f}, y {y:.2f}"


def _plot(
    composed: dict[str, list[dict[str, Any]]], results: dict[Case, dict[str, Any]], path: Path
) -> str:
    """Draw the paths of the puck by skills, composed and joint policy, and bars of the distances.

    Args:
        composed: Results of the composed policies by method.
        results: Results of `run_case` by case.
        path: Path of the PNG.

    Returns:
        The name of the file.
    """
    figure, axes = panels(5, size=(3.0, 3.0))
    sql = {task: results_of(results, "sql", task)[0] for task in (*SKILLS, JOINT)}
    shown = [
        ("skill: x to -1", sql["x"]),
        ("skill: y to -1", sql["y"]),
        ("composed", composed["sql"][0]),
        ("trained on both", sql[JOINT]),
    ]
    for panel, (title, result) in zip(axes[0], shown):
        panel.axvline(-1.0, color="#c0392b", alpha=0.4)
        panel.axhline(-1.0, color="#2e6da4", alpha=0.4)
        for track in result["tracks"]:
            panel.plot(*np.array(track).T, color=COLOURS["sql"], linewidth=0.9, alpha=0.7)
            panel.plot(*track[-1], "o", color=COLOURS["sql"], markersize=3)
        panel.set(title=title, xlim=(-1.6, 1.2), ylim=(-1.6, 1.2), aspect="equal")
    last = axes[0, 4]
    for index, (kind, found) in enumerate(composed.items()):
        last.bar(index - 0.2, _mean(found), 0.36, color=COLOURS[kind])
        last.bar(
            index + 0.2,
            _mean(results_of(results, kind, JOINT)),
            0.36,
            color=COLOURS[kind],
            alpha=0.4,
        )
    last.set_xticks(range(len(composed)), [LABELS[kind] for kind in composed], fontsize=7)
    last.set_title("distance: composed, and pale: joint", fontsize=8)
    tidy(last)
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="pusher",
    title="Pusher: two skills, composed without training",
    paper=(
        "[C18] Fig. 3 and Table 1: the mean of two Qs pushes the puck to both lines; compositions"
        " of DDPG and NAF do not."
    ),
    seeds=(3, 1),
    cases=cases,
    run_case=run_case,
    report=report,
)
