"""`sql-ros new-task` writes a task that works as it is."""

import os
import subprocess
import sys

import pytest

from sql_ros.cli.main import main
from sql_ros.robot.tasks import load_task


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
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "push_puck"]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = os.environ | {"PYTHONPATH": root}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


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
