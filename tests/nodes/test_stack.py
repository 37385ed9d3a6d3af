"""The whole stack as a user starts it: `sql-ros up`.

Determinism, what a run leaves behind, resuming, and that it learns.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from std_msgs.msg import Float64MultiArray

from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.nodes.messages import TransitionCodec
from sql_ros.nodes.qos import REPLAY

pytestmark = pytest.mark.stack

NODES = ("learner", "actor", "sim_bridge")  # that are managed

QUICK = {
    "learner": {
        "threads": 1,
        "trainer": {
            "warmup_transitions": 200,
            "updates_per_transition": 0.5,
            "replay_capacity": 50000,
        },
        "algorithm": {"hidden_sizes": [32, 32], "batch_size": 32},
    },
    "monitor": {"evaluation_episodes": 3},
}


@pytest.fixture
def quick(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(
        yaml.safe_dump(
            {node: {"ros__parameters": parameters} for node, parameters in QUICK.items()}
        )
    )
    return path


def _up(processes, **arguments):
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "up",
        "sawyer_stack",
        *(f"{k}:={v}" for k, v in arguments.items()),
    ]
    return processes.start(words)


def _record(processes, probe, task, quick, folder, count):
    entries, codec = {}, TransitionCodec(task.spec)

    def hear(message) -> None:
        entry = codec.from_msg(message)
        # one that a slow learner was sent again is the same
        entries.setdefault(entry.sequence, entry)

    subscription = probe.node.create_subscription(Float64MultiArray, "replay", hear, REPLAY)
    stack = _up(processes, run_dir=folder, params_file=quick, seed=5)
    probe.wait(lambda: len(entries) >= count, timeout=480)
    assert processes.stop(stack) == 0
    probe.node.destroy_subscription(subscription)
    return [entries[number] for number in range(1, count + 1)]


@pytest.mark.long
def test_lockstep_training_is_the_same_to_the_bit(processes, probe, task, quick, tmp_path):
    """Same seed, same machine: the first 1,000 transitions, of which the last 700 come from
    policies trained on the way.
    """
    first, second = (
        _record(processes, probe, task, quick, tmp_path / name, 1000) for name in ("one", "two")
    )
    for ours, theirs in zip(first, second):
        assert (ours.sequence, ours.episode, ours.step) == (
            theirs.sequence,
            theirs.episode,
            theirs.step,
        )
        assert ours.policy_version == theirs.policy_version
        for name, value in vars(ours.transition).items():
            np.testing.assert_array_equal(
                value, getattr(theirs.transition, name), err_msg=f"{name} at {ours.sequence}"
            )
    versions = [entry.policy_version for entry in first[::100]]
    assert versions == [0, 0, 0, 2, 4, 6, 8, 10, 12, 14]  # two to an episode of 100 transitions


def _lines(folder, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.long
def test_ctrl_c_leaves_a_whole_run_and_resuming_goes_on(processes, probe, quick, tmp_path):
    folder = tmp_path / "runs" / "mine"
    stack = _up(processes, run_dir=folder, params_file=quick)
    probe.wait(
        lambda: (folder / "metrics.jsonl").is_file() and len(_lines(folder, "episode")) >= 6,
        timeout=480,
    )
    assert processes.stop(stack) == 0, stack.log.read_text()
    left = {path.name for path in folder.iterdir()}
    assert left >= {
        "policy.onnx",
        "checkpoints",
        "metrics.jsonl",
        "curves.png",
        "arm.png",
        "report.md",
        "figures.json",
        "log",
    }
    assert (tmp_path / "runs" / "latest").resolve() == folder.resolve()
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["command"] == f"sql-ros up sawyer_stack task:=sawyer_reach params_file:={quick}"
    assert {"robot_minutes", "wall_s", "updates_per_s"} <= set(figures["figures"])
    assert figures["versions"]["mujoco"]
    assert "sql-ros eval --policy" in (folder / "report.md").read_text()
    for name in NODES:
        said = (folder / "log" / f"{name}.log").read_text()
        assert f"/{name}: active" in said
        assert f"/{name}: ended" in said
    assert "The run was stopped." in (folder / "log" / "monitor.log").read_text()
    assert {path.name for path in (folder / "log").glob("[!.]*")} == {
        f"{name}.log" for name in (*NODES, "monitor")
    }

    before = load_checkpoint(folder / "checkpoints")[1]
    assert before["added"] >= 600
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "up",
        "sawyer_stack",
        "--resume",
        str(tmp_path / "runs" / "latest"),
    ]
    again = processes.start([*words, f"params_file:={quick}"])
    goal = len(_lines(folder, "episode")) + 3
    probe.wait(lambda: len(_lines(folder, "episode")) >= goal, timeout=480)
    assert processes.stop(again) == 0
    after = load_checkpoint(folder / "checkpoints")[1]
    assert after["added"] >= before["added"] + 300
    assert after["updates"] >= before["updates"] + 150
    assert after["policy_version"] > before["policy_version"]
    assert len(after["extra"]["sequences"]) == 2  # two actor processes


@pytest.mark.long
@pytest.mark.parametrize("factor", ["0", "4"])
def test_a_run_ends_exactly_at_most_transitions(processes, quick, tmp_path, factor):
    """In lockstep and in real time; resumed, what was there before counts."""
    folder = tmp_path / "mine"
    for most, resume in ((230, "false"), (287, "true")):
        given = {
            "run_dir": folder,
            "params_file": quick,
            "realtime_factor": factor,
            "resume": resume,
        }
        stack = _up(processes, **given, most_transitions=most)
        assert stack.wait(480) == 0, stack.log.read_text()
        stack.until_said(f"The run ended after {most} transitions, the limit of most_transitions.")
        assert load_checkpoint(folder / "checkpoints")[1]["added"] == most


@pytest.mark.long
def test_a_refused_start_leaves_the_earlier_report_as_it_is(processes, quick, tmp_path):
    earlier = {
        name: f"earlier {name}"
        for name in ("report.md", "figures.json", "curves.png", "arm.png", "transitions.sqlite")
    }
    for name, text in earlier.items():
        (tmp_path / name).write_text(text)
    stack = _up(processes, run_dir=tmp_path, params_file=quick)
    assert stack.wait(360) == 2
    stack.until_said(
        "has an earlier run (transitions.sqlite, report.md, figures.json): give resume:=true"
    )
    assert {name: (tmp_path / name).read_text() for name in earlier} == earlier


@pytest.mark.long
def test_a_stack_that_ended_before_its_run_began_leaves_no_report(processes, probe, tmp_path):
    folder = tmp_path / "mine"
    words = [
        "up",
        "sawyer_stack",
        f"run_dir:={folder}",
        "autostart:=false",
        "--json",
        str(tmp_path / "figures.json"),
    ]
    stack = processes.start([sys.executable, "-m", "sql_ros.cli.main", *words])
    probe.wait((folder / "metrics.jsonl").is_file)
    for name in ("learner", "sim_bridge", "actor"):  # there, so that they end when told to
        probe.call(GetState, f"{name}/get_state", GetState.Request())
    assert processes.stop(stack) == 2
    stack.until_said(f"the run left no {folder}/figures.json")
    assert not (folder / "report.md").exists()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_no_node_outlives_the_command_that_started_it(
    processes, probe, quick, tmp_path, lives, number
):
    """The terminal was closed, or the supervisor was killed: the arm must not go on with nobody
    attached.
    """
    folder = tmp_path / "mine"
    stack = _up(processes, run_dir=folder, params_file=quick)
    probe.wait(
        lambda: (folder / "metrics.jsonl").is_file() and _lines(folder, "episode"), timeout=480
    )
    pids = {
        int(pid)
        for pid in subprocess.run(
            ["pgrep", "-P", str(stack.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
    }
    assert len(pids) == 4
    processes.stop(stack, number)
    probe.wait(lambda: not any(map(lives, pids)), timeout=240, what="the end of all nodes")
    assert (folder / "report.md").is_file()


def _kill(executable: str, folder) -> None:
    """Kills a node of the stack that runs in a folder's domain.

    Only its own processes are found.
    """
    found = subprocess.run(
        ["pgrep", "-f", f"{executable}_node.*{folder}"], capture_output=True, text=True, check=False
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


@pytest.mark.long
def test_a_killed_learner_is_started_again_and_goes_on_until_it_dies_too_often(
    processes, probe, quick, tmp_path
):
    folder = tmp_path / "mine"
    stack = _up(processes, run_dir=folder, params_file=quick)
    probe.wait(
        lambda: (folder / "metrics.jsonl").is_file() and len(_lines(folder, "episode")) >= 3,
        timeout=480,
    )
    _kill("learner", folder)
    killed = time.monotonic()
    updates = _lines(folder, "episode")[-1]["updates"]
    probe.wait(
        lambda: _lines(folder, "episode")[-1]["updates"] > updates + 50,
        timeout=480,
        what="more updates",
    )
    assert time.monotonic() - killed < 60
    stack.until_said("learner ended with exit code -9 (SIGKILL) and is started again")
    deadline = time.monotonic() + 480
    while stack.poll() is None and time.monotonic() < deadline:
        _kill("learner", folder)
        probe.spin_for(1.0)
    assert stack.wait(240) == 128 + signal.SIGKILL
    stack.until_said("learner ended with exit code -9 (SIGKILL)")
    assert (folder / "report.md").is_file()


def _cores_of(stack) -> dict[str, set[int]]:
    """That any thread of a node of the stack may run on, by executable."""
    cores = {}
    for pid in subprocess.run(
        ["pgrep", "-P", str(stack.pid)], capture_output=True, text=True, check=True
    ).stdout.split():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        name = words[words.index("-m") + 1].removeprefix("sql_ros.nodes.").removesuffix("_node")
        cores[name] = set().union(
            *(os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{pid}/task"))
        )
    return cores


@pytest.mark.long
def test_a_policy_plays_without_a_learner(processes, probe, untrained, tmp_path):
    trained, folder = tmp_path / "trained", tmp_path / "played"
    trained.mkdir()
    (trained / "policy.onnx").write_bytes(untrained(9))
    (tmp_path / "latest").symlink_to("trained")
    policy = tmp_path / "latest" / "policy.onnx"
    cores = os.sched_getaffinity(0)
    own = max(cores) if len(cores) > 1 else ""
    stack = _up(
        processes, mode="play", policy=policy, run_dir=folder, realtime_factor=0, control_cpu=own
    )
    probe.wait(
        lambda: (folder / "metrics.jsonl").is_file() and len(_lines(folder, "episode")) >= 3,
        timeout=240,
    )
    assert _cores_of(stack) == {
        "actor": {own} if own else cores,
        "sim_bridge": cores - {own},
        "monitor": cores - {own},
    }
    assert processes.stop(stack) == 0
    assert {line["policy_version"] for line in _lines(folder, "episode")} == {9}
    assert "policy: version 9" in (folder / "report.md").read_text()
    assert (tmp_path / "latest").resolve() == trained.resolve()  # playing is no training run


@pytest.mark.long
def test_paced_training_reports_the_ratio_it_reached(processes, probe, quick, tmp_path):
    """Not in lockstep: the arm does not wait for the learner, ten times faster than real time."""
    reports, folder = probe.listen(DiagnosticArray, "/diagnostics", 10), tmp_path / "paced"
    stack = _up(processes, run_dir=folder, params_file=quick, realtime_factor=10)

    def values() -> dict[str, float]:
        statuses = [s for r in reports for s in r.status if s.name == "learner: training"]
        return {e.key: float(e.value) for e in statuses[-1].values} if statuses else {}

    probe.wait(
        lambda: values().get("updates", 0) > 50 and values()["policy_version"] > 0, timeout=360
    )
    probe.wait(lambda: _lines(folder, "episode"), timeout=120)
    # it catches up with what came before its first update
    probe.wait(lambda: values()["updates_per_transition"] > 0.1, timeout=240)
    assert processes.stop(stack) == 0
    assert 0.1 < values()["updates_per_transition"] <= 0.5


@pytest.mark.short("arguments0-*")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tusk": "x"}, "unknown argument 'tusk'"),
        ({"task": "sawyer_dance"}, "'sawyer_dance' is neither a file nor one of: panda_reach"),
        ({"sim": "maybe"}, "sim:=maybe, expected one of: true, false"),
        ({"seed": "-1"}, "seed:=-1, expected a whole number from 0"),
        ({"sim": "false", "realtime_factor": "0"}, "time on a real arm"),
        ({"mode": "play"}, "mode:=play needs a policy"),
        (
            {"mode": "play", "policy": "/nowhere.onnx"},
            "'/nowhere.onnx' is neither a file nor one of: sawyer_stack",
        ),
        ({"params_file": "/nowhere.yaml"}, "'/nowhere.yaml' is neither a file nor one of"),
    ],
)
def test_a_wrong_argument_is_one_line(processes, arguments, text):
    stack = _up(processes, **arguments)
    assert stack.wait(240) == 2
    (line,) = stack.log.read_text().splitlines()
    assert line.startswith("sql-ros up: ")
    assert text in line


@pytest.mark.long
def test_a_section_for_no_node_or_an_unknown_key_in_the_params_file_is_refused(processes, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("learnr:\n  ros__parameters:\n    threads: 1\n")
    stack = _up(processes, params_file=path, run_dir=tmp_path / "a")
    assert stack.wait(240) == 2
    stack.until_said("section 'learnr' is no node of this stack")
    path.write_text("learner:\n  ros__parameters:\n    algorithm:\n      temprature: 1.0\n")
    stack = _up(processes, params_file=path, run_dir=tmp_path / "b")
    assert stack.wait(360) == 2
    stack.until_said("unknown parameter 'algorithm.temprature': did you mean algorithm.temperature")
    assert not (tmp_path / "b").exists()


@pytest.mark.timeout(1500)  # against a hang only
def test_a_short_training_brings_the_arm_nearer_to_its_goals(processes, tmp_path):
    """What `make run` does, seed 0, for a fifth of its transitions: the last eight episodes have
    a higher return than the first eight.
    """
    folder = tmp_path / "learned"
    stack = _up(processes, run_dir=folder, seed=0, most_transitions=2400)
    assert stack.wait(1400) == 0, stack.log.read_text()
    stack.until_said("The run ended after 2400 transitions, the limit of most_transitions.")
    returns = [line["undiscounted_return"] for line in _lines(folder, "episode")]
    print([round(value) for value in returns])
    assert len(returns) >= 23
    assert np.mean(returns[-8:]) > np.mean(returns[:8]) + 60.0


@pytest.mark.long
# against a hang only; the bound that counts is the number of transitions
@pytest.mark.timeout(1500)
def test_the_stack_learns_to_reach(processes, probe, tmp_path):
    """What `make run` does, seed 0: at least 95 of 100 evaluation episodes within 25,000
    transitions.
    """
    folder = tmp_path / "learned"
    began = time.monotonic()
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "up",
        "sawyer_stack",
        f"run_dir:={folder}",
        "seed:=0",
        "most_transitions:=25000",
    ]
    stack = processes.start(words)
    probe.wait(lambda: stack.poll() is not None, timeout=1400, what="the end of the training")
    assert stack.returncode == 0, stack.log.read_text()
    figures = json.loads((folder / "figures.json").read_text())["figures"]
    print(f"{figures['transitions']:.0f} transitions, {time.monotonic() - began:.0f} s")
    assert figures["episodes"] == 100
    assert figures["success_rate"] >= 0.95
    assert figures["transitions"] <= 25000
