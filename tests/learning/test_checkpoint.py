"""Checkpoints: whole or not at all, to the bit, and loud about damage."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sql_ros.common.errors import CheckpointError
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.checkpoint import KEPT_CHECKPOINTS, load_checkpoint, save_checkpoint
from sql_ros.learning.checkpoint_manifest import checkpoints, step_of
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.transition import Transition


@pytest.fixture
def make_trainer(small_spec):
    def make(
        seed: int = 0, hidden: int = 16, capacity: int = 200, pace: float = 0.5, **algorithm
    ) -> Trainer:
        config = TrainerConfig(
            replay_capacity=capacity, warmup_transitions=10, updates_per_transition=pace
        )
        return Trainer(
            small_spec,
            config,
            AlgorithmConfig(hidden_sizes=(hidden, hidden), batch_size=8, **algorithm),
            seed,
        )

    return make


def _feed(trainer: Trainer, count: int, rng: np.random.Generator) -> None:
    for _ in range(count):
        trainer.add(
            Transition(
                rng.normal(size=3),
                rng.uniform(-1, 1, 2),
                float(rng.normal()),
                rng.normal(size=3),
                False,
                False,
            )
        )
        while trainer.updates_due > 0:
            trainer.update()


def test_a_resumed_trainer_goes_on_as_if_nothing_had_happened(make_trainer, tmp_path):
    trainer, rng = make_trainer(), np.random.default_rng(1)
    _feed(trainer, 60, rng)
    trainer.export()
    trainer.save(tmp_path, {"sequences": {"5": 60}})
    resumed = make_trainer(seed=99)
    assert resumed.load(tmp_path) == {"sequences": {"5": 60}}
    assert (resumed.replay.added, resumed.learner.updates, resumed.policy_version) == (60, 25, 1)
    for name, array in trainer.replay.arrays().items():
        np.testing.assert_array_equal(array, resumed.replay.arrays()[name])
    _feed(trainer, 30, copy.deepcopy(rng))
    _feed(resumed, 30, copy.deepcopy(rng))
    assert trainer.export() == resumed.export()


def test_the_error_names_how_the_task_of_a_checkpoint_differs(make_trainer, small_spec, tmp_path):
    trainer = make_trainer()
    _feed(trainer, 20, np.random.default_rng(1))
    trainer.save(tmp_path, {})
    other = Trainer(replace(small_spec, task="other"), trainer.config, trainer.learner.config, 0)
    with pytest.raises(
        CheckpointError, match=rf"is of another task: task: '{small_spec.task}' instead of 'other'$"
    ):
        other.load(tmp_path)


@pytest.mark.parametrize("temperature", [0.05, 0.13, 0.4])
def test_it_does_so_at_any_temperature(make_trainer, tmp_path, temperature):
    trainer, rng = make_trainer(temperature=temperature, pace=1.0), np.random.default_rng(1)
    _feed(trainer, 20, rng)
    trainer.save(tmp_path, {})
    resumed = make_trainer(temperature=temperature, pace=1.0)
    resumed.load(tmp_path)
    for each in (trainer, resumed):
        _feed(each, 50, copy.deepcopy(rng))
    assert trainer.export() == resumed.export()


def test_a_buffer_resumed_twice_into_larger_ones_keeps_its_order(make_trainer, tmp_path):
    trainer, rewards = make_trainer(capacity=12), []
    for last in (18, 20, 22):
        while trainer.replay.added < last:
            rewards.append(float(len(rewards)))
            trainer.add(
                Transition(np.zeros(3), np.zeros(2), rewards[-1], np.zeros(3), False, False)
            )
        trainer.save(tmp_path, {})
        trainer = make_trainer(capacity=24)
        trainer.load(tmp_path)
    assert trainer.replay.arrays()["reward"].tolist() == rewards[6:]


def test_a_damaged_checkpoint_is_skipped_loudly(make_trainer, tmp_path, caplog):
    trainer = make_trainer()
    _feed(trainer, 20, np.random.default_rng(1))
    trainer.save(tmp_path, {})
    _feed(trainer, 20, np.random.default_rng(2))
    newest = trainer.save(tmp_path, {})
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    resumed = make_trainer()
    resumed.load(tmp_path)
    assert resumed.replay.added == 20
    assert "does not match its SHA-256" in caplog.text


def test_an_altered_manifest_is_not_believed(make_trainer, tmp_path):
    trainer = make_trainer()
    _feed(trainer, 20, np.random.default_rng(1))
    manifest = trainer.save(tmp_path, {}) / "manifest.json"
    sealed = json.loads(manifest.read_text())
    sealed["content"] = sealed["content"].replace('"added": 20', '"added": 21')
    manifest.write_text(json.dumps(sealed))
    with pytest.raises(CheckpointError, match=r"manifest\.json does not match"):
        make_trainer().load(tmp_path)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, step, {"x": torch.ones(2)}, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000003", "step-000000004"]
    assert KEPT_CHECKPOINTS == 2


SAVE_AND_DIE = """
import itertools, os, pathlib, sys, torch
from sql_ros.learning.checkpoint import save_checkpoint

touching = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
calls = itertools.count()
for last in itertools.count():
    folder = pathlib.Path(sys.argv[1]) / f"{last:02d}"
    save_checkpoint(folder, 7, {"x": torch.ones(2)}, {})
    child = os.fork()
    if not child:
        def end(event, _):
            if event in touching and next(calls) == last:
                os.kill(os.getpid(), 9)
        sys.addaudithook(end)
        save_checkpoint(folder, 7, {"x": torch.full((2,), 2.0)}, {})
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(
    tmp_path,
):
    subprocess.run([sys.executable, "-c", SAVE_AND_DIE, str(tmp_path)], check=True)
    found = []
    for folder in sorted(tmp_path.iterdir()):
        found.append(load_checkpoint(folder)[0]["x"][0].item())
        assert {step_of(path) for path in checkpoints(folder)} == {7}
        save_checkpoint(folder, 7, {"x": torch.full((2,), 3.0)}, {})
        assert load_checkpoint(folder)[0]["x"][0].item() == 3.0
        # what the killed one had left is gone
        assert [path.name for path in folder.iterdir()] == ["step-000000007"]
    assert found == sorted(found)
    assert set(found) == {1.0, 2.0}


def test_an_unfinished_draft_is_never_taken_for_a_checkpoint(tmp_path):
    (tmp_path / ".draft-1").mkdir()
    with pytest.raises(CheckpointError, match="the folder has none"):
        load_checkpoint(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write a checkpoint"):
        save_checkpoint(tmp_path / "file", 1, {"x": torch.ones(2)}, {})


def test_a_full_disk_is_an_error_and_keeps_the_older_checkpoint(tmp_path, full_disk):
    save_checkpoint(tmp_path, 1, {"x": torch.ones(2)}, {})
    with full_disk(2000), pytest.raises(CheckpointError, match="cannot write a checkpoint"):
        save_checkpoint(tmp_path, 2, {"x": torch.ones(5000)}, {})
    state, _ = load_checkpoint(tmp_path)
    assert state["x"].tolist() == [1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"hidden": 8}, r"hidden_sizes was \[16, 16\], is \[8, 8\]"),
        (
            {"layer_norm": True, "q_networks": 1},
            "q_networks was 2, is 1, layer_norm was False, is True",
        ),
        ({"kind": "sac"}, "kind was sql, is sac"),
        ({"q_networks": 1, "temperature": 0.1}, "q_networks was 2, is 1;"),
    ],
)
def test_the_error_names_the_options_of_other_networks(make_trainer, tmp_path, other, says):
    trainer = make_trainer()
    _feed(trainer, 20, np.random.default_rng(1))
    trainer.save(tmp_path, {})
    with pytest.raises(CheckpointError, match=f"does not fit the configured networks: {says}"):
        make_trainer(**other).load(tmp_path)


def test_networks_that_only_have_as_many_parameters_are_refused(small_spec, tmp_path):
    def make(*hidden: int) -> Trainer:
        return Trainer(
            small_spec, TrainerConfig(), AlgorithmConfig(kind="ddpg", hidden_sizes=hidden), 0
        )

    saved, other = make(1, 2, 5), make(2, 1, 5)
    for network in ("q", "sampler"):
        sizes = [
            [p.numel() for p in getattr(each.learner, network).parameters()]
            for each in (saved, other)
        ]
        assert sizes[0] == sizes[1]
    saved.save(tmp_path, {})
    with pytest.raises(CheckpointError, match=r"hidden_sizes was \[1, 2, 5\], is \[2, 1, 5\]"):
        other.load(tmp_path)


def test_other_settings_are_taken_and_said_once(make_trainer, tmp_path, caplog):
    trainer = make_trainer()
    trainer.save(tmp_path, {})
    trainer.load(tmp_path)
    assert not caplog.text
    other = make_trainer(temperature=0.1, q_learning_rate=3e-4)
    other.load(tmp_path)
    assert "temperature was 0.05, is 0.1, q_learning_rate was 0.001, is 0.0003" in caplog.text
    assert other.learner.temperature == 0.1
    caplog.clear()
    other.save(tmp_path, {})
    other.load(tmp_path)
    assert not caplog.text


def test_a_setting_that_a_checkpoint_does_not_know_is_said(make_trainer, tmp_path, caplog):
    trainer = make_trainer()
    trainer.save(tmp_path / "now", {})
    state, manifest = load_checkpoint(tmp_path / "now")
    del manifest["algorithm"]["minimum_of"]
    save_checkpoint(tmp_path / "then", 0, state, manifest)
    trainer.load(tmp_path / "then")
    assert "minimum_of is new since, is values" in caplog.text


@pytest.mark.parametrize("pace", [0.25, 4.0])
def test_at_another_pace_what_was_done_already_does_not_count(make_trainer, tmp_path, pace):
    trainer, rng = make_trainer(pace=1.0), np.random.default_rng(1)
    _feed(trainer, 50, rng)
    trainer.save(tmp_path, {})
    resumed = make_trainer(pace=pace)
    resumed.load(tmp_path)
    assert resumed.updates_due == 0
    _feed(resumed, 10, rng)
    assert resumed.learner.updates == 40 + int(10 * pace)
    resumed.add(Transition(np.zeros(3), np.zeros(2), 0.0, np.zeros(3), False, False))
    resumed.save(tmp_path, {})
    again = make_trainer(pace=pace)
    again.load(tmp_path)  # what is due then still is
    _feed(again, 9, rng)
    assert again.learner.updates == 40 + int(20 * pace)
    assert again.ratio == pace


def test_a_checkpoint_without_a_pace_makes_no_updates_due(make_trainer, tmp_path):
    trainer, rng = make_trainer(pace=4.0), np.random.default_rng(1)
    _feed(trainer, 20, rng)
    trainer.save(tmp_path, {})
    state, manifest = load_checkpoint(tmp_path)
    old = {
        name: value
        for name, value in manifest.items()
        if name not in ("pace", "since", "next_row", "format", "sha256")
    }
    save_checkpoint(tmp_path, 20, state, old)
    resumed = make_trainer(pace=1.0)
    resumed.load(tmp_path)
    _feed(resumed, 8, rng)
    assert resumed.learner.updates == 40 + 8


def test_the_ratio_of_updates_to_transitions_is_kept(make_trainer):
    trainer = make_trainer()
    _feed(trainer, 50, np.random.default_rng(1))
    assert trainer.learner.updates == 20
    assert trainer.ratio == 0.5
