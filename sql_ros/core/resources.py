"""Memory and disk that a run needs, against what this machine has left."""

from __future__ import annotations

import shutil
from pathlib import Path

from sql_ros.core.errors import ConfigError
from sql_ros.core.replay import bytes_per_transition
from sql_ros.core.spec import TaskSpec

COPIES_IN_MEMORY = 2  # of a full replay buffer: a checkpoint is written from a copy
COPIES_ON_DISK = 3  # of a full replay buffer: two checkpoints are kept while the next is written
SESSION_BYTES = 64 << 20  # logs, metrics, pictures and report of a session
UNLIMITED = 1 << 60  # bytes; limits of control groups above this mean that there is none


def memory_available(root: Path = Path("/")) -> int:
    """Return the memory available to new processes, under the limits of control groups [bytes].

    Args:
        root: of the file system, so that a test can bring one of its own.
    """
    return min([_machine_available(root), *_group_available(root)])


def check_memory(spec: TaskSpec, capacity: int, available: int) -> None:
    """Check that the replay buffer fits into memory when it is full.

    The buffer takes memory only as it fills. A buffer that never fills can as well be smaller, so
    the full size is what counts, twice: a checkpoint is written from a copy.

    Args:
        spec: of the task.
        capacity: of the replay buffer, in transitions.
        available: memory [bytes].

    Raises:
        ConfigError: It does not fit.
    """
    row = bytes_per_transition(spec.observation_size, spec.action_size)
    needed = COPIES_IN_MEMORY * capacity * row
    if needed > available:
        raise ConfigError(
            f"trainer.replay_capacity {capacity} needs {_size(needed)} of memory when full "
            f"({row} bytes per transition of {spec.task}, and a copy for checkpoints), "
            f"but {_size(available)} are available: at most {available // (COPIES_IN_MEMORY * row)} fit"
        )


def disk_needed(spec: TaskSpec, capacity: int, most_transitions: int) -> int:
    """Return the disk space of a training: checkpoints of a full buffer, and a session [bytes].

    Args:
        spec: of the task.
        capacity: of the replay buffer, in transitions.
        most_transitions: at which the run ends; 0: no limit.
    """
    transitions = min(capacity, most_transitions) if most_transitions else capacity
    row = bytes_per_transition(spec.observation_size, spec.action_size)
    return COPIES_ON_DISK * transitions * row + SESSION_BYTES


def check_disk(folder: Path, needed: int) -> None:
    """Check that there is disk space for the folder of a run; its checkpoints may be replaced.

    Args:
        folder: of a run.
        needed: by `disk_needed`.

    Raises:
        ConfigError: It has not.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    used = sum(path.stat().st_size for path in (folder / "checkpoints").glob("step-*/*"))
    if free + used < needed:
        raise ConfigError(
            f"run_dir {folder} has {_size(free)} of disk space, but the run needs up to "
            f"{_size(needed)}, most of it for checkpoints of a full replay buffer: "
            "free some, choose another run_dir, or lower trainer.replay_capacity"
        )


def _machine_available(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return UNLIMITED


def _group_available(root: Path) -> list[int]:
    """Return what is left in every control group of this process that has a limit."""
    left = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            left += _left_above(root / "sys/fs/cgroup", path, *names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            left += _left_above(root / "sys/fs/cgroup/memory", path, *names)
    return left


def _left_above(mount: Path, path: str, limit: str, usage: str, cache: str) -> list[int]:
    """Return what is left in a control group and in those above it."""
    group = mount / path.strip("/")
    left = []
    for folder in (group, *group.parents):
        most = _number(folder / limit)
        if most is not None and most < UNLIMITED:
            left.append(
                max(
                    most - (_number(folder / usage) or 0) + _statistic(folder / "memory.stat", cache),
                    0,
                )
            )
        if folder == mount:
            break
    return left


def _statistic(path: Path, name: str) -> int:
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    """Return the number in a file; None where it is not there, or says "max"."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
