"""What `sql-ros train` keeps, however it ends, and what a refused start leaves."""

import fcntl
import importlib.util
import json
import resource
import sys
from pathlib import Path

import pytest
import torch

from sql_ros.cli.main import main
from sql_ros.common.errors import CONFIG_EXIT_CODE
from sql_ros.common.metrics_file import read_metrics
from sql_ros.common.run_folder import RUN_FILE, lock_run_folder, read_run
from sql_ros.learning.checkpoint import load_checkpoint
from sql_ros.learning.checkpoint_manifest import checkpoints, step_of
from sql_ros.learning.trainer import Trainer

_SPEC = importlib.util.spec_from_file_location("odd_line", Path(__file__).with_name("odd_line.py"))
odd_line = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(odd_line)
SMALL = (
    "algorithm.hidden_sizes=[8,8]",
    "algorithm.batch_size=8",
    "trainer.warmup_transitions=20",
    "trainer.replay_capacity=1000",
    "run.evaluate_every=40",
    "run.evaluation_episodes=1",
)


@pytest.fixture(autouse=True)
def _fresh():
    """Let every kind of environment count anew."""
    for kind in odd_line.KINDS:
        kind.made = kind.opened = kind.closed = kind.faulty_step = 0


def _train(kind, out, *words, steps=80, options=()):
    """Run the command in this process; return its exit code."""
    settings = ["--set", *SMALL, *options] if "--resume" not in words or options else []
    return main(
        ["train", f"odd/{kind}-v0", "--steps", str(steps), "--out", str(out), *settings, *words]
    )


def _content(folder):
    """Return every file in a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _saved(out):
    """Return the transitions of the newest sound checkpoint."""
    return load_checkpoint(out / "checkpoints")[1]["added"]


def test_an_exception_of_the_environment_is_one_line_and_saved(tmp_path, capsys):
    odd_line.Line.faulty_step = 70  # ten of them in the evaluation
    assert _train("Line", tmp_path / "run") == CONFIG_EXIT_CODE
    (line,) = capsys.readouterr().err.splitlines()
    assert "'odd/Line-v0' raised RuntimeError: lost connection to the robot (odd_line.py:" in line
    assert f"59 transitions are saved in {tmp_path / 'run'}, --resume continues" in line
    assert _saved(tmp_path / "run") == 59
    assert odd_line.Line.opened == odd_line.Line.closed == 3
    assert _train("Line", tmp_path / "run", "--resume") == 0
    assert [row["steps"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [40, 80]


@pytest.mark.parametrize(("kind", "code"), [("Asked", 130), ("Terminated", 143)])
def test_a_signal_saves_what_came_after_the_last_checkpoint(tmp_path, capsys, kind, code):
    environment = getattr(odd_line, kind)
    environment.faulty_step = 67
    assert _train(kind, tmp_path / "run") == code
    assert _saved(tmp_path / "run") == 57
    assert f"57 transitions are saved in {tmp_path / 'run'}" in capsys.readouterr().out
    assert (tmp_path / "run" / "policy.onnx").stat().st_size > 1000
    assert environment.opened == environment.closed == 3


def test_a_signal_during_an_evaluation_ends_it(tmp_path):
    odd_line.Asked.faulty_step = 45
    assert _train("Asked", tmp_path / "run") == 130
    assert odd_line.Asked.made == 45
    assert _saved(tmp_path / "run") == 40
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == []
    assert _train("Asked", tmp_path / "run", "--resume") == 0
    assert [row["steps"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [80]


def test_the_handlers_of_signals_are_restored(tmp_path):
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert _train("Line", tmp_path / "run", steps=10) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_no_number_that_is_none_gets_into_a_file_from_an_evaluation(tmp_path, capsys):
    assert _train("NanInEvaluation", tmp_path / "run") == CONFIG_EXIT_CODE
    (line,) = capsys.readouterr().err.splitlines()
    assert "'odd/NanInEvaluation-v0' gave the observation [nan], expected finite numbers" in line
    assert _saved(tmp_path / "run") == 40
    texts = [path.read_text() for path in (tmp_path / "run").glob("*.json*")]
    assert texts
    assert not [text for text in texts if "NaN" in text]


def test_a_huge_observation_never_reaches_the_networks(tmp_path, capsys):
    odd_line.Spike.faulty_step = 35
    assert _train("Spike", tmp_path / "run") == CONFIG_EXIT_CODE
    assert "expected finite numbers up to 10000 times their scale" in capsys.readouterr().err
    assert _saved(tmp_path / "run") == 34


def test_an_endless_evaluation_is_cut_and_said(tmp_path, caplog):
    assert _train("Endless", tmp_path / "run", steps=40) == 0
    assert "'odd/Endless-v0' states no time limit" in caplog.text
    assert odd_line.Endless.made == 40 + 1000


def test_a_clip_that_fails_does_not_fail_the_run(tmp_path, capsys):
    assert _train("Pictures", tmp_path / "run", steps=10) == 0
    assert "no clip: RuntimeError: no display here" in capsys.readouterr().out
    assert odd_line.Pictures.opened == odd_line.Pictures.closed
    assert (tmp_path / "run" / "report.md").is_file()


def test_a_refused_first_step_leaves_no_folder(tmp_path, capsys):
    odd_line.Line.faulty_step = 1
    assert _train("Line", tmp_path / "deep" / "run") == CONFIG_EXIT_CODE
    assert "lost connection" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refused_start_changes_nothing(tmp_path, capsys):
    assert _train("Line", tmp_path / "run", steps=40) == 0
    before = _content(tmp_path)
    resumed = ("Line", tmp_path / "run", "--resume")
    for words, options, says in (
        (resumed, ("algorithm.device=cuda",), "torch finds no CUDA device"),
        (resumed, ("algorithm.hidden_sizes=[16,16]",), "does not fit the configured networks"),
        (resumed, ("trainer.replay_capacity=10",), "holds 40 transitions, more than"),
        (resumed, ("trainer.replay_capacity=100000000000",), "of memory when full"),
        (resumed, ("run.envs=0",), "'envs' must be at least 1"),
        (("Spike", tmp_path / "run", "--resume"), (), "is of another task"),
        (("Line", tmp_path / "run"), (), "give --resume to go on"),
        (("Line", tmp_path / "new", "--resume"), (), "no checkpoint to go on from"),
        (("Line", tmp_path / "new"), ("trainer.replay_capacity=100000000000",), "of memory when"),
        (("Line", tmp_path / "new"), ("algorithm.device=cuda",), "torch finds no CUDA device"),
        (("Line", tmp_path / "run" / RUN_FILE), (), "run.json is no folder"),
        (("Line", tmp_path / "run" / RUN_FILE / "new"), (), "run.json is no folder"),
    ):
        assert _train(*words, options=options, steps=400) == CONFIG_EXIT_CODE
        assert says in capsys.readouterr().err
        assert _content(tmp_path) == before
    odd_line.Line.faulty_step = odd_line.Line.made + 1
    assert _train(*resumed, steps=400, options=("algorithm.temperature=9",)) == CONFIG_EXIT_CODE
    assert _content(tmp_path) == before


def test_two_runs_of_one_folder_are_not_made_at_once(tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    with lock_run_folder(out, {"holder": "a running sql-ros train"}):
        before = _content(out)
        assert _train("Line", out) == CONFIG_EXIT_CODE
        assert f"{out} is in use by a running sql-ros train" in capsys.readouterr().err
        assert _content(out) == before
    assert _train("Line", out, steps=40) == 0
    with lock_run_folder(out, {"task": "reach"}):
        assert _train("Line", out, "--resume") == CONFIG_EXIT_CODE
    assert "is in use by a running stack" in capsys.readouterr().err


def test_the_lock_is_held_while_a_run_goes_on(tmp_path, capsys):
    class Looks(odd_line.Line):
        def step(self, action):
            with (tmp_path / "run" / RUN_FILE).open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return super().step(action)

    odd_line.gymnasium.register("odd/Looks-v0", entry_point=Looks)
    assert _train("Looks", tmp_path / "run", steps=20) == 0
    assert read_run(tmp_path / "run")["real_arm"] is False


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_torn_line_of_metrics_does_not_end_a_resumed_run(tmp_path, cut):
    out = tmp_path / "run"
    assert _train("Line", out) == 0
    metrics = out / "metrics.jsonl"
    metrics.write_bytes(b"\xff\xfe\n" + metrics.read_bytes()[:-cut])
    assert _train("Line", out, "--resume", steps=120) == 0
    assert read_metrics(metrics)[-1]["steps"] == 120
    assert json.loads((out / "figures.json").read_text())["figures"]["steps"] == 120


def test_metrics_of_another_run_do_not_end_a_resumed_run(tmp_path):
    out = tmp_path / "run"
    assert _train("Line", out, steps=40) == 0
    other = (
        '{"kind": "episode", "wall_s": 3.5}',
        '{"steps": 900, "returns": 3.0}',
        '{"steps": "x"}',
        '{"steps": 7, "returns": NaN}',
    )
    (out / "metrics.jsonl").write_text("\n".join(other))
    assert _train("Line", out, "--resume") == 0
    assert [row.get("steps") for row in read_metrics(out / "metrics.jsonl")] == [None, "x", 7, 80]


def test_a_full_disk_keeps_the_last_policy_and_checkpoint(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert _train("Line", out, steps=40) == 0
    policy = (out / "policy.onnx").read_bytes()
    export = Trainer.export
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def export_to_a_full_disk(trainer):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        return export(trainer)

    monkeypatch.setattr(Trainer, "export", export_to_a_full_disk)
    try:
        assert _train("Line", out, "--resume", steps=120) == CONFIG_EXIT_CODE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        monkeypatch.undo()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write to {out}: [Errno 27] File too large" in line
    assert "80 transitions are saved" in line
    assert (out / "policy.onnx").read_bytes() == policy
    assert not list(out.glob(".policy*"))
    assert _train("Line", out, "--resume", steps=120) == 0
    assert [row["steps"] for row in read_metrics(out / "metrics.jsonl")] == [40, 80, 120]


def test_rows_beyond_the_checkpoint_are_not_there_twice(tmp_path, capsys):
    out = tmp_path / "run"
    assert _train("Line", out) == 0
    newest = checkpoints(out / "checkpoints")[-1]
    (newest / "state.safetensors").write_bytes(b"torn")
    assert _train("Line", out, "--resume", steps=120) == 0
    assert [row["steps"] for row in read_metrics(out / "metrics.jsonl")] == [40, 80, 120]


def test_networks_that_diverged_are_not_saved_over_good_ones(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    update = Trainer.update

    def diverge(trainer):
        update(trainer)
        if trainer.replay.added == 50:
            with torch.inference_mode():
                for parameters in trainer.learner.sampler.state_dict().values():
                    parameters.fill_(float("nan"))

    monkeypatch.setattr(Trainer, "update", diverge)
    assert _train("Line", out) == CONFIG_EXIT_CODE
    (line,) = capsys.readouterr().err.splitlines()
    assert "was to be given the action [nan] by the policy" in line
    assert "10 transitions are not saved (the networks have diverged" in line
    assert "40 transitions are saved" in line
    assert _saved(out) == step_of(checkpoints(out / "checkpoints")[-1]) == 40
    assert [row["steps"] for row in read_metrics(out / "metrics.jsonl")] == [40]


def test_a_finished_run_has_nothing_to_do(tmp_path, capsys):
    assert _train("Line", tmp_path / "run", steps=40) == 0
    assert _train("Line", tmp_path / "run", "--resume", steps=40) == 0
    assert "nothing to do: the run has 40 transitions already" in capsys.readouterr().out


def test_a_run_of_a_module_in_the_working_folder(tmp_path, monkeypatch):
    text = Path(__file__).with_name("odd_line.py").read_text().replace('"odd/', '"own/')
    (tmp_path / "own_line.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["train", "own_line:own/Line-v0", "--steps", "20", "--out", "run", "--set", *SMALL]
    assert main(words) == 0
    assert (tmp_path / "run" / "report.md").is_file()
