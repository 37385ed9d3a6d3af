"""Which runs the ablation is made of, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sql_ros.core.errors import ConfigError
from sql_ros.experiments.contenders import CONTENDERS, PROBLEMS, Problem


@dataclass(frozen=True)
class Run:
    """One cell of the ablation; `steps` 0: as many as the problem says."""

    env: str
    contender: str
    seed: int
    steps: int = 0

    @property
    def problem(self) -> Problem:
        """Its environment, with the points of evaluation moved closer where the run is shorter."""
        problem = PROBLEMS[self.env]
        if not self.steps:
            return problem
        every = max(self.steps * problem.evaluate_every // problem.steps, 1)
        return replace(problem, steps=self.steps, evaluate_every=every)

    def path(self, out: Path) -> Path:
        """Where its result lies."""
        return out / "runs" / self.env.replace("/", "_") / self.contender.replace(" ", "_") / f"{self.seed}.json"


def plan(envs: Iterable[str] = (), contenders: Iterable[str] = (), seeds: Iterable[int] = (0, 1, 2), steps: int = 0) -> list[Run]:
    """All runs in the order in which they are most useful unfinished: seed by seed, main contenders before ablations.

    Raises:
        ConfigError: an environment or contender nobody declared.
    """
    envs, contenders = list(envs) or list(PROBLEMS), list(contenders) or list(CONTENDERS)
    for kind, given, known in (("environment", envs, PROBLEMS), ("contender", contenders, CONTENDERS)):
        for name in given:
            if name not in known:
                raise ConfigError(f"unknown {kind} '{name}', expected one of: {', '.join(known)}")
    early = [name for name in contenders if CONTENDERS[name].early]
    groups = (early, [name for name in contenders if name not in early])
    return [Run(env, name, seed, steps) for seed in seeds for group in groups for env in envs for name in group]
