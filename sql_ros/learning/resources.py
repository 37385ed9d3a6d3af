"""Checks that this machine has enough memory and disk space left for a training."""

from __future__ import annotations

import shutil
from pathlib import Path

from sql_ros.common.errors import ConfigError
from sql_ros.learning.replay import bytes_per_transition
from sql_ros.policy.task_spec import TaskSpec

COPIES_IN_MEMORY = 2  # of a full replay buffer: a checkpoint is written from a copy
COPIES_ON_DISK = 3  # of a full replay buffer: two checkpoints are kept while the next is written
SESSION_BYTES = 64 << 20  # logs, metrics, pictures and report of a session [bytes]
UNLIMITED = 1 << 60  # a larger limit of a control group stands for no limit [bytes]


def memory_available(root: Path = Path("/")) -> int:
    """Return the memory that this process can still take [bytes].

    The result is the available memory of the machine, or what a control group of this process
    leaves, if that is less.

    Args:
        root: Root of the file system, in which /proc and /sys are read; tests give another one.
    """
    return min([_machine_available(root), *_free_in_control_groups(root)])


def check_memory(spec: TaskSpec, capacity: int, available: int) -> None:
    """Check that a full replay buffer and its copy for a checkpoint fit into memory.

    The buffer takes memory only as it fills. The full size is checked all the same, because a
    buffer that never fills can be configured smaller.

    Args:
        spec: Interface of the task.
        capacity: Capacity of the replay buffer, in transitions.
        available: Available memory, from `memory_available` [bytes].

    Raises:
        ConfigError: `COPIES_IN_MEMORY` full buffers need more than the available memory.
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
    """Return the disk space that a training needs at most [bytes].

    The result is the space of `COPIES_ON_DISK` checkpoints and of the other files of one session.

    Args:
        spec: Interface of the task.
        capacity: Capacity of the replay buffer, in transitions.
        most_transitions: Number of transitions at which the run ends; 0: no limit.
    """
    transitions = min(capacity, most_transitions) if most_transitions else capacity
    row = bytes_per_transition(spec.observation_size, spec.action_size)
    return COPIES_ON_DISK * transitions * row + SESSION_BYTES


def check_disk(folder: Path, needed: int) -> None:
    """Check that the disk of a run's folder has enough free space.

    The space of checkpoints in the folder counts as free, because new ones replace them.

    Args:
        folder: Folder of the run; it need not exist yet.
        needed: Needed space, from `disk_needed` [bytes].

    Raises:
        ConfigError: The disk has less free space than needed.
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
    """Return MemAvailable of /proc/meminfo [bytes]; `UNLIMITED` if it cannot be read."""
    for line in _read_lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return UNLIMITED


def _free_in_control_groups(root: Path) -> list[int]:
    """Return the memory left in each control group of this process that has a limit [bytes].

    Groups of both versions of cgroups are read. The list is empty if no group has a limit.
    """
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
    """Return the memory left in a control group and in each of its ancestors [bytes].

    Groups without a limit are left out. Cached files count as free, because the kernel drops them
    on demand.

    Args:
        mount: Folder of the root group.
        path: Path of the group under `mount`.
        limit: Name of the file with the limit.
        usage: Name of the file with the memory in use.
        cache: Name of the statistic of cached files in memory.stat.
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
    """Return the number beside a name in a file of lines "name number"; 0 without the name."""
    for line in _read_lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read_limit(path: Path) -> int | None:
    """Return the number in a file; None if it cannot be read or has another content, e.g. "max"."""
    text = "".join(_read_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; an empty list if it cannot be read."""
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
