"""A node that is configured wrongly ends at once, with one readable line and exit code 2."""

import json

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import UInt8MultiArray

from sql_ros.learning.learner import AlgorithmConfig
from sql_ros.nodes.messages import policy_to_msg
from sql_ros.nodes.qos import LATCHED

pytestmark = pytest.mark.stack


@pytest.mark.short("actor-parameters0-*")
@pytest.mark.parametrize(
    ("executable", "parameters", "text"),
    [
        (
            "actor",
            {"tusk": "sawyer_reach"},
            "ConfigError: parameters of node actor: unknown parameter 'tusk', expected one of: ",
        ),
        ("actor", {"max_state_age_s": -1.0}, "'max_state_age_s' must be at least 0.001, got -1.0"),
        (
            "actor",
            {"max_state_age_s": 5.0, "real_arm": True},
            "'max_state_age_s' is 5 s, expected at most 0.757 s on a real arm",
        ),
        ("actor", {"max_lateness_s": 1e9}, "'max_lateness_s' must be at most 60.0"),
        ("actor", {"mode": "dance"}, "'mode' must be one of train, play, got 'dance'"),
        (
            "actor",
            {"task": "sawyer_dance"},
            "'sawyer_dance' is neither a file nor one of: panda_reach",
        ),
        ("actor", {"policy": "/nowhere/policy.onnx"}, "cannot use policy /nowhere/policy.onnx"),
        (
            "sim_bridge",
            {"state_rate_hz": 70.0},
            "physics steps of 0.002 s, expected a whole number",
        ),
        (
            "learner",
            {"algorithm__temperature": 0.0},
            "'temperature' must be at least 1e-06, got 0.0",
        ),
        ("learner", {"algorithm__tempreature": 0.1}, "unknown parameter 'algorithm.tempreature'"),
        (
            "learner",
            {"trainer__warmup_transitions": "soon"},
            "'warmup_transitions' must be of type int, got 'soon' (str)",
        ),
        ("learner", {"resume": True}, "'resume' is true, but 'run_dir' is empty"),
        ("monitor", {"run_dir": "/proc/nowhere"}, "run_dir /proc/nowhere cannot be written"),
    ],
)
def test_a_wrong_parameter_stops_the_node_with_one_line(processes, executable, parameters, text):
    process = processes.node(executable, **parameters)
    assert process.wait(240) == 2
    lines = [line for line in process.log.read_text().splitlines() if "Error" in line]
    assert len(lines) == 1
    assert text in lines[0]
    assert "Traceback" not in process.log.read_text()


def test_an_actor_of_a_real_arm_without_shapes_ends_and_in_simulation_warns(
    processes, probe, bare_task, tmp_path
):
    task = str(bare_task(tmp_path / "bare"))
    text = (
        "the arm moves shoulder_link, upper_arm_link, forearm_link, wrist_1_link, wrist_2_link,"
        " wrist_3_link, but no geom"
    )
    real = processes.node("actor", task=task, real_arm=True, mode="play")
    assert real.wait(240) == 2
    (line,) = [line for line in real.log.read_text().splitlines() if "Error" in line]
    assert text in line
    simulated = processes.node("actor", task=task, mode="play")
    probe.wait(lambda: "0 pairs of shapes" in simulated.log.read_text())
    simulated.until_said(text)


@pytest.mark.long
def test_the_actor_says_the_limits_in_force(processes, probe):
    actor = processes.node("actor", people_in_reach=True)
    probe.wait(
        lambda: "tool and links: 0.212 m/s (0.85 of 0.25, people in reach)" in actor.log.read_text()
    )
    actor.until_said("97 pairs of shapes, not between: none exempted")


def _set(probe, node: str, name: str, value) -> SetParametersResult:
    parameter = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    (result,) = probe.call(SetParameters, f"{node}/set_parameters", request).results
    return result


@pytest.mark.long
def test_parameters_are_described_and_read_only(processes, probe):
    processes.node("sim_bridge", state_rate_hz=50.0)
    names = ["state_rate_hz", "task"]
    described = probe.call(
        DescribeParameters,
        "sim_bridge/describe_parameters",
        DescribeParameters.Request(names=names),
    )
    rate, task = described.descriptors
    assert "joint_states per simulated second" in rate.description
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (
        1.0,
        1000.0,
    )
    assert rate.read_only
    assert task.read_only
    result = _set(probe, "sim_bridge", "state_rate_hz", 20.0)
    assert not result.successful
    assert (
        result.reason
        == "'state_rate_hz' is read when the node starts: start it with another value; can be"
        " changed now: none"
    )


@pytest.mark.long
def test_an_actor_takes_live_parameters_and_refuses_others_with_the_reason(
    processes, probe, untrained, tmp_path
):
    (tmp_path / "policy.onnx").write_bytes(untrained())
    trained = AlgorithmConfig().temperature
    processes.node("actor", mode="play", policy=tmp_path / "policy.onnx")
    probe.until_active("actor")
    for name, value in (
        ("temperature", trained),
        ("learner_patience_s", 5.0),
    ):
        result = _set(probe, "actor", name, value)
        assert result.successful, result.reason
    for name, value, reason in (
        ("temperature", 10.0, f"expected at most {trained:g}, at which the policy was trained"),
        ("temperature", -1.0, "range"),
        (
            "seed",
            3,
            (
                "'seed' is read when the node starts: start it with another value; can be changed"
                " now: learner_patience_s"
            ),
        ),
        ("use_sim_time", True, "'use_sim_time' is read when the node starts"),
    ):
        result = _set(probe, "actor", name, value)
        assert not result.successful
        assert reason in result.reason
    values = probe.call(
        GetParameters, "actor/get_parameters", GetParameters.Request(names=["temperature", "seed"])
    ).values
    assert (values[0].double_value, values[1].integer_value) == (trained, 0)


@pytest.mark.long
def test_in_training_a_temperature_is_refused(processes, probe):
    processes.node("actor")
    probe.until_active("actor")
    result = _set(probe, "actor", "temperature", 0.1)
    assert not result.successful
    assert "'temperature' is of mode:=play" in result.reason


@pytest.mark.long
def test_weights_set_while_skills_act_change_their_shares(processes, probe):
    skills = "sawyer_stack,sawyer_stack_punctual"
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    processes.node("sim_bridge", task="sawyer_stack")
    to_bridge = {"commands": "sim_bridge/commands"}
    given = {"task": "sawyer_stack", "mode": "play", "policy": skills, "weights": "0.0,1.0"}
    processes.node("actor", to_bridge, **given)
    probe.until_active("actor")

    def values() -> dict[str, str]:
        statuses = [s for r in reports for s in r.status if s.name == "actor: control"]
        return {e.key: e.value for e in statuses[-1].values} if statuses else {}

    def share(source: str) -> float:
        return float(values().get(f"share/{source}", 0.0))

    probe.wait(lambda: share("skill_1") > 0.6)
    for wrong in ("1.0", "nan,1.0", "-1.0,1.0", "0,0", "one,two"):
        result = _set(probe, "actor", "weights", wrong)
        assert not result.successful
        assert "'weights' is" in result.reason
    assert values()["weights"] == "0,1"
    result = _set(probe, "actor", "weights", "1.0,0.0")
    assert result.successful, result.reason
    probe.wait(lambda: values()["weights"] == "1,0")
    probe.wait(lambda: share("skill_0") > 0.25 and share("skill_1") < 0.6)


@pytest.mark.long
def test_the_next_evaluation_has_the_settings_set_meanwhile(processes, probe, untrained, tmp_path):
    policies = probe.node.create_publisher(UInt8MultiArray, "policy", LATCHED)
    reports = probe.listen(DiagnosticArray, "/diagnostics", 10)
    monitor = processes.node(
        "monitor", run_dir=tmp_path, stops_on_success=False, evaluation_period=1
    )
    probe.wait(policies.get_subscription_count)
    assert _set(probe, "monitor", "evaluation_episodes", 2).successful
    assert not _set(probe, "monitor", "evaluation_episodes", 0).successful
    assert (
        "'most_transitions' is read when the node starts"
        in _set(probe, "monitor", "most_transitions", 1).reason
    )
    policies.publish(policy_to_msg(untrained()))

    def evaluations() -> int:
        values = [
            e.value
            for r in reports
            for s in r.status
            if s.name.startswith("monitor:")
            for e in s.values
            if e.key == "evaluations"
        ]
        return int(values[-1]) if values else 0

    probe.wait(evaluations)
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (line["kind"], line["episodes"]) == ("evaluation", 2)
    assert processes.stop(monitor) == 0
