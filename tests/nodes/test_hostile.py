"""What is no message at all, to nodes that run.

And the hostile cases of `sql-ros fuzz` in a size that fits.
"""

import contextlib
import json
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import serialize_message
from std_msgs.msg import Float64MultiArray

from sql_ros.checks.processes import memory_mib
from sql_ros.checks.stress.mutations import altered_message, sound_messages
from sql_ros.nodes.messages import TransitionCodec
from sql_ros.nodes.qos import REPLAY

pytestmark = pytest.mark.stack


def _malformed(reports) -> int:
    values = {
        e.key: e.value
        for r in reports
        for s in r.status
        if s.name == "learner: training"
        for e in s.values
    }
    return int(values.get("fault/input_malformed", 0))


@pytest.mark.long
def test_a_parameter_of_a_type_that_is_none_does_not_end_a_node(processes, probe, fast_learner):
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    node = processes.node("learner", **fast_learner)
    probe.until_active("learner")
    client = probe.node.create_client(SetParameters, "learner/set_parameters")
    probe.wait(client.service_is_ready)
    client.call_async(
        SetParameters.Request(parameters=[Parameter(name="seed", value=ParameterValue(type=207))])
    )
    probe.wait(lambda: _malformed(reports) == 1)
    assert (
        probe.call(GetParameters, "learner/get_parameters", GetParameters.Request(names=["seed"]))
        .values[0]
        .integer_value
        == 0
    )
    assert node.poll() is None


def test_bytes_that_are_no_message_do_not_end_a_node(processes, probe, task, fast_learner):
    node = processes.node("learner", **fast_learner)
    probe.until_active("learner")
    publisher = probe.node.create_publisher(Float64MultiArray, "replay", REPLAY)
    probe.wait(publisher.get_subscription_count)
    content = serialize_message(
        Float64MultiArray(layout=TransitionCodec(task.spec)._layout, data=[0.0] * 57)
    )
    for cut in range(8, len(content), 7):
        publisher.publish(content[:cut])
        publisher.publish(content[:cut] + b"\xff" * (len(content) - cut))
    probe.spin_for(1.0)
    assert (
        probe.call(GetState, "learner/get_state", GetState.Request()).current_state.label
        == "active"
    )
    assert node.poll() is None


@pytest.mark.long
def test_what_a_node_was_sent_it_does_not_keep(processes, probe, task, fast_learner, rng):
    """By default each of the 5,000 places of the queue comes to hold the longest message it ever
    had: 10 MiB more after these.
    """
    node = processes.node("learner", **fast_learner)
    probe.until_active("learner")
    publisher = probe.node.create_publisher(Float64MultiArray, "replay", REPLAY)
    probe.wait(publisher.get_subscription_count)
    sound, memory = sound_messages(task)["transition"], []
    for burst in range(300):
        for _ in range(20):
            # some bytes DDS does not even send
            with contextlib.suppress(rclpy_implementation.RCLError):
                publisher.publish(serialize_message(altered_message(rng, sound)))
        if burst in (100, 299):
            probe.call(GetState, "learner/get_state", GetState.Request())  # all heard
            memory.append(memory_mib(node.pid))
        probe.spin_for(0.01)
    assert memory[1] - memory[0] < 5.0, memory


@pytest.mark.long
@pytest.mark.xdist_group("own_domain")
def test_hostile_input_is_refused_with_a_readable_reason(processes, tmp_path):
    figures = tmp_path / "fuzz.json"
    words = [
        sys.executable,
        "-m",
        "sql_ros.cli.main",
        "fuzz",
        "--cases",
        "2000",
        "--seed",
        "5",
        "--json",
        str(figures),
    ]
    command = processes.start(words, cwd=tmp_path)
    assert command.wait(300) == 0, command.log.read_text()
    values = json.loads(figures.read_text())["figures"]
    assert values["cases"] >= 1900
    assert (values["crashed"], values["hung"], values["unreadable"]) == (0, 0, 0)
    assert values["refused"] > 1200
    assert values["refused_onnx_graph"] > 10
    assert values["refused_nodes"] > 10
