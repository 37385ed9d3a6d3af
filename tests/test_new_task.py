"""`sql-ros new-task` writes a task that works as it is."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sql_ros.cli.main import main
from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task

ROOT = str(Path(__file__).resolve().parents[1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_test_of_a_new_task_passes_and_the_output_says_what_is_next(folder, capsys):
    assert main(["new-task", "push_puck"]) == 0
    said = capsys.readouterr().out
    for name in ("push_puck.py", "push_puck.yaml", "scene.xml", "test_push_puck.py"):
        assert f"push_puck/{name}\n" in said
    assert "sql-ros up task:=push_puck/push_puck.yaml" in said
    written = {path: path.read_text() for path in (folder / "push_puck").iterdir()}
    assert not any("new_task" in text or "NewTask" in text for text in written.values())
    assert "3 passed" in _run_tests("push_puck")


@pytest.mark.parametrize(
    "like", ["ur5e_reach", "sawyer_reach", "sawyer_stack", "sawyer_reach_twist"]
)
def test_a_new_task_takes_arm_and_targets_of_another_one(folder, like):
    assert main(["new-task", "lab/mine", "--like", like]) == 0
    task, other = load_task("lab/mine/mine.yaml"), load_task(like)
    assert type(task).__name__ == "MineTask"
    assert task.robot.joints == other.robot.joints
    assert task.spec.action_scale == other.spec.action_scale
    assert task.spec.action == other.spec.action
    assert task.config.command_mode == other.config.command_mode
    assert task.config.target_upper == other.config.target_upper


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Push", "expected lower-case letters"),
        ("2nd", "expected lower-case letters"),
        ("class", "expected lower-case letters"),
        ("my-task", "expected lower-case letters"),
        ("ur5e_reach", "there is a shipped task 'ur5e_reach'"),
        ("there", "there exists, expected a new folder"),
    ],
)
def test_a_name_that_cannot_be_a_task_is_one_line(folder, capsys, name, said):
    (folder / "there").mkdir()
    assert main(["new-task", name]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["there"]


def test_a_task_that_cannot_be_taken_leaves_no_folder(folder, capsys):
    assert main(["new-task", "push", "--like", "nothing"]) == 2
    assert "'nothing' is neither a file nor one of" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_the_example_of_the_page_is_a_task_whose_test_passes(folder):
    """docs/your_task.md, step 2: the code, and the change of the test."""
    page = (Path(ROOT) / "docs/your_task.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (rotation,) = re.findall(r"`(tool_rotation=.*?)`", page)
    assert main(["new-task", "level"]) == 0
    (folder / "level/level.py").write_text(code)
    test = folder / "level/test_level.py"
    test.write_text(test.read_text().replace("tool_rotation=np.eye(3)", rotation))
    assert "3 passed" in _run_tests("level")
    task = load_task("level/level.yaml")
    episode = task.begin(np.random.default_rng(0))
    state = Arm(task.robot).state(1, episode.start, np.zeros(6), np.zeros(6))
    low = replace(state, tool_position=np.array([0.5, 0.0, 0.04]))
    assert not task.is_terminated(state, episode)
    assert task.is_terminated(low, episode)


QUICK = """
learner:
  ros__parameters:
    threads: 1
    trainer: {warmup_transitions: 50, replay_capacity: 20000}
    algorithm: {hidden_sizes: [16, 16], batch_size: 16}
monitor:
  ros__parameters: {evaluation_episodes: 1}
"""


@pytest.mark.stack
@pytest.mark.long
@pytest.mark.xdist_group("own_domain")
def test_every_process_of_a_stack_finds_the_code_of_a_new_task(folder, capsys):
    """A short training, an evaluation of its policy, and trials through the stack."""
    assert main(["new-task", "push"]) == 0
    (folder / "quick.yaml").write_text(QUICK)
    words = ["task:=push/push.yaml", "run_dir:=run", "params_file:=quick.yaml"]
    _run("up", *words, "most_transitions:=150")
    (episode,) = [
        line
        for line in map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())
        if line["kind"] == "episode"
    ]
    assert episode["outcome"] in ("success", "time-out")
    code = load_task("push/push.yaml").spec.task_code
    assert json.loads((folder / "run/run.json").read_text())["task_code"] == code
    assert f"code of the task: {code}" in (folder / "run/report.md").read_text()
    assert main(["eval", "--policy", "run/policy.onnx", "--episodes", "1"]) == 0
    assert "other code" not in capsys.readouterr().err
    (folder / "one.yaml").write_text("repeats: 1\npush_n: [5.0]\n")
    _run("trials", "--policy", "run/policy.onnx", "--protocol", "one.yaml", "--out", "trials")
    assert (folder / "trials/report.md").is_file()


def _run_tests(folder: str) -> str:
    """Run the tests in a folder as a user does; return the output."""
    return _run("pytest", "-q", "-p", "no:cacheprovider", folder, module="")


def _run(*words: str, module: str = "sql_ros.cli.main") -> str:
    """Run a command of sql-ros, or the module that is the first word; return the output.

    The command must succeed.
    """
    command = [sys.executable, "-m", *([module] if module else []), *words]
    environment = os.environ | {"PYTHONPATH": ROOT}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
