"""The papers' experiments in their quick version, whose results must hold, and would not hold
for what they are compared with.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.gym_task import make_env, spec_of
from sql_ros.experiments.paper import (
    best,
    finetune,
    maze,
    multigoal,
    pretrain,
    pusher,
    snake,
    validation,
)
from sql_ros.experiments.paper.registry import EXPERIMENTS
from sql_ros.experiments.study import Case, conduct, read_results, results_of
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer

# of each experiment: its module, the transitions of a run, and the cases
SHORT_RUNS = {
    "snake": (snake, 600, [Case("sql"), Case("ddpg")]),
    "maze": (
        maze,
        120,
        [Case(kind, variant) for variant in ("point", "quadruped") for kind in ("sql", "ddpg")],
    ),
    "pretrain": (
        pretrain,
        120,
        [
            Case("sql", "10"),
            Case("sql", "0.1"),
            *(Case(kind, pretrain.START) for kind in ("sql", "ddpg")),
        ],
    ),
    "finetune": (finetune, 600, [Case(start, "wide") for start in finetune.STARTS]),
    "validation": (
        validation,
        600,
        [
            Case(side, kind, seed)
            for side in ("ours", "sb3")
            for kind in validation.KINDS
            for seed in (0, 1)
        ],
    ),
    "pusher": (pusher, 120, [Case("sql", task) for task in (*pusher.SKILLS, pusher.JOINT)]),
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_four_goals_are_kept_and_ddpg_keeps_one(tmp_path):
    finding = conduct(EXPERIMENTS["multigoal"], tmp_path, [0], 1, quick=True)
    assert finding.figures["goals_reached"] == 4
    assert finding.figures["min_share"] >= 0.05
    assert finding.figures["entropy_sql"] > 1.0  # four equal goals: 1.386
    assert finding.figures["entropy_ddpg"] < 0.3  # and so the check above can fail
    assert all((tmp_path / name).stat().st_size > 10_000 for name in finding.pictures)


@pytest.mark.long
@pytest.mark.timeout(900)  # three trainings: six and a half minutes beside other tests on two cores
def test_two_skills_learned_apart_do_together_what_neither_does_and_untrained_ones_do_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(pusher, "EPISODES", 20)
    figures = conduct(EXPERIMENTS["pusher"], tmp_path, [0], 2, quick=True).figures
    composed = figures["sql_composed_distance"]
    assert composed < 0.85  # the puck starts 1.7 m away on average
    assert figures["composed_to_joint_ratio"] < 1.5
    assert figures["gap"] > -1.0  # V of the mean Q is above V of the joint task: Lemma 1
    results = read_results(tmp_path, quick=True)
    assert composed < min(
        results_of(results, "sql", skill)[0]["distance"] for skill in pusher.SKILLS
    )
    spec = spec_of(make_env(pusher.env_of(pusher.JOINT)))
    algorithm = AlgorithmConfig(**pusher.setting(Case("sql", "x", quick=True)).algorithm)
    untrained = [Trainer(spec, TrainerConfig(), algorithm, seed).learner for seed in (0, 1)]
    # so that the checks above can fail
    assert pusher.evaluate(pusher.JOINT, pusher.composed_act(untrained, spec))["distance"] > 0.95


@pytest.mark.long
def test_an_untrained_policy_goes_nowhere_in_particular():
    setting = multigoal.setting(Case("sql", quick=True))
    trainer = Trainer(
        spec_of(make_env(setting.env)), TrainerConfig(), AlgorithmConfig(**setting.algorithm), 0
    )
    goals, _, _ = multigoal._act(trainer)
    assert np.mean([goal == -1 for goal in goals]) > 0.5


@pytest.mark.long
def test_the_four_algorithms_of_the_lecture_agree_but_for_the_greedy_one(tmp_path):
    finding = conduct(EXPERIMENTS["soft-iteration"], tmp_path, [0, 1], 1, quick=True)
    assert finding.verdict == "reproduced"
    assert finding.figures["explorer_q_gap"] > 0.5
    assert finding.figures["policy_gradient_gap"] < 1e-3


def test_entropy_of_the_goals():
    assert multigoal.entropy([0.25] * 4) == pytest.approx(np.log(4.0))
    assert multigoal.entropy([1.0, 0.0, 0.0, 0.0]) == 0.0
    # half of them fail
    assert multigoal.entropy([0.5, 0.0, 0.0, 0.0]) == pytest.approx(np.log(2.0))


def test_spread_of_directions():
    angles = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    assert pretrain.spread(np.stack([np.cos(angles), np.sin(angles)], 1) * 3.0) == pytest.approx(
        1.0
    )
    assert pretrain.spread(np.array([[1.0, 0.0], [5.0, 0.0]])) == pytest.approx(0.0)


def test_the_best_so_far_only_gets_better_and_is_read_at_any_time():
    watched = best.BestSoFar("x", max)
    for step in range(400):
        watched.record({"x": np.sin(step / 50.0)})
    values = watched.at([1, 50, 79, 399])
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("sql", "ddpg", "verdict"),
    [
        ((0.5, 0.5), (0.5, 3.5), "reproduced"),
        ((0.5, 3.5), (3.5, 3.5), "partly"),
        ((0.5, 0.5), (0.5, 0.5), "partly"),
    ],
)
def test_the_maze_is_reproduced_where_every_run_passes_and_not_every_one_of_ddpg(
    tmp_path, sql, ddpg, verdict
):
    results = {
        Case(kind, "point"): {
            "steps": [1, 2],
            "nearest": [9.0, 0.1],
            "paths": [[[1.0, 0.0], [2.0, 0.0]]],
        }
        for kind in maze.KINDS
    }
    for kind, nearest in (("sql", sql), ("ddpg", ddpg)):
        for seed, end in enumerate(nearest):
            places = [[0.1 * step, 0.0] for step in range(10)]
            results[Case(kind, "quadruped", seed)] = {
                "steps": [1, 2],
                "nearest": [5.0, end],
                "places": places,
            }
    assert maze.report(results, tmp_path).verdict == verdict


def test_mazes_of_other_measures_are_counted_apart_each_by_its_own_dead_end(tmp_path):
    ends = {
        ("sql", "quadruped"): 0.5,
        ("ddpg", "quadruped"): 3.5,
        ("sql", "maze-deep"): 3.0,
        ("ddpg", "maze-deep"): 3.2,
        ("sql", "maze-near"): 3.2,
    }
    points = {
        Case(kind, "point"): {
            "steps": [1, 2],
            "nearest": [9.0, 0.1],
            "paths": [[[1.0, 0.0], [2.0, 0.0]]],
        }
        for kind in maze.KINDS
    }
    mazes = {
        Case(*names): {"steps": [1, 2], "nearest": [5.0, end], "places": [[0.1, 0.0]] * 10}
        for names, end in ends.items()
    }
    finding = maze.report(points | mazes, tmp_path)
    assert (finding.figures["others_sql_success"], finding.figures["others_ddpg_success"]) == (
        1.0,
        0.0,
    )
    assert finding.verdict == "reproduced"
    assert finding.figures["sql_success"] == 1.0
    assert all(
        words in finding.text for words in (maze.OTHERS["maze-deep"], maze.OTHERS["maze-near"])
    )
    assert maze.OTHERS["maze-thick"] not in finding.text


def test_places_are_noted_now_and_then():
    places = best.PlaceRecorder()
    for step in range(1, 3 * best.PLACE_INTERVAL):
        places.record({"x": step, "y": 0.123})
    assert places.recorded == [[best.PLACE_INTERVAL, 0.12], [2 * best.PLACE_INTERVAL, 0.12]]


def test_discounted_returns_are_means_of_the_episodes_that_ended_lately():
    returns = best.DiscountedReturns(0.5)
    for total in (1.0, 3.0, 5.0):
        for _ in range(10):
            returns.count()
        returns.end(total)
    assert returns.at([10, 20, 30], 10) == [1.0, 3.0, 5.0]
    assert returns.at([30], 20) == [4.0]
    assert returns.at([25], 2) == [3.0]


def test_fine_tuning_says_what_must_be_run_before(tmp_path):
    with pytest.raises(ConfigError, match="experiment pretrain --quick"):
        finetune.run_case(Case("sql", "wide", 0, quick=True), tmp_path / "finetune")


@pytest.mark.parametrize("module", [multigoal, snake, maze, pretrain, finetune, pusher, validation])
def test_every_case_can_be_set_up(module):
    for quick in (False, True):
        cases = module.cases([0, 1, 2], quick)
        assert len({case.name for case in cases}) == len(cases)
        for case in cases:
            assert spec_of(make_env(module.setting(case).env)).action_size


@pytest.mark.short("snake", "maze", "pretrain", "finetune")
@pytest.mark.parametrize("name", [name for name in SHORT_RUNS if name != "pusher"])
def test_a_short_run_of_an_experiment_is_reported(tmp_path, monkeypatch, name):
    """Whole runs take minutes; here everything but the learning."""
    monkeypatch.setattr(pretrain, "EPISODES", 2)
    monkeypatch.setattr(snake, "EPISODES", 1)
    finding, _ = _run_shortened(name, tmp_path, monkeypatch)
    _check(finding, tmp_path / name)


def _check(finding, folder):
    assert finding.verdict in ("not", "partly", "reproduced")
    assert np.isfinite(list(finding.figures.values())).all()
    assert finding.pictures
    assert all((folder / name).stat().st_size > 5_000 for name in finding.pictures)


def test_skills_are_composed_once_and_again_after_another_training(tmp_path, monkeypatch):
    for name, value in {"EPISODES": 1, "CANDIDATES": 4, "PARTICLES": 16, "VISITED": 50}.items():
        monkeypatch.setattr(pusher, name, value)
    finding, results = _run_shortened("pusher", tmp_path, monkeypatch)
    folder = tmp_path / "pusher"
    _check(finding, folder)
    shutil.rmtree(folder / "models")
    # once composed, the networks may go
    assert pusher.report(results, folder).figures == finding.figures
    pusher.run_case(Case("sql", "x"), folder)
    assert not (folder / "composed" / "sql-seed0.json").exists()  # of the skill of before


def _run_shortened(name, out, monkeypatch):
    """Run and report an experiment; return its finding and its results."""
    module, steps, cases = SHORT_RUNS[name]
    _shorten(module, steps, monkeypatch)
    if module is finetune:
        _shorten(pretrain, 120, monkeypatch)
        for kind in ("sql", "ddpg"):
            pretrain.run_case(Case(kind, pretrain.START), out / "pretrain")
    results = {case: module.run_case(case, out / name) for case in cases}
    return module.report(results, out / name), results


def _shorten(module, steps, monkeypatch):
    whole = module.setting
    monkeypatch.setattr(module, "setting", lambda case: _shortened(whole(case), case, steps))


def test_one_run_a_side_says_nothing_of_scatter(tmp_path):
    results = {
        Case(side, kind): {"steps": [1, 2, 3], "returns": [-9.0, -5.0, -1.0]}
        for side in ("ours", "sb3")
        for kind in validation.KINDS
    }
    finding = validation.report(results, tmp_path)
    assert finding.verdict == "not"
    assert np.isfinite(list(finding.figures.values())).all()  # nan is no JSON
    assert "one run has no scatter" in finding.text


def _shortened(setting, case, steps):
    # a share of an update is not for stable-baselines3
    ratio = 0.0 if case.contender == "sb3" else 0.05
    algorithm = {**setting.algorithm, "hidden_sizes": (16, 16), "batch_size": 16}
    pace = {**setting.pace, "warmup_transitions": 100, "updates_per_transition": ratio}
    return replace(
        setting,
        steps=steps,
        evaluation_episodes=min(setting.evaluation_episodes, 1),
        algorithm=algorithm,
        pace=pace,
    )
