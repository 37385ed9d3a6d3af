"""The twist form of a task: its file, its interface, and what an action may ask for."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.robot.tasks import load_task

TWISTS = {"sawyer_reach_twist": "sawyer_reach", "sawyer_stack_twist": "sawyer_stack"}


@pytest.fixture
def variant(tmp_path):
    """Write `sawyer_reach_twist` with other keys; return the path of the file."""

    def write(twist, **keys) -> str:
        text = (share_folder() / "config/tasks/sawyer_reach_twist.yaml").read_text()
        values = yaml.safe_load(text) | keys
        values["twist"] = values["twist"] | twist
        path = Path(tmp_path) / "sawyer_reach_twist.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


@pytest.mark.parametrize(("twist", "joint"), TWISTS.items())
def test_the_twist_form_differs_from_the_joint_form_in_its_actions_alone(twist, joint):
    one, other = load_task(twist).config, load_task(joint).config
    as_joint = dataclasses.replace(one, twist=None, action_scale=other.action_scale)
    assert as_joint == other


def test_an_action_has_a_component_per_free_dimension():
    spec = load_task("sawyer_reach_twist").spec
    assert spec.action == ("base/linear_x", "base/linear_y", "base/linear_z")
    assert (spec.action_size, len(spec.joints)) == (3, 7)
    assert spec.action_scale == (0.5, 0.5, 0.5)
    assert TaskSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("sawyer_reach", "e793a725d400d041"),
        ("sawyer_stack", "cc716b1e67f6f6c9"),
        ("ur5e_reach", "ea2540efe9e528be"),
    ],
)
def test_the_interface_of_joint_tasks_is_that_of_earlier_versions(name, schema):
    """Otherwise no policy, run or transition of an earlier version could be used."""
    assert load_task(name).spec.schema_hash == schema


def test_another_action_space_is_another_interface(variant):
    twist = load_task("sawyer_reach_twist").spec
    tool = load_task(variant({"frame": "tool"})).spec
    freer = load_task(variant({"frozen": ["angular_x", "angular_y"]})).spec
    joint = dataclasses.replace(load_task("sawyer_reach").spec, task=twist.task)
    assert len({spec.schema_hash for spec in (twist, tool, freer, joint)}) == 4
    of = {id(spec): json.loads(spec.to_json()) for spec in (tool, freer, joint, twist)}
    assert "action[0]: 'tool/linear_x' instead of 'base/linear_x'" in twist.differences(
        of[id(tool)]
    )
    assert "action: 4 entries instead of 3" in twist.differences(of[id(freer)])
    assert "action: 0 entries instead of 3" in twist.differences(of[id(joint)])
    assert "action: 3 entries instead of 0" in joint.differences(of[id(twist)])


@pytest.mark.parametrize(
    ("twist", "keys", "expected"),
    [
        ({"linear_m_s": 0.8}, {}, "with 3 components at action 1 the tool is to move at 1.39 m/s"),
        (
            {"linear_m_s": 0.3},
            {"tip_speed_limit_m_s": 0.5},
            "at 0.52 m/s, expected at most 0.425 m/s (limit_fraction 0.85",
        ),
        (
            {"angular_rad_s": 2.0, "frozen": []},
            {},
            "'twist.angular_rad_s' is 2: with 3 components at action 1 the wrist, 0.418 m from",
        ),
        ({"frame": "world"}, {}, "'frame' must be one of base, tool, got 'world'"),
        ({"frozen": ["yaw"]}, {}, "'frozen' must be one of linear_x"),
        (
            {"frozen": [f"{kind}_{axis}" for kind in ("linear", "angular") for axis in "xyz"]},
            {},
            "'frozen' has all six dimensions",
        ),
        ({}, {"action_scale": [0.8] * 7}, "'action_scale' is given beside 'twist'"),
        ({"linear_m_s": None}, {}, "'linear_m_s' must be of type float, got None"),
    ],
)
def test_a_twist_that_asks_for_too_much_is_refused(variant, twist, keys, expected):
    with pytest.raises(ConfigError) as error:
        load_task(variant(twist, **keys))
    assert expected in str(error.value)


def test_frozen_dimensions_do_not_count(variant):
    task = load_task(
        variant({"linear_m_s": 1.2, "frozen": ["linear_y", "linear_z", "angular_x", "angular_y"]})
    )
    assert task.spec.action == ("base/linear_x", "base/angular_z")
    assert task.spec.action_scale == (1.2, 1.0)
