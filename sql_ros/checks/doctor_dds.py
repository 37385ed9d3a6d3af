"""DDS checks of `sql-ros doctor`: whether two processes discover each other, and which nodes are on
the network.
"""

from __future__ import annotations

import json
import subprocess

from sql_ros.common.child_process import python_words

TALK = """
import sys, time, rclpy
from std_msgs.msg import String
from sql_ros.nodes.process import prepare_middleware
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
node.destroy_node()
rclpy.shutdown()
sys.exit(0 if len(heard) >= 3 else 3)
"""
LISTEN = """
import json, time, rclpy
from sql_ros.nodes.process import prepare_middleware
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
print(json.dumps({"states": publishers, "nodes": node.get_node_names()}))
node.destroy_node()
rclpy.shutdown()
"""
UNMET = 3  # exit code of a process that ran and received nothing
TIMEOUT_S = 30.0


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

    Args:
        code: Python code.
        arguments: `sys.argv[1:]` of the process.

    Returns:
        The running process.
    """
    words = [*python_words(), "-c", code, *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process, and kill it after `TIMEOUT_S`.

    Args:
        process: Result of `_start`.

    Returns:
        Exit code and output. After a kill the code is 1 and the output says that the process did
        not end.
    """
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return 1, f"it did not end within {TIMEOUT_S:g} s"
    return process.returncode, output
