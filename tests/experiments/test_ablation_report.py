"""The report of an ablation, also of one that is still running."""

import json

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.ablation_plan import AblationRun
from sql_ros.experiments.ablation_report import write_report
from sql_ros.experiments.ablation_results import area
from sql_ros.experiments.workers import write_json

HOPPER, REACH = "Hopper-v5", "sql_ros/SawyerReach-v0"


def _put(out, env, contender, seed, returns, successes=(), code="abc", torch="2"):
    count = len(returns)
    curve = {
        "steps": [1000 * (i + 1) for i in range(count)],
        "returns": returns,
        "successes": list(successes),
        "updates": [0 if contender == "uniform" else 1000 * i for i in range(count)],
        "train_s": [10.0 * (i + 1) for i in range(count)],
        "train_cpu_s": [5.0 * (i + 1) for i in range(count)],
    }
    content = {
        "env": env,
        "contender": contender,
        "seed": seed,
        "versions": {"torch": torch},
        "core_sha256": code,
        "curve": curve,
    }
    write_json(AblationRun(env, contender, seed).path(out), content)


@pytest.fixture
def partial(tmp_path):
    _put(tmp_path, HOPPER, "uniform", 0, [10.0])
    _put(tmp_path, HOPPER, "ours", 0, [10.0, 50.0])
    _put(tmp_path, HOPPER, "ours", 1, [10.0, 90.0])
    _put(tmp_path, HOPPER, "sb3 sac", 0, [10.0, 30.0])
    _put(tmp_path, REACH, "single Q", 2, [-50.0, 20.0], [0.0, 0.5])
    return tmp_path


def test_a_partial_ablation_is_reported_with_its_number_of_seeds(partial):
    summary = write_report(partial)
    ours = summary["environments"][HOPPER]["ours"]
    assert ours["seeds"] == [0, 1]
    assert ours["final_returns"] == [50.0, 90.0]
    assert ours["aucs"] == [30.0, 50.0]
    assert ours["updates_per_s"] == pytest.approx(50.0)
    assert ours["updates_per_cpu_s"] == pytest.approx(100.0)
    assert summary["environments"][REACH]["single Q"]["final_success"] == 0.5
    assert (
        json.loads((partial / "ablation.json").read_text())["environments"]
        == summary["environments"]
    )
    assert (
        "| ours | 2 | 70.0 (50.0 ... 90.0) | 40.0 | 3.00 | - | 20 | 50 | 100 |"
        in (partial / "ablation.md").read_text()
    )
    assert (partial / "ablation.png").stat().st_size > 10_000


def test_uniform_actions_are_zero_and_sac_is_one(partial):
    hopper = write_report(partial)["environments"][HOPPER]
    assert (
        hopper["uniform"]["normalised_auc"],
        hopper["sb3 sac"]["normalised_auc"],
        hopper["ours"]["normalised_auc"],
    ) == (0.0, 1.0, 3.0)


def test_without_sac_or_uniform_actions_nothing_is_normalised(partial):
    assert write_report(partial)["environments"][REACH]["single Q"]["normalised_auc"] is None


def test_readings_written_by_hand_survive_a_new_report(partial):
    (partial / "readings.md").write_text("Ours learns faster.")
    write_report(partial)
    assert "Ours learns faster." in (partial / "ablation.md").read_text()


def test_runs_of_different_code_are_pointed_out(partial):
    write_report(partial)
    assert "different code" not in (partial / "ablation.md").read_text()
    _put(partial, HOPPER, "ours", 2, [10.0, 70.0], code="def", torch="3")
    assert write_report(partial)["versions"] == {"torch": "2, 3"}
    assert "different code" in (partial / "ablation.md").read_text()


def test_an_evaluation_counts_for_the_transitions_it_closes():
    assert area({"steps": [100, 300], "returns": [0.0, 3.0]}) == pytest.approx(2.0)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no finished run.*sql-ros experiment ablation --out"):
        write_report(tmp_path)
