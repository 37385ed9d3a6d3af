"""`sql-ros train`: what a run leaves, and how it goes on."""

import json

import pytest
import yaml

from sql_ros.cli.main import main
from sql_ros.common.errors import CONFIG_EXIT_CODE, ConfigError
from sql_ros.common.run_folder import RUN_FILE, read_run
from sql_ros.experiments.training import make_run, settings
from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.learning.trainer import load_learner
from sql_ros.policy.runtime import Policy

MAZE = "sql_ros/PointMaze-v0"
SMALL = [
    "--set",
    "algorithm.hidden_sizes=[16,16]",
    "trainer.warmup_transitions=50",
    "run.evaluate_every=100",
    "run.evaluation_episodes=1",
]


@pytest.mark.parametrize("kind", ["sql", "ddpg", "sac"])
def test_a_run_leaves_metrics_a_policy_and_a_report(tmp_path, kind):
    out = tmp_path / "run"
    assert (
        main(
            [
                "train",
                MAZE,
                "--algo",
                kind,
                "--steps",
                "200",
                "--out",
                str(out),
                *SMALL,
                "run.envs=2",
            ]
        )
        == 0
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [100, 200]
    assert lines[-1]["updates"] == 150
    assert "q_loss" in lines[-1]
    learner, spec = load_learner(out / "checkpoints")
    assert learner.config.kind == kind
    assert spec.task == MAZE
    assert Policy((out / "policy.onnx").read_bytes(), spec).info.updates == 150
    assert yaml.safe_load((out / "params.yaml").read_text())["run"]["envs"] == 2
    assert (out / "curve.png").stat().st_size > 1000
    assert "![curve](curve.png)" in (out / "report.md").read_text()
    assert list((out / "tensorboard").glob("events*"))


def test_an_interrupted_run_goes_on_with_its_own_options(tmp_path):
    out = tmp_path / "run"
    assert main(["train", MAZE, "--steps", "100", "--out", str(out), *SMALL]) == 0
    assert main(["train", MAZE, "--steps", "300", "--out", str(out), "--resume"]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [100, 200, 300]
    assert [line["updates"] for line in lines] == [50, 150, 250]
    assert load_learner(out / "checkpoints")[0].config.hidden_sizes == (16, 16)


def test_the_time_of_a_resumed_run_is_that_of_all_its_sessions(tmp_path):
    out = tmp_path / "run"
    assert main(["train", MAZE, "--steps", "400", "--out", str(out), *SMALL]) == 0
    assert main(["train", MAZE, "--steps", "500", "--out", str(out), "--resume"]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for name in ("train_s", "train_cpu_s"):
        times = [line[name] for line in lines]
        assert times == sorted(times)
        assert json.loads((out / "figures.json").read_text())["figures"][name] == times[-1]
        assert load_checkpoint(out / "checkpoints")[1]["extra"][name] == times[-1]


def test_the_run_of_a_real_arm_does_not_go_on_in_simulation(tmp_path):
    out = tmp_path / "run"
    words = ["train", MAZE, "--steps", "100", "--out", str(out), *SMALL]
    assert main(words) == 0
    assert read_run(out)["real_arm"] is False
    (out / RUN_FILE).write_text('{"real_arm": true}')
    with pytest.raises(
        ConfigError, match="is a run of a real arm, with which nothing simulated is mixed"
    ):
        make_run(MAZE, out, {"run": None}, resume=True)


def test_it_does_so_also_in_the_folder_that_it_chose_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "algorithm.temperature=10",
        "algorithm.value_particles=12",
        "algorithm.kind=sac",
        "run.seed=3",
    ]
    assert main(["train", MAZE, "--steps", "100", *SMALL, *options]) == 0
    named = ["--set", "algorithm.kind=sac", "run.seed=3"]
    assert (
        main(["train", MAZE, "--resume", "--steps", "200", *named, "algorithm.uniform_particles=8"])
        == 0
    )  # fits into 12 only
    (out,) = (tmp_path / "runs" / "train").iterdir()
    config = load_learner(out / "checkpoints")[0].config
    assert (config.temperature, config.value_particles, config.uniform_particles) == (10.0, 12, 8)
    assert yaml.safe_load((out / "params.yaml").read_text())["algorithm"] == config.as_dict()


def test_what_cannot_be_trained_is_one_line(tmp_path, capsys):
    out = str(tmp_path / "run")
    for words, says in (
        (["train", "Nowhere-v0", "--out", out], "Nowhere"),
        (["train", "CartPole-v1", "--out", out], "action space"),
        (["train", MAZE, "--out", out, "--resume"], "no checkpoint to go on from"),
        (
            ["train", MAZE, "--out", out, "--set", "algorithm.temprature=1"],
            "unknown key 'temprature'",
        ),
        (["train", MAZE, "--out", out, "--set", "temperature"], "section.option=value"),
        (
            ["train", MAZE, "--out", out, "--set", "net.size=3"],
            "expected one of: run, algorithm, trainer",
        ),
        (
            ["train", MAZE, "--out", out, "--set", "algorithm.temperature=["],
            "--set algorithm.temperature=[: the value is not YAML: ",
        ),
        (
            ["train", MAZE, "--out", out, "--set", "algorithm.temperature=2020-13-45"],
            "the value is not YAML: month must be in",
        ),
        (["train", MAZE, "--out", f"{__file__}/run"], f"sql-ros train: --out {__file__}"),
    ):
        assert main(words) == CONFIG_EXIT_CODE
        assert says in capsys.readouterr().err


def test_a_folder_with_a_run_is_not_written_over(tmp_path, capsys):
    words = ["train", MAZE, "--steps", "100", "--out", str(tmp_path / "run"), *SMALL]
    assert main(words) == 0
    assert main(words) == CONFIG_EXIT_CODE
    assert "--resume" in capsys.readouterr().err


def test_options_come_from_the_file_then_by_words_then_by_name(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("run: {steps: 10, seed: 1}\nalgorithm: {temperature: 0.5, discount: 0.9}\n")
    found = settings(path, ["algorithm.temperature=0.2", "run.seed=2"], {"run": {"seed": 3}})
    assert found["run"].as_dict() | {"steps": 10, "seed": 3} == found["run"].as_dict()
    assert found["algorithm"].temperature == 0.2
    assert found["algorithm"].discount == 0.9
    with pytest.raises(ConfigError, match="unknown section"):
        settings(None, ["net.size=3"], {})


def test_options_of_an_earlier_version_are_taken_at_their_only_value(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("algorithm: {mixture_components: 16, target_period: 1000, discount: 0.9}\n")
    assert settings(path, [], {})["algorithm"].discount == 0.9
    path.write_text("algorithm: {mixture_components: 4}\n")
    with pytest.raises(ConfigError, match="unknown key 'mixture_components'"):
        settings(path, [], {})


@pytest.mark.long
def test_two_runs_are_composed_into_one_policy(tmp_path, capsys):
    for task in ("x", "y"):
        words = [
            "train",
            f"sql_ros/Pusher-{task}-v0",
            "--steps",
            "100",
            "--out",
            str(tmp_path / task),
            *SMALL,
        ]
        assert main(words) == 0
    out = tmp_path / "both.onnx"
    runs = [str(tmp_path / "x"), str(tmp_path / "y")]
    assert main(["compose", *runs, "--task", "sql_ros/Pusher-both-v0", "--out", str(out)]) == 0
    _, spec = load_learner(tmp_path / "x" / "checkpoints")
    from dataclasses import replace

    assert Policy(out.read_bytes(), replace(spec, task="sql_ros/Pusher-both-v0"))
    capsys.readouterr()
    assert main(["compose", runs[0], "--out", str(out)]) == CONFIG_EXIT_CODE
    assert "two skills" in capsys.readouterr().err
