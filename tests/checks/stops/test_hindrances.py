"""What hinders an actor, on processes that stand for it: each hindrance acts, and ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from sql_ros.checks.processes import start_process
from sql_ros.checks.stops.hindrances import (
    PLAY,
    TRAINING,
    TRIALS,
    ActorProcess,
)

# has a child, and writes a line to its output and a number to a file again and again
PLAYED = """
import contextlib, subprocess, sys, time
words = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for number in range(10**9):
        sys.stdout.write(f"line {number}\\n")
        sys.stdout.flush()
        with contextlib.suppress(OSError), open(sys.argv[1], "a") as file:
            file.write(f"{number}\\n")
        time.sleep(0.002)
except KeyboardInterrupt:
    child.kill()
"""


class _PlayedActor(ActorProcess):
    """Processes that count instead of an actor, its learner and its monitor."""

    def _start(self, words, output):
        self.words = words  # of the last process, which is the actor
        self.count = self.log.with_suffix(f".{len(list(self.log.parent.glob('*.count')))}.count")
        self.count.touch()
        command = [sys.executable, "-c", PLAYED, str(self.count)]
        return start_process(command, output, environment=self._environment)


@pytest.fixture
def play(tmp_path):
    played = []

    def start(mode: str) -> _PlayedActor:
        played.append(_PlayedActor(mode, tmp_path, 0, 7))
        _until(played[0].count.read_text)
        return played[0]

    yield start
    for each in played:
        each.close()
        assert each.process.poll() is not None
        assert each.monitor.poll() is not None


def _until(condition) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _last(path: Path) -> int:
    """Return the number in the last line of a file."""
    return int(path.read_text().splitlines()[-1])


def _children_of_this_process() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("mode", "node", "word"),
    [
        (PLAY, "ActorNode", "mode:=play"),
        (TRAINING, "ActorNode", "mode:=train"),
        (TRIALS, "TrialsNode", "protocol:="),
    ],
)
def test_each_mode_has_its_node_and_only_a_training_a_learner(play, mode, node, word):
    actor = play(mode)
    assert any(node in each for each in actor.words)
    assert any(word in each for each in actor.words)
    assert (actor.learner is not None) == (mode == TRAINING)


def test_an_actor_whose_terminal_is_blocked_waits_and_loses_no_line(play):
    actor = play(PLAY)
    with actor.hindered("blocked_terminal"):
        before = _last(actor.count)
        time.sleep(0.1)
        blocked = _last(actor.count)
        assert blocked <= before + 1  # the line that it was about to write
    _until(lambda: _last(actor.count) > blocked + 1)
    _until(lambda: f"line {blocked + 1}\n" in actor.log.read_text())
    lines = [line for line in actor.log.read_text().splitlines() if line]
    assert lines[: blocked + 1] == [f"line {number}" for number in range(blocked + 1)]


def test_no_file_of_an_actor_grows_on_a_full_disk(play):
    actor = play(PLAY)
    with actor.hindered("full_disk"):
        before = _last(actor.count)
        lines = len(actor.log.read_text().splitlines())
        _until(lambda: len(actor.log.read_text().splitlines()) > lines + 3)  # it goes on
        assert _last(actor.count) <= before + 1
    _until(lambda: _last(actor.count) > before + 1)


def test_an_actor_that_ends_on_a_full_disk_ends_the_hindrance(play):
    actor = play(PLAY)
    (child,) = actor._children()
    with actor.hindered("full_disk"):
        actor.process.kill()
        actor.process.wait()
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("hindrance", ["stopped_monitor", "stopped_watchdog", "hung_learner"])
def test_a_stopped_process_goes_on_afterwards(play, hindrance):
    actor = play(TRAINING)
    (child,) = actor._children()
    pid = {
        "stopped_monitor": actor.monitor.pid,
        "stopped_watchdog": child,
        "hung_learner": actor.learner.pid,
    }[hindrance]
    with actor.hindered(hindrance):
        _until(lambda: _is_stopped(pid))
        assert not _is_stopped(actor.process.pid)
    _until(lambda: not _is_stopped(pid))


def test_a_stall_is_left_for_one_control_step_and_for_none_afterwards(play, tmp_path):
    actor = play(PLAY)
    flag = tmp_path / "stall"
    assert str(flag) in " ".join(actor.words)  # where the actor looks for it
    with actor.hindered("stalled_policy"):
        assert flag.exists()
    assert not flag.exists()


def test_busy_cores_are_two_processes_per_core(play):
    actor = play(PLAY)
    before = set(_children_of_this_process())
    with actor.hindered("busy_core"):
        busy = set(_children_of_this_process()) - before
        assert len(busy) == 2 * len(os.sched_getaffinity(0))
    assert not busy & set(_children_of_this_process())
