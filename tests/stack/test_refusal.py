"""A start that its own nodes refuse takes back what it made, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from sql_ros.common.transition_log import Ledger
from sql_ros.stack.description import Stack, lock_run_dir, sawyer_stack
from sql_ros.stack.refusal import is_refusal, remove_run_dir
from sql_ros.stack.restarts import Restarts


@pytest.fixture
def stack(tmp_path) -> Stack:
    """A stack whose processes have left what they leave before they are active."""
    stack, lock = lock_run_dir(sawyer_stack({"run_dir": str(tmp_path / "runs" / "new")}))
    lock.close()
    (stack.run_dir / "log" / "actor.log").write_text("ConfigError: another /actor is there\n")
    (stack.run_dir / "metrics.jsonl").touch()
    Ledger(stack.run_dir / "transitions.sqlite").close()
    return stack


def test_the_folders_that_were_made_are_removed(stack, tmp_path):
    assert remove_run_dir(stack)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_run_uses_stays(stack, tmp_path):
    (tmp_path / "runs" / "other").mkdir()
    assert remove_run_dir(stack)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]


def test_a_folder_that_was_there_before_stays(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    stack, lock = lock_run_dir(sawyer_stack({"run_dir": str(folder)}))
    lock.close()
    assert not remove_run_dir(stack)
    assert (folder / "run.json").is_file()


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "policy.onnx", "checkpoints/step-1/manifest.json", "metrics.jsonl", "trials.csv"],
)
def test_a_folder_with_anything_else_in_it_stays(stack, name):
    path = stack.run_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    assert not remove_run_dir(stack)
    assert path.is_file()


def test_a_folder_with_transitions_stays(stack):
    ledger = Ledger(stack.run_dir / "transitions.sqlite")
    ledger.put(1, b"record")
    ledger.sync()
    ledger.close()
    assert not remove_run_dir(stack)


def test_only_a_process_that_was_never_active_was_refused(stack):
    actor = stack.processes[-1]
    restarts = Restarts(actor, stack.marker(actor))
    assert is_refusal(2, restarts)
    assert not is_refusal(1, restarts)
    assert not is_refusal(-9, restarts)
    stack.marker(actor).touch()
    assert not is_refusal(2, restarts)


def test_it_can_be_removed_at_the_end_of_ros2_launch(tmp_path):
    """As launch/sawyer_stack.launch.py does: the lock is held until the end."""
    folder = tmp_path / "runs" / "new"
    code = f"""
import atexit
from sql_ros.stack.description import lock_run_dir, sawyer_stack
from sql_ros.stack.refusal import remove_run_dir
stack, lock = lock_run_dir(sawyer_stack({{"run_dir": {str(folder)!r}}}))
atexit.register(remove_run_dir, stack)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not Path(tmp_path / "runs").exists()
