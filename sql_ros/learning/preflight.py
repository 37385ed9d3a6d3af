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
    """Check memory, disk space and, with `resume`, the run to resume. Nothing is written.

    Args:
        folder: Folder of the run; it need not exist yet.
        spec: Interface of the task.
        algorithm: Options of the learner.
        trainer: Options of the trainer.
        most_transitions: Number of transitions at which the run ends; 0: no limit.
        resume: Whether the run in the folder is resumed.

    Raises:
        ConfigError: Memory or disk space is too small, or there is no training to resume.
        CheckpointError: The checkpoint to resume does not fit, see `check_resume`.
    """
    capacity = trainer.replay_capacity
    check_memory(spec, capacity, memory_available())
    check_disk(folder, disk_needed(spec, capacity, most_transitions))
    if resume:
        check_resume(folder, spec, algorithm, capacity)
