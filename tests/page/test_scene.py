"""The scene of a task as it is sent to the browser."""

import dataclasses
import json
import struct

import numpy as np
import pytest

from sql_ros.page.scene import ArmScene
from sql_ros.page.shapes import VERTEX
from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task


def _unpack(package: bytes):
    (length,) = struct.unpack_from("<I", package)
    header = json.loads(package[4 : 4 + length])
    return header, np.frombuffer(package, VERTEX, offset=4 + length)


@pytest.mark.parametrize("name", ["sawyer_reach", "sawyer_stack", "ur5e_reach"])
def test_every_vertex_belongs_to_one_body_that_has_a_pose(name):
    scene = ArmScene(load_task(name))
    header, vertices = _unpack(scene.package())
    first = 0
    for mesh in header["meshes"]:
        assert mesh["first"] == first
        assert mesh["count"] % 3 == 0
        assert 7 * mesh["body"] + 7 <= len(scene.bodies())
        first += mesh["count"]
    assert len(vertices) == first > 1000
    assert np.isfinite(vertices["position"]).all()
    assert len(header["floors"]) == 1


def test_the_tool_is_where_the_kinematics_of_the_actor_have_it(rng):
    task = load_task("sawyer_reach")
    scene, arm = ArmScene(task), Arm(task.robot)
    for _ in range(5):
        position = rng.uniform(task.robot.position_lower, task.robot.position_upper)
        scene.pose(position)
        assert scene.tool == pytest.approx(arm.tool_position(position), abs=1e-4)


def test_guarded_boxes_and_the_box_of_goals_are_sent():
    task = load_task("sawyer_reach")
    robot = dataclasses.replace(
        task.robot, workspace=(-1, -1, 0, 1, 1, 1), keep_out=((0, 0, 0, 0.1, 0.2, 0.3),)
    )
    task.robot = robot
    boxes = {box["kind"]: box for box in _unpack(ArmScene(task).package())[0]["boxes"]}
    assert boxes["keep_out"]["upper"] == [0.1, 0.2, 0.3]
    assert boxes["workspace"]["lower"] == [-1, -1, 0]
    assert boxes["targets"]["lower"] == list(task.config.target_lower)


def test_pushes_are_for_moving_bodies_of_the_arm_the_hand_first():
    names = ArmScene(load_task("sawyer_reach")).pushable()
    assert names[0] == "right_l6"
    assert names[-1] == "right_l0"
    assert "table" not in names
