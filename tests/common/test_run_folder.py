"""What an earlier run left is recognised without changing it.

The lock of a folder ends with its holder.
"""

import json

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.common.run_folder import (
    RUN_FILE,
    check_is_unlocked,
    check_is_unused,
    has_transitions,
    lock_run_folder,
    read_run,
    traces,
)
from sql_ros.common.transition_log import Ledger


def test_a_folder_without_a_run_has_no_traces(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "metrics.jsonl").touch()
    Ledger(tmp_path / "transitions.sqlite").close()
    assert traces(tmp_path / "missing") == traces(tmp_path) == []
    check_is_unused(tmp_path, "")


@pytest.mark.parametrize("name", ["report.md", "figures.json", "trials.csv", "metrics.jsonl"])
def test_what_a_run_left_is_named(tmp_path, name):
    (tmp_path / name).write_text("left\n")
    with pytest.raises(ConfigError, match=f"has an earlier run .{name}.: take another"):
        check_is_unused(tmp_path, "take another")


def test_a_damaged_ledger_counts_as_one_with_transitions(tmp_path):
    path = tmp_path / "transitions.sqlite"
    path.write_text("no database at all, but long enough to be taken for one " * 20)
    assert has_transitions(path)


def test_a_folder_is_locked_until_its_holder_lets_go(tmp_path):
    with lock_run_folder(tmp_path, {"task": "reach"}):
        assert read_run(tmp_path)["task"] == "reach"
        for refused in (check_is_unlocked, lambda folder: lock_run_folder(folder, {})):
            with pytest.raises(ConfigError, match="in use by a running stack"):
                refused(tmp_path)
    check_is_unlocked(tmp_path)
    lock_run_folder(tmp_path, {"task": "stack"}).close()
    assert json.loads((tmp_path / RUN_FILE).read_text())["task"] == "stack"


def test_a_run_file_that_is_none_says_nothing(tmp_path):
    for text in ("", "[]", "{"):
        (tmp_path / RUN_FILE).write_text(text)
        assert read_run(tmp_path) == {}
