"""Cases, their files, and the finding made of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sql_ros.cli.experiment import PAPER
from sql_ros.cli.main import main
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.experiments.paper import soft_iteration
from sql_ros.experiments.paper.registry import EXPERIMENTS, write_index
from sql_ros.experiments.study import Experiment, Finding, conduct


def _report(results, out):
    return Finding("reproduced", f"{len(results)} runs", {"runs": float(len(results))}, [])


def _experiment():
    return Experiment(
        "soft-iteration",
        "Title",
        "The figure",
        (3, 2),
        soft_iteration.cases,
        soft_iteration.run_case,
        _report,
    )


@pytest.fixture(scope="module")
def _made_once(tmp_path_factory):
    """The folder of two runs, made once, because a worker process imports torch."""
    folder = tmp_path_factory.mktemp("study")
    conduct(_experiment(), folder, [0, 1], 1, quick=True)
    return folder


@pytest.fixture
def made(_made_once, tmp_path):
    """A copy of the folder of two runs, below the folder that the index is written for."""
    return shutil.copytree(_made_once, tmp_path / "soft-iteration")


@pytest.mark.long
def test_each_case_is_run_once_and_the_finding_is_left_for_scripts_and_people(tmp_path):
    experiment = _experiment()
    assert conduct(experiment, tmp_path, [], 1, quick=True).figures == {"runs": 2.0}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert conduct(experiment, tmp_path, [0, 1, 2], 2, quick=True).figures == {"runs": 3.0}
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    content = json.loads((tmp_path / "finding.json").read_text())
    assert content["verdict"] == "reproduced"
    assert content["runs"] == {"tabular": 3}
    assert "torch" in content["versions"]
    assert "**Verdict: reproduced.**" in (tmp_path / "report.md").read_text()


def test_the_versions_are_those_of_the_runs_and_not_of_the_report(made):
    path = made / "runs" / "tabular-seed0.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "versions": {**content["versions"], "numpy": "1.9"}}))
    conduct(_experiment(), made, [0], 1, quick=True, report_only=True)
    assert (
        json.loads((made / "finding.json").read_text())["versions"]["numpy"]
        == f"1.9, {content['versions']['numpy']}"
    )


def _fails_for_one(case, out):
    if case.seed == 1:
        raise ValueError("no such torque")
    return {}


def test_a_run_that_fails_is_named_and_the_others_are_kept(tmp_path):
    experiment = replace(_experiment(), run_case=_fails_for_one)
    with pytest.raises(SqlRosError, match=r"1 runs failed.*\n.*seed1: ValueError.*no such torque"):
        conduct(experiment, tmp_path, [0, 1, 2], 1, quick=True)
    assert sorted(path.name[-10:] for path in (tmp_path / "runs").iterdir()) == [
        "seed0.json",
        "seed2.json",
    ]


def test_quick_and_full_runs_are_not_mixed(made):
    with pytest.raises(ConfigError, match="quick version"):
        conduct(_experiment(), made, [2], 1, quick=False)
    assert sorted(path.name for path in (made / "runs").iterdir()) == [
        "tabular-seed0.json",
        "tabular-seed1.json",
    ]  # said before a run is made, not after all of them


def test_without_a_run_there_is_nothing_to_report(tmp_path):
    with pytest.raises(ConfigError, match="no runs"):
        conduct(_experiment(), tmp_path, [0], 1, quick=True, report_only=True)
    with pytest.raises(ConfigError, match=r"no finding\.json"):
        write_index(tmp_path)


@pytest.mark.parametrize(
    "experiment",
    [e for e in EXPERIMENTS.values() if len(e.cases([0], False)) > 1],
    ids=lambda e: e.name,
)
def test_before_each_side_has_a_run_there_is_no_verdict(experiment, tmp_path):
    first, *_, last = experiment.cases([0, 1], False)
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in (first.name, first.name.replace("seed0", "seed1")):
        shutil.copy(f"docs/results/{experiment.name}/runs/{name}.json", folder)
    with pytest.raises(ConfigError, match=f"lacks .*{last.contender}.*before each side has a run"):
        conduct(experiment, tmp_path, [], 1, quick=False, report_only=True)


def test_of_all_experiments_those_are_reported_that_can_be(tmp_path, capsys):
    for name, runs in (("multigoal", "sql-seed0.json"), ("soft-iteration", "*.json")):
        (tmp_path / name / "runs").mkdir(parents=True)
        for path in Path(f"docs/results/{name}/runs").glob(runs):
            shutil.copy(path, tmp_path / name / "runs")
    assert main(["experiment", "all", "--report-only", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "lacks sac-seed0, ddpg-seed0" in printed
    assert "soft-iteration: reproduced" in printed
    assert "| multigoal |" in (tmp_path / "index.md").read_text()


def test_the_index_has_every_experiment_with_verdict_command_and_those_not_run(made, tmp_path):
    text = write_index(tmp_path).read_text()
    assert "**reproduced**" in text
    for name in set(EXPERIMENTS) - {"soft-iteration"}:
        assert f"| {name} |" in text
    assert text.count("not run yet") == len(EXPERIMENTS) - 1


def test_what_a_person_says_of_the_result_is_in_report_and_index(made, tmp_path):
    (made / "analysis.md").write_text(
        "It is so because of the noise.\n[as](../swimmer/report.md) [here](runs/a.json)"
        " [there](https://a.b/c)\n"
    )
    for report_only in (False, True):
        conduct(_experiment(), made, [0], 1, quick=True, report_only=report_only)
        assert (made / "report.md").read_text().count("because of the noise") == 1
        index = write_index(tmp_path).read_text()
        assert index.count("because of the noise") == 1
        assert (
            "[as](swimmer/report.md) [here](soft-iteration/runs/a.json) [there](https://a.b/c)"
            in index
        )


def test_the_command_line_knows_every_experiment():
    assert set(PAPER) == set(EXPERIMENTS)
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name
        assert experiment.seeds[0] >= 3
