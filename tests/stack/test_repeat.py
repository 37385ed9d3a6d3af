"""The command that repeats a run, and the folder that each start gets."""

import shlex
from pathlib import Path

import pytest

from sql_ros.common.run_folder import RUN_FILE
from sql_ros.stack.description import lock_run_dir, sawyer_stack
from sql_ros.stack.settings import read_settings


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _command(**given: str) -> str:
    return str(sawyer_stack(given).parameters_of("monitor")["command"])


def test_the_command_has_every_argument_that_was_given(folder):
    params = folder / "my params.yaml"
    params.write_text("actor:\n  ros__parameters: {seed: 1}\n")
    given = {
        "task": "ur5e_reach",
        "namespace": "/left",
        "params_file": str(params),
        "sim": "false",
        "seed": "4",
    }
    words = shlex.split(_command(**given))
    assert words[:4] == ["ros2", "launch", "sql_ros", "sawyer_stack.launch.py"]
    assert dict(word.split(":=") for word in words[4:]) == given


def test_the_command_of_a_new_run_starts_in_a_new_folder():
    assert "run_dir" not in _command(run_dir="runs/third")


def test_the_command_of_a_resumed_run_names_its_folder(folder):
    words = shlex.split(_command(run_dir=str(folder / "runs" / "third"), resume="true"))
    assert words[-2:] == ["run_dir:=runs/third", "resume:=true"]


def test_the_command_names_the_policy_that_a_link_pointed_to(folder):
    (folder / "runs" / "second").mkdir(parents=True)
    (folder / "runs" / "latest").symlink_to("second")
    (folder / "runs" / "second" / "policy.onnx").write_bytes(b"")
    assert "policy:=runs/second/policy.onnx" in _command(
        mode="play", policy="runs/latest/policy.onnx"
    )


def test_the_command_repeats_the_run():
    """Read again, it gives the same arguments."""
    given = {
        "task": "ur5e_reach",
        "namespace": "cell/left",
        "realtime_factor": "2",
        "most_transitions": "50",
    }
    words = shlex.split(_command(**given))
    again = dict(word.split(":=") for word in words[4:])
    assert _command(**again) == _command(**given)
    assert read_settings(again).args == read_settings(given).args


@pytest.mark.parametrize(
    ("namespace", "part"), [("", ""), ("left", "left-"), ("/cell/left", "cell-left-")]
)
def test_the_folders_of_two_namespaces_differ(namespace, part):
    name = sawyer_stack({"namespace": namespace, "seed": "3"}).run_dir.name
    time, rest = name[:16], name[16:]
    assert time[8] == time[15] == "-"
    assert rest == f"{part}sawyer_reach-seed3"


def test_two_starts_in_one_second_get_folders_of_their_own():
    stack = sawyer_stack({})
    (first, one), (second, two), (third, three) = (lock_run_dir(stack) for _ in range(3))
    with one, two, three:
        assert [first.run_dir.name, second.run_dir.name, third.run_dir.name] == [
            stack.run_dir.name,
            f"{stack.run_dir.name}-2",
            f"{stack.run_dir.name}-3",
        ]
        for started in (first, second, third):
            assert (started.run_dir / RUN_FILE).is_file()
            assert started.parameters_of("learner")["run_dir"] == str(started.run_dir)
            assert started.parameters_of("monitor")["run_dir"] == str(started.run_dir)


def test_a_folder_that_was_asked_for_keeps_its_name(folder):
    stack, lock = lock_run_dir(sawyer_stack({"run_dir": "mine"}))
    with lock:
        assert stack.run_dir == folder / "mine"
    assert Path("mine").is_dir()
