"""An experiment as data: cases that are run side by side, each leaving a file, and a finding made of those files.

A run that has its file is not made again, so an experiment can stop and go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.config import config_from_mapping
from sql_ros.core.errors import ConfigError, SqlRosError
from sql_ros.core.trainer import Trainer
from sql_ros.experiments.curve import Curve
from sql_ros.experiments.gym_training import Wrap, train
from sql_ros.experiments.workers import make_side_by_side, write_json
from sql_ros.runs.figures import command_line, joined, versions

VERDICTS = ("reproduced", "partly", "not")
ANALYSIS = "analysis.md"


@dataclass(frozen=True, order=True)
class Case:
    """One run.

    Attributes:
        contender: who learns, e.g. "sql".
        variant: on what, or how; "" where there is one only.
        seed: of the run.
        quick: the version of a few minutes.
    """

    contender: str
    variant: str = ""
    seed: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """Of its file."""
        return "-".join(part for part in (self.contender, self.variant, f"seed{self.seed}") if part)


@dataclass(frozen=True)
class Setting:
    """How a case is trained: differences from the library's defaults.

    Attributes:
        env: Gymnasium id.
        steps: transitions.
        algorithm, pace: options of `AlgorithmConfig` and `TrainerConfig`.
        envs: acted in at once.
        noisy: with exploration noise.
        skilled: see `gym_training.train`.
        points: how often within the run progress is noted.
        evaluation_episodes: at each of these.
    """

    env: str
    steps: int
    algorithm: dict[str, Any]
    pace: dict[str, Any]
    envs: int = 1
    noisy: bool = False
    skilled: bool = False
    points: int = 20
    evaluation_episodes: int = 0

    def train(self, seed: int, *, wrap: Wrap = lambda env: env, prepare: Callable[[Trainer], None] = lambda trainer: None) -> Trained:
        """Trains from a seed; arguments as of `gym_training.train`."""
        kept: list[Trainer] = []

        def progress(trainer: Trainer, curve: Curve) -> None:
            kept[:] = [trainer]

        curve = train(
            self.env,
            self.steps,
            seed,
            config_from_mapping(AlgorithmConfig, self.algorithm, f"algorithm for {self.env}"),
            config_from_mapping(TrainerConfig, self.pace, f"trainer for {self.env}"),
            evaluate_every=max(self.steps // self.points, 1),
            evaluation_episodes=self.evaluation_episodes,
            progress=progress,
            wrap=wrap,
            prepare=prepare,
            envs=self.envs,
            noisy=self.noisy,
            skilled=self.skilled,
        )
        return Trained(kept[0], curve)


@dataclass(frozen=True)
class Trained:
    """What a training gives."""

    trainer: Trainer
    curve: Curve


@dataclass
class Finding:
    """What the runs show.

    Attributes:
        verdict: one of `VERDICTS`.
        text: markdown under the heading: what came out, beside what was reported.
        figures: flat numbers.
        pictures: files in the experiment's folder.
    """

    verdict: str
    text: str
    figures: dict[str, float] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Experiment:
    """An experiment of a paper.

    Attributes:
        name: of the command.
        title: of its report.
        paper: the figure it stands beside, and what is reported there.
        seeds: in full, and in the quick version.
        cases: (seeds, quick) to the runs.
        make: one run, in a worker process; its answer is JSON. May leave files in the folder it is given.
        report: (results, folder) to the finding; draws its pictures into the folder.
    """

    name: str
    title: str
    paper: str
    seeds: tuple[int, int]
    cases: Callable[[Sequence[int], bool], list[Case]]
    make: Callable[[Case, Path], dict[str, Any]]
    report: Callable[[dict[Case, dict[str, Any]], Path], Finding]


def conduct(experiment: Experiment, out: Path, seeds: Sequence[int], jobs: int, *, quick: bool, report_only: bool = False) -> Finding:
    """Makes the runs that are missing, then the report.

    Args:
        experiment: which.
        out: its folder.
        seeds: of the runs; none: as many as the experiment has.
        jobs: worker processes of one thread each.
        quick: the version of a few minutes.
        report_only: of the runs there are.

    Raises:
        ConfigError: nothing to report on, a side has no run yet, or `out` holds runs of the other version.
        SqlRosError: a run failed.
    """
    chosen = experiment.cases(list(seeds) or list(range(experiment.seeds[quick])), quick)
    read_results(out, quick)  # raises before hours are spent on what could not be reported
    if not report_only:
        print(f"{experiment.name}: ", end="")
        make = partial(_make_one, make=experiment.make, out=out)
        failures = make_side_by_side(make, chosen, lambda case: _file(out, case).is_file(), jobs, name_of=lambda case: case.name)
        if failures:
            raise SqlRosError(f"{len(failures)} runs failed; the others are kept:\n" + "\n".join(failures))
    results = read_results(out, quick)
    if not results:
        raise ConfigError(f"no runs in {out / 'runs'}")
    sides = {(case.contender, case.variant) for case in results}
    missing = [case for case in chosen if (case.contender, case.variant) not in sides]
    if missing:  # a verdict without the other side would not be one
        names = ", ".join(case.name for case in missing if case.seed == missing[0].seed)
        raise ConfigError(f"{out / 'runs'} lacks {names}: no report before each side has a run")
    finding = experiment.report(results, out)
    _write(experiment, finding, results, out, quick)
    return finding


def read_results(out: Path, quick: bool) -> dict[Case, dict[str, Any]]:
    """What the runs in a folder gave, by case, in order."""
    results = {}
    for path in sorted((out / "runs").glob("*.json")):
        content = json.loads(path.read_text())
        case = Case(**content["case"])
        if case.quick != quick:
            raise ConfigError(f"{path} is of the {'quick' if case.quick else 'full'} version: choose another --out or remove it")
        results[case] = content["result"]
    return dict(sorted(results.items()))


def of(results: dict[Case, dict[str, Any]], contender: str, variant: str = "") -> list[dict[str, Any]]:
    """The results of one contender in one variant, by seed."""
    return [result for case, result in sorted(results.items()) if (case.contender, case.variant) == (contender, variant)]


def _file(out: Path, case: Case) -> Path:
    return out / "runs" / f"{case.name}.json"


def _make_one(case: Case, make: Callable[[Case, Path], dict[str, Any]], out: Path) -> str:
    """One run, from nothing to its file."""
    began = time.monotonic()
    result = make(case, out)
    seconds = time.monotonic() - began
    content = {"case": asdict(case), "seconds": round(seconds, 1), "versions": versions(), "result": result}
    write_json(_file(out, case), content, indent=None)
    return f"{seconds:.0f} s"


def _write(experiment: Experiment, finding: Finding, results: dict[Case, Any], out: Path, quick: bool) -> None:
    """finding.json for the index and for scripts, report.md for people; with the folder's analysis.md: a person's words."""
    analysis = out / ANALYSIS
    text = f"{finding.text}\n\n{analysis.read_text().strip()}" if analysis.is_file() else finding.text
    counts: dict[str, int] = {}
    for case in results:
        counts[case.contender] = counts.get(case.contender, 0) + 1
    command = command_line().replace(" --report-only", "")
    content = {
        "name": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "verdict": finding.verdict,
        "text": text,
        "figures": finding.figures,
        "pictures": finding.pictures,
        "command": command,
        "runs": counts,
        "quick": quick,
        "versions": joined(json.loads(path.read_text())["versions"] for path in sorted((out / "runs").glob("*.json"))),
    }
    write_json(out / "finding.json", content)
    pictures = [f"![{name.removesuffix('.png')}]({name})" for name in finding.pictures]
    lines = [f"# {experiment.title}", "", f"    {command}", "", f"*{experiment.paper}*", "", f"**Verdict: {finding.verdict}.**", ""]
    lines += [text, "", *pictures, ""]
    (out / "report.md").write_text("\n".join(lines))
