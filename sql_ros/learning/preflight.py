"""Checks before a training starts, the same for a stack and for `sql-ros train`, without torch."""

from __future__ import annotations

from pathlib import Path

from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.resources import check_disk, check_memory, disk_needed, memory_available
from sql_ros.learning.resume import check_resume
from sql_ros.policy.task_spec import TaskSpec


def check_training(
    folder: Path,
    spec: TaskSpec,
    algorithm: AlgorithmConfig,
    trainer: TrainerConfig,
    *,
    most_transitions: int,
    resume: bool,
) -> None:
    """Check memory and disk, and the run to resume; nothing is written.

    Args:
        folder: Folder of the run.
        spec: Interface of the task.
        algorithm: Options of the learner.
        trainer: Options of the trainer.
        most_transitions: At which the run ends; 0: no limit.
        resume: Whether the run in the folder is resumed.

    Raises:
        ConfigError: Memory or disk are too small, or there is no run to resume.
        CheckpointError: The run does not fit; see `check_resume`.
    """
    capacity = trainer.replay_capacity
    check_memory(spec, capacity, memory_available())
    check_disk(folder, disk_needed(spec, capacity, most_transitions))
    if resume:
        check_resume(folder, spec, algorithm, capacity)
