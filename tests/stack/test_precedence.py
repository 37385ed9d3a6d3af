"""What holds where launch arguments and the params file both say something."""

import pytest
import yaml

from sql_ros.common.errors import ConfigError
from sql_ros.nodes.declared import declared_by
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS
from sql_ros.stack.description import sawyer_stack
from sql_ros.stack.precedence import SETTABLE

POLICY = "sawyer_stack"
REAL = {"sim": "false", "mode": "play", "policy": POLICY, "task": "ur5e_reach"}


@pytest.fixture
def start(tmp_path):
    """Describe a stack for a params file that sets these parameters of a node."""

    def start(parameters: dict[str, object], node: str = "actor", **given: str):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({node: {"ros__parameters": parameters}}))
        return sawyer_stack({**REAL, "params_file": str(path), **given})

    return start


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dry_run", True),
        ("people_in_reach", True),
        ("key_file", "/nowhere/key"),
        ("autostart", False),
        ("targets", "goal"),
        ("switch_controllers", True),
        ("compares_description", False),
        ("identify", "never"),
        ("most_transitions", 500),
        ("seed", 4),
        ("joint_prefix", "left_"),
    ],
)
def test_what_a_params_file_sets_reaches_the_actor(start, name, value):
    assert start({name: value}).parameters_of("actor")[name] == value


def test_a_params_file_reaches_the_processes_of_trials(start):
    stack = start({"protocol": "reference", "repeats": 3}, "trials", mode="trials")
    parameters = stack.parameters_of("trials")
    assert (parameters["protocol"], parameters["repeats"]) == ("reference", 3)


def test_an_argument_that_was_given_wins_and_says_so(start, caplog):
    stack = start({"autostart": False, "key_file": "/nowhere/key"}, autostart="true")
    assert stack.parameters_of("actor")["autostart"] is True
    assert stack.parameters_of("actor")["key_file"] == "/nowhere/key"
    (record,) = caplog.records
    assert (
        "autostart:= was given: 'autostart' of the actor is True, not False" in record.getMessage()
    )


@pytest.mark.parametrize("name", ["dry_run", "people_in_reach"])
def test_protection_is_on_if_argument_or_params_file_says_so(start, caplog, name):
    assert start({name: True}, **{name: "false"}).parameters_of("actor")[name] is True
    assert f"{name}:=false, but" in caplog.text
    assert start({name: False}, **{name: "true"}).parameters_of("actor")[name] is True
    assert start({name: False}).parameters_of("actor")[name] is False


def test_an_empty_argument_says_nothing(start):
    assert (
        start({"key_file": "/nowhere/key"}, key_file="").parameters_of("actor")["key_file"]
        == "/nowhere/key"
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"task": "sawyer_reach"},
            "'task' of the actor is 'sawyer_reach', but .* here 'ur5e_reach': .* task:=",
        ),
        ({"mode": "train"}, "'mode' of the actor is 'train', .* here 'play'"),
        ({"session": "1"}, "'session' of the actor is '1', .*: leave it out"),
        ({"real_arm": False}, "'real_arm' of the actor is False, .* here True: leave it out"),
        ({"use_sim_time": True}, "'use_sim_time' of the actor is True, .* use_sim_time:="),
        ({"realtime_factor": 0.5}, "'realtime_factor' of the actor is 0.5"),
        ({"dry_run": "false"}, "mine.yaml: 'dry_run' is 'false', expected bool"),
        ({"people_in_reach": 1}, "mine.yaml: 'people_in_reach' is 1, expected bool"),
        ({"targets": "gaol"}, "targets:=gaol, expected one of: drawn, goal"),
    ],
)
def test_what_the_launch_decides_or_cannot_read_is_refused(start, parameters, text):
    with pytest.raises(ConfigError, match=text):
        start(parameters)


def test_the_value_that_the_launch_decides_may_stand_in_a_params_file(start):
    start({"task": "ur5e_reach", "mode": "play"})


def test_the_bridge_makes_the_time_that_a_params_file_gives_to_all(start):
    stack = start({"use_sim_time": True}, "/**", sim="true")
    assert stack.parameters_of("sim_bridge")["use_sim_time"] is False
    assert stack.parameters_of("actor")["use_sim_time"] is True


def test_checks_of_the_start_take_what_the_params_file_says(start):
    training = {"mode": "train", "policy": "", "sim": "true"}
    with pytest.raises(ConfigError, match=r"dry_run:=true \(from .*mine.yaml\) in lockstep"):
        start({"dry_run": True}, **training)
    with pytest.raises(ConfigError, match=r"targets:=goal \(from .*mine.yaml\) with mode:=train"):
        start({"targets": "goal"}, **training)


def test_an_argument_that_is_left_out_has_the_default_of_the_nodes():
    """Otherwise the launch argument's description would be wrong."""
    defaults = {argument.name: argument.default for argument in SAWYER_STACK_ARGUMENTS}
    for node in ("learner", "actor", "sim_bridge", "monitor", "trials"):
        for name, field in declared_by(node).items():
            if name in SETTABLE and defaults[name]:
                assert str(field.default).lower() == defaults[name], (node, name)
    assert {name for name in SETTABLE if not defaults[name]} == {
        "by_hand",
        "joint_prefix",
        "key_file",
        "weights",
    }


def test_only_what_was_given_is_repeated_by_the_command(start):
    stack = start({"dry_run": True, "seed": 5})
    assert not [word for word in stack.repeats if word.startswith(("dry_run", "seed"))]
    assert "seed:=0" in start({"seed": 5}, seed="0").repeats
