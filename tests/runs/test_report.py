"""What a run leaves behind."""

import json
import os
import re
import shlex
import sys

import pytest

from sql_ros.common.figures_json import command_line
from sql_ros.common.metrics_file import MetricsFile
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.runs.curves import episode_minutes
from sql_ros.runs.evaluation import Evaluation
from sql_ros.runs.progress import RunProgress
from sql_ros.runs.report import keep_policy, point_latest, write_report
from sql_ros.runs.view import View, rows


@pytest.fixture
def progress() -> RunProgress:
    progress = RunProgress(control_rate_hz=20.0)
    for index in range(30):
        progress.add(
            EpisodeSummary(
                index, 100, 120, -100.0 + index, index >= 20, 0.5 / (index + 1), index // 10
            )
        )
    progress.evaluations.append((2.0, 500, 2, Evaluation([True, False], [1.0, -1.0], [0.01, 0.05])))
    progress.updates, progress.transitions = 1000, 3000
    return progress


def test_robot_minutes_count_every_control_step(progress):
    assert progress.robot_minutes == 30 * 120 / 20 / 60


def test_recent_success_is_that_of_the_last_twenty_episodes(progress):
    assert progress.recent_success == 0.5


def test_the_report_names_the_result_the_command_and_the_files(progress, task, tmp_path):
    evaluation = progress.evaluations[0][3]
    figures = write_report(
        tmp_path,
        task,
        progress,
        None,
        evaluation,
        command="make it so",
        seed=4,
        evaluation_seed=1000,
        ending="It ended.",
    )
    text = (tmp_path / "report.md").read_text()
    for part in ("**1 of 2**", "It ended.", "make it so", "arm.png", "curves.png", "mujoco"):
        assert part in text
    for name in ("arm.png", "curves.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["figures"] == figures
    assert (content["command"], content["seed"]) == ("make it so", 4)
    assert figures["success_rate"] == 0.5
    assert figures["robot_minutes"] == 3.0


def test_a_report_before_the_first_policy_says_so(progress, task, tmp_path):
    figures = write_report(
        tmp_path,
        task,
        progress,
        None,
        None,
        command="x",
        seed=0,
        evaluation_seed=1000,
        ending="Stopped.",
    )
    text = (tmp_path / "report.md").read_text()
    assert (
        "The policy was not evaluated. In the last evaluation during training, of version 2, 1 of 2"
        " episodes reached the goal." in text
    )
    assert re.search(r"\| success_rate +\| not evaluated +\|", text)
    assert "The arm at the start of a simulated episode" in text  # there is nobody to move it
    assert "success_rate" not in figures


def test_on_a_real_arm_real_episodes_are_counted_and_others_called_simulated(
    progress, task, tmp_path
):
    progress.real_arm = True
    evaluation = progress.evaluations[0][3]
    command = "sql-ros up sawyer_stack sim:=false task:=sawyer_reach run_dir:=runs/a seed:=4"
    figures = write_report(
        tmp_path,
        task,
        progress,
        None,
        evaluation,
        command=command,
        seed=4,
        evaluation_seed=1000,
        ending="It ended.",
    )
    assert (
        figures["real_episodes"],
        figures["real_successes"],
        figures["simulated_success_rate"],
    ) == (30, 10, 0.5)
    assert not {"success_rate", "episodes", "training_episodes"} & figures.keys()
    text = (tmp_path / "report.md").read_text()
    assert (
        "The real arm reached the goal in **10 of 30** episodes. **1 of 2** simulated evaluation"
        " episodes" in text
    )
    assert "of a simulated episode" in text
    assert (
        "`sql-ros up sawyer_stack task:=sawyer_reach sim:=false seed:=4 run_dir:=<this folder>"
        " resume:=true`" in text
    )
    shown = dict(rows(progress))
    assert (shown["real episode"], shown["simulated evaluation"]) == (
        "30",
        "version 2: 1 of 2 reached",
    )


def test_curves_of_a_resumed_run_begin_where_the_session_before_ended(progress, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "episode", "wall_s": 9.0, "robot_minutes": 7.5}\n')
    resumed = RunProgress(control_rate_hz=20.0)
    resumed.resume(path)
    for episode in progress.episodes:
        resumed.add(episode)
    minutes = episode_minutes(resumed)
    assert (minutes[0], minutes[-1]) == pytest.approx((7.6, 10.5))
    assert minutes[-1] == pytest.approx(resumed.robot_minutes)
    assert episode_minutes(RunProgress(control_rate_hz=20.0)).size == 0


@pytest.mark.parametrize(
    ("source", "named"), [("", "sawyer_reach"), ("/my tasks/mine.yaml", "'/my tasks/mine.yaml'")]
)
def test_the_commands_of_a_report_name_its_task(progress, task, tmp_path, source, named):
    write_report(
        tmp_path,
        task,
        progress,
        None,
        None,
        command="x",
        seed=0,
        evaluation_seed=1000,
        ending="Stopped.",
        source=source,
    )
    text = (tmp_path / "report.md").read_text()
    assert f"`sql-ros up sawyer_stack task:={named} run_dir:=<this folder> resume:=true`" in text
    assert f"--policy policy.onnx --task {named} --episodes" in text


def test_the_command_of_a_report_can_be_typed_again(monkeypatch):
    typed = [
        "sql-ros",
        "up",
        "sawyer_stack",
        "run_dir:=runs/my run",
        "seed:=3",
        "--json",
        "it's.json",
    ]
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{typed[0]}", *typed[1:]])
    assert shlex.split(command_line()) == typed
    monkeypatch.setattr(sys, "argv", ["sql-ros", "trials", "--policy", "sql=a.onnx", "--seed", "0"])
    assert command_line() == "sql-ros trials --policy sql=a.onnx --seed 0"


def test_a_policy_that_cannot_be_written_leaves_the_one_before(
    task, untrained, tmp_path, full_disk
):
    path, policy = tmp_path / "policy.onnx", Policy(untrained(), task.spec)
    path.write_bytes(b"earlier")
    with full_disk(2000), pytest.raises(OSError, match="File too large"):
        keep_policy(policy, path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"earlier"]
    keep_policy(policy, path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [policy.data]


def test_latest_points_to_the_newest_run_and_spares_a_real_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    other = tmp_path / "other"
    (other / "latest").mkdir(parents=True)
    (other / "run").mkdir()
    point_latest(other / "run")
    assert not (other / "latest").is_symlink()


def test_metrics_are_one_json_object_a_line(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.write("episode", 1.23456, success=True)
    metrics.write("evaluation", 2.0, success_rate=0.5)
    metrics.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"kind": "episode", "wall_s": 1.235, "success": True}
    assert lines[1]["kind"] == "evaluation"


@pytest.mark.parametrize(
    "torn",
    [
        '{"kind": "epi',
        "7",
        "{}",
        '{"kind": "episode"}',
        '{"kind": "episode", "robot_minutes": NaN}',
        "\0\0",
        "\udcff",
    ],
)
def test_resuming_passes_over_a_torn_line_and_ends_it(progress, tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"kind": "episode", "wall_s": 9.0, "robot_minutes": 7.5}\n'
        + torn.encode(errors="surrogateescape")
    )
    progress.resume(path)
    assert progress.robot_minutes == 7.5
    metrics = MetricsFile(path)
    metrics.write("evaluation", 2.0)
    metrics.close()
    assert path.read_bytes().splitlines()[1:] == [
        torn.encode(errors="surrogateescape"),
        b'{"kind": "evaluation", "wall_s": 2.0}',
    ]


def test_after_a_full_disk_metrics_go_on_in_a_line_of_their_own(tmp_path, full_disk):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.write("episode", 1.0)
    with full_disk(50), pytest.raises(OSError, match="File too large"):
        metrics.write("episode", 2.0)
    assert len(path.read_bytes()) == 50
    metrics.write("episode", 3.0)
    metrics.close()
    first, _, last = path.read_text().splitlines()
    assert [json.loads(line)["wall_s"] for line in (first, last)] == [1.0, 3.0]


def test_the_view_shows_what_a_person_wants_to_know(progress):
    shown = dict(rows(progress))
    assert shown["episode"] == "30"
    assert shown["success, last 20"] == "50 %"
    assert shown["evaluation"] == "version 2: 1 of 2 reached"
    assert (shown["control period"], shown["actor"]) == ("-", "waited for")
    progress.control = {
        "period_p50_ms": "1.2",
        "period_p99_ms": "3.4",
        "missed_deadlines": "5",
        "policy_version": "6",
    }
    shown = dict(rows(progress))
    assert shown["control period"].startswith("1.2 / 3.4 ms")
    assert (shown["missed deadlines"], shown["policy in use"]) == ("5", "6 (newest 0)")


def test_the_view_of_an_actor_that_is_not_active_has_no_period(progress):
    progress.control = {"fault/state_dropped": "3"}
    shown = dict(rows(progress))
    assert (shown["control period"], shown["missed deadlines"], shown["policy in use"]) == (
        "-",
        "0",
        "0 (newest 0)",
    )


def test_a_fault_whose_name_looks_like_markup_is_shown_as_it_is(progress, monkeypatch):
    progress.faults["gripper [/b]"] = 2
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "w") as stdout, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", stdout)
        view = View("sawyer[/reach]")
        view.show(progress)
        view.close()
        shown = screen.read().decode()
    assert "gripper [/b] 2" in shown
    assert "sawyer[/reach]" in shown
