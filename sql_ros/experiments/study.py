"""The frame of an experiment: cases run in worker processes, and a finding from their results.

A case that has a file is not run again, so an experiment can be interrupted and continued.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sql_ros.common.config import config_from_mapping
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.common.figures_json import command_line, merge_versions, versions
from sql_ros.experiments.curve import Curve
from sql_ros.experiments.gym_task import Wrap
from sql_ros.experiments.gym_training import train
from sql_ros.experiments.workers import make_side_by_side, write_json
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer

VERDICTS = ("reproduced", "partly", "not")
ANALYSIS = "analysis.md"


@dataclass(frozen=True, order=True)
class Case:
    """One run of an experiment.

    Attributes:
        contender: The method that learns, e.g. "sql".
        variant: The environment or setting; "" if there is only one.
        seed: Seed of the run.
        quick: Whether it is the short version, of a few minutes, instead of the full one.
    """

    contender: str
    variant: str = ""
    seed: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """Return the name of the case's file without the suffix."""
        return "-".join(part for part in (self.contender, self.variant, f"seed{self.seed}") if part)


@dataclass(frozen=True)
class Setting:
    """The settings of a training, as differences from the library's defaults.

    Attributes:
        env: Gymnasium id.
        steps: Transitions of the training.
        algorithm: Options of `AlgorithmConfig`.
        pace: Options of `TrainerConfig`.
        envs: Number of environments that are acted in at once.
        noisy: Whether exploration noise is added to the actions.
        skilled: Whether a loaded policy acts from the first step on, without uniform actions.
        points: Number of points of the curve.
        evaluation_episodes: Evaluation episodes at each point; 0: no evaluations.
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

    def train(
        self,
        seed: int,
        *,
        wrap: Wrap = lambda env: env,
        prepare: Callable[[Trainer], None] = lambda trainer: None,
    ) -> Trained:
        """Train on the environment, without writing a file; see `gym_training.train`.

        Args:
            seed: Seed of the environment, the networks and every draw.
            wrap: Wraps each environment that is trained in.
            prepare: Called with the trainer before the first step; may load networks.

        Returns:
            The trainer after the training, and the learning curve.

        Raises:
            ConfigError: An option does not fit, or the environment cannot be used.
        """
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
    """The result of a training: the trainer after it, and the learning curve."""

    trainer: Trainer
    curve: Curve


@dataclass
class Finding:
    """The result of an experiment.

    Attributes:
        verdict: One of `VERDICTS`: how far the paper's result is reproduced.
        text: Markdown: the results beside those of the paper.
        figures: Numbers of the result by name.
        pictures: Names of picture files in the experiment's folder.
    """

    verdict: str
    text: str
    figures: dict[str, float] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Experiment:
    """An experiment of a paper.

    Attributes:
        name: Name of the command.
        title: Title of its report.
        paper: The paper's figure that is repeated, and the result reported there.
        seeds: Number of seeds in the full version, and in the quick version.
        cases: Returns the cases, given the seeds and whether they are the quick version.
        run_case: Runs a case in a worker process, given the case and the folder of the experiment.
            Returns the result as plain JSON values, and may write files into the folder.
        report: Returns the finding, given the results by case and the folder of the experiment, and
            draws pictures into the folder.
    """

    name: str
    title: str
    paper: str
    seeds: tuple[int, int]
    cases: Callable[[Sequence[int], bool], list[Case]]
    run_case: Callable[[Case, Path], dict[str, Any]]
    report: Callable[[dict[Case, dict[str, Any]], Path], Finding]


def conduct(
    experiment: Experiment,
    out: Path,
    seeds: Sequence[int],
    jobs: int,
    *,
    quick: bool,
    report_only: bool = False,
) -> Finding:
    """Run the cases that have no file (runs/CASE.json), then write finding.json, report.md and
    pictures. A line is printed for each run.

    The report covers all cases that have a file, also of other seeds.

    Args:
        experiment: The experiment.
        out: Folder of the experiment.
        seeds: Seeds of the cases; empty: 0, 1, ... up to the experiment's number of seeds.
        jobs: Number of worker processes, of one thread each.
        quick: Whether the quick version is run, of a few minutes.
        report_only: Whether the report is written without running any case.

    Returns:
        The finding.

    Raises:
        ConfigError: There is no finished run, a contender or variant has none yet, or the folder
            has runs of the other version (full or quick).
        SqlRosError: A case failed. The files of the others are kept.
    """
    chosen = experiment.cases(list(seeds) or list(range(experiment.seeds[quick])), quick)
    read_results(out, quick)  # an error here comes before hours of runs that could not be reported
    if not report_only:
        print(f"{experiment.name}: ", end="")
        run_and_write = partial(_run_and_write, run_case=experiment.run_case, out=out)
        failures = make_side_by_side(
            run_and_write,
            chosen,
            lambda case: _file(out, case).is_file(),
            jobs,
            name_of=lambda case: case.name,
        )
        if failures:
            raise SqlRosError(
                f"{len(failures)} runs failed; the others are kept:\n" + "\n".join(failures)
            )
    results = read_results(out, quick)
    if not results:
        raise ConfigError(f"no runs in {out / 'runs'}")
    sides = {(case.contender, case.variant) for case in results}
    missing = [case for case in chosen if (case.contender, case.variant) not in sides]
    if missing:  # a verdict needs a run of each contender and variant
        names = ", ".join(case.name for case in missing if case.seed == missing[0].seed)
        raise ConfigError(f"{out / 'runs'} lacks {names}: no report before each side has a run")
    finding = experiment.report(results, out)
    _write(experiment, finding, results, out, quick)
    return finding


def read_results(out: Path, quick: bool) -> dict[Case, dict[str, Any]]:
    """Read the results of all finished cases in a folder.

    Args:
        out: Folder of the experiment.
        quick: Whether the runs must be of the quick version.

    Returns:
        Results by case, sorted by contender, variant and seed; empty without a finished case.

    Raises:
        ConfigError: A run is of the other version.
    """
    results = {}
    for path in sorted((out / "runs").glob("*.json")):
        content = json.loads(path.read_text())
        case = Case(**content["case"])
        if case.quick != quick:
            raise ConfigError(
                f"{path} is of the {'quick' if case.quick else 'full'} version: choose another"
                " --out or remove it"
            )
        results[case] = content["result"]
    return dict(sorted(results.items()))


def results_of(
    results: dict[Case, dict[str, Any]], contender: str, variant: str = ""
) -> list[dict[str, Any]]:
    """Return the results of one contender in one variant, in the order of their seeds."""
    return [
        result
        for case, result in sorted(results.items())
        if (case.contender, case.variant) == (contender, variant)
    ]


def _file(out: Path, case: Case) -> Path:
    return out / "runs" / f"{case.name}.json"


def _run_and_write(case: Case, run_case: Callable[[Case, Path], dict[str, Any]], out: Path) -> str:
    """Run a case and write its file, with "case", "seconds", "versions" and "result".

    Args:
        case: The case.
        run_case: `Experiment.run_case`.
        out: Folder of the experiment.

    Returns:
        The time that the case took, as text.
    """
    began = time.monotonic()
    result = run_case(case, out)
    seconds = time.monotonic() - began
    content = {
        "case": asdict(case),
        "seconds": round(seconds, 1),
        "versions": versions(),
        "result": result,
    }
    write_json(_file(out, case), content, indent=None)
    return f"{seconds:.0f} s"


def _write(
    experiment: Experiment, finding: Finding, results: dict[Case, Any], out: Path, quick: bool
) -> None:
    """Write finding.json and report.md.

    The text of analysis.md, which a person may have written, is added to the finding's. The file
    finding.json has "name", "title", "paper", "verdict", "text", "figures", "pictures", "command",
    "runs" (their number by contender), "quick" and "versions".

    Args:
        experiment: The experiment.
        finding: Finding of the experiment.
        results: Results by case.
        out: Folder of the experiment.
        quick: Whether the results are of the quick version.
    """
    analysis = out / ANALYSIS
    text = (
        f"{finding.text}\n\n{analysis.read_text().strip()}" if analysis.is_file() else finding.text
    )
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
        "versions": merge_versions(
            json.loads(path.read_text())["versions"]
            for path in sorted((out / "runs").glob("*.json"))
        ),
    }
    write_json(out / "finding.json", content)
    pictures = [f"![{name.removesuffix('.png')}]({name})" for name in finding.pictures]
    lines = [
        f"# {experiment.title}",
        "",
        f"    {command}",
        "",
        f"*{experiment.paper}*",
        "",
        f"**Verdict: {finding.verdict}.**",
        "",
    ]
    lines += [text, "", *pictures, ""]
    (out / "report.md").write_text("\n".join(lines))
