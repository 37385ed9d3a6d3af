"""An arm stands anywhere in its scene: targets stay in the frame of the base, gravity is the
scene's.
"""

import dataclasses
import math

import mujoco
import numpy as np
import pytest

from sql_ros.common.data_files import find_beside
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.arm_description import prepare_arm, read_description
from sql_ros.robot.config import BasePose
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.safety.posed_scene import PosedScene
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance

PLAIN = load_robot("sawyer")
BASES = [
    BasePose(xyz=(0.3, -0.2, 0.9), rpy=(math.pi / 2, 0.0, 0.0)),  # on a wall
    BasePose(xyz=(0.1, 0.4, 2.0), rpy=(math.pi, 0.0, 0.3)),  # at the ceiling
    BasePose(xyz=(0.2, 0.0, 0.5), rpy=(0.3, -0.5, 1.1)),
]
SCENE = """<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1" pos="0 0 -3"/>
    <frame pos="0.6 0 0" euler="0 0 20"><geom name="post" type="box" size=".05 .05 .2"/></frame>
    <body name="table" pos="-0.9 0.5 0.4"><geom name="table" type="box" size=".2 .3 .02"/></body>
    <body name="brick" pos="-3 0 2"><freejoint/><geom size=".02"/></body>
    <body name="goal" mocap="true" pos="0.5 0 0.3"><site/></body>
    <site name="mark" pos="0.1 0.2 0.3"/>
  </worldbody>
  <keyframe><key qpos="0 0 9 1 0 0 0"/></keyframe>
</mujoco>"""


@pytest.fixture(params=BASES, ids=["wall", "ceiling", "slant"])
def robot(request):
    return dataclasses.replace(PLAIN, base=request.param)


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.xml"
    path.write_text(SCENE)
    return str(path)


def _standing(robot, scene):
    """Return model and data of the arm put into the scene the other way: the scene stays, and the
    arm is attached at its base.
    """
    world = mujoco.MjSpec.from_file(scene)
    arm = read_description(find_beside(robot.model, None))
    prepare_arm(arm, robot)
    arm.option = world.option
    quaternion = np.zeros(4)
    mujoco.mju_euler2Quat(quaternion, robot.base.rpy, "XYZ")
    frame = world.worldbody.add_frame(pos=robot.base.xyz, quat=quaternion)
    world.attach(arm, frame=frame, prefix="arm/")
    for key in list(world.keys):
        world.delete(key)
    model = world.compile()
    data = mujoco.MjData(model)
    for name, position in zip(robot.joints, robot.neutral_position):
        data.qpos[model.joint(f"arm/{name}").qposadr[0]] = position
    mujoco.mj_forward(model, data)
    return model, data


def _axes(base):
    """Return the axes of a base in the scene by the definition of REP-103: about the fixed x, then
    y, then z.
    """
    turns = []
    for axis, angle in enumerate(base.rpy):
        one, two = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[two, one] = math.sin(angle)
        turn[one, two] = -turn[two, one]
        turns.append(turn)
    return turns[2] @ turns[1] @ turns[0]


def test_gravity_and_scene_are_seen_from_the_base(robot, scene):
    model = load_model(robot, scene)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    axes = _axes(robot.base)
    np.testing.assert_allclose(model.opt.gravity, axes.T @ [0.0, 0.0, -9.81], atol=1e-12)
    seen = {"mark": data.site("mark").xpos, "table": data.geom("table").xpos}
    for name, place in (("mark", (0.1, 0.2, 0.3)), ("table", (-0.9, 0.5, 0.4))):
        expected = axes.T @ (np.array(place) - robot.base.xyz)
        np.testing.assert_allclose(seen[name], expected, atol=1e-12)
    expected = axes.T @ (np.array([-3.0, 0.0, 2.0]) - robot.base.xyz)
    np.testing.assert_allclose(model.body("brick").pos, expected, atol=1e-12)


def test_the_tool_is_in_the_frame_of_the_base_wherever_it_stands(robot):
    pose = np.array(robot.neutral_position)
    np.testing.assert_array_equal(Arm(robot).tool_position(pose), Arm(PLAIN).tool_position(pose))


def test_gravity_and_payload_torques_are_those_of_an_arm_that_stands_there(robot, scene):
    model, data = _standing(robot, scene)
    dofs = [model.joint(f"arm/{name}").dofadr[0] for name in robot.joints]
    pose = np.array(robot.neutral_position)
    dynamics = Dynamics(robot, scene, 0.01)
    np.testing.assert_allclose(dynamics.gravity(pose), data.qfrc_bias[dofs], atol=1e-6)
    assert np.abs(dynamics.gravity(pose) - Dynamics(PLAIN, scene, 0.01).gravity(pose)).max() > 1.0

    loaded = dataclasses.replace(robot, payload_kg=1.0, payload_is_compensated=True)
    added = Dynamics(loaded, scene, 0.01).gravity(pose) - dynamics.gravity(pose)
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, jacobian, None, model.site(f"arm/{robot.tool}").id)
    np.testing.assert_allclose(added, 9.81 * jacobian[2, dofs], atol=1e-6)


def test_a_tilted_arm_holds_by_torques_and_sags_by_a_load_along_the_scenes_gravity(robot, scene):
    sim = Simulation(scene, robot)
    before = sim.measure().position
    tool = sim.data.site(robot.tool).xpos.copy()
    brick = sim.data.body("brick").xpos.copy()
    for _ in range(10):
        sim.command("torque", np.zeros(7))
        sim.advance(25)
    np.testing.assert_allclose(sim.measure().position, before, atol=2e-3)
    fallen = _axes(robot.base) @ (sim.data.body("brick").xpos - brick)
    assert fallen[2] < -1.0
    np.testing.assert_allclose(fallen[:2], 0.0, atol=1e-9)

    sim.disturb(Disturbance("payload", size=3.0))
    for _ in range(4):
        sim.command("torque", np.zeros(7))
        sim.advance(25)
    sagged = _axes(robot.base) @ (sim.data.site(robot.tool).xpos - tool)
    assert sagged[2] < -0.005


def test_the_filter_measures_pairs_of_the_scene_at_their_real_distance(robot, scene):
    """Every arm and scene pair, compared with the arm that is attached at its base."""
    model, data = _standing(robot, scene)
    posed = PosedScene(robot, scene)
    posed.place(np.array(robot.neutral_position))
    seen = posed.model
    names = [model.geom(i).name for i in range(model.ngeom)]
    shapes = [seen.geom(i).name for i in range(seen.ngeom) if f"arm/{seen.geom(i).name}" in names]
    assert len(shapes) >= 3
    line = np.zeros(6)
    for one in ("post", "table", "floor"):
        for other in filter(None, shapes):
            ours = mujoco.mj_geomDistance(
                seen, posed.data, seen.geom(one).id, seen.geom(other).id, 5.0, line
            )
            other_way = mujoco.mj_geomDistance(
                model, data, model.geom(one).id, model.geom(f"arm/{other}").id, 5.0, line
            )
            assert ours == pytest.approx(other_way, abs=1e-6)


def test_an_arm_alone_has_the_gravity_of_its_mounting(robot):
    np.testing.assert_allclose(
        load_model(robot).opt.gravity, _axes(robot.base).T @ [0.0, 0.0, -9.81], atol=1e-12
    )


def test_a_base_at_the_origin_changes_no_number(scene):
    with_key = dataclasses.replace(PLAIN, base={"xyz": [0, 0, 0], "rpy": [0, 0, 0]})
    buffers = []
    for robot in (PLAIN, with_key):
        model = load_model(robot, scene)
        buffer = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
        mujoco.mj_saveModel(model, None, buffer)
        buffers.append(buffer)
    np.testing.assert_array_equal(*buffers)


def test_a_wrong_base_is_refused():
    with pytest.raises(ConfigError, match="three"):
        dataclasses.replace(PLAIN, base={"xyz": [0.0, 1.0]})
    with pytest.raises(ConfigError, match="rpy"):
        dataclasses.replace(PLAIN, base={"rpy": [0.0, 90.0, 0.0]})
    with pytest.raises(ConfigError, match="xyz"):
        dataclasses.replace(PLAIN, base={"position": [0.0, 1.0, 0.0]})


def test_a_description_with_a_gravity_of_its_own_is_not_turned(tmp_path):
    arm = tmp_path / "arm.xml"
    arm.write_text(
        '<mujoco><option gravity="9.81 0 0"/><worldbody><body name="b"><joint name="j"/>'
        '<geom size=".1"/></body></worldbody></mujoco>'
    )
    one = {
        name: getattr(PLAIN, name)[:1]
        for name in ("neutral_position", "velocity_limit", "acceleration_limit", "effort_limit")
    }
    robot = dataclasses.replace(
        PLAIN,
        **one,
        model=str(arm),
        tool="b",
        joints=("j",),
        position_lower=(-1.0,),
        position_upper=(1.0,),
        servo_stiffness=(1.0,),
        servo_damping=(1.0,),
        may_touch=(),
        always_near=(),
        scene="",
    )
    load_model(robot)
    with pytest.raises(ConfigError, match="gravity"):
        load_model(dataclasses.replace(robot, base=BASES[0]))
