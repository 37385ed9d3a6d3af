"""The learner's side of the walk without ROS.

Transitions come in, updates are made at an explicit ratio, policies and checkpoints go out.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sql_ros.common.config import config_from_mapping
from sql_ros.common.errors import CheckpointError
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from sql_ros.learning.checkpoint_manifest import (
    DECODE_ERRORS,
    changed_options,
    check_capacity,
    check_interface,
)
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import ReplayBuffer
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import Transition

_logger = logging.getLogger(__name__)


class Trainer:
    """Owner of the replay buffer and the learner; used by one thread only.

    Attributes:
        replay: The replay buffer.
        learner: The networks and their optimisers.
        metrics: Scalars of a recent update by name, and the temperature; empty before the first.
        policy_version: Policy version of the last exported policy; 0: none yet.

    Args:
        spec: Interface of the task.
        config: Pace of the updates and size of the replay buffer.
        algorithm: Hyperparameters of soft Q-learning.
        seed: Seed of weights, draws from the buffer and proposals.
    """

    def __init__(
        self, spec: TaskSpec, config: TrainerConfig, algorithm: AlgorithmConfig, seed: int
    ) -> None:
        self.spec = spec
        self.config = config
        self.seed = seed
        self.replay = ReplayBuffer(config.replay_capacity, spec.observation_size, spec.action_size)
        self.learner = Learner(
            algorithm,
            Scaling(spec.observation_offset, spec.observation_scale),
            spec.action_size,
            seed,
        )
        self.metrics: dict[str, float] = {}
        self.policy_version = 0
        self._lineage = ""  # SHA-256 of the weights of the policy exported before
        self._rng = np.random.default_rng(seed)
        # transitions and updates after which the pace is counted
        self._pace_start = config.warmup_transitions, 0

    def add(self, transition: Transition) -> None:
        """Append one transition to the replay buffer."""
        self.replay.add(transition)

    @property
    def updates_due(self) -> int:
        """Updates still to be made: floor of transitions x ratio, less those made.

        Both are counted since the warm-up, or since a resume at another pace.
        """
        transitions, updates = self._pace_start
        counted = max(self.replay.added - transitions, 0)
        allowed = int(counted * self.config.updates_per_transition)
        return max(allowed - (self.learner.updates - updates), 0)

    @property
    def ratio(self) -> float:
        """Updates per transition since the warm-up, or since a resume at another pace."""
        transitions, updates = self._pace_start
        counted = self.replay.added - transitions
        return (self.learner.updates - updates) / counted if counted > 0 else 0.0

    def update(self) -> None:
        """Make one update from a newly drawn batch; every 50th renews `metrics`."""
        tensors = self.learner.step(self.replay.sample(self.learner.config.batch_size, self._rng))
        if self.learner.updates % 50 == 1:
            # assigned as a whole: the diagnostics of the node read it from another thread
            self.metrics = {
                **{name: float(tensor) for name, tensor in tensors.items()},
                "temperature": self.learner.temperature,
            }

    def export(self) -> bytes:
        """Return the present policy as the bytes of an ONNX file, under the next version number."""
        self.policy_version += 1
        data, self._lineage = export_policy(
            self.learner, self.spec, self.policy_version, self._lineage
        )
        return data

    def save(self, folder: Path, extra: dict[str, object]) -> Path:
        """Write a checkpoint, see `sql_ros.learning.checkpoint`.

        Args:
            folder: Folder of the checkpoints of the run.
            extra: Plain JSON that `load` returns, e.g. sequence numbers.

        Returns:
            The folder of the checkpoint.

        Raises:
            CheckpointError: The folder cannot be written, or the networks are not finite; the
                checkpoints that are there stay.
        """
        state = {
            "learner": self.learner.state_dict(),
            "replay": {
                name: torch.from_numpy(array) for name, array in self.replay.arrays().items()
            },
        }
        manifest = {
            "spec": self.spec.to_json(),
            "algorithm": self.learner.config.as_dict(),
            "added": self.replay.added,
            "next_row": self.replay.next_row,
            "updates": self.learner.updates,
            "pace": self._pace,
            "since": self._pace_start,
            "policy_version": self.policy_version,
            "lineage": self._lineage,
            "rng": self._rng.bit_generator.state,
            "extra": extra,
        }
        self._check_is_finite(folder)
        return save_checkpoint(folder, self.replay.added, state, manifest)

    def _check_is_finite(self, folder: Path) -> None:
        """Check that every parameter is a finite number: no run can be resumed from others.

        Raises:
            CheckpointError: One is not.
        """
        if not self.learner.is_finite:
            raise CheckpointError(
                f"the networks have diverged, with parameters that are not finite: no checkpoint of"
                f" {self.replay.added} transitions is written to {folder}"
            )

    def save_learner(self, folder: Path) -> Path:
        """Write a checkpoint of the networks alone, for `load_learner`; return its folder.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        manifest = {"spec": self.spec.to_json(), "algorithm": self.learner.config.as_dict()}
        return save_checkpoint(
            folder, self.replay.added, {"learner": self.learner.state_dict()}, manifest
        )

    def load(self, folder: Path) -> dict[str, object]:
        """Restore the newest sound checkpoint of a folder.

        Options of the algorithm may differ from those of the checkpoint, with a warning. With
        another pace, earlier transitions and updates do not count towards it.

        Args:
            folder: Folder of the checkpoints of the run.

        Returns:
            `extra`, as it was given to `save`.

        Raises:
            CheckpointError: No checkpoint is sound, or it belongs to another task or to other
                networks.
        """
        state, manifest = load_checkpoint(folder)
        try:
            check_interface(manifest, self.spec, folder)
            changed = changed_options(manifest, self.learner.config, folder)
            check_capacity(len(state["replay"]["reward"]), self.config.replay_capacity, folder)
            if changed:
                _logger.warning("%s is resumed with other settings: %s", folder, ", ".join(changed))
            arrays = {name: tensor.numpy() for name, tensor in state["replay"].items()}
            self.replay.restore(
                arrays, int(manifest["added"]), int(manifest.get("next_row", manifest["added"]))
            )
            self.learner.load_state_dict(state["learner"])
            self.policy_version = int(manifest["policy_version"])
            self._lineage = str(manifest["lineage"])
            self._rng.bit_generator.state = manifest["rng"]
            self._restore_pace(manifest)
            return dict(manifest["extra"])
        except DECODE_ERRORS as error:
            raise CheckpointError(
                f"{folder} does not fit the configured networks and memory: {error!r}"
            ) from None

    @property
    def _pace(self) -> list[float]:
        """The options of the pace, as a checkpoint keeps them."""
        return [self.config.warmup_transitions, self.config.updates_per_transition]

    def _restore_pace(self, manifest: dict[str, Any]) -> None:
        """Restore the updates that were due; with another pace than the checkpoint's, none are due.

        Older checkpoints do not contain their pace. It was another one if they have more updates
        than the present pace allows.
        """
        transitions, updates = manifest.get("since", self._pace_start)
        self._pace_start = int(transitions), int(updates)
        allowed = (
            max(self.replay.added - self._pace_start[0], 0) * self.config.updates_per_transition
        )
        is_another_pace = manifest.get("pace", self._pace) != self._pace
        if is_another_pace or self.learner.updates - self._pace_start[1] > allowed:
            counted_from = max(self.replay.added, self.config.warmup_transitions)
            self._pace_start = counted_from, self.learner.updates


def load_learner(folder: Path) -> tuple[Learner, TaskSpec]:
    """Load the learner of the newest sound checkpoint in a folder, on the CPU.

    Args:
        folder: Folder of checkpoints, with or without a replay buffer.

    Returns:
        The learner and the interface of its task.

    Raises:
        CheckpointError: No checkpoint is sound.
    """
    state, manifest = load_checkpoint(folder)
    try:
        spec = TaskSpec.from_json(manifest["spec"])
        algorithm = config_from_mapping(AlgorithmConfig, manifest["algorithm"], str(folder))
        learner = Learner(
            replace(algorithm, device="cpu"),
            Scaling(spec.observation_offset, spec.observation_scale),
            spec.action_size,
            0,
        )
        learner.load_state_dict(state["learner"])
    except DECODE_ERRORS as error:
        raise CheckpointError(
            f"{folder} has no learner that this version can load: {error!r}"
        ) from None
    return learner, spec
