"""Fast end of a stack: the process that moves the arm has the time to brake it."""

import contextlib
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sql_ros.nodes.braking import BRAKING_S
from sql_ros.nodes.ending import HURRIED_S
from sql_ros.stack import launched, supervisor
from sql_ros.stack.child import Child
from sql_ros.stack.signals import EndRequest

BRAKES = """
import signal, sys, time
def brake(*_):
    time.sleep(float(sys.argv[1]))
    print("at rest", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, brake)
print("up", flush=True)
time.sleep(60)
"""


def _mover(seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", BRAKES, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("ends", ["up", "launch"])
def test_an_actor_that_brakes_by_torques_is_not_killed(ends):
    """Ctrl-C twice at once, or SIGTERM to `ros2 launch`."""
    actor, other = _mover(BRAKING_S + 0.1), _mover(0.0)
    if ends == "launch":
        launched._end([other.pid, actor.pid])
    else:
        children = [
            Child(SimpleNamespace(executable=name), each, None, None)
            for name, each in (("bridge", other), ("actor", actor))
        ]
        supervisor._stop_fast(children, SimpleNamespace(end_request=EndRequest.IMMEDIATE))
    assert actor.wait(5) == 0
    assert actor.stdout.read() == "at rest\n"


def test_a_stack_goes_on_without_its_page_but_not_without_its_monitor(capfd, tmp_path):
    def child(name: str, *, is_vital: bool) -> Child:
        handle = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        handle.wait()
        process = SimpleNamespace(executable=name, is_vital=is_vital)
        restarts = SimpleNamespace(
            allow=lambda code: False, describe=lambda code: f"{name} ended with {code}"
        )
        return Child(process, handle, tmp_path / f"{name}.log", restarts)

    page, monitor = child("page", is_vital=False), child("monitor", is_vital=True)
    children = [page, monitor]
    signals = SimpleNamespace(sleep=lambda seconds, kind: False, is_to_hold=False)
    assert supervisor._await_end(children, None, signals) is monitor
    assert children == [monitor]  # the exit code of the page does not count
    assert "page ended with 3" in capfd.readouterr().err


def test_all_have_their_time_within_eight_seconds():
    for first_s, all_s in (
        (supervisor.ACTOR_END_S, supervisor.FAST_END_S),
        (launched.ACTOR_END_S, launched.END_S),
    ):
        assert first_s > BRAKING_S
        assert first_s + HURRIED_S <= all_s < 8.0


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name
)
def test_the_stack_ends_soon_after_a_signal_other_than_ctrl_c(number):
    script = f"""
import os
from sql_ros.stack.signals import EndRequest, Signals
signals = Signals()
signals.listen()
os.kill(os.getpid(), {int(number)})
assert signals.end_request == EndRequest.FAST
"""
    subprocess.run([sys.executable, "-c", script], check=True)


ENDLESS = """
import os, signal, threading
from pathlib import Path
from sql_ros.stack import supervisor
from sql_ros.stack.description import Stack
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
raise SystemExit(supervisor.run_stack(Stack((), "", "info", Path(".")), ""))
"""


def test_ctrl_c_ends_a_stack_whose_terminal_is_stopped():
    """What it says of Ctrl-C fits nowhere."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"x")
    os.set_blocking(writes, True)
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stderr=writes)
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(reads)
        os.close(writes)
