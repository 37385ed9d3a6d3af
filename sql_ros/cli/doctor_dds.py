"""What `sql-ros doctor` sees of DDS: two processes that meet, and who is on the network already."""

from __future__ import annotations

import json
import subprocess
import sys

TALK = """
import sys, time, rclpy
from std_msgs.msg import String
from sql_ros.nodes.process import prepare_middleware
prepare_middleware()
rclpy.init()
node = rclpy.create_node("sql_ros_doctor_" + sys.argv[1])
heard = []
node.create_subscription(String, "sql_ros_doctor_" + sys.argv[2], lambda m: heard.append(m.data), 10)
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
topics = [name for name, kinds in node.get_topic_names_and_types() if "sensor_msgs/msg/JointState" in kinds]
publishers = {name: [p.node_name for p in node.get_publishers_info_by_topic(name)] for name in topics}
print(json.dumps({"states": publishers, "nodes": node.get_node_names()}))
node.destroy_node()
rclpy.shutdown()
"""
UNMET = 3  # exit code of a talker that ran and heard nobody
TIMEOUT_S = 30.0


def meet() -> tuple[bool, str]:
    """Let two processes look for each other.

    Returns:
        Whether they met, and otherwise the error of the one that could not run; empty if both ran.
    """
    pairs = (("a", "b"), ("b", "a"))
    talkers = [_start(TALK, *names) for names in pairs]
    outputs = [_finish(talker) for talker in talkers]
    codes = [code for code, _ in outputs]
    if not any(codes):
        return True, ""
    errors = [output for code, output in outputs if code not in (0, UNMET)]
    return False, last_line(errors[0]) if errors else ""


def listen() -> tuple[dict[str, list[str]], list[str], str]:
    """Look at the network for three seconds.

    Returns:
        Topics of joint states with their publishers, all nodes, and the error, if there was one.
    """
    code, output = _finish(_start(LISTEN))
    if code:
        return {}, [], last_line(output)
    found = json.loads(last_line(output))
    return found["states"], found["nodes"], ""


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _start(code: str, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit code and output; a process that hangs is killed."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return 1, f"it did not end within {TIMEOUT_S:g} s"
    return process.returncode, output
