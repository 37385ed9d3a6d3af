"""Pusher: two skills trained apart, put together by the mean of their Q, without another step in the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sql_ros.core.errors import ConfigError
from sql_ros.core.export import compose
from sql_ros.core.learner import Learner
from sql_ros.core.losses import soft_value
from sql_ros.core.squash import log_volume, squash
from sql_ros.core.trainer import load_learner
from sql_ros.experiments.curve import play
from sql_ros.experiments.gym_task import make_env, spec_of
from sql_ros.experiments.paper.style import COLOURS, LABELS, panels, save, tidy
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, of
from sql_ros.experiments.workers import write_json

SKILLS, JOINT = ("x", "y"), "both"
EPISODES, CANDIDATES = 50, 32  # of an evaluation; rows of noise per control step
PARTICLES = 256  # of V on visited states
VISITED = 10  # control steps between two states at which C* is summed up
ALPHA, DISCOUNT = 0.03, 0.99
COMMON = {"temperature": ALPHA, "final_temperature": ALPHA, "discount": DISCOUNT, "hidden_sizes": (128, 128), "batch_size": 128}
SMALL = {"hidden_sizes": (64, 64), "batch_size": 256}  # quick: fewer updates, of more transitions each
KINDS: dict[str, dict[str, Any]] = {"sql": {}, "sac": {"kind": "sac"}, "ddpg": {"kind": "ddpg", "q_networks": 1}}


def env_of(task: str) -> str:
    """Gymnasium id."""
    return f"sql_ros/Pusher-{task}-v0"


def setting(case: Case) -> Setting:
    """Of a case; its variant is the task."""
    return Setting(
        env=env_of(case.variant),
        steps=30_000 if case.quick else 100_000,
        algorithm={**COMMON, **KINDS[case.contender], **(SMALL if case.quick else {})},
        pace={"warmup_transitions": 2000, "replay_capacity": 100_000, "updates_per_transition": 0.5 if case.quick else 0.3},
        envs=4,
        noisy=case.contender == "ddpg",
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Both skills and the joint task; quick: soft Q-learning alone."""
    kinds = ["sql"] if quick else list(KINDS)
    return [Case(kind, task, seed, quick) for seed in seeds for kind in kinds for task in (*SKILLS, JOINT)]


def make(case: Case, out: Path) -> dict[str, Any]:
    """Trains a skill, keeps its networks, and says how well it does on its own task."""
    trainer = setting(case).train(case.seed).trainer
    trainer.save_learner(_models(out, case))
    _composed(out, case.contender, case.seed).unlink(missing_ok=True)  # of networks that are no more
    return evaluate(case.variant, best_of(trainer.learner))


def _models(out: Path, case: Case) -> Path:
    return out / "models" / case.name


def _composed(out: Path, kind: str, seed: int) -> Path:
    return out / "composed" / f"{kind}-seed{seed}.json"


Act = Callable[[Tensor], Tensor]  # observation (1, S) -> action (A,)


@torch.no_grad()
def best_of(learner: Learner) -> Act:
    """The deterministic mode, with as many candidates as the composed policy has rows of noise."""
    generator = torch.Generator().manual_seed(0)

    def act(observation: Tensor) -> Tensor:
        noise = torch.randn(1, CANDIDATES, learner.sampler.noise_size, generator=generator)
        action = squash(learner.sampler(observation, noise))
        best: Tensor = action[0, learner.q_target(observation, action)[0].argmax()]
        return best

    return act


def composed_act(learners: Sequence[Learner], spec: Any) -> Act:
    """The composed policy, as it would be exported."""
    composed, generator = compose(learners, [1.0 / len(learners)] * len(learners), spec), torch.Generator().manual_seed(0)

    def act(observation: Tensor) -> Tensor:
        action, q = composed(observation, torch.randn(CANDIDATES, composed.noise_size, generator=generator))
        best: Tensor = action[q.argmax()]
        return best

    return act


@torch.no_grad()
def evaluate(task: str, act: Act, visit: Callable[[Tensor], None] = lambda observations: None) -> dict[str, Any]:
    """Distances at the end along both axes, and discounted return, means over episodes with fixed seeds.

    Args:
        task: whose reward is summed up.
        act: the policy.
        visit: told the observations (T, S) of each episode.
    """
    env = make_env(env_of(task))
    away, returns, tracks = [], [], []
    for episode in range(EPISODES):
        states = list(play(env, lambda observation: act(torch.from_numpy(observation[None])).numpy(), 70_000 + episode))
        seen, rewards = np.array([observation for observation, _, _ in states]), [reward for _, reward, _ in states[1:]]
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
def bound_on_data(learners: Sequence[Learner], joint: Learner, spec: Any) -> dict[str, float]:
    """C* of [C18] Lemma 1 along the composed policy's own episodes, and the gap it bounds, V_S - V_joint at their first states.

    C* is a discounted sum of the skills' disagreement, mean V_i - V_S. Its maximum over actions is replaced by the composed action, so this
    is an estimate from below; with the largest disagreement seen anywhere in place of each, it is one from above.
    """
    sums, largest, gaps = [], [0.0], []

    def visit(observations: Tensor) -> None:
        states = observations[::VISITED]
        apart = (torch.stack([value(states, [learner]) for learner in learners]).mean(0) - value(states, learners)).clamp_min(0.0)
        factors = DISCOUNT ** (VISITED * torch.arange(len(states)))
        sums.append(float((factors * apart).sum() * (1 - DISCOUNT**VISITED) / (1 - DISCOUNT)))
        largest[0] = max(largest[0], float(apart.max()))
        gaps.append(float(value(states[:1], learners) - value(states[:1], [joint])))

    evaluate(JOINT, composed_act(learners, spec), visit)
    return {"c_star": float(np.mean(sums)), "c_star_largest": largest[0] / (1 - DISCOUNT), "gap": float(np.mean(gaps))}


def value(states: Tensor, learners: Sequence[Learner]) -> Tensor:
    """V of exp(mean Q / alpha): (B, S) -> (B,), probed where the skills' samplers are, and uniformly."""
    generator = torch.Generator().manual_seed(0)
    size = learners[0].action_size
    latents = [torch.randn(len(states), PARTICLES, size, generator=generator)]
    mixtures = [learner.sampler.distribution(states) for learner in learners]  # type: ignore[operator]
    latents += [mixture.draw(torch.randn(len(states), PARTICLES, size + 1, generator=generator)) for mixture in mixtures]
    latent = torch.cat(latents, dim=1)
    uniform = torch.full(latent.shape[:2], -log_volume(size))
    log_densities = torch.stack([uniform, *(mixture.log_density(latent) for mixture in mixtures)])
    log_density = torch.logsumexp(log_densities, 0) - float(np.log(len(log_densities)))
    q = torch.stack([learner.q_target(states, squash(latent)) for learner in learners]).mean(0)
    return soft_value(q, log_density, ALPHA)


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Composes the skills of every contender and seed, and lays the joint policy beside."""
    figures: dict[str, float] = {}
    lines = ["| | composed: distance at the end [m] | trained on both | skill x alone | skill y alone |", "|---|---|---|---|---|"]
    composed: dict[str, list[dict[str, Any]]] = {}
    bounds = []
    for kind in KINDS:
        seeds = [case.seed for case in results if case.contender == kind and case.variant == JOINT]
        seeds = [seed for seed in seeds if all(_result(results, kind, skill, seed) for skill in SKILLS)]
        if not seeds:
            continue
        both = [_compose(out, kind, seed) for seed in seeds]
        composed[kind] = [result["composed"] for result in both]
        bounds += [result["bound"] for result in both if "bound" in result]
        alone = {task: [_result(results, kind, task, seed) for seed in seeds] for task in (*SKILLS, JOINT)}
        cells = [_cell(composed[kind]), *(_cell(alone[task]) for task in (JOINT, *SKILLS))]
        lines.append(f"| {LABELS[kind]} | {' | '.join(cells)} |")
        distance = {"composed": _mean(composed[kind]), "joint": _mean(alone[JOINT])}
        figures |= {f"{kind}_{name}_distance": number for name, number in distance.items()}
        prefix = "" if kind == "sql" else f"{kind}_"
        figures[f"{prefix}composed_to_joint_ratio"] = distance["composed"] / max(distance["joint"], 1e-9)
        figures[f"{kind}_return_gap"] = float(np.mean([j["return"] - c["return"] for j, c in zip(alone[JOINT], composed[kind])]))
    if not bounds:
        raise ConfigError(f"{out}: no seed has both skills and the joint task of soft Q-learning")
    figures |= {name: float(np.mean([bound[name] for bound in bounds])) for name in bounds[0]}
    ratio = figures["composed_to_joint_ratio"]
    others = [figures[f"{kind}_composed_to_joint_ratio"] for kind in composed if kind != "sql"]
    verdict = "not" if ratio > 2.0 else "reproduced" if ratio < 1.3 and all(other > ratio for other in others) else "partly"
    table = "\n".join(lines)
    text = (
        f"Mean of {EPISODES} episodes per seed; in brackets each seed. The puck starts about 1.7 m away.\n\n{table}\n\n"
        f"Lemma 1: V of the mean Q lies {figures['gap']:.2f} above V of the joint task at the start; C* along the composed policy's own "
        f"episodes is {figures['c_star']:.2f} (at most {figures['c_star_largest']:.0f} if the largest disagreement seen were everywhere). "
        f"In discounted return the composed policy is {figures['sql_return_gap']:.2f} short of the one trained on both."
    )
    return Finding(verdict, text, figures, [_draw(composed, results, out / "pusher.png")])


def _compose(out: Path, kind: str, seed: int) -> dict[str, Any]:
    """What the composed policy does; kept beside the runs, which last longer than the networks it is made of."""
    path = _composed(out, kind, seed)
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    *skills, joint = (load_learner(_models(out, Case(kind, task, seed)))[0] for task in (*SKILLS, JOINT))
    spec = spec_of(make_env(env_of(JOINT)))
    made: dict[str, Any] = {"composed": evaluate(JOINT, composed_act(skills, spec))}
    if kind == "sql":
        made["bound"] = bound_on_data(skills, joint, spec)
    write_json(path, made, indent=None)
    return made


def _result(results: dict[Case, dict[str, Any]], kind: str, task: str, seed: int) -> dict[str, Any]:
    return next((r for case, r in results.items() if (case.contender, case.variant, case.seed) == (kind, task, seed)), {})


def _mean(found: Sequence[dict[str, Any]]) -> float:
    return float(np.mean([result["distance"] for result in found]))


def _cell(found: Sequence[dict[str, Any]]) -> str:
    each = ", ".join(f"{result['distance']:.2f}" for result in found)
    x, y = (np.mean([result[axis] for result in found]) for axis in SKILLS)
    return f"**{_mean(found):.2f}** ({each}); x {x:.2f}, y {y:.2f}"


def _draw(composed: dict[str, list[dict[str, Any]]], results: dict[Case, dict[str, Any]], path: Path) -> str:
    """Ways of the puck: each skill, both composed, trained on both; and the distances."""
    figure, axes = panels(5, size=(3.0, 3.0))
    sql = {task: of(results, "sql", task)[0] for task in (*SKILLS, JOINT)}
    shown = [("skill: x to -1", sql["x"]), ("skill: y to -1", sql["y"]), ("composed", composed["sql"][0]), ("trained on both", sql[JOINT])]
    for place, (title, result) in zip(axes[0], shown):
        place.axvline(-1.0, color="#c0392b", alpha=0.4)
        place.axhline(-1.0, color="#2e6da4", alpha=0.4)
        for track in result["tracks"]:
            place.plot(*np.array(track).T, color=COLOURS["sql"], linewidth=0.9, alpha=0.7)
            place.plot(*track[-1], "o", color=COLOURS["sql"], markersize=3)
        place.set(title=title, xlim=(-1.6, 1.2), ylim=(-1.6, 1.2), aspect="equal")
    last = axes[0, 4]
    for index, (kind, found) in enumerate(composed.items()):
        last.bar(index - 0.2, _mean(found), 0.36, color=COLOURS[kind])
        last.bar(index + 0.2, _mean(of(results, kind, JOINT)), 0.36, color=COLOURS[kind], alpha=0.4)
    last.set_xticks(range(len(composed)), [LABELS[kind] for kind in composed], fontsize=7)
    last.set_title("distance: composed, and pale: joint", fontsize=8)
    tidy(last)
    return save(figure, path)


EXPERIMENT = Experiment(
    name="pusher",
    title="Pusher: two skills, composed without training",
    paper="[C18] Fig. 3 and Table 1: the mean of two Qs pushes the puck to both lines; compositions of DDPG and NAF do not.",
    seeds=(3, 1),
    cases=cases,
    make=make,
    report=report,
)
