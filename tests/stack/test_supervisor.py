"""A stack that is ended in a hurry: the process that moves the arm has the time to brake it."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from sql_ros.nodes.actor_node import BRAKING_S
from sql_ros.nodes.ending import HURRIED_S
from sql_ros.stack import launched, supervisor
from sql_ros.stack.child import Child
from sql_ros.stack.signals import Hurry

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
    process = subprocess.Popen([sys.executable, "-c", BRAKES, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("ends", ["up", "launch"])
def test_an_actor_that_brakes_by_torques_is_not_killed(ends):
    """Ctrl-C twice at once, or SIGTERM to `ros2 launch`."""
    mover, other = _mover(BRAKING_S + 0.1), _mover(0.0)
    if ends == "launch":
        launched._end([other.pid, mover.pid])
    else:
        children = [Child(SimpleNamespace(executable=name), each, None, None) for name, each in (("bridge", other), ("actor", mover))]
        supervisor._stop_soon(children, SimpleNamespace(hurry=Hurry.AT_ONCE))
    assert mover.wait(5) == 0
    assert mover.stdout.read() == "at rest\n"


def test_all_have_their_time_within_eight_seconds():
    for first_s, all_s in ((supervisor.FIRST_S, supervisor.HURRIED_S), (launched.FIRST_S, launched.ALL_S)):
        assert first_s > BRAKING_S
        assert first_s + HURRIED_S <= all_s < 8.0
