"""What a command starts ends with it, also where it is killed and can end nothing itself."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import subprocess, time
from sql_ros.common.child_process import ending_with_this_process
print(subprocess.Popen(["sleep", "60"], preexec_fn=ending_with_this_process()).pid, flush=True)
time.sleep(60)
"""
WORKER = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from sql_ros.common.child_process import ending_with_this_process
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=ending_with_this_process()) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)
"""


def test_a_child_whose_parent_was_killed_before_it_asked_ends_too():
    script = (
        "import pickle, sys, sql_ros.common.child_process as p;"
        " sys.stdout.buffer.write(pickle.dumps(p.ending_with_this_process()))"
    )
    ended = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    child = subprocess.Popen(["sleep", "60"], preexec_fn=pickle.loads(ended.stdout))
    assert child.wait(timeout=80) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "script", [CHILD, WORKER], ids=["a process that it became by exec", "a worker of a pool"]
)
def test_a_killed_parent_leaves_nobody_behind(tmp_path, lives, script):
    path = tmp_path / "parent.py"
    path.write_text(script)
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.kill()
    deadline = time.monotonic() + 80.0
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not lives(child)


EARLY = """
import os, signal, subprocess
from sql_ros.common.child_process import ending_with_this_process
signal.signal(signal.SIGTERM, lambda *_: None)  # as a command that ends its children in order
prepare = ending_with_this_process()
def prepare_and_end():
    prepare()
    os.kill(os.getpid(), signal.SIGTERM)
print(subprocess.Popen(["sleep", "5"], preexec_fn=prepare_and_end).wait())
"""


def test_sigterm_to_a_child_that_has_not_become_its_command_yet_is_not_lost():
    """Between fork and exec the child has its parent's handler."""
    said = subprocess.run(
        [sys.executable, "-c", EARLY], stdout=subprocess.PIPE, text=True, check=True, timeout=240
    )
    assert int(said.stdout) == -signal.SIGTERM


NAMED = """
import sys
sys.argv[0] = "-m"  # as for a node's module
from sql_ros.common.child_process import end_with_named_parent
end_with_named_parent()
print("ready", flush=True)
import time
time.sleep(60)
"""


def _named_child(parent: int, words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "SQL_ROS_PARENT": str(parent)}
    return subprocess.Popen(
        [*words, sys.executable, "-c", NAMED], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "words", [[], ["setsid", "--wait"]], ids=["its child", "the child of its child"]
)
def test_a_process_ends_with_the_one_named_in_its_environment(words):
    parent = subprocess.Popen(["sleep", "60"])
    child = _named_child(parent.pid, words)
    assert child.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    assert child.wait(timeout=80) in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_a_process_whose_named_parent_has_ended_ends_at_once():
    parent = subprocess.Popen(["true"])
    parent.wait()
    assert _named_child(parent.pid, []).wait(timeout=80) == -signal.SIGTERM


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no -P")
def test_a_file_of_the_working_folder_hides_no_module(tmp_path):
    (tmp_path / "queue.py").write_text("raise RuntimeError('imported from the working folder')")
    code = """
import subprocess, sys
from sql_ros.common.child_process import python_words
subprocess.run([*python_words(), "-c", "import queue"], check=True)
"""
    root = Path(__file__).parents[2]
    words = [sys.executable, "-P", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0, result.stderr


def test_a_package_in_the_working_folder_is_found_by_children():
    """Of a command that was started as `python -m` in a checkout that is not installed."""
    code = "from sql_ros.common.child_process import python_words; print(python_words())"
    words = [sys.executable, "-c", code]
    result = subprocess.run(
        words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True
    )
    assert "-P" not in result.stdout
