"""Finetune: a policy that was trained to walk in any direction is trained further between walls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import save_figure, tidy
from sql_ros.experiments.paper import pretrain
from sql_ros.experiments.paper.best import DiscountedReturns
from sql_ros.experiments.paper.style import bands, panels
from sql_ros.experiments.study import Case, Experiment, Finding, Setting, results_of
from sql_ros.learning.trainer import Trainer, load_learner

COURSES = {"wide": "wide hallway", "narrow": "narrow hallway", "u": "U-shaped maze"}
STARTS = {
    "sql": "pretrained by soft Q-learning",
    "ddpg": "pretrained by DDPG",
    "random": "from nothing",
}
ALPHA, LAST_ALPHA = 0.1, 0.001  # first and last temperature, annealed log-linearly as in the paper
POINTS = 30  # points of a curve
DISCOUNT = 0.97


def setting(case: Case) -> Setting:
    """Return the setting of a case, with a contender of `STARTS` and a variant of `COURSES`.

    The training has 20,000 transitions, in the quick version 10,000. The temperature is annealed in
    its first half. A pretrained policy acts from the first step on. Noise is added to the actions
    of DDPG.
    """
    steps, ratio = (10_000, 0.5) if case.quick else (20_000, 1.0)
    kind = {"kind": "ddpg", "q_networks": 1} if case.contender == "ddpg" else {}
    annealed = {
        "temperature": ALPHA,
        "final_temperature": LAST_ALPHA,
        "annealing_updates": round(0.5 * ratio * steps),
    }
    return Setting(
        env=f"sql_ros/Quadruped-{case.variant}-v0",
        steps=steps,
        algorithm={**pretrain.fine_tuned(case.quick), **kind, **annealed, "discount": DISCOUNT},
        pace={
            "warmup_transitions": 1000,
            "replay_capacity": 20_000,
            "updates_per_transition": ratio,
        },
        envs=2,
        noisy=case.contender == "ddpg",
        skilled=case.contender != "random",
    )


def cases(seeds: Sequence[int], quick: bool) -> list[Case]:
    """Return a case for every start on every course; quick: in the wide hallway alone."""
    courses = ["wide"] if quick else list(COURSES)
    return [
        Case(start, course, seed, quick) for seed in seeds for course in courses for start in STARTS
    ]


def run_case(case: Case, out: Path) -> dict[str, Any]:
    """Load pretrained networks, unless the case starts from nothing, and train.

    The optimisers are loaded, too. Updates are counted from 0, so that the temperature is annealed
    from its first value.

    Args:
        case: The case.
        out: Folder of the experiment; the folder of `pretrain` is beside it.

    Returns:
        "steps": `POINTS` numbers of transitions; "returns": at each of them, mean discounted return
        of the training episodes that ended since the one before.

    Raises:
        ConfigError: The pretrained networks are missing, see `pretrained`.
    """
    returns, chosen = DiscountedReturns(DISCOUNT), setting(case)

    def prepare(trainer: Trainer) -> None:
        """Load the pretrained networks, unless the case starts from nothing."""
        if case.contender != "random":
            kind = Case(case.contender, pretrain.start(case.quick), case.seed, case.quick)
            learner, _ = load_learner(pretrained(out, kind))
            trainer.learner.load_state_dict(learner.state_dict() | {"updates": 0})

    chosen.train(case.seed, wrap=returns.wrap, prepare=prepare)
    steps = np.linspace(chosen.steps / POINTS, chosen.steps, POINTS).astype(int)
    return {
        "steps": steps.tolist(),
        "returns": [round(value, 3) for value in returns.at(steps, chosen.steps // POINTS)],
    }


def pretrained(out: Path, case: Case) -> Path:
    """Return the folder of the networks that a case of the experiment `pretrain` saved.

    Args:
        out: Folder of this experiment; the folder of `pretrain` is beside it.
        case: Case of `pretrain`.

    Raises:
        ConfigError: The case has not been run.
    """
    folder = pretrain.models(out.resolve().parent / "pretrain", case)
    if not folder.is_dir():
        quick = " --quick" if case.quick else ""
        raise ConfigError(
            f"no {folder}: first run sql-ros experiment pretrain{quick} --out"
            f" {folder.parent.parent}"
        )
    return folder


def report(results: dict[Case, dict[str, Any]], out: Path) -> Finding:
    """Compare the mean discounted return over the training, by start and course.

    Args:
        results: Results of `run_case` by case.
        out: Folder of the experiment, for the pictures.

    Returns:
        The finding. The verdict is "reproduced" if on every course the policy pretrained by soft
        Q-learning is best with every seed, and the one pretrained by DDPG is worse than both others
        in the mean. The verdict is "partly" if one of the two holds on every course, otherwise
        "not". Figures: "<course>_<start>_area" (mean return over the training), and the number of
        courses on which each of the two holds, "courses_fastest" and "courses_ddpg_badly". Picture:
        returns.png.
    """
    courses = [course for course in COURSES if any(case.variant == course for case in results)]
    compared = {course: _Comparison(_areas(results, course)) for course in courses}
    wins = {course: found.wins for course, found in compared.items()}
    fastest = sum(bool(won) and all(won) for won in wins.values())
    badly = sum(found.is_ddpg_worst for found in compared.values())
    holding = (fastest == len(courses), badly == len(courses))
    verdict = "reproduced" if all(holding) else "partly" if any(holding) else "not"
    figures = {
        f"{course}_{start}_area": mean
        for course, found in compared.items()
        for start, mean in found.means.items()
    }
    figures |= {"courses_fastest": float(fastest), "courses_ddpg_badly": float(badly)}
    text = (
        f"Soft Q-learning's policy learns fastest: in every seed on {fastest} of {len(courses)}"
        f" courses, in {sum(map(sum, wins.values()))} of {sum(map(len, wins.values()))} runs."
        " DDPG's transfers worse than no policy at all: on"
        f" {badly} of {len(courses)} courses.\n\n"
    )
    picture = _plot_returns(results, courses, out / "returns.png")
    return Finding(verdict, text + _table(compared), figures, [picture])


@dataclass(frozen=True)
class _Comparison:
    """The starts on one course.

    Attributes:
        areas: Mean return over the training of each run, by start, in the order of the seeds.
            Starts without a run are missing.
    """

    areas: dict[str, list[float]]

    @property
    def means(self) -> dict[str, float]:
        """Return the mean of the seeds by start."""
        return {start: float(np.mean(area)) for start, area in self.areas.items()}

    @property
    def wins(self) -> list[bool]:
        """Return for each seed whether the start "sql" is better than the others."""
        rivals = [self.areas[start] for start in ("ddpg", "random") if start in self.areas]
        return [
            mine > max(others, default=-np.inf)
            for mine, *others in zip(self.areas.get("sql", []), *rivals)
        ]

    @property
    def is_ddpg_worst(self) -> bool:
        """Return whether the start "ddpg" is worse than both others in the mean."""
        means = self.means
        others = (means.get("sql", -np.inf), means.get("random", -np.inf))
        return means.get("ddpg", np.inf) < min(others)


def _areas(results: dict[Case, dict[str, Any]], course: str) -> dict[str, list[float]]:
    """Return the mean return over the training of each run on a course, by start."""
    found = {start: results_of(results, start, course) for start in STARTS}
    return {
        start: [float(np.mean(run["returns"])) for run in runs]
        for start, runs in found.items()
        if runs
    }


def _table(compared: dict[str, _Comparison]) -> str:
    """Return the Markdown table of the areas: a row for each course, a column for each start."""
    first, *others = STARTS.values()
    header = ["", f"area under the curve, mean of the seeds (each seed): {first}", *others]
    rows = []
    for course, found in compared.items():
        cells = {
            start: f"{found.means[start]:.1f} ({', '.join(f'{x:.1f}' for x in area)})"
            for start, area in found.areas.items()
        }
        rows.append([COURSES[course], *(cells.get(start, "-") for start in STARTS)])
    return markdown_table(header, rows)


def _plot_returns(results: dict[Case, dict[str, Any]], courses: Sequence[str], path: Path) -> str:
    """Plot the returns over the training, a panel for each course.

    Args:
        results: Results of `run_case` by case.
        courses: Courses that have a run, keys of `COURSES`.
        path: PNG file to write.

    Returns:
        The name of the file.
    """
    figure, axes = panels(len(courses))
    for panel, course in zip(axes[0], courses):
        for start, label in STARTS.items():
            if found := results_of(results, start, course):
                returns = [run["returns"] for run in found]
                label = f"{label}, {len(found)} seeds"
                bands(panel, found[0]["steps"], returns, start, label)
        panel.set(title=COURSES[course], xlabel="transitions", ylabel="discounted return")
        tidy(panel)
    axes[0, 0].legend(frameon=False, fontsize=7)
    return save_figure(figure, path)


EXPERIMENT = Experiment(
    name="finetune",
    title="Finetune: from walking anywhere to walking there",
    paper=(
        "[SQL17] Fig. 5: fine-tuned in hallways and a U-shaped maze, soft Q-learning's policy"
        " learns fastest; DDPG's transfers badly."
    ),
    seeds=(3, 1),
    cases=cases,
    run_case=run_case,
    report=report,
)
