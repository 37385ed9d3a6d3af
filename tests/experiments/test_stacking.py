"""The stacking experiment: what it counts, when it ends, what it writes."""

import json
import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.stacking import (
    EVALUATION_FIRST,
    EpisodeLog,
    RunResult,
    make_run,
    measure_overhead,
    read_runs,
    settings,
)
from sql_ros.experiments.stacking_report import write_stacking_report
from sql_ros.policy.runtime import Policy
from sql_ros.robot.tasks import load_task


def _run(
    method="sql",
    seed=0,
    successes=(0.0, 0.5, 0.96, 1.0, 1.0),
    episodes=(10, 10, 100, 100, 100),
    first=1000,
) -> RunResult:
    steps = [2000 * (i + 1) for i in range(len(successes))]
    curve = {
        "steps": steps,
        "successes": list(successes),
        "episodes": list(episodes),
        "returns": [10.0 * s for s in successes],
    }
    curve |= {"updates": [2 * s for s in steps], "train_s": [0.01 * s for s in steps]}
    return RunResult(
        method, seed, 2.5, 250, 20.0, [(500, False), (first, True), (9000, True)], curve
    )


def test_robot_time_counts_steps_and_what_an_arm_takes_between_episodes():
    assert _run().minutes(250) == pytest.approx((12.5 + 2.5) / 60.0)


def test_milestones_are_the_first_time_that_each_held():
    run = _run()
    minutes = [run.minutes(made) for made in (1000, 6000, 10000)]
    assert list(run.milestones().values()) == pytest.approx(minutes)


def test_few_episodes_prove_nothing():
    milestones = _run(
        successes=(1.0, 1.0), episodes=(EVALUATION_FIRST, EVALUATION_FIRST)
    ).milestones()
    assert milestones["consistent_min"] == milestones["converged_min"] == math.inf


def test_all_of_them_once_is_not_yet_converged():
    milestones = _run(successes=(1.0, 0.99, 1.0), episodes=(100, 100, 100)).milestones()
    assert milestones["converged_min"] == math.inf


def test_the_settings_are_those_of_the_stack():
    algorithm, pace = settings()
    assert (algorithm.hidden_sizes, algorithm.temperature, pace.updates_per_transition) == (
        (128, 128),
        0.05,
        4.0,
    )
    assert (algorithm.layer_norm, algorithm.discount) == (True, 0.93)


def test_what_an_arm_takes_between_episodes_is_the_rest_the_release_and_the_way():
    assert 1.5 < measure_overhead() < 8.0  # 1 s of rest and 0.5 s of release are in the config


def test_training_episodes_are_logged_with_their_outcome(line):
    log: list[tuple[int, bool]] = []
    env = EpisodeLog(gymnasium.make(line), log)
    for action in (1.5, 0.1):
        env.reset(seed=0)
        for _ in range(5):
            env.step(np.array([action], np.float32))
    assert log == [(5, True), (10, False)]


@pytest.mark.parametrize("method", ["sql", "sac", "ddpg", "sql-late"])
def test_a_run_leaves_its_file_and_the_report_reads_it(tmp_path, method):
    make_run((method, 3), tmp_path, 300, 300, 2.5, episodes=1)
    (run,) = read_runs(tmp_path)
    assert (run.method, run.seed, run.curve["steps"]) == (method, 3, [300])
    assert run.episodes == [[250, False]]
    task = load_task("sawyer_stack")
    # which our actor takes
    policy = Policy((tmp_path / "runs" / f"{method}-seed3.onnx").read_bytes(), task.spec)
    assert np.isfinite(policy.ranked(np.zeros(20, np.float32), np.random.default_rng(0))).all()
    write_stacking_report(tmp_path, "as typed")
    assert "as typed" in (tmp_path / "report.md").read_text()


def test_the_report_gives_medians_each_seed_and_what_was_asked_for(tmp_path):
    runs = [
        replace(_run(seed=0), versions={"numpy": "1.9"}),
        _run(seed=1, first=2000),
        _run(seed=2, successes=(0.0, 0.1), episodes=(10, 10), first=3000),
        _run("sac", 0, (0.0,), (10,), 1500),
    ]
    (tmp_path / "runs").mkdir()
    for run in runs:
        (tmp_path / "runs" / f"{run.method}-seed{run.seed}.json").write_text(json.dumps(vars(run)))
    summary = write_stacking_report(tmp_path, "as typed")
    assert summary["methods"]["sql"]["median"]["first_success_min"] == pytest.approx(2.0)
    assert summary["methods"]["sql"]["median"]["consistent_min"] == pytest.approx(6.0)
    assert summary["methods"]["sac"]["median"]["consistent_min"] is None
    text = (tmp_path / "report.md").read_text()
    assert (
        "| first success during training | 30 | 10 | **2.0** (1.0, 2.0, 3.0) | **1.5** (1.5) |"
        in text
    )
    assert "| consistent (95 of 100) | 60 | 30 | **6.0** (6.0, 6.0, -) | **-** (-) |" in text
    assert (tmp_path / "stacking.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "stacking.json").read_text())["command"] == "as typed"
    assert f"numpy 1.9, {np.__version__}" in text  # of the runs, not of the report


def test_a_report_on_nothing_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no runs"):
        write_stacking_report(tmp_path)
