"""Params files in the forms that ROS knows."""

import pytest
import yaml

from sql_ros.common.errors import ConfigError
from sql_ros.stack.params_file import declared, read_params
from sql_ros.stack.settings import ACTOR_ONLY


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "mine.yaml"

    def read(text: str, namespace: str = "left"):
        path.write_text(text)
        return read_params(str(path), "sawyer_reach", namespace)

    return read


def _section(name: str, **parameters) -> str:
    return yaml.safe_dump({name: {"ros__parameters": parameters}})


@pytest.mark.parametrize(
    "text",
    [
        _section("actor", max_state_age_s=0.5),
        _section("/left/actor", max_state_age_s=0.5),
        yaml.safe_dump({"left": {"actor": {"ros__parameters": {"max_state_age_s": 0.5}}}}),
        yaml.safe_dump({"/left": {"actor": {"ros__parameters": {"max_state_age_s": 0.5}}}}),
        _section("/**/actor", max_state_age_s=0.5),
        _section("/*/actor", max_state_age_s=0.5),
        _section("/**", max_state_age_s=0.5),
    ],
)
def test_every_form_of_ros_reaches_the_node(read, text):
    parameters = read(text)
    assert parameters["actor"] == {"max_state_age_s": 0.5}
    assert parameters["learner"] == {}


def test_a_namespace_of_several_parts_may_be_nested(read):
    text = yaml.safe_dump({"cell": {"left": {"actor": {"ros__parameters": {"seed": 3}}}}})
    assert read(text, "/cell/left")["actor"] == {"seed": 3}


def test_a_wildcard_gives_a_key_to_the_nodes_that_declare_it(read):
    parameters = read(_section("/**", seed=3, threads=2, use_sim_time=True))
    assert parameters["learner"] == {"seed": 3, "threads": 2, "use_sim_time": True}
    assert parameters["actor"] == {"seed": 3, "use_sim_time": True}


def test_nested_keys_under_a_wildcard_are_joined(read):
    text = _section("/**", trainer={"replay_capacity": 5000})
    assert read(text)["learner"] == {"trainer.replay_capacity": 5000}


def test_the_section_of_a_node_wins_over_a_wildcard(read):
    assert read(_section("actor", seed=1) + _section("/**", seed=2))["actor"]["seed"] == 1
    assert read(_section("/**", seed=2) + _section("/left/actor", seed=1))["actor"]["seed"] == 1


def test_a_key_that_no_node_declares_is_refused_with_close_ones(read):
    with pytest.raises(
        ConfigError, match=r"mine.yaml: section '/\*\*': no node .* 'replay_capacty': did you mean"
    ):
        read(_section("/**", replay_capacty=5))
    with pytest.raises(ConfigError, match=r"'quite_unlike': sql-ros params lists them"):
        read(_section("/**", quite_unlike=5))


def test_sections_of_other_namespaces_are_left_to_their_stacks(read):
    text = _section("/left/actor", seed=1) + _section("/right/actor", seed=2)
    assert read(text, "left")["actor"] == {"seed": 1}
    assert read(text, "right")["actor"] == {"seed": 2}


def test_a_file_for_other_namespaces_alone_is_refused(read):
    with pytest.raises(
        ConfigError, match="no section is for namespace 'left', it has: /right/actor"
    ):
        read(_section("/right/actor", seed=2))


@pytest.mark.parametrize("name", ["actr", "/left/actr", "left/actr"])
def test_a_section_of_no_node_is_refused(read, name):
    with pytest.raises(ConfigError, match="actr' is no node of this stack, expected one of"):
        read(_section(name, seed=2))


@pytest.mark.parametrize(
    "content", [3, {"seed": 3}, {"ros__parameters": 3}, {"ros__parameters": {}, "actor": {}}]
)
def test_a_section_of_another_form_is_refused(read, content):
    with pytest.raises(ConfigError, match="must hold 'ros__parameters:'"):
        read(yaml.safe_dump({"actor": content}))


def test_the_nodes_say_which_parameters_they_have():
    names = declared()
    assert {"trainer.replay_capacity", "algorithm.temperature", "threads"} <= set(names["learner"])
    assert set(names["actor"]) - set(names["trials"]) == set(ACTOR_ONLY)
