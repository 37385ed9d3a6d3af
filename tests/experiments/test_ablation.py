"""The runs of the ablation: which, in what order, and going on where it stopped."""

import json

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.ablation import run
from sql_ros.experiments.ablation_plan import AblationRun, plan
from sql_ros.experiments.contenders import CONTENDERS, OURS, PROBLEMS, settings


@pytest.mark.parametrize("env", PROBLEMS)
@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_has_valid_settings_on_every_problem(name, env):
    algorithm, pace = settings(CONTENDERS[name], PROBLEMS[env])
    assert algorithm.batch_size == OURS.batch_size
    assert pace.warmup_transitions < PROBLEMS[env].steps


def test_our_single_changes_change_one_thing():
    assert settings(CONTENDERS["single Q"], PROBLEMS["Hopper-v5"])[0].q_networks == 1
    for name in (
        "uniform proposal",
        "single Q",
        "LayerNorm",
        "2 updates per step",
        "tuned temperature",
    ):
        assert len({**CONTENDERS[name].algorithm, **CONTENDERS[name].pace}) == 1


def test_unfinished_results_hold_the_main_contenders_of_the_first_seed_first():
    runs = plan()
    assert len(runs) == len(set(runs)) == len(PROBLEMS) * len(CONTENDERS) * 3
    early = [item for item in runs[: 5 * len(PROBLEMS)]]
    assert {item.contender for item in early} == {"uniform", "ours", "paper", "sb3 sac", "sb3 ddpg"}
    assert {item.seed for item in early} == {0}
    assert [item.seed for item in runs] == sorted(item.seed for item in runs)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'them', expected one of: uniform, ours"):
        plan(contenders=["them"])


def test_every_run_has_a_file_of_its_own(tmp_path):
    assert len({item.path(tmp_path) for item in plan()}) == len(plan())


def test_what_is_there_is_not_made_again_and_what_is_missing_is(tmp_path, capsys):
    runs = plan(["Hopper-v5"], ["uniform", "ours"], [0], steps=30)
    uniform, ours = (item.path(tmp_path) for item in runs)
    uniform.parent.mkdir(parents=True)
    uniform.write_text('{"curve": {"steps": [30]}}')
    assert run(tmp_path, 1, runs) == []
    assert uniform.read_text() == '{"curve": {"steps": [30]}}'
    made = json.loads(ours.read_text())
    assert (made["env"], made["contender"], made["seed"], made["curve"]["steps"][-1]) == (
        "Hopper-v5",
        "ours",
        0,
        30,
    )
    assert made["algorithm"]["temperature"] == pytest.approx(1.0 / 30.0)
    assert list(ours.parent.iterdir()) == [ours]  # no partial file is left
    assert run(tmp_path, 1, runs) == []
    assert "0 of 2 runs to make" in capsys.readouterr().out


def test_a_run_of_another_length_is_not_mixed_in(tmp_path):
    item = AblationRun("Hopper-v5", "ours", 0)
    item.path(tmp_path).parent.mkdir(parents=True)
    item.path(tmp_path).write_text('{"curve": {"steps": [30]}}')
    with pytest.raises(ConfigError, match="30 transitions, expected 6000"):
        run(tmp_path, 1, [item])
