"""The learner's side of the walk without ROS: transitions in, updates at an explicit ratio, policies and checkpoints out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sql_ros.core.checkpoint import MALFORMED, load_checkpoint, save_checkpoint
from sql_ros.core.config import Config, config_from_mapping, option
from sql_ros.core.errors import CheckpointError
from sql_ros.core.export import export_policy
from sql_ros.core.learner import AlgorithmConfig, Learner
from sql_ros.core.networks import Scaling
from sql_ros.core.replay import ReplayBuffer, Transition
from sql_ros.core.spec import TaskSpec


@dataclass(frozen=True)
class TrainerConfig(Config):
    """When to update, and from how much memory."""

    replay_capacity: int = option(1_000_000, "transitions kept; the oldest are overwritten", minimum=1)
    warmup_transitions: int = option(1000, "transitions before the first update (paper: 10000)", minimum=1)
    updates_per_transition: float = option(1.0, "gradient steps per transition after the warm-up", minimum=0.0, maximum=1000.0)


class Trainer:
    """Owns the replay buffer and the learner; used by one thread only.

    Args:
        spec: of the task.
        config: pace and memory.
        algorithm: hyperparameters of soft Q-learning.
        seed: of weights, draws from the buffer and proposals.
    """

    def __init__(self, spec: TaskSpec, config: TrainerConfig, algorithm: AlgorithmConfig, seed: int) -> None:
        self.spec, self.config, self.seed = spec, config, seed
        self.replay = ReplayBuffer(config.replay_capacity, spec.observation_size, spec.action_size)
        self.learner = Learner(algorithm, Scaling(spec.observation_offset, spec.observation_scale), spec.action_size, seed)
        self.metrics: dict[str, float] = {}
        self.policy_version = 0
        self._lineage = ""  # SHA-256 of the weights of the policy exported before
        self._rng = np.random.default_rng(seed)

    def add(self, transition: Transition) -> None:
        """Appends one transition to the replay buffer."""
        self.replay.add(transition)

    @property
    def updates_due(self) -> int:
        """Updates still to be made for the transitions so far: floor of (transitions - warm-up) x ratio, less those made."""
        counted = self.replay.added - self.config.warmup_transitions
        return int(max(counted, 0) * self.config.updates_per_transition) - self.learner.updates

    @property
    def ratio(self) -> float:
        """Updates per transition reached since the warm-up."""
        counted = self.replay.added - self.config.warmup_transitions
        return self.learner.updates / counted if counted > 0 else 0.0

    def update(self) -> None:
        """One gradient step from a fresh batch."""
        tensors = self.learner.step(self.replay.sample(self.learner.config.batch_size, self._rng))
        if self.learner.updates % 50 == 1:
            # one assignment of a whole dict: the diagnostics of the node read it from another thread
            self.metrics = {**{name: float(tensor) for name, tensor in tensors.items()}, "temperature": self.learner.temperature}

    def export(self) -> bytes:
        """The present policy as an ONNX file, under the next version number."""
        self.policy_version += 1
        data, self._lineage = export_policy(self.learner, self.spec, self.policy_version, self._lineage)
        return data

    def save(self, folder: Path, extra: dict[str, object]) -> Path:
        """Writes a checkpoint (see `core.checkpoint`); `extra` is plain JSON kept beside it, e.g. sequence numbers."""
        state = {
            "learner": self.learner.state_dict(),
            "replay": {name: torch.from_numpy(array) for name, array in self.replay.arrays().items()},
        }
        manifest = {
            "spec": self.spec.to_json(),
            "algorithm": self.learner.config.as_dict(),
            "added": self.replay.added,
            "next_row": self.replay.next_row,
            "updates": self.learner.updates,
            "policy_version": self.policy_version,
            "lineage": self._lineage,
            "rng": self._rng.bit_generator.state,
            "extra": extra,
        }
        return save_checkpoint(folder, self.replay.added, state, manifest)

    def save_learner(self, folder: Path) -> Path:
        """Writes the networks alone, for `load_learner`."""
        manifest = {"spec": self.spec.to_json(), "algorithm": self.learner.config.as_dict()}
        return save_checkpoint(folder, self.replay.added, {"learner": self.learner.state_dict()}, manifest)

    def load(self, folder: Path) -> dict[str, object]:
        """Continues from the newest sound checkpoint in `folder`; returns its `extra`.

        Raises:
            CheckpointError: none is sound, or it belongs to another task.
        """
        state, manifest = load_checkpoint(folder)
        if manifest.get("spec") != self.spec.to_json():
            raise CheckpointError(f"{folder} is of another task: {manifest.get('spec')}, expected {self.spec.to_json()}")
        try:
            arrays = {name: tensor.numpy() for name, tensor in state["replay"].items()}
            self.replay.restore(arrays, int(manifest["added"]), int(manifest.get("next_row", manifest["added"])))
            self.learner.load_state_dict(state["learner"])
            self.policy_version, self._lineage = int(manifest["policy_version"]), str(manifest["lineage"])
            self._rng.bit_generator.state = manifest["rng"]
            return dict(manifest["extra"])
        except MALFORMED as error:
            raise CheckpointError(f"{folder} does not fit the configured networks and memory: {error!r}") from None


def load_learner(folder: Path) -> tuple[Learner, TaskSpec]:
    """The learner of the newest sound checkpoint in a folder, to act or to be composed, with the interface of its task.

    Raises:
        CheckpointError: none is sound.
    """
    state, manifest = load_checkpoint(folder)
    try:
        spec = TaskSpec.from_json(manifest["spec"])
        algorithm = config_from_mapping(AlgorithmConfig, manifest["algorithm"], str(folder))
        learner = Learner(replace(algorithm, device="cpu"), Scaling(spec.observation_offset, spec.observation_scale), spec.action_size, 0)
        learner.load_state_dict(state["learner"])
    except MALFORMED as error:
        raise CheckpointError(f"{folder} holds no learner that this version knows: {error!r}") from None
    return learner, spec
