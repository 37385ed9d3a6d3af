"""Checks that this machine has enough memory and disk space left for a run."""

from __future__ import annotations

import shutil
from pathlib import Path

from sql_ros.common.errors import ConfigError
from sql_ros.learning.replay import bytes_per_transition
from sql_ros.policy.task_spec import TaskSpec

COPIES_IN_MEMORY = 2  # of a full replay buffer: a checkpoint is written from a copy
COPIES_ON_DISK = 3  # of a full replay buffer: two checkpoints are kept while the next is written
SESSION_BYTES = 64 << 20  # logs, metrics, pictures and report of a session [bytes]
UNLIMITED = 1 << 60  # limits of control groups above this mean that there is none [bytes]


def memory_available(root: Path = Path("/")) -> int:
    """Return the memory available to new processes, under the limits of control groups [bytes].

    Args:
        root: Root of the file system; tests give another.
    """
    return min([_machine_available(root), *_free_in_control_groups(root)])


def check_memory(spec: TaskSpec, capacity: int, available: int) -> None:
    """Check that the replay buffer fits into memory when it is full.

    The buffer takes memory only as it fills, but a buffer that never fills can be made smaller. So
    the full size is checked, twice: a checkpoint is written from a copy.

    Args:
        spec: Interface of the task.
        capacity: Capacity of the replay buffer, in transitions.
        available: Memory [bytes].

    Raises:
        ConfigError: It does not fit.
    """
    row = bytes_per_transition(spec.observation_size, spec.action_size)
    needed = COPIES_IN_MEMORY * capacity * row
    if needed > available:
        raise ConfigError(
            f"trainer.replay_capacity {capacity} needs {_format_bytes(needed)} of memory when full"
            f" ({row} bytes per transition of {spec.task}, and a copy for checkpoints), but"
            f" {_format_bytes(available)} are available: at most"
            f" {available // (COPIES_IN_MEMORY * row)} fit"
        )


def disk_needed(spec: TaskSpec, capacity: int, most_transitions: int) -> int:
    """Return the disk space of a training: its checkpoints, and the files of a session [bytes].

    Args:
        spec: Interface of the task.
        capacity: Capacity of the replay buffer, in transitions.
        most_transitions: Transitions after which the run ends; 0: no limit.
    """
    transitions = min(capacity, most_transitions) if most_transitions else capacity
    row = bytes_per_transition(spec.observation_size, spec.action_size)
    return COPIES_ON_DISK * transitions * row + SESSION_BYTES


def check_disk(folder: Path, needed: int) -> None:
    """Check that the disk of a run's folder has enough space.

    The space of checkpoints in the folder counts as free, because they will be replaced.

    Args:
        folder: Folder of the run; it need not exist yet.
        needed: Result of `disk_needed` [bytes].

    Raises:
        ConfigError: There is not enough.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    used = sum(path.stat().st_size for path in (folder / "checkpoints").glob("step-*/*"))
    if free + used < needed:
        raise ConfigError(
            f"run folder {folder} has {_format_bytes(free)} of disk space, but the run needs up to "
            f"{_format_bytes(needed)}, most of it for checkpoints of a full replay buffer: "
            "free some space, choose another folder, or lower trainer.replay_capacity"
        )


def _machine_available(root: Path) -> int:
    """Return the available memory by /proc/meminfo [bytes]; UNLIMITED where it does not say."""
    for line in _read_lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return UNLIMITED


def _free_in_control_groups(root: Path) -> list[int]:
    """Return the memory left in each control group of this process that has a limit [bytes]."""
    free = []
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            free += _free_in_ancestors(root / "sys/fs/cgroup", path, *names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            free += _free_in_ancestors(root / "sys/fs/cgroup/memory", path, *names)
    return free


def _free_in_ancestors(mount: Path, path: str, limit: str, usage: str, cache: str) -> list[int]:
    """Return the memory left in a control group and in those above it that have a limit [bytes].

    Args:
        mount: Folder of the root group.
        path: Path of the group under `mount`.
        limit: Name of the file with the limit.
        usage: Name of the file with the memory in use.
        cache: Name of the statistic of the cached files, which the kernel frees on demand.
    """
    group = mount / path.strip("/")
    free = []
    for folder in (group, *group.parents):
        largest = _read_limit(folder / limit)
        if largest is not None and largest < UNLIMITED:
            used = _read_limit(folder / usage) or 0
            reclaimable = _read_statistic(folder / "memory.stat", cache)
            free.append(max(largest - used + reclaimable, 0))
        if folder == mount:
            break
    return free


def _read_statistic(path: Path, name: str) -> int:
    """Return a number of a file with a name and a number per line; 0 where it is not in it."""
    for line in _read_lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read_limit(path: Path) -> int | None:
    """Return the number in a file; None where the file is missing or its content is "max"."""
    text = "".join(_read_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; none where it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _format_bytes(count: float) -> str:
    """Return a number of bytes with a binary unit, e.g. "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
