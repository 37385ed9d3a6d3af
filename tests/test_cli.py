"""The command line without ROS: help that teaches, evaluation, figures, errors of one line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sql_ros.checks.bench import machine as bench_machine
from sql_ros.cli import bench
from sql_ros.cli.main import main
from sql_ros.experiments import ablation_plan


@pytest.fixture(scope="module")
def policy_file(untrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.onnx"
    path.write_bytes(untrained())
    return path


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["up"],
        ["page"],
        ["eval"],
        ["bench"],
        ["demo"],
        ["trials"],
        ["verify"],
        ["experiment"],
        ["doctor"],
        ["params"],
        ["keygen"],
    ],
)
def test_help_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"  sql-ros {command[0] if command else 'up sawyer_stack'}" in text


def test_eval_writes_flat_figures(policy_file, tmp_path, capsys):
    target = tmp_path / "deep" / "eval.json"
    assert (
        main(
            [
                "eval",
                "--policy",
                str(policy_file),
                "--episodes",
                "2",
                "--seed",
                "3",
                "--json",
                str(target),
            ]
        )
        == 0
    )
    content = json.loads(target.read_text())
    assert set(content) == {"command", "seed", "versions", "figures"}
    assert content["seed"] == 3
    assert content["figures"]["success_rate"] == 0.0  # an untrained policy
    assert content["figures"]["episodes"] == 2
    assert content["figures"]["wall_s"] > 0
    assert all(isinstance(value, float) for value in content["figures"].values())
    assert "0 of 2 episodes" in capsys.readouterr().out


def test_figures_that_cannot_be_written_are_one_line(policy_file, capsys):
    assert (
        main(
            [
                "eval",
                "--policy",
                str(policy_file),
                "--episodes",
                "1",
                "--json",
                f"{__file__}/eval.json",
            ]
        )
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sql-ros eval: {__file__}")


def test_eval_is_the_same_every_time(policy_file, tmp_path):
    results = []
    for name in ("a", "b"):
        main(
            [
                "eval",
                "--policy",
                str(policy_file),
                "--episodes",
                "2",
                "--json",
                str(tmp_path / name),
            ]
        )
        figures = json.loads((tmp_path / name).read_text())["figures"]
        results.append({key: value for key, value in figures.items() if key != "wall_s"})
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["eval", "--policy", "/nowhere.onnx"],
            "'/nowhere.onnx' is neither a file nor one of: sawyer_stack",
        ),
        (["eval", "--policy", __file__], "the policy is no ONNX file"),
        (["up", "baxter_stack"], "unknown stack 'baxter_stack', expected one of: sawyer_stack"),
        (
            ["up", "sawyer_reach"],
            "'sawyer_reach' is a task, not a stack: sql-ros up task:=sawyer_reach",
        ),
        (["up", "sawyer_stack", "ur5e_reach"], "sql-ros up task:=ur5e_reach"),
        (["up", "sim:=Maybe"], "sim:=Maybe, expected one of: true, false"),
        (
            ["eval", "--policy", "sawyer_stack", "--task", "ur5e_reach"],
            "was trained for task 'sawyer_stack', but task 'ur5e_reach'",
        ),
        (["up", "sawyer_stack", "seed=3"], "'seed=3' is not of the form name:=value"),
        (
            ["up", "sawyer_stack", f"run_dir:={__file__}"],
            f"run_dir {__file__} cannot be made: {__file__} is no folder",
        ),
        (["verify", "nothing"], "unknown suite 'nothing', expected one of: exact, samplers"),
        (
            ["demo", "--policy", "sawyer_reach"],
            "'sawyer_reach' is neither a file nor one of: sawyer_stack",
        ),
        (
            ["trials", "--policy", "/nowhere.onnx"],
            "'/nowhere.onnx' is neither a file nor one of: sawyer_stack",
        ),
        (["trials", "--policy", "a=" + __file__, "--policy", "a=" + __file__], "name 'a' is taken"),
        (
            ["trials", "--policy", __file__, "--in-process", "--real"],
            "--in-process has no operator",
        ),
        (["trials", "--policy", __file__, "--in-process"], "the policy is no ONNX file"),
        (
            ["experiment", "stacking", "--out", "/tmp", "--contenders", "ppo"],
            "--contenders ppo, expected any of: sql, sac, ddpg",
        ),
        (["page", "tusk:=sawyer_reach"], "'tusk:=sawyer_reach', expected task:=..., namespace"),
        (["page", "namespace:=my-arm"], "namespace: 'my-arm' is no name in ROS"),
        (["page", "task:=nowhere"], "'nowhere' is neither a file nor one of: panda_reach"),
        (["params", "lerner"], "unknown node 'lerner', expected one of: learner"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, text, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sql-ros {arguments[0]}: ")
    assert text in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evla"], "'evla' is no command: did you mean 'eval'?"),
        (["eval", "--polcy", "X"], "unrecognized argument --polcy: did you mean --policy?"),
        (["eval", "--polcy=X"], "unrecognized argument --polcy: did you mean --policy?"),
    ],
)
def test_a_misspelled_word_is_named_with_the_one_that_is_meant(arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named_once(tmp_path, capsys):
    assert main(["import-robot", "/nope.urdf", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("/nope.urdf") == 1


def test_a_demo_is_written_to_a_folder(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo.gif")]) == 2
    assert "expected a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_trials_do_not_replace_the_report_of_a_training(policy_file, tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    assert (
        main(
            [
                "trials",
                "--policy",
                str(policy_file),
                "--task",
                "sawyer_reach",
                "--out",
                str(tmp_path),
                "--in-process",
            ]
        )
        == 2
    )
    assert f"{tmp_path} has an earlier run (checkpoints/)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["trials", "--policy", "a.onnx", "--seed", "-1"],
        ["verify", "exact", "--seed", "-1"],
        ["chaos", "--seed", "-1"],
        ["fuzz", "--seed", "-1"],
        ["fuzz", "--cases", "0"],
        ["bench", "lockstep", "--seconds", "nan"],
        ["bench", "soak", "--minutes", "0"],
        ["bench", "actor", "--rates", "20", "0"],
        ["bench", "learner", "--threads", "0"],
        ["experiment", "multigoal", "--seeds", "0", "-1"],
        ["experiment", "multigoal", "--jobs", "0"],
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_begins(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].partition(f": {arguments[-1]}, expected ")[
        2
    ] in (
        "0 or more",
        "1 or more",
        "a number above 0",
    )


def test_up_lists_its_arguments(capsys):
    assert main(["up", "sawyer_stack", "--show-args"]) == 0
    text = capsys.readouterr().out
    assert "realtime_factor:=" in text
    assert "the MuJoCo bridge simulates the arm" in text
    assert "(train | play | trials)" in text
    assert main(["up", "--show-args"]) == 0
    assert capsys.readouterr().out == text


def test_eval_takes_the_task_from_the_policy(tmp_path, capsys):
    assert (
        main(
            [
                "eval",
                "--policy",
                "sawyer_stack",
                "--episodes",
                "1",
                "--json",
                str(tmp_path / "eval.json"),
            ]
        )
        == 0
    )
    assert "of 1 episodes" in capsys.readouterr().out


def test_params_lists_type_default_range_and_description(capsys):
    assert main(["params", "learner"]) == 0
    assert (
        "algorithm.temperature                float = 0.05 (>= 1e-06): alpha"
        in capsys.readouterr().out
    )


@pytest.mark.stack
def test_the_doctor_finds_this_machine_ready():
    result = subprocess.run(
        [sys.executable, "-m", "sql_ros.cli.main", "doctor"],
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "[ok  ] DDS discovery" in result.stdout
    assert "Ready: sql-ros up sawyer_stack" in result.stdout


OF_THE_ACTOR = [
    f"{what}_{share}_us"
    for what in ("jitter", "latency")
    for share in ("p50", "p99", "p99.9", "max")
]
OF_THE_ACTOR += [
    "inference_p50_us",
    "inference_p99_us",
    "missed_fraction",
    "holds",
    "steps_per_s",
    "swaps",
    "cpu_actor",
    "cpu_sim_bridge",
    "cpu_stolen",
]
OF_THE_MACHINE = [f"machine_jitter_{share}_us_50" for share in ("p50", "p99", "p99.9", "max")] + [
    "machine_missed_fraction_50"
]
OF_THE_SOAK = {
    "minutes",
    "rate_hz",
    "transitions",
    "missed_deadlines",
    "policy_version",
    "control_steps",
}
OF_THE_SOAK |= {
    f"{what}_{node}"
    for what in ("memory_mib", "memory_growth", "files_growth", "cpu")
    for node in ("actor", "sim_bridge", "learner")
}
OF_THE_SOAK |= {"cpu_stolen"} | {
    f"latency_{share}_us_{when}" for share in ("p50", "p99") for when in ("early", "late")
}


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_bench_reports_the_figures_that_scripts_read(tmp_path):
    for words, names in (
        (["lockstep"], {"lockstep_steps_per_s"}),
        (["soak", "--minutes", "0.1", "--rates", "50"], OF_THE_SOAK),
        (
            ["actor", "--rates", "50"],
            {
                "inference_p99_us",
                *OF_THE_MACHINE,
                *(f"{name}_50{suffix}" for name in OF_THE_ACTOR for suffix in ("", "_alone")),
            },
        ),
    ):
        target = tmp_path / f"{words[0]}.json"
        command = [
            sys.executable,
            "-m",
            "sql_ros.cli.main",
            "bench",
            *words,
            "--seconds",
            "2",
            "--json",
            str(target),
        ]
        ended = subprocess.run(command, timeout=480, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        figures = json.loads(target.read_text())["figures"]
        assert {name for name in figures if "cpu_learner" not in name} == names - {"cpu_learner"}
        assert all(value >= 0 for name, value in figures.items() if "growth" not in name)


def test_a_bare_thread_counts_deadlines_as_the_actor_does_and_leaves_its_caller_alone(monkeypatch):
    class Late:
        def __init__(self, period_s):
            self.period_s = period_s

        @property
        def deadline(self):
            return time.perf_counter() - 3.5 * self.period_s

        def wait(self):
            time.sleep(self.period_s)

    mine = os.sched_getaffinity(0), os.sched_getscheduler(0)
    monkeypatch.setattr(bench_machine, "Pacer", Late)
    late = bench_machine.wake_up(10.0, 0.5, 50, max(mine[0]))
    assert late["missed_fraction"] >= 3.0
    assert late["jitter_max_us"] > 0.0
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == mine


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_a_bench_that_is_killed_leaves_no_node_behind(lives):
    command = [sys.executable, "-m", "sql_ros.cli.main", "bench", "lockstep", "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as bench:
        children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children")
        while len(nodes := children.read_text().split()) < 2:
            assert bench.poll() is None
            time.sleep(0.05)
        bench.kill()
    deadline = time.monotonic() + 120.0
    while alive := [node for node in nodes if lives(int(node))]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.xdist_group("own_domain")
def test_bench_says_which_node_could_not_work_and_why():
    command = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "bench",
        "soak",
        "--minutes",
        "0.1",
        "--rates",
        "300",
    ]
    ended = subprocess.run(command, timeout=480, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "sim_bridge ended: ConfigError: a period of" in ended.stderr


def test_verify_prints_a_row_per_check_and_writes_its_results(tmp_path, capsys):
    assert main(["verify", "exact", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "ok " in text
    assert "FAIL" not in text
    content = json.loads((tmp_path / "verify.json").read_text())
    assert content["figures"]["failed"] == 0.0
    assert (
        text.count("<=") + text.count(">=")
        == content["figures"]["checks"]
        == len(content["checks"])
    )


def test_verify_ends_with_an_error_when_a_check_fails(monkeypatch, capsys):
    from sql_ros.checks.verify import suite
    from sql_ros.checks.verify.checks import Check

    monkeypatch.setitem(
        suite.SUITES,
        "exact",
        lambda findings, *_: findings.checks.append(Check("group", "too large", 2.0, 1.0)),
    )
    assert main(["verify", "exact"]) == 1
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.long
def test_bench_learner_writes_the_figures_that_scripts_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "REPEATS", 1)
    target = tmp_path / "learner.json"
    sizes = [
        "--batch",
        "8",
        "--width",
        "16",
        "--value-particles",
        "6",
        "--threads",
        "1",
    ]
    assert main(["bench", "learner", *sizes, "--json", str(target)]) == 0
    figures = json.loads(target.read_text())["figures"]
    assert {"ratio_vs_sb3_sac", "ratio_vs_port", "gemm_fraction", "updates_per_s"} <= set(figures)
    assert "| ours " in capsys.readouterr().out


def test_experiment_reports_on_the_runs_it_made(tmp_path, monkeypatch):
    hopper = {"Hopper-v5": ablation_plan.PROBLEMS["Hopper-v5"]}
    monkeypatch.setattr(ablation_plan, "PROBLEMS", hopper)
    arguments = [
        "--out",
        str(tmp_path),
        "--contenders",
        "uniform",
        "--seeds",
        "0",
        "--steps",
        "20",
    ]
    assert main(["experiment", "ablation", *arguments]) == 0
    assert "Hopper-v5" in (tmp_path / "ablation.md").read_text()
    assert (tmp_path / "ablation.png").stat().st_size > 1000


def test_verify_offers_the_suites_there_are():
    """The command names them itself, since the suites import torch."""
    from sql_ros.checks.verify import suite
    from sql_ros.cli import verify

    assert tuple(suite.SUITES) == verify.SUITES


def test_keygen_makes_a_key_once(tmp_path, capsys):
    assert main(["keygen", str(tmp_path / "key")]) == 0
    assert "key_file:=" in capsys.readouterr().out
    assert main(["keygen", str(tmp_path / "key")]) == 2
    assert "exists already" in capsys.readouterr().err
