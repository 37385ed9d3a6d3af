"""Freed memory stays with a process that asked for it."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from sql_ros.common.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def fill():
    torch.ones(10 << 20)  # 40 MiB: more than glibc would ever keep by itself
for _ in range(3):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_far_fewer_pages_are_faulted_in():
    def faults(mode: str) -> int:
        return int(
            subprocess.run(
                [sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True
            ).stdout
        )

    assert 2 * faults("keep") < faults("give back")
