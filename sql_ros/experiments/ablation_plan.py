"""The runs of an ablation, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.contenders import CONTENDERS, PROBLEMS, Problem


@dataclass(frozen=True)
class AblationRun:
    """One run of an ablation.

    Attributes:
        env: Gymnasium id, a key of `PROBLEMS`.
        contender: Key of `CONTENDERS`.
        seed: Seed of the run.
        steps: Number of transitions; 0: as many as the problem says.
    """

    env: str
    contender: str
    seed: int
    steps: int = 0

    @property
    def problem(self) -> Problem:
        """Return the problem of the run, adapted to its number of transitions.

        A shorter run has as many evaluations, at smaller intervals.
        """
        problem = PROBLEMS[self.env]
        if not self.steps:
            return problem
        every = max(self.steps * problem.evaluate_every // problem.steps, 1)
        return replace(problem, steps=self.steps, evaluate_every=every)

    def path(self, out: Path) -> Path:
        """Return the path of the result file, `out`/runs/ENV/CONTENDER/SEED.json."""
        return (
            out
            / "runs"
            / self.env.replace("/", "_")
            / self.contender.replace(" ", "_")
            / f"{self.seed}.json"
        )


def plan(
    envs: Iterable[str] = (),
    contenders: Iterable[str] = (),
    seeds: Iterable[int] = (0, 1, 2),
    steps: int = 0,
) -> list[AblationRun]:
    """Return the runs of an ablation, ordered so that an unfinished one is as useful as possible.

    Runs of the first seed come first. Among the runs of a seed, `early` contenders come first.

    Args:
        envs: Gymnasium ids; empty: all of `PROBLEMS`.
        contenders: Names of contenders; empty: all of `CONTENDERS`.
        seeds: Seeds of the runs.
        steps: Transitions per run; 0: as many as the problem says.

    Raises:
        ConfigError: An environment or a contender is unknown.
    """
    envs, contenders = list(envs) or list(PROBLEMS), list(contenders) or list(CONTENDERS)
    for kind, given, known in (
        ("environment", envs, PROBLEMS),
        ("contender", contenders, CONTENDERS),
    ):
        for name in given:
            if name not in known:
                raise ConfigError(f"unknown {kind} '{name}', expected one of: {', '.join(known)}")
    early = [name for name in contenders if CONTENDERS[name].early]
    groups = (early, [name for name in contenders if name not in early])
    return [
        AblationRun(env, name, seed, steps)
        for seed in seeds
        for group in groups
        for env in envs
        for name in group
    ]
