"""Memory and disk are compared with what a run can need, by files of a tree that stands for a
machine's.
"""

from pathlib import Path

import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.learning.replay import ReplayBuffer, bytes_per_transition
from sql_ros.learning.resources import check_disk, check_memory, disk_needed, memory_available

GIB = 1 << 30


def _machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {
        "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {8 * GIB // 1024} kB\n",
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_is_what_the_machine_has_available(tmp_path):
    assert memory_available(_machine(tmp_path, {})) == 8 * GIB
    assert memory_available() > 0


def test_a_control_group_limits_memory_but_for_its_cache(tmp_path):
    group = {
        "proc/self/cgroup": "0::/docker/a\n",
        "sys/fs/cgroup/docker/a/memory.max": "max\n",
        "sys/fs/cgroup/docker/memory.max": f"{2 * GIB}\n",
        "sys/fs/cgroup/docker/memory.current": f"{GIB}\n",
        "sys/fs/cgroup/docker/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
    }
    assert memory_available(_machine(tmp_path, group)) == 2 * GIB - GIB + GIB // 2


def test_a_control_group_of_version_1_limits_memory(tmp_path):
    group = {
        "proc/self/cgroup": "3:cpu:/\n4:memory:/a\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert memory_available(_machine(tmp_path, group)) == 2 * GIB


def test_a_full_buffer_must_fit_twice(small_spec):
    row = bytes_per_transition(small_spec.observation_size, small_spec.action_size)
    assert row * 50 == ReplayBuffer(50, small_spec.observation_size, small_spec.action_size).nbytes
    check_memory(small_spec, 1000, 2000 * row)
    with pytest.raises(
        ConfigError, match=r"trainer\.replay_capacity 1001 needs .* at most 1000 fit"
    ):
        check_memory(small_spec, 1001, 2000 * row)


def test_the_disk_must_take_three_checkpoints(small_spec, tmp_path):
    assert disk_needed(small_spec, 10**6, 0) - disk_needed(small_spec, 10**6, 10) == 3 * 40 * (
        10**6 - 10
    )
    check_disk(tmp_path / "not" / "there", 1)
    with pytest.raises(ConfigError, match="of disk space, but the run needs up to 4 TiB"):
        check_disk(tmp_path / "not" / "there", 4 << 40)
    assert not (tmp_path / "not").exists()
