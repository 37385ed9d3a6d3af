"""DDS checks of `sql-ros doctor`: whether two processes discover each other, and which nodes are on
the network.

The checks run in child processes. A child whose rclpy does not shut down ends by itself, as a node
does (`nodes/process.py`), because the result is known by then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess

from sql_ros.common.child_process import python_words

TALK = """
import os, sys, threading, time, rclpy
from std_msgs.msg import String
from sql_ros.nodes.process import CLEAN_END_S, prepare_middleware
prepare_middleware()
rclpy.init()
node = rclpy.create_node("sql_ros_doctor_" + sys.argv[1])
heard = []
topic = "sql_ros_doctor_" + sys.argv[2]
node.create_subscription(String, topic, lambda m: heard.append(m.data), 10)
publisher = node.create_publisher(String, "sql_ros_doctor_" + sys.argv[1], 10)
end = time.monotonic() + 10.0
while time.monotonic() < end and len(heard) < 3:
    publisher.publish(String(data="here"))
    rclpy.spin_once(node, timeout_sec=0.1)
for _ in range(5):
    publisher.publish(String(data="bye"))
    rclpy.spin_once(node, timeout_sec=0.05)
code = 0 if len(heard) >= 3 else 3
timer = threading.Timer(CLEAN_END_S, os._exit, [code])
timer.daemon = True
timer.start()
node.destroy_node()
rclpy.shutdown()
sys.exit(code)
"""
LISTEN = """
import json, os, threading, time, rclpy
from sql_ros.nodes.process import CLEAN_END_S, prepare_middleware
prepare_middleware()
rclpy.init()
node = rclpy.create_node("sql_ros_doctor")
end = time.monotonic() + 3.0
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
kinds_of = node.get_topic_names_and_types()
topics = [name for name, kinds in kinds_of if "sensor_msgs/msg/JointState" in kinds]
found = {name: node.get_publishers_info_by_topic(name) for name in topics}
publishers = {name: [p.node_name for p in found[name]] for name in topics}
print(json.dumps({"states": publishers, "nodes": node.get_node_names()}), flush=True)
timer = threading.Timer(CLEAN_END_S, os._exit, [0])
timer.daemon = True
timer.start()
node.destroy_node()
rclpy.shutdown()
"""
UNMET = 3  # exit code of a process that ran and received nothing
TIMEOUT_S = 60.0  # longest run of a process, on a loaded machine
ABORT_S = 5.0  # longest time to write the stack of a process that hangs


def check_discovery() -> tuple[bool, str]:
    """Start two processes that publish to each other and wait until both have ended.

    Returns:
        Whether both received messages, and the last line of output of a process that could not run.
        The text is empty if both could run.
    """
    pairs = (("a", "b"), ("b", "a"))
    talkers = [_start(TALK, *names) for names in pairs]
    outputs = [_finish(talker) for talker in talkers]
    codes = [code for code, _ in outputs]
    if not any(codes):
        return True, ""
    errors = [output for code, output in outputs if code not in (0, UNMET)]
    return False, last_line(errors[0]) if errors else ""


def list_publishers() -> tuple[dict[str, list[str]], list[str], str]:
    """Listen to the network for three seconds, in a child process.

    Returns:
        Names of the publishing nodes by topic of joint states; names of all nodes; the last line of
        output of a child process that failed. The text is empty and the others are valid if the
        child process succeeded.
    """
    code, output = _finish(_start(LISTEN))
    if code:
        return {}, [], last_line(output)
    found = json.loads(last_line(output))
    return found["states"], found["nodes"], ""


def last_line(text: str) -> str:
    """Return the last line that is not blank, or "no output" if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python process that runs a piece of code; stdout and stderr go to one pipe.

    At SIGABRT the process writes its stack to stderr.

    Args:
        code: Python code.
        arguments: `sys.argv[1:]` of the process.

    Returns:
        The running process.
    """
    return subprocess.Popen(
        [*python_words(), "-c", code, *arguments],
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process, and abort it after `TIMEOUT_S`.

    Args:
        process: Result of `_start`.

    Returns:
        Exit code and output. After an abort the code is 1, and the output says that the process did
        not end and at which line of code it was.
    """
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return 1, f"it did not end within {TIMEOUT_S:g} s: {_abort(process)}"
    return process.returncode, output


def _abort(process: subprocess.Popen[str]) -> str:
    """End a process and return at which line of code it was.

    Args:
        process: Result of `_start`.

    Returns:
        The innermost line of the current thread's stack; "no stack" if the process wrote none
        within `ABORT_S`.
    """
    process.send_signal(signal.SIGABRT)
    try:
        output, _ = process.communicate(timeout=ABORT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    _, _, stack = output.partition("Current thread")
    frames = [line.strip() for line in stack.splitlines() if line.startswith("  File ")]
    return frames[0] if frames else "no stack"
