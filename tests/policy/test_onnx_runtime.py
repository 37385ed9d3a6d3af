"""ONNX Runtime beside a control loop: no thread, no file and no message of its own."""

import os
import subprocess
import sys

import onnx
import pytest

from sql_ros.common.errors import PolicyError
from sql_ros.policy.runtime import Policy

COUNT = """
import os, sys
import numpy, rclpy  # which have threads of their own
print(len(os.listdir("/proc/self/task")))
import sql_ros.nodes.actor_node, sql_ros.nodes.trials_node
import sql_ros.nodes.monitor_node, sql_ros.nodes.sim_bridge_node
print(len(os.listdir("/proc/self/task")))
from sql_ros.policy.runtime import Policy
from sql_ros.robot.tasks import load_task
Policy(open(sys.argv[1], "rb").read(), load_task("sawyer_reach").spec)
print(len(os.listdir("/proc/self/task")))
assert "torch" not in sys.modules
"""


def test_robots_side_starts_no_thread_and_writes_no_file(untrained, tmp_path):
    policy, home = tmp_path / "policy.onnx", tmp_path / "home"
    policy.write_bytes(untrained())
    home.mkdir()
    asked = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    environment = {**asked, "HOME": str(home)}
    words = [sys.executable, "-c", COUNT, str(policy)]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert len(set(result.stdout.split())) == 1, result.stdout
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("field", "text"), [("ir", "IR version"), ("opset", "Opset")])
def test_a_policy_too_new_is_refused_with_the_reason(untrained, task, field, text):
    model = onnx.load_model_from_string(untrained())
    if field == "ir":
        model.ir_version = 99
    else:
        model.opset_import[0].version = 99
    with pytest.raises(PolicyError, match=f"ONNX Runtime .* cannot load the policy: .*{text}"):
        Policy(model.SerializeToString(), task.spec)
