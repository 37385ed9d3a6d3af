"""Which signals a node's process takes: every one that would end or stop it by default."""

import json
import signal
import subprocess
import sys

from sql_ros.nodes.ending import ENDS, FAULTS, HARMLESS, STOPS, UNCATCHABLE

DISPOSITIONS = """
import json, signal
from sql_ros.nodes.ending import ENDING
ENDING.listen()
print(json.dumps([int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_DFL]))
"""
HURRIED = """
import os, signal, time
from sql_ros.nodes import ending
ending.HURRIED_S = 0.3
ending.ENDING.listen()
os.kill(os.getpid(), signal.SIGALRM)
assert ending.ENDING.is_hurried
print("asked", flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGALRM})
while True:
    time.sleep(1.0)
"""


def test_no_signal_ends_or_stops_a_node_by_default():
    said = subprocess.run([sys.executable, "-c", DISPOSITIONS], stdout=subprocess.PIPE, check=True)
    assert set(json.loads(said.stdout)) == {*map(int, FAULTS | HARMLESS | UNCATCHABLE)}


def test_every_signal_is_in_one_group():
    assert signal.SIGRTMAX in ENDS
    assert not ENDS & (FAULTS | STOPS | HARMLESS | UNCATCHABLE)


def test_the_kernel_ends_a_node_that_hangs_after_an_alarm():
    """SIGALRM asks for the end first; the second one is the kernel's own."""
    ended = subprocess.run(
        [sys.executable, "-c", HURRIED], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.stdout == "asked\n"
    assert ended.returncode == -signal.SIGALRM
