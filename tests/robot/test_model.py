"""What a scene puts into the hand."""

import numpy as np
import pytest

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot

SCENE = share_folder() / "sim/scenes/sawyer_stack.xml"


def test_what_is_held_is_a_part_of_the_arm():
    model = load_model(load_robot("sawyer"), "sim/scenes/sawyer_stack.xml")
    assert model.body(model.body("held/gripper").parentid[0]).name == "right_hand"
    assert model.nq == model.nv == 7  # rigidly
    alone = load_model(load_robot("sawyer"))
    more = (
        model.body_subtreemass[model.body("right_hand").id]
        - alone.body_subtreemass[alone.body("right_hand").id]
    )
    assert more == pytest.approx(0.47 + 0.012)


def test_an_arm_in_a_scene_with_nothing_in_its_hand_moves_by_its_joints_alone():
    assert load_model(load_robot("sawyer"), "sim/scenes/sawyer_reach.xml").nq == 7


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ("sim/objects/none.xml right_hand", "none.xml"),
        ("sim/objects/duplo_brick.xml left_hand", "left_hand"),
        ("right_hand", "right_hand"),
    ],
)
def test_a_held_object_that_cannot_be_put_into_the_hand_is_named(tmp_path, held, reason):
    scene = tmp_path / "scene.xml"
    text = SCENE.read_text().replace("sim/objects/duplo_brick.xml right_hand", held)
    scene.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_model(load_robot("sawyer"), str(scene))


def test_the_arm_compensates_for_what_it_holds():
    """Without any command it does not sink."""
    from sql_ros.robot.tasks import load_task
    from sql_ros.sim.simulation import Simulation

    task = load_task("sawyer_stack")
    sim = Simulation(task.config.scene, task.robot)
    before = sim.measure().position
    for _ in range(10):
        sim.command("torque", np.zeros(7))
        sim.advance(sim.physics_steps(20.0))
    np.testing.assert_allclose(sim.measure().position, before, atol=1e-6)
