"""The task `sawyer_reach` as pure functions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Episode, Task


@pytest.fixture(scope="module")
def state(task):
    arm = Arm(task.robot)
    return arm.state(0, np.array(task.robot.neutral_position), np.full(7, 0.1), np.zeros(7))


def test_the_observation_is_labelled_component_by_component(task, state):
    episode = Episode(np.zeros(7), state.tool_position + np.array([0.1, -0.2, 0.3]))
    observation = task.observe(state, episode)
    named = dict(zip(task.spec.observation, observation.tolist()))
    assert observation.shape == (task.spec.observation_size,) == (20,)
    assert observation.dtype == np.float32
    assert named["position/right_j3"] == pytest.approx(2.18)
    assert named["velocity/right_j0"] == pytest.approx(0.1)
    assert named["tool/x"] == pytest.approx(0.4496, abs=1e-4)  # the oracle's neutral pose
    assert named["to_target/z"] == pytest.approx(0.3)


def test_reward_rises_all_the_way_to_the_target(task, state):
    action = np.zeros(7, np.float32)
    rewards = [
        task.reward(state, action, Episode(np.zeros(7), state.tool_position + np.array([d, 0, 0])))
        for d in (0.5, 0.2, 0.05, 0.02, 0.01, 0.0)
    ]
    assert rewards == sorted(rewards)


def test_action_is_not_free(task, state):
    episode = Episode(np.zeros(7), state.tool_position)
    free, full = (task.reward(state, np.full(7, a, np.float32), episode) for a in (0.0, 1.0))
    assert free - full == pytest.approx(task.config.action_cost)


def test_reached_means_within_the_tolerance(task, state):
    inside, outside = (
        Episode(np.zeros(7), state.tool_position + np.array([0, d, 0])) for d in (0.0199, 0.0201)
    )
    assert task.is_reached(state, inside)
    assert not task.is_reached(state, outside)
    assert not task.is_terminated(state, inside)


def test_episodes_are_drawn_inside_their_boxes_and_from_the_seed(task):
    first, again = (task.begin(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.target, again.target)
    for seed in range(100):
        episode = task.begin(np.random.default_rng(seed))
        assert (episode.target >= task.config.target_lower).all()
        assert (episode.target <= task.config.target_upper).all()
        assert (
            np.abs(episode.start - task.robot.neutral_position).max()
            <= task.config.start_spread_rad
        )


def test_the_schema_hash_changes_with_everything_that_crosses_a_process_boundary(task):
    other = Task(
        task.spec.task, dataclasses.replace(task.config, action_scale=(0.5,) * 7), task.robot
    )
    assert other.spec.schema_hash != task.spec.schema_hash
    assert load_task("sawyer_reach").spec.schema_hash == task.spec.schema_hash


def test_an_unknown_task_names_those_there_are():
    with pytest.raises(
        ConfigError, match=r"'sawyer_dance' is neither a file nor one of: .*sawyer_reach"
    ):
        load_task("sawyer_dance")


def test_an_unknown_kind_or_key_in_a_task_file_is_named(tmp_path, task):
    path = tmp_path / "mine.yaml"
    path.write_text("kind: juggle\n")
    with pytest.raises(ConfigError, match="kind 'juggle' is not one of: reach"):
        load_task(str(path))
    path.write_text("kind: reach\ntolerance_mm: 20\n")
    with pytest.raises(ConfigError, match="unknown key 'tolerance_mm'"):
        load_task(str(path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "target_lower",
            [0.45, 0.5, 0.1],
            (
                r"'target_lower' is \[0.45, 0.5, 0.1\], expected no entry above 'target_upper',"
                r" \[0.75, 0.3, 0.45\]"
            ),
        ),
        (
            "action_scale",
            [0.8] * 6,
            "'action_scale' has 6 entries, expected one per joint of 'sawyer': 7",
        ),
    ],
)
def test_a_task_file_that_contradicts_itself_or_the_arm_is_named(tmp_path, key, value, message):
    path = _changed(tmp_path, "config/tasks/sawyer_reach.yaml", **{key: value})
    with pytest.raises(ConfigError, match=rf"^{path}: {message}"):
        load_task(path)


FORWARD = "forward_command_controller/ForwardCommandController"
VELOCITY = "velocity_controllers/JointGroupVelocityController"


def test_targets_in_millimetres_are_asked_about(tmp_path):
    path = _changed(
        tmp_path,
        "config/tasks/sawyer_reach.yaml",
        target_lower=[450, -300, 100],
        target_upper=[750, 300, 450],
    )
    with pytest.raises(
        ConfigError,
        match=rf"^{path}: the box 'target_lower' to 'target_upper' begins 460.977 m .* metres\?",
    ):
        load_task(path)


def test_a_robot_file_with_a_limit_missing_is_refused(tmp_path):
    text = (
        (share_folder() / "config/robots/sawyer.yaml")
        .read_text()
        .replace("effort_limit: [80.0, 80.0,", "effort_limit: [80.0,")
    )
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match="'effort_limit' has 6 entries, expected one per joint: 7"
    ):
        load_robot(str(tmp_path / "odd.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"position_lower": [3.0503] * 7, "position_upper": [-3.0503] * 7},
            "'position_lower' is 3.0503 and 'position_upper' -3.0503",
        ),
        (
            {"position_margin_rad": 3.1},
            "expected them apart by more than twice the position_margin_rad of 3.1",
        ),
        (
            {"neutral_position": [0, -67.6, 0, 125, 0, 32.7, 190]},
            r"right_j1: 'neutral_position' is -67.6, expected -3.7595 to 2.2236, .* radians\?",
        ),
        (
            {"velocity_limit": [180] * 7},
            r"right_j0: 'velocity_limit' is 180.0, expected at most 50.0: radians per second\?",
        ),
        ({"velocity_limit": [0] * 7}, "'velocity_limit' must be at least 0.001, got 0.0"),
        ({"acceleration_limit": [0] * 7}, "'acceleration_limit' must be at least 0.001, got 0.0"),
        ({"interface": "forward"}, "key 'interface' is replaced by 'controllers': the 'type'"),
        ({"command_topic": "/go"}, "key 'command_topic' is replaced by 'controllers': it follows"),
        (
            {"controllers": {"effort": {"name": "a", "type": FORWARD}}},
            "'controllers' has 'effort', expected one of: position, velocity, torque",
        ),
        ({"controllers": {"torque": {"name": "a"}}}, "'controllers.torque': key 'type' is missing"),
        (
            {"controllers": {"torque": {"name": "a", "type": "foo"}}},
            "'controllers.torque': 'type' must be one of .*, got 'foo'",
        ),
        ({"controllers": {"torque": "a"}}, "'controllers.torque' must be a mapping, got 'a'"),
        ({"controllers": ["a"]}, r"'controllers' must be a mapping, got \['a'\]"),
        (
            {"controllers": {"torque": {"name": "a", "type": VELOCITY}}},
            f"has type {VELOCITY}, which takes commands of mode velocity only",
        ),
        (
            {"joints": [*[f"right_j{n}" for n in range(6)], "right_j0"]},
            "'joints' names a joint twice: right_j0, .*, right_j0",
        ),
    ],
)
def test_a_robot_file_whose_limits_contradict_each_other_is_refused(tmp_path, changes, message):
    path = _changed(tmp_path, "config/robots/sawyer.yaml", **changes)
    with pytest.raises(ConfigError, match=rf"^{path}: .*{message}"):
        load_robot(path)


def test_position_limits_beyond_the_range_of_the_model_are_asked_about(tmp_path):
    path = _changed(
        tmp_path, "config/robots/sawyer.yaml", position_lower=[-360] * 7, position_upper=[360] * 7
    )
    expected = (
        r"of right_j0 are -360 and 360, but in sim/robots/sawyer.xml its range is -3.0503 to"
        r" 3.0503: radians\?"
    )
    with pytest.raises(ConfigError, match=expected):
        Arm(load_robot(path))


def test_position_limits_may_be_rounded(tmp_path):
    path = _changed(
        tmp_path, "config/robots/ur5e.yaml", position_lower=[-6.284] * 2 + [-3.142] + [-6.284] * 3
    )
    Arm(load_robot(path))


def _changed(folder: Path, file: str, **changes: object) -> str:
    """A copy of a shipped YAML file with other values."""
    path = folder / Path(file).name
    path.write_text(yaml.safe_dump(yaml.safe_load((share_folder() / file).read_text()) | changes))
    return str(path)
