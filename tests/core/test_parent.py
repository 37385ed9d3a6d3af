"""What a command starts ends with it, also where it is killed and can end nothing itself."""

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

CHILD = """
import subprocess, time
from sql_ros.core.parent import ending_with_this_process
print(subprocess.Popen(["sleep", "60"], preexec_fn=ending_with_this_process()).pid, flush=True)
time.sleep(60)
"""
WORKER = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from sql_ros.core.parent import ending_with_this_process
if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=ending_with_this_process()) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)
"""


def test_a_child_whose_parent_was_killed_before_it_asked_ends_too():
    script = "import pickle, sys, sql_ros.core.parent as p; sys.stdout.buffer.write(pickle.dumps(p.ending_with_this_process()))"
    ended = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    child = subprocess.Popen(["sleep", "60"], preexec_fn=pickle.loads(ended.stdout))
    assert child.wait(timeout=20) == 128 + signal.SIGTERM


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


NAMED = """
import sys
sys.argv[0] = "-m"  # as for a node's module
from sql_ros.core.parent import end_with_named_parent
end_with_named_parent()
print("ready", flush=True)
import time
time.sleep(60)
"""


def _named_child(parent: int, words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "SQL_ROS_PARENT": str(parent)}
    return subprocess.Popen([*words, sys.executable, "-c", NAMED], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("words", [[], ["setsid", "--wait"]], ids=["its child", "the child of its child"])
def test_a_process_ends_with_the_one_named_in_its_environment(words):
    parent = subprocess.Popen(["sleep", "60"])
    child = _named_child(parent.pid, words)
    assert child.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    assert child.wait(timeout=20) in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_a_process_whose_named_parent_has_ended_ends_at_once():
    parent = subprocess.Popen(["true"])
    parent.wait()
    assert _named_child(parent.pid, []).wait(timeout=20) == -signal.SIGTERM
