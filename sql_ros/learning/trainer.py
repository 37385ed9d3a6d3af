"""The trainer: replay buffer and learner, at a given number of updates per transition, without ROS.

Transitions come in. Policies and checkpoints go out.
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
        spec: Interface of the task.
        config: Pace of the updates and size of the replay buffer.
        seed: Seed of the weights and of every draw.
        replay: The replay buffer.
        learner: The networks and their optimisers.
        metrics: Scalars of one of the last 50 updates by name (`Learner.step`), and "temperature";
            empty before the first update.
        policy_version: Version of the last exported policy; 0: none yet.

    Args:
        spec: Interface of the task.
        config: Pace of the updates and size of the replay buffer.
        algorithm: Hyperparameters of the learner.
        seed: Seed of the weights, of draws from the buffer and of draws of actions.

    Raises:
        ConfigError: The device is "cuda" and torch finds no CUDA device.
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
        # numbers of transitions and of updates from which on the pace is counted
        self._pace_start = config.warmup_transitions, 0

    def add(self, transition: Transition) -> None:
        """Append one transition to the replay buffer; no update is made."""
        self.replay.add(transition)

    @property
    def updates_due(self) -> int:
        """Return the number of updates still to be made, at least 0.

        The number is floor(transitions * `updates_per_transition`) - updates made. Transitions and
        updates are counted from the end of the warm-up, or from a resume at another pace.
        """
        transitions, updates = self._pace_start
        counted = max(self.replay.added - transitions, 0)
        allowed = int(counted * self.config.updates_per_transition)
        return max(allowed - (self.learner.updates - updates), 0)

    @property
    def ratio(self) -> float:
        """Return updates per transition since the warm-up, or since a resume at another pace.

        The ratio is 0.0 before the first transition that counts.
        """
        transitions, updates = self._pace_start
        counted = self.replay.added - transitions
        return (self.learner.updates - updates) / counted if counted > 0 else 0.0

    def update(self) -> None:
        """Make one update from a newly drawn batch; every 50th update replaces `metrics`.

        The replay buffer must not be empty.
        """
        tensors = self.learner.step(self.replay.sample(self.learner.config.batch_size, self._rng))
        if self.learner.updates % 50 == 1:
            # assigned as a whole: the diagnostics of the node read it from another thread
            self.metrics = {
                **{name: float(tensor) for name, tensor in tensors.items()},
                "temperature": self.learner.temperature,
            }

    def export(self) -> bytes:
        """Export the present policy under the next version number, which `policy_version` becomes.

        Returns:
            The bytes of the ONNX file.
        """
        self.policy_version += 1
        data, self._lineage = export_policy(
            self.learner, self.spec, self.policy_version, self._lineage
        )
        return data

    def save(self, folder: Path, extra: dict[str, object]) -> Path:
        """Write a checkpoint of learner, replay buffer, pace, policy version and random generators.

        Older checkpoints are removed, see `save_checkpoint`.

        Args:
            folder: Folder of the checkpoints of the run.
            extra: Plain JSON values that `load` will return, e.g. sequence numbers.

        Returns:
            The folder of the new checkpoint.

        Raises:
            CheckpointError: The folder cannot be written, or a parameter of the networks is not
                finite. The older checkpoints stay.
        """
        state = {
            "learner": self.learner.state_dict(),
            "replay": {
                name: torch.from_numpy(array) for name, array in self.replay.arrays().items()
            },
        }
        manifest = {
            "spec": self.spec.to_json(),
            "task_code": self.spec.task_code,
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
        """Check that every parameter is a finite number, because others cannot be trained further.

        Args:
            folder: Folder named in the error.

        Raises:
            CheckpointError: A parameter is not finite.
        """
        if not self.learner.is_finite:
            raise CheckpointError(
                f"the networks have diverged, with parameters that are not finite: no checkpoint of"
                f" {self.replay.added} transitions is written to {folder}"
            )

    def save_learner(self, folder: Path) -> Path:
        """Write a checkpoint of the learner without the replay buffer, for `load_learner`.

        Args:
            folder: Folder of checkpoints.

        Returns:
            The folder of the new checkpoint.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        manifest = {"spec": self.spec.to_json(), "algorithm": self.learner.config.as_dict()}
        return save_checkpoint(
            folder, self.replay.added, {"learner": self.learner.state_dict()}, manifest
        )

    def load(self, folder: Path) -> dict[str, object]:
        """Restore the newest sound checkpoint of a folder, with everything that `save` wrote.

        That is learner, replay buffer, pace, `policy_version` and random generators. Options that
        do not decide the networks may differ from those of the checkpoint. A warning names them,
        and the present ones hold. If the pace differs, transitions and updates of the checkpoint do
        not count: no update is due from them.

        Args:
            folder: Folder of the checkpoints of the run.

        Returns:
            `extra`, as it was given to `save`.

        Raises:
            CheckpointError: No checkpoint is sound, or the newest sound one belongs to another task
                or to other networks, or has more transitions than the replay buffer can take.
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
        """Return warm-up and updates per transition, as a checkpoint keeps them."""
        return [self.config.warmup_transitions, self.config.updates_per_transition]

    def _restore_pace(self, manifest: dict[str, Any]) -> None:
        """Restore from where on the pace is counted.

        If the checkpoint has another pace than the present options, counting starts anew, and no
        update is due. A checkpoint of an older version does not contain its pace. The checkpoint's
        pace counts as another one if more updates were made than the present pace allows.

        Args:
            manifest: Manifest of the checkpoint, whose replay buffer and learner are restored.
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
    """Load the learner of the newest sound checkpoint in a folder, onto the CPU.

    Args:
        folder: Folder of checkpoints, written by `Trainer.save` or `Trainer.save_learner`.

    Returns:
        The learner, and the interface of its task.

    Raises:
        CheckpointError: No checkpoint is sound, or this version cannot load its learner.
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
