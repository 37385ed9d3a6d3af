"""A node that is configured wrongly ends at once, with one readable line and exit code 2."""

import pytest

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("executable", "parameters", "text"),
    [
        ("actor", {"tusk": "sawyer_reach"}, "ConfigError: parameters of node actor: unknown parameter 'tusk', expected one of: "),
        ("actor", {"max_state_age_s": -1.0}, "'max_state_age_s' must be at least 0.001, got -1.0"),
        ("actor", {"mode": "dance"}, "'mode' must be one of train, play, got 'dance'"),
        ("actor", {"task": "sawyer_dance"}, "'sawyer_dance' is neither a file nor one of: sawyer_reach"),
        ("actor", {"policy": "/nowhere/policy.onnx"}, "parameter 'policy': cannot use /nowhere/policy.onnx"),
        ("sim_bridge", {"state_rate_hz": 70.0}, "physics steps of 0.002 s, expected a whole number"),
        ("learner", {"algorithm__temperature": 0.0}, "'temperature' must be at least 1e-06, got 0.0"),
        ("learner", {"algorithm__tempreature": 0.1}, "unknown parameter 'algorithm.tempreature'"),
        ("learner", {"trainer__warmup_transitions": "soon"}, "'warmup_transitions' must be of type int, got 'soon' (str)"),
        ("learner", {"resume": True}, "'resume' is true, but 'run_dir' is empty"),
        ("monitor", {"run_dir": "/proc/nowhere"}, "run_dir /proc/nowhere cannot be written"),
    ],
)
def test_a_wrong_parameter_stops_the_node_with_one_line(processes, executable, parameters, text):
    process = processes.node(executable, **parameters)
    assert process.wait(60) == 2
    lines = [line for line in process.log.read_text().splitlines() if "Error" in line]
    assert len(lines) == 1
    assert text in lines[0]
    assert "Traceback" not in process.log.read_text()


def test_parameters_are_described_and_read_only(processes, probe):
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import DescribeParameters, SetParameters

    processes.node("sim_bridge", state_rate_hz=50.0)
    names = ["state_rate_hz", "task"]
    described = probe.call(DescribeParameters, "sim_bridge/describe_parameters", DescribeParameters.Request(names=names))
    rate, task = described.descriptors
    assert "joint_states per simulated second" in rate.description
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (1.0, 1000.0)
    assert rate.read_only
    assert task.read_only
    change = Parameter(name="state_rate_hz", value=ParameterValue(type=3, double_value=20.0))
    (result,) = probe.call(SetParameters, "sim_bridge/set_parameters", SetParameters.Request(parameters=[change])).results
    assert not result.successful
