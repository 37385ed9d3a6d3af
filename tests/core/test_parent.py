"""What a command starts ends with it, also where it is killed and can end nothing itself."""

import subprocess
import sys
import time

import pytest

CHILD = """
import subprocess, time
from sql_ros.core.parent import end_with_parent
print(subprocess.Popen(["sleep", "60"], preexec_fn=end_with_parent).pid, flush=True)
time.sleep(60)
"""
WORKER = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from sql_ros.core.parent import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)
"""


@pytest.mark.parametrize("script", [CHILD, WORKER], ids=["a process that it became by exec", "a worker of a pool"])
def test_a_killed_parent_leaves_nobody_behind(tmp_path, lives, script):
    path = tmp_path / "parent.py"
    path.write_text(script)
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.kill()
    deadline = time.monotonic() + 20.0
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not lives(child)
