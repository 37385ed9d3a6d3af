"""What Linux grants a control loop is taken for every thread, and a refusal is told, in a
process of the test's own.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, sys, threading
from sql_ros.robot.control.realtime import RealtimeConfig, freeze_objects
from sql_ros.robot.control.realtime import lower_priority, request_realtime
before = threading.Thread(target=threading.Event().wait, daemon=True)
before.start()
freeze_objects()
outcome = request_realtime(RealtimeConfig(**json.loads(sys.argv[1])))
after = threading.Thread(target=threading.Event().wait, daemon=True)
after.start()
lower_priority()
threads = [int(name) for name in os.listdir("/proc/self/task")]
print(json.dumps({
    "outcome": outcome,
    "policies": [os.sched_getscheduler(thread) for thread in threads],
    "priorities": [os.sched_getparam(thread).sched_priority for thread in threads],
    "cpus": [sorted(os.sched_getaffinity(thread)) for thread in threads],
    "locked_kb": [
        int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmLck")
    ],
    "fifo": os.SCHED_FIFO,
}))
"""


def _claim(**wanted) -> dict:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(wanted)],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return json.loads(result.stdout)


def test_nothing_is_taken_that_was_not_asked_for():
    found = _claim()
    assert found["outcome"] == {}
    assert found["fifo"] not in found["policies"]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ({"realtime_priority": 10}, "SCHED_FIFO"),
        ({"cpu": 0}, "cpu"),
        ({"realtime_priority": 10}, "lock_memory"),
    ],
)
def test_what_is_granted_holds_for_all_threads_and_a_refusal_is_told(wanted, name):
    found = _claim(**wanted)
    granted = found["outcome"][name] == "granted"
    assert set(found["outcome"]) == ({"cpu"} if "cpu" in wanted else {"SCHED_FIFO", "lock_memory"})
    assert found["outcome"][name]
    assert len(found["policies"]) >= 3
    if name == "SCHED_FIFO":
        assert {policy == found["fifo"] for policy in found["policies"]} == {granted}
        assert (
            sorted(found["priorities"]) == [9, *[10] * (len(found["priorities"]) - 1)]
            if granted
            else not any(found["priorities"])
        )
    elif name == "cpu":
        assert not granted or all(cpus == [0] for cpus in found["cpus"])
    else:
        assert not granted or found["locked_kb"][0] > 1000


def test_a_thread_that_comes_later_does_not_fill_all_its_memory():
    script = """
import os, threading, time
from sql_ros.robot.control.realtime import RealtimeConfig, request_realtime
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
request_realtime(RealtimeConfig(realtime_priority=1))
threading.stack_size(256 << 20)
before = resident()
threading.Thread(target=threading.Event().wait, daemon=True).start()
time.sleep(0.2)
print(resident() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=240
    )
    assert int(result.stdout) < 16 << 20


def test_a_core_that_does_not_exist_is_refused_with_the_reason():
    assert _claim(cpu=4000)["outcome"]["cpu"] == "Invalid argument"
