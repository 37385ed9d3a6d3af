"""A start is checked before any process starts.

One that is refused has written and changed nothing.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from sql_ros.cli.main import main
from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError, SqlRosError
from sql_ros.common.run_folder import RUN_FILE, lock_run_folder, read_run
from sql_ros.common.transition_log import Ledger
from sql_ros.policy.transition import Transition
from sql_ros.robot.tasks import load_task
from sql_ros.stack.description import lock_run_dir
from sql_ros.stack.preflight import preflight

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "sawyer_stack.launch.py"
STACKING = "sawyer_stack"  # a shipped policy, and the task that it was trained for


def _save_run(folder: Path, task_name: str) -> None:
    """Write the checkpoint that a training of a task would leave after ten transitions."""
    from sql_ros.learning.algorithm import TrainerConfig
    from sql_ros.learning.trainer import Trainer
    from sql_ros.stack.preflight import algorithm_of

    spec = load_task(task_name).spec
    parameters = preflight({"task": task_name}).parameters_of("learner")
    trainer = Trainer(spec, TrainerConfig(replay_capacity=10), algorithm_of(parameters), 0)
    observation, action = (
        np.zeros(spec.observation_size, np.float32),
        np.zeros(spec.action_size, np.float32),
    )
    for _ in range(10):
        trainer.add(Transition(observation, action, 0.0, observation, False, False))
    trainer.save(folder / "checkpoints", {"sequences": {}})


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder `runs` with trainings of two arms, what a play left, and `latest`."""
    runs = tmp_path_factory.mktemp("saved") / "runs"
    for name, task in (("sawyer", "sawyer_reach"), ("ur5e", "ur5e_reach")):
        _save_run(runs / name, task)
        (runs / name / "report.md").write_text("# a report\n")
    damaged = shutil.copytree(runs / "sawyer", runs / "damaged")
    (state,) = damaged.glob("checkpoints/*/state.safetensors")
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    (runs / "played").mkdir()
    (runs / "played" / "metrics.jsonl").write_text("{}\n")
    (runs / "empty").mkdir()
    (runs / "latest").symlink_to("sawyer")
    return runs


@pytest.fixture
def runs(saved, tmp_path, monkeypatch, bare_task) -> Path:
    """A copy of them in the working folder, beside a task whose arm has no collision shapes."""
    monkeypatch.chdir(tmp_path)
    bare_task(tmp_path / "bare")
    return shutil.copytree(saved, tmp_path / "runs", symlinks=True)


def _tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every entry below a folder, with its time of change and what is in it."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        found[str(path)] = (status.st_mtime_ns, status.st_mode, status.st_size, content)
    return found


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _short_task(folder: Path) -> str:
    """Write ur5e_reach with a scene whose arm has an upper arm that is 80 mm shorter.

    Return its path.
    """
    share = share_folder()
    arm = (share / "sim/robots/ur5e.xml").read_text()
    _write(folder / "short.xml", arm.replace('pos="-0.425 0 0"', 'pos="-0.345 0 0"'))
    scene = (share / "sim/scenes/ur5e_reach.xml").read_text()
    scene = scene.replace("</mujoco>", '<include file="short.xml"/></mujoco>')
    task = yaml.safe_load((share / "config/tasks/ur5e_reach.yaml").read_text())
    task["scene"] = _write(folder / "scene.xml", scene)
    return _write(folder / "ur5e_reach.yaml", yaml.safe_dump(task))


LARGE = "learner:\n  ros__parameters:\n    trainer:\n      replay_capacity: 3000000000\n"
SMALL = "learner:\n  ros__parameters:\n    trainer:\n      replay_capacity: 9\n"
OTHER = "learner:\n  ros__parameters:\n    algorithm:\n      hidden_sizes: [8]\n"
WRONG = "learner:\n  ros__parameters:\n    algorithm:\n      hiden_sizes: [8]\n"

KEY = "actor:\n  ros__parameters:\n    key_file: /nowhere/key\n"
DRY = "actor:\n  ros__parameters:\n    dry_run: true\n"
NEVER = "actor:\n  ros__parameters:\n    identify: never\n"
MODE = "actor:\n  ros__parameters:\n    mode: play\n"
SLOW = "actor:\n  ros__parameters:\n    max_state_age_s: -1.0\n"
MISSPELLED = "monitor:\n  ros__parameters:\n    evaluation_episods: 3\n"

REFUSED: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "an unknown argument": (lambda top: ["tusk:=ur5e_reach"], "unknown argument 'tusk'"),
    "a mistyped folder to resume": (
        lambda top: ["--resume", "runs/sawer", "sim:=false"],
        "runs/sawer: it does not exist, but",
    ),
    "an empty folder to resume": (
        lambda top: ["--resume", "runs/empty"],
        "neither checkpoints nor transitions",
    ),
    "a folder to resume without a name": (
        lambda top: ["resume:=true"],
        "it needs mode:=train, and run_dir:=",
    ),
    "an option of a node out of its range": (
        lambda top: [f"params_file:={_write(top / 'slow.yaml', SLOW)}"],
        "'max_state_age_s' must be at least 0.001, got -1.0",
    ),
    "a misspelled option of a node": (
        lambda top: [f"params_file:={_write(top / 'misspelled.yaml', MISSPELLED)}"],
        "unknown parameter 'evaluation_episods': did you mean evaluation_episodes",
    ),
    "an argument given twice": (
        lambda top: ["seed:=1", "seed:=2"],
        "seed:= is given twice",
    ),
    "two folders": (
        lambda top: ["--resume", "runs/sawyer", "run_dir:=runs/ur5e"],
        "give one of them",
    ),
    "a damaged checkpoint": (
        lambda top: ["--resume", "runs/damaged"],
        "does not match its SHA-256",
    ),
    "another task than the run's": (
        lambda top: ["--resume", "runs/ur5e", "task:=sawyer_reach"],
        "is a run of task 'ur5e_reach', but task:=sawyer_reach is given",
    ),
    "other networks than the run's": (
        lambda top: [
            "--resume",
            "runs/sawyer",
            f"params_file:={_write(top / 'other.yaml', OTHER)}",
        ],
        "does not fit the configured networks: hidden_sizes was",
    ),
    "a buffer smaller than the run's": (
        lambda top: [
            "--resume",
            "runs/sawyer",
            f"params_file:={_write(top / 'small.yaml', SMALL)}",
        ],
        "holds 10 transitions, more than trainer.replay_capacity, 9",
    ),
    "a simulated run to go on with on a real arm": (
        lambda top: ["--resume", _recorded(top / "runs" / "sawyer", real_arm=False), "sim:=false"],
        (
            "is a run of a simulated arm, but this start is for a real arm, and the two are never"
            " mixed"
        ),
    ),
    "a real arm's run to go on with in simulation": (
        lambda top: ["--resume", _recorded(top / "runs" / "sawyer", real_arm=True)],
        "is a run of a real arm, but this start is for a simulated arm",
    ),
    "a real arm's run to go on with in another simulator": (
        lambda top: [
            "--resume",
            _recorded(top / "runs" / "sawyer", real_arm=True),
            "sim:=false",
            "use_sim_time:=true",
        ],
        "runs/sawyer/policy.onnx",
    ),
    "a run that is there": (
        lambda top: ["run_dir:=runs/sawyer"],
        "has an earlier run (checkpoints/, report.md): give resume:=true",
    ),
    "a report that is there": (
        lambda top: ["run_dir:=runs/played", "mode:=play", f"policy:={STACKING}"],
        "has an earlier run (metrics.jsonl): give another run_dir, or none",
    ),
    "a file as folder": (lambda top: [f"run_dir:={__file__}/run"], "cannot be made"),
    "no such policy": (
        lambda top: ["mode:=play", "policy:=sawyer_stak"],
        "neither a file nor one of: sawyer_stack, ",
    ),
    "a policy that is none": (
        lambda top: ["mode:=play", f"policy:={__file__}"],
        "the policy is no ONNX file",
    ),
    "a policy of another task": (
        lambda top: ["mode:=play", f"policy:={STACKING}", "task:=ur5e_reach"],
        (
            "was trained for task 'sawyer_stack', but task 'ur5e_reach' is given: leave it out, or"
            " name another policy; a task file of your own with the same interface must be called"
            " sawyer_stack.yaml"
        ),
    ),
    "a buffer larger than memory": (
        lambda top: [f"params_file:={_write(top / 'large.yaml', LARGE)}"],
        (
            "trainer.replay_capacity 3000000000 needs 1.07 TiB of memory when full (196 bytes per"
            " transition of sawyer_reach"
        ),
    ),
    "an option that is unknown": (
        lambda top: [f"params_file:={_write(top / 'wrong.yaml', WRONG)}"],
        "unknown parameter 'algorithm.hiden_sizes': did you mean algorithm.hidden_sizes",
    ),
    "no key": (lambda top: ["key_file:=nowhere.key"], "cannot read the key file"),
    "a key that is none": (
        lambda top: [f"key_file:={_key(top / 'odd.key', 'abc', 0o600)}"],
        "holds no key",
    ),
    "no key that a params file names": (
        lambda top: [f"params_file:={_write(top / 'key.yaml', KEY)}"],
        "cannot read the key file /nowhere/key",
    ),
    "a dry run in lockstep by a params file": (
        lambda top: [f"params_file:={_write(top / 'dry.yaml', DRY)}"],
        "dry.yaml) in lockstep",
    ),
    "what the launch decides in a params file": (
        lambda top: [f"params_file:={_write(top / 'mode.yaml', MODE)}"],
        "'mode' of the actor is 'play', but the launch arguments decide it, here 'train'",
    ),
    "a real arm whose links have no shapes": (
        lambda top: ["sim:=false", "task:=bare/ur5e_reach.yaml"],
        (
            "the arm moves shoulder_link, upper_arm_link, forearm_link, wrist_1_link, wrist_2_link,"
            " wrist_3_link, but"
        ),
    ),
    "a real arm whose scene has another arm": (
        lambda top: ["sim:=false", f"task:={_short_task(top)}"],
        (
            "scene.xml has a joint 'shoulder_pan_joint' of its own: the arm of robot 'ur5e' is put"
            " into the scene from sim/robots/ur5e.xml. Delete the <include> of the arm there"
        ),
    ),
    "a real arm whose latency nobody measured": (
        lambda top: ["sim:=false", "identify:=never"],
        (
            "'identify' is never, and the latency of robot 'sawyer' in velocity mode is not known:"
            " expected 'latency_s: ...' in"
        ),
    ),
    "a real arm whose latency nobody measured, by a params file": (
        lambda top: ["sim:=false", f"params_file:={_write(top / 'never.yaml', NEVER)}"],
        "'identify' is never, and the latency of robot 'sawyer' in velocity mode is not known",
    ),
    "a key for all": (
        lambda top: [f"key_file:={_key(top / 'open.key', 'ab' * 32, 0o644)}"],
        "has mode 0644",
    ),
    "no such protocol": (
        lambda top: ["mode:=trials", f"policy:={STACKING}", "protocol:=hard"],
        "'hard' is neither a file nor one of",
    ),
}


def _recorded(run: Path, *, real_arm: bool) -> str:
    _write(run / RUN_FILE, json.dumps({"task": "sawyer_reach", "real_arm": real_arm}))
    return str(run)


def _key(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_start_is_one_line_and_changes_nothing(case, runs, tmp_path, capsys):
    make, text = REFUSED[case]
    words = make(tmp_path)
    before = _tree(tmp_path)
    assert main(["up", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
    assert _tree(tmp_path) == before


def test_a_folder_in_use_is_refused_with_the_process(runs, tmp_path, capsys):
    with lock_run_folder(runs / "empty", {}):
        before = _tree(tmp_path)
        assert main(["up", "run_dir:=runs/empty"]) == 2
        assert (
            f"runs/empty is in use by a running stack (process {os.getpid()})"
            in capsys.readouterr().err
        )
        assert _tree(tmp_path) == before
    preflight({"run_dir": "runs/empty"})


def test_the_lock_of_a_killed_process_does_not_count(runs):
    code = "import sys; from pathlib import Path\n"
    code += "from sql_ros.common.run_folder import lock_run_folder\n"
    code += (
        f"lock = lock_run_folder(Path({str(runs / 'empty')!r}), {{}}); print('locked', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match=f"in use by a running stack .process {other.pid}."):
            preflight({"run_dir": "runs/empty"})
        other.send_signal(signal.SIGKILL)
        other.wait()
    preflight({"run_dir": "runs/empty"})
    lock_run_folder(runs / "empty", {}).close()


def test_trials_are_refused_before_the_first_policy_is_tried(runs, tmp_path, capsys):
    before = _tree(tmp_path)
    assert (
        main(["trials", "--policy", f"a={STACKING}", "--policy", f"b={__file__}", "--out", "both"])
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "the policy is no ONNX file" in line
    for name in ("sawyer", "played"):
        assert main(["trials", "--policy", STACKING, "--out", f"runs/{name}"]) == 2
        assert "has an earlier run" in capsys.readouterr().err
    assert _tree(tmp_path) == before


def test_skills_that_cannot_be_blended_are_refused(tmp_path, monkeypatch, untrained):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        (tmp_path / f"{name}.onnx").write_bytes(untrained(seed=seed))
    given = {"mode": "play", "policy": "a.onnx,b.onnx", "weights": "0.5,0.5"}
    parameters = preflight(given).parameters_of("actor")
    assert parameters["weights"] == "0.5,0.5"
    assert parameters["policy"] == f"{tmp_path / 'a.onnx'},{tmp_path / 'b.onnx'}"
    for changed, reason in (
        ({"weights": "0.5"}, "expected 2 numbers, one for each skill"),
        ({"weights": "nan,1"}, "expected finite numbers"),
        ({"mode": "trials"}, "skills are blended in mode:=play only"),
        ({"policy": "a.onnx"}, "without several skills"),
        ({"policy": f"a.onnx,{STACKING}"}, "acts otherwise than task 'sawyer_reach'"),
        ({"policy": "a.onnx,c.onnx"}, "c.onnx"),
    ):
        with pytest.raises(ConfigError, match=re.escape(reason)):
            preflight(given | changed)


def test_a_resumed_run_goes_on_with_its_own_task_and_arm(runs):
    stack = preflight({"run_dir": "runs/ur5e", "resume": "true"})
    assert {process.parameters["task"] for process in stack.processes} == {"ur5e_reach"}
    assert stack.parameters_of("learner")["resume"] is True
    preflight({"run_dir": "runs/ur5e", "resume": "true", "task": "ur5e_reach"})


def test_a_resumed_run_finds_a_task_that_was_given_as_a_path(runs, tmp_path):
    mine = tmp_path / "elsewhere" / "ur5e_reach.yaml"
    mine.parent.mkdir()
    shutil.copy(LAUNCH_FILE.parents[1] / "config/tasks/ur5e_reach.yaml", mine)
    (runs / "ur5e" / RUN_FILE).write_text(json.dumps({"task": str(mine)}))
    assert preflight({"run_dir": "runs/ur5e", "resume": "true"}).task == str(mine)


def test_a_run_that_does_not_say_its_arm_is_taken_and_says_so_from_then_on(runs, caplog):
    """Also a run in another simulator is simulated."""
    given = {"run_dir": "runs/sawyer", "resume": "true", "sim": "false"}
    said = "runs/sawyer does not say whether its arm was real: it is treated as a run of a real arm"
    stack = preflight(given)
    (record,) = caplog.records
    assert said in record.getMessage()
    lock_run_dir(stack)[1].close()
    assert read_run(runs / "sawyer")["real_arm"] is True
    preflight(given)
    assert len(caplog.records) == 1
    (runs / "sawyer" / RUN_FILE).unlink()
    lock_run_dir(preflight(given | {"use_sim_time": "true"}))[1].close()
    preflight(given | {"sim": "true"})


def test_transitions_without_a_checkpoint_can_be_resumed(runs, tmp_path):
    """A learner that was killed before its first checkpoint left them in SQLite's write-ahead
    log.
    """
    path = runs / "empty" / "transitions.sqlite"
    ledger = Ledger(path)
    ledger.put(1, b"record")
    ledger.sync()
    # as after SIGKILL: with the log, without a writer
    killed = shutil.copytree(runs / "empty", runs / "killed")
    ledger.close()
    assert (killed / "transitions.sqlite-wal").stat().st_size
    before = _tree(tmp_path)
    for name in ("empty", "killed"):
        with pytest.raises(ConfigError, match=r"has an earlier run \(transitions.sqlite\)"):
            preflight({"run_dir": f"runs/{name}"})
        preflight({"run_dir": f"runs/{name}", "resume": "true", "task": "sawyer_reach"})
        with pytest.raises(ConfigError, match="does not say which task it is of"):
            preflight({"run_dir": f"runs/{name}", "resume": "true"})
    assert _tree(tmp_path) == before


def test_a_policy_is_found_by_name_and_brings_its_task():
    stack = preflight({"mode": "play", "policy": "sawyer_stack_punctual"})
    assert {process.parameters["task"] for process in stack.processes} == {"sawyer_stack"}
    assert stack.parameters_of("actor")["policy"].endswith(
        "config/policies/sawyer_stack_punctual.onnx"
    )


def test_without_run_and_policy_the_task_is_sawyer_reach():
    assert preflight({}).task == "sawyer_reach"
    assert preflight({"task": "ur5e_reach"}).task == "ur5e_reach"


# launch itself judges these: it takes the last of two values
OF_UP = ("an unknown argument", "two folders", "an argument given twice")


@pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not on PyPI"
)
@pytest.mark.parametrize("case", [name for name in REFUSED if name not in OF_UP])
def test_a_refused_launch_changes_nothing(case, runs, tmp_path):
    from launch.actions import OpaqueFunction

    from launch import LaunchContext

    make, text = REFUSED[case]
    words = make(tmp_path)
    before = _tree(tmp_path)
    spec = importlib.util.spec_from_file_location("sawyer_stack_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = LaunchContext()
    if words[0] == "--resume":
        words = [f"run_dir:={words[1]}", "resume:=true", *words[2:]]
    for word in words:
        name, _, value = word.partition(":=")
        context.launch_configurations[name] = value
    entities = module.generate_launch_description().entities
    *_, start = (entity for entity in entities if isinstance(entity, OpaqueFunction))
    for entity in entities[:-1]:
        entity.execute(context)
    with pytest.raises(SqlRosError) as error:
        start.execute(context)
    assert text in str(error.value)
    assert _tree(tmp_path) == before
