"""Objects that a task observes: their settings, their placement, and the trial of a task."""

from dataclasses import replace

import numpy as np
import pytest
from push_file import PUSH

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.object_placement import ObjectPlacement
from sql_ros.robot.objects import (
    ObjectPose,
    ObjectsConfig,
    pose_from_quaternion,
    quaternion_of,
)
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.task import Episode
from sql_ros.robot.task_check import check_task
from sql_ros.robot.tasks import load_task

PLACE = ObjectPose(np.array([0.5, 0.1, 0.02]), np.eye(3))


def state_with(offset_m):
    """Return a state of the arm that sees the puck at a distance from its place."""
    arm = Arm(load_task("ur5e_reach").robot)
    seen = ObjectPose(PLACE.position + np.array([offset_m, 0.0, 0.0]), np.eye(3))
    zeros = np.zeros(arm.size)
    return arm.state(1, zeros, zeros, zeros, {"puck": seen})


def test_quaternion_and_rotation_are_the_same_pose():
    quaternion = np.array([0.5, 0.5, 0.5, 0.5])
    pose = pose_from_quaternion(np.arange(3.0), quaternion)
    assert np.allclose(pose.rotation @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    assert np.allclose(quaternion_of(pose), quaternion)


@pytest.mark.parametrize("names", [[], ["puck", "puck"], ["a/b"], ["two words"], ["a__b"]])
def test_names_of_objects_are_checked(names):
    with pytest.raises(ConfigError, match="'names'"):
        ObjectsConfig(names=names)


def test_an_object_must_be_a_body_that_moves_freely():
    with pytest.raises(ConfigError, match="no body 'bench' with a free joint"):
        load_task("ur5e_reach", objects={"names": ["bench"]})


def test_a_task_places_only_objects_that_it_names():
    task = load_task(PUSH)
    place = {"cup": PLACE}
    drawn = task.begin
    task.begin = lambda rng: replace(drawn(rng), objects=place)
    with pytest.raises(ConfigError, match=r"places 'cup', expected one of 'objects.names': puck"):
        check_task(task, task.config, load_robot(task.config.robot))
    place = {"puck": ObjectPose(np.zeros(2), np.eye(3))}
    with pytest.raises(ConfigError, match=r"places 'puck' at a position of shape \(2,\)"):
        check_task(task, task.config, load_robot(task.config.robot))


def test_placement_asks_once_then_verifies_then_asks_again():
    """Two control steps fit into the time-out of 1 s."""
    placement = ObjectPlacement(ObjectsConfig(names=("puck",), place_timeout_s=1.0), 0.5)
    asked = []
    placement.request = lambda objects, repeats: asked.append((objects, repeats))
    zeros = np.zeros(6)
    episode = Episode(zeros, np.zeros(3), {"puck": PLACE})
    far, near = state_with(0.03), state_with(0.01)
    assert not placement.is_done(episode, near)  # where it lay before the request
    assert asked == [(episode.objects, False)]
    assert not placement.is_done(episode, far)
    assert placement.waiting == "waiting for puck (0.030 m away) to be placed"
    assert len(asked) == 1
    assert not placement.is_done(episode, far)
    assert asked[1:] == [(episode.objects, True)]
    assert placement.is_done(episode, near)
    assert not placement.waiting


def test_an_episode_without_objects_asks_for_none():
    placement = ObjectPlacement(None, 0.05)
    assert placement.is_done(Episode(np.zeros(6), np.zeros(3)), state_with(0.0))
