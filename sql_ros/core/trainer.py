"""The learner's side of the walk without ROS: transitions in, updates at an explicit ratio, policies and checkpoints out."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.checkpoint import load_checkpoint, save_checkpoint
from sql_ros.core.config import config_from_mapping
from sql_ros.core.errors import CheckpointError
from sql_ros.core.export import export_policy
from sql_ros.core.learner import Learner
from sql_ros.core.manifest import MALFORMED, changed_options, check_capacity, check_interface
from sql_ros.core.networks import Scaling
from sql_ros.core.replay import ReplayBuffer, Transition
from sql_ros.core.spec import TaskSpec

_logger = logging.getLogger(__name__)


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
        self._since = config.warmup_transitions, 0  # transitions and updates from which on the pace is kept

    def add(self, transition: Transition) -> None:
        """Appends one transition to the replay buffer."""
        self.replay.add(transition)

    @property
    def updates_due(self) -> int:
        """Updates still to be made: floor of transitions x ratio, less those made; since the warm-up, or a resume at another pace."""
        transitions, updates = self._since
        counted = max(self.replay.added - transitions, 0)
        return max(int(counted * self.config.updates_per_transition) - (self.learner.updates - updates), 0)

    @property
    def ratio(self) -> float:
        """Updates per transition reached since the warm-up, or a resume at another pace."""
        transitions, updates = self._since
        counted = self.replay.added - transitions
        return (self.learner.updates - updates) / counted if counted > 0 else 0.0

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
            "pace": self._pace,
            "since": self._since,
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

        Settings of the algorithm may be others than then, which is said. At another pace what was done already does not count.

        Raises:
            CheckpointError: none is sound, or it belongs to another task or other networks.
        """
        state, manifest = load_checkpoint(folder)
        try:
            check_interface(manifest, self.spec, folder)
            changed = changed_options(manifest, self.learner.config, folder)
            check_capacity(len(state["replay"]["reward"]), self.config.replay_capacity, folder)
            if changed:
                _logger.warning("%s goes on with other settings: %s", folder, ", ".join(changed))
            arrays = {name: tensor.numpy() for name, tensor in state["replay"].items()}
            self.replay.restore(arrays, int(manifest["added"]), int(manifest.get("next_row", manifest["added"])))
            self.learner.load_state_dict(state["learner"])
            self.policy_version, self._lineage = int(manifest["policy_version"]), str(manifest["lineage"])
            self._rng.bit_generator.state = manifest["rng"]
            self._take_up_pace(manifest)
            return dict(manifest["extra"])
        except MALFORMED as error:
            raise CheckpointError(f"{folder} does not fit the configured networks and memory: {error!r}") from None

    @property
    def _pace(self) -> list[float]:
        return [self.config.warmup_transitions, self.config.updates_per_transition]

    def _take_up_pace(self, manifest: dict[str, Any]) -> None:
        """Goes on with what was due; at another pace with nothing. Checkpoints of before do not tell theirs, but may be ahead of it."""
        transitions, updates = manifest.get("since", self._since)
        self._since = int(transitions), int(updates)
        allowed = max(self.replay.added - self._since[0], 0) * self.config.updates_per_transition
        if manifest.get("pace", self._pace) != self._pace or self.learner.updates - self._since[1] > allowed:
            self._since = max(self.replay.added, self.config.warmup_transitions), self.learner.updates


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
