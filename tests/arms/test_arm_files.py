"""Descriptions as makers and converters write them are taken as they are, or refused with the cure.

Each case changes a toy arm of three joints in one place.
"""

import re

import mujoco
import numpy as np
import pytest

from sql_ros.arms.robot_checks import check_robot, overlapping_bodies, require_sound_robot
from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.safety.protection import effective_limits
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

ARM = """<mujoco model="toy">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><joint axis="0 1 0" damping="1" armature="0.05"/></default>
  <asset/>
  <worldbody>
    <body name="base">
      <geom type="cylinder" size="0.06 0.05" pos="0 0 0.05" mass="2"/>
      <body name="l1" pos="0 0 0.15">
        <joint name="j1" axis="0 0 1" range="-2.9 2.9"/>
        <geom type="sphere" size="0.05" mass="1"/>
        <body name="l2">
          <joint name="j2" range="-1.8 1.8"/>
          <geom type="capsule" size="0.03" fromto="0 0 0.1 0 0 0.3" mass="1.5"/>
          <body name="l3" pos="0 0 0.35">
            <joint name="j3" range="-2.5 2.5"/>
            <geom type="capsule" size="0.025" fromto="0 0 0.05 0 0 0.25" mass="0.8"/>
            <body name="flange" pos="0 0 0.3">
              <geom type="box" size="0.02 0.02 0.01" mass="0.1"/>
              <site name="tool"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
URDF = """<robot name="toy">
  <link name="base">{inertia}<collision><geometry>{base}</geometry></collision></link>
  <link name="l1">{inertia}</link>
  <link name="l2">{inertia}<collision><origin xyz="0 0 0.2"/><geometry>
    <cylinder radius="0.03" length="0.2"/></geometry></collision></link>
  <link name="l3">{inertia}<collision><origin xyz="0 0 0.15"/><geometry>
    <cylinder radius="0.025" length="0.2"/></geometry></collision></link>
  <link name="tool"/>
  <joint name="j1" type="revolute"><parent link="base"/><child link="l1"/><origin xyz="0 0 0.15"/>
    <axis xyz="0 0 1"/><limit lower="-2.9" upper="2.9" effort="60" velocity="2"/></joint>
  <joint name="j2" type="revolute"><parent link="l1"/><child link="l2"/>
    <axis xyz="0 1 0"/><limit lower="-1.8" upper="1.8" effort="60" velocity="2"/></joint>
  <joint name="j3" type="revolute"><parent link="l2"/><child link="l3"/><origin xyz="0 0 0.35"/>
    <axis xyz="0 1 0"/><limit lower="-2.5" upper="2.5" effort="30" velocity="2"/></joint>
  <joint name="fixed" type="fixed"><parent link="l3"/><child link="tool"/>
    <origin xyz="0 0 0.3"/></joint>
</robot>
"""
INERTIA = (
    '<inertial><origin xyz="0 0 0.1"/><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01"'
    ' ixy="0" ixz="0" iyz="0"/></inertial>'
)
MESH = '<mesh filename="package://toy_arm/meshes/base.obj"/>'
TETRAHEDRON = "v 0 0 0\nv .05 0 0\nv 0 .05 0\nv 0 0 .05\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
CYLINDER = '<cylinder radius="0.06" length="0.1"/>'
NAMES = "name: toy\nmodel: arm.xml\ntool: tool\njoints: [j1, j2, j3]\n"
ROBOT = (
    NAMES
    + """neutral_position: [0.0, 0.5, 1.0]
position_lower: [-2.9, -1.8, -2.5]
position_upper: [2.9, 1.8, 2.5]
velocity_limit: [2.0, 2.0, 2.0]
acceleration_limit: [8.0, 8.0, 8.0]
effort_limit: [60.0, 60.0, 30.0]
servo_stiffness: [2000.0, 2000.0, 1000.0]
servo_damping: [150.0, 150.0, 60.0]
"""
)
SCENE = """<mujoco model="toy_reach">
  <include file="arm.xml"/>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="overview" pos="1.6 -1.2 0.7" xyaxes="0.67 0.74 0 -0.2 0.18 0.96"/>
    <geom name="floor" type="plane" size="0 0 0.1" pos="0 0 -0.05"/>
    <body name="goal" mocap="true"><geom type="sphere" size="0.02" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
</mujoco>
"""
TASK = """kind: reach
robot: robot.yaml
scene: scene.xml
control_rate_hz: 20.0
command_mode: velocity
action_scale: [0.8, 0.8, 0.8]
episode_s: 5.0
start_spread_rad: 0.3
target_lower: [0.30, -0.20, 0.15]
target_upper: [0.50, 0.20, 0.40]
tolerance_m: 0.02
hold_s: 0.5
"""
FLANGE = '<site name="tool"/>'
MOTORS = (
    "<actuator>"
    + "".join(f'<motor name="{j}" joint="{j}" ctrlrange="-1 1"/>' for j in ("j1", "j2", "j3"))
    + "</actuator></mujoco>"
)
SLIDE = '<joint name="j1" type="slide" axis="1 0 0" range="-1 2"/>'
EXCLUDE = '<contact><exclude body1="{}" body2="{}"/></contact></mujoco>'
HELD = '<custom><text name="held" data="held.xml flange"/></custom><worldbody>'
LOOSE = (
    '<mujoco><worldbody><body name="palm"><geom size="0.02"/><body><joint/><geom size="0.01"/>'
    "</body></body></worldbody></mujoco>"
)
SERVOS = MOTORS.replace("motor", "position")


@pytest.fixture
def load(tmp_path):
    """`load(arm=..., robot=...)`: the task of a toy arm in a folder of its own."""

    def made(arm=ARM, robot=ROBOT, scene=SCENE, task=TASK, **others):
        files = {"arm.xml": arm, "robot.yaml": robot, "scene.xml": scene, "task.yaml": task}
        for name, text in {**files, **others}.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return load_task(str(tmp_path / "task.yaml"))

    return made


def is_sound(task) -> bool:
    """Return whether the arm holds its pose and follows in every command mode."""
    report = check_robot(task)
    return not report.errors and not any("times as far" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("", "", id="without actuators or gravity compensation"),
        pytest.param("</mujoco>", MOTORS, id="motors without feedback, torques clipped to 1"),
        pytest.param("</mujoco>", SERVOS, id="position actuators"),
        pytest.param(' integrator="implicitfast"', "", id="Euler's integrator"),
        pytest.param('timestep="0.002"', 'timestep="0.003"', id="a step that divides no period"),
        pytest.param(
            "</mujoco>",
            '<keyframe><key name="home" qpos="0 0.5 1"/></keyframe></mujoco>',
            id="a keyframe",
        ),
        pytest.param('<body name="base">', '<body name="base"><freejoint/>', id="a free base"),
        pytest.param(
            "<asset/>", '<asset><material name="floor"/></asset>', id="names of the scene"
        ),
    ],
)
def test_an_arm_holds_and_follows_whatever_its_description_says_of_control(load, old, new):
    task = load(arm=ARM.replace(old, new) if old else ARM)
    assert is_sound(task)
    sim = Simulation(task.config.scene, task.robot)
    sim.command("torque", np.array([0.0, 50.0, 0.0]))
    sim.advance(1)
    assert sim.measure().effort[1] == pytest.approx(50.0, abs=15.0)  # not clipped; plus its weight


def test_torques_are_limited_by_the_robot_file(load):
    task = load()
    sim = Simulation(task.config.scene, task.robot)
    sim.command("position", np.array(task.robot.position_upper))
    sim.advance(10)
    assert (np.abs(sim.measure().effort) <= np.array(task.robot.effort_limit) + 1e-9).all()


def test_a_scene_may_have_free_objects_beside_an_arm_with_a_keyframe(load):
    task = load(
        arm=ARM.replace("</mujoco>", '<keyframe><key qpos="0 0.5 1"/></keyframe></mujoco>'),
        scene=SCENE.replace(
            "</worldbody>",
            '<body name="puck" pos="1 1 0.1"><freejoint/><geom size="0.03"/></body></worldbody>',
        ),
    )
    assert is_sound(task)


TABLE = '<geom name="table" type="box" size="0.3 0.3 0.02" pos="0.6 0.4 0.1"/>'


@pytest.mark.parametrize("moved", ["", TABLE.replace("0.1", "0.12")], ids=["missing", "elsewhere"])
def test_a_task_must_keep_the_scene_of_its_arm(load, moved):
    cell = SCENE.replace("</worldbody>", f"{TABLE}</worldbody>")
    robot = f"{ROBOT}scene: cell.xml\n"
    kept = load(robot=robot, scene=cell.replace("0 0 3", "0 0 2"), **{"cell.xml": cell})
    assert kept.config.scene.endswith("scene.xml")
    with pytest.raises(ConfigError, match=r"has not its table at \(0\.600, 0\.400, 0\.100\)"):
        load(robot=robot, scene=cell.replace(TABLE, moved), **{"cell.xml": cell})


def test_a_finger_is_guarded_at_its_posture(load):
    finger = (
        '<body name="finger"><joint name="grip" type="slide" axis="1 0 0" range="0.01 0.03"/>'
        '<geom type="box" size="0.01 0.01 0.06" pos="0 0 0.06" mass="0.05"/></body>'
    )
    arm = ARM.replace(FLANGE, FLANGE + finger)
    for robot, place in ((ROBOT, 0.01), (ROBOT + "fixed_joints: {grip: 0.03}\n", 0.03)):
        task = load(arm=arm, robot=robot)
        clearance = Clearance(task.robot, task.config.scene)
        body = clearance.model.body("finger")
        assert body.pos[0] == pytest.approx(place)
        assert (clearance.model.geom_bodyid[clearance.pairs] == body.id).any()
        assert clearance.model.njnt == 3
    with pytest.raises(ConfigError, match=r"fixed_joints.*knuckle.*grip"):
        check_robot(load(arm=arm, robot=ROBOT + "fixed_joints: {knuckle: 0.0}\n"))


def test_the_tool_may_be_a_body(load):
    assert is_sound(load(robot=ROBOT.replace("tool: tool", "tool: flange")))
    with pytest.raises(ConfigError, match=r"no site, body or link 'hand'.*flange"):
        check_robot(load(robot=ROBOT.replace("tool: tool", "tool: hand")))


@pytest.mark.parametrize(
    ("base", "package"),
    [
        pytest.param(CYLINDER, "", id="no mesh"),
        pytest.param(MESH, "ros/toy_arm", id="ROS_PACKAGE_PATH"),
        pytest.param(MESH, "install/share/toy_arm", id="ament index"),
        pytest.param(MESH, "toy_arm", id="a folder beside it"),
    ],
)
def test_a_urdf_is_taken_as_it_is(load, tmp_path, base, package, monkeypatch):
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "ros"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    meshes = {f"{package}/meshes/base.obj": TETRAHEDRON} if package else {}
    task = load(
        robot=NAMES.replace("arm.xml", "arm.urdf"),
        scene=SCENE.replace('<include file="arm.xml"/>', ""),
        **{"arm.urdf": URDF.format(inertia=INERTIA, base=base), **meshes},
    )
    assert is_sound(task)
    assert task.robot.velocity_limit == (2.0, 2.0, 2.0)
    assert task.robot.effort_limit == (60.0, 60.0, 30.0)
    assert "velocity_limit" not in task.robot.unconfirmed


def test_a_mesh_that_cannot_be_read_is_named(load):
    robot = NAMES.replace("arm.xml", "arm.urdf")
    for name, said in (
        ("nowhere.stl", r"nowhere.stl': no such file: .*/nowhere.stl$"),
        ("package://toy_arm/a.stl", r"package 'toy_arm' not found.*ROS_PACKAGE_PATH$"),
    ):
        mesh = f'<mesh filename="{name}"/>'
        with pytest.raises(ConfigError, match=said):
            load(robot=robot, **{"arm.urdf": URDF.format(inertia=INERTIA, base=mesh)})


@pytest.mark.parametrize(
    "inertia",
    [
        pytest.param("", id="none"),
        pytest.param(INERTIA.replace('value="1"', 'value="0"'), id="no mass"),
        pytest.param(INERTIA.replace('ixy="0"', 'ixy="0.5"'), id="an impossible inertia"),
    ],
)
@pytest.mark.parametrize("robot", [NAMES, ROBOT], ids=["estimated", "complete"])
def test_a_link_without_a_usable_inertia_is_named_with_the_remedy(load, robot, inertia):
    link = f'<link name="l1">{INERTIA}'
    urdf = URDF.format(inertia=INERTIA, base=CYLINDER)
    with pytest.raises(ConfigError, match=r"the link or body '(arm/)?l1' has no .*<inertial>"):
        check_robot(
            load(
                robot=robot.replace("arm.xml", "arm.urdf"),
                scene=SCENE.replace('<include file="arm.xml"/>', ""),
                **{"arm.urdf": urdf.replace(link, f'<link name="l1">{inertia}')},
            )
        )


def test_a_mesh_of_a_type_that_mujoco_does_not_read_is_to_be_converted(load):
    with pytest.raises(ConfigError, match=r"the type of .*base\.dae.*assimp export base.dae base"):
        load(
            robot=NAMES.replace("arm.xml", "arm.urdf"),
            **{
                "arm.urdf": URDF.format(inertia=INERTIA, base='<mesh filename="base.dae"/>'),
                "base.dae": "<COLLADA/>",
            },
        )


def test_an_arm_has_a_folder_of_its_own(load):
    mesh = '<asset><mesh name="base" file="base.obj"/></asset>'
    arm = ARM.replace('angle="radian"', 'angle="radian" meshdir="assets"').replace("<asset/>", mesh)
    arm = arm.replace('type="cylinder" size="0.06 0.05"', 'type="mesh" mesh="base"')
    task = load(
        robot=ROBOT.replace("arm.xml", "maker/arm.xml"),
        scene=SCENE.replace("arm.xml", "maker/arm.xml"),
        **{
            "maker__arm.xml": arm,
            "maker__assets__base.obj": TETRAHEDRON,
        },
    )
    assert is_sound(task)


def test_a_scene_with_an_arm_of_its_own_is_refused_with_the_line_to_delete(load):
    with pytest.raises(ConfigError, match=r"joint 'j1' of its own.*Delete the <include>"):
        check_robot(load(scene=SCENE.replace("arm.xml", "other.xml"), **{"other.xml": ARM}))


def test_a_joint_may_have_no_limits(load):
    arm = ARM.replace(' range="-2.9 2.9"', "")
    for word in ("null", ".inf", "continuous"):
        robot = ROBOT.replace("[2.9,", f"[{word},").replace(
            "[-2.9,", f"[{word.replace('.', '-.')},"
        )
        assert is_sound(load(arm=arm, robot=robot))


def test_numbers_without_a_point_are_numbers(load):
    task = load(robot=ROBOT.replace("2000.0", "2e3").replace("60.0", "6e1"))
    assert task.robot.servo_stiffness[:2] == (2000.0, 2000.0)


def test_limits_in_degrees_are_asked_about(load):
    with pytest.raises(ConfigError, match="radians"):
        check_robot(load(arm=ARM.replace(' angle="radian"', "")))


def test_what_a_robot_file_leaves_out_is_estimated_and_a_real_arm_waits_for_it(load):
    task = load(robot=NAMES)
    assert is_sound(task)
    assert task.robot.position_upper == (2.9, 1.8, 2.5)
    assert {"velocity_limit", "acceleration_limit"} <= set(task.robot.unconfirmed)
    with pytest.raises(ConfigError, match=r"velocity_limit.*nobody has confirmed"):
        task.robot.check_confirmed()
    assert any("nobody has confirmed" in text for text in check_robot(task).warnings)
    load().robot.check_confirmed()


def test_an_estimated_torque_moves_a_heavy_arm_about_a_vertical_axis(load):
    light = '<geom type="capsule" size="0.025" fromto="0 0 0.05 0 0 0.25" mass="0.8"/>'
    task = load(arm=ARM.replace(light, light.replace("0.8", "80")), robot=NAMES)
    assert is_sound(task)
    assert task.robot.effort_limit[0] > 100.0
    limited = load(robot=NAMES + "acceleration_limit: [0.1, 0.1, 0.1]\n")
    assert limited.robot.effort_limit[0] == 3.0


@pytest.mark.parametrize("key", ["base_frame", "tool_frame", "joint_prefix"])
def test_a_frame_that_tf2_refuses_is_refused(load, key):
    with pytest.raises(ConfigError, match=rf"'{key}' is '/left', expected no slash"):
        load(robot=f"{ROBOT}{key}: /left\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"arm": ARM.replace("<geom ", '<geom contype="0" conaffinity="0" ')},
            "no geom of them can collide",
            id="visual shapes alone",
        ),
        pytest.param(
            {"arm": ARM.replace('fromto="0 0 0.1 0 0 0.3"', 'fromto="0 0 0 0 0 0.3"')},
            "base-l2 .* nearer than clearance_m",
            id="shapes that are always near",
        ),
        pytest.param(
            {"task": TASK.replace("[0.30", "[0.60").replace("[0.50", "[0.80")},
            "reaches .* % of the target box",
            id="a box that is partly out of reach",
        ),
        pytest.param(
            {"robot": ROBOT.replace("[j1, j2, j3]", "[j3, j2, j1]").replace("2.9", "1.7")},
            "from the base to the tool they are j1, j2, j3",
            id="another order of joints",
        ),
        pytest.param(
            {"task": TASK.replace("velocity", "position").replace("[0.8,", "[5.0,")},
            r"'action_scale' .* in one control step.*j1 5 \(at most 0.1\)",
            id="steps beyond the speed limit",
        ),
        pytest.param(
            {"task": TASK.replace("[0.8,", "[5.0,")},
            r"'action_scale' is beyond velocity_limit, .*j1 5 \(at most 2\)$",
            id="speeds beyond the limit",
        ),
        pytest.param(
            {"task": TASK.replace("rad: 0.3", "rad: 10")},
            "'start_spread_rad' is 10, more than half the range of j1, j2, j3",
            id="start poses beyond the limits",
        ),
        pytest.param(
            {"task": TASK.replace("[0.50, 0.20, 0.40]", "[0.30, -0.20, 0.15]")},
            "are the same point",
            id="a single target",
        ),
    ],
)
def test_what_should_be_changed_is_said(load, changes, said):
    warnings = check_robot(load(**changes)).warnings
    assert any(re.search(said, text) for text in warnings), warnings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"task": TASK.replace("[0.30", "[1.30").replace("[0.50", "[1.50")},
            "reaches no point of the target box",
            id="a box out of reach",
        ),
        pytest.param(
            {
                "scene": SCENE.replace(
                    "</worldbody>", '<geom pos="0.1 0 0.33" size="0.03"/></worldbody>'
                )
            },
            "these overlap: .*l2-world",
            id="an arm in an obstacle",
        ),
    ],
)
def test_an_arm_that_cannot_be_trained_is_refused(load, changes, said):
    with pytest.raises(ConfigError, match=said):
        require_sound_robot(load(**changes))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hold_s: 0.5", "hold_s: 6.0", "'hold_s' is 6, expected at most 'episode_s', 5"),
        ("tolerance_m: 0.02", "tolerance_m: 0.0", "'tolerance_m' must be at least 0.0001"),
    ],
)
def test_a_task_that_cannot_succeed_is_refused(load, old, new, said):
    with pytest.raises(ConfigError, match=said):
        load(task=TASK.replace(old, new))


def test_a_task_may_be_a_module_of_ones_own(load):
    module = (
        "from sql_ros.robot.tasks.reach import TaskConfig\n"
        "from sql_ros.robot.tasks.reach import Task as Reach\n"
        "class Task(Reach):\n    pass\n"
    )
    task = load(
        task=TASK.replace("kind: reach", "kind: my_tasks.push"),
        **{"my_tasks__push.py": module, "my_tasks____init__.py": ""},
    )
    assert type(task).__module__ == "my_tasks.push"
    with pytest.raises(ConfigError, match=r"kind 'nothing.here' is not one of: reach, stack"):
        load(task=TASK.replace("kind: reach", "kind: nothing.here"))


def test_a_task_without_a_scene_has_a_floor_a_camera_and_a_goal(load):
    task = load(task=TASK.replace("scene: scene.xml\n", ""))
    sim = Simulation(task.config.scene, task.robot, goal=True)
    assert sim.model.camera("overview") is not None
    assert sim.model.geom("floor") is not None


def test_a_scene_without_a_camera_is_seen_by_one_of_its_own(load):
    task = load(scene=SCENE.replace('name="overview"', 'name="mine"'))
    sim = Simulation(task.config.scene, task.robot)
    sim.advance(1)
    camera = sim.data.camera("overview")
    forward = -camera.xmat.reshape(3, 3)[:, 2]
    to_arm = np.array([0.3, 0.0, 0.3]) - camera.xpos
    assert forward @ to_arm > 0.98 * np.linalg.norm(to_arm)
    assert sim.model.vis.global_.offwidth >= 960  # for arm.png


def test_targets_inside_an_obstacle_are_not_reachable(load):
    """More than a third of the box is in a block that the arm would have to enter."""
    block = '<geom name="block" type="box" size="0.2 0.1 0.2" pos="0.4 0.15 0.275"/></worldbody>'
    assert check_robot(load()).reachable > 0.85
    report = check_robot(load(scene=SCENE.replace("</worldbody>", block)))
    assert not report.errors
    assert 0.2 < report.reachable < 0.6
    assert any("away from its ends and from obstacles" in text for text in report.warnings)


def test_a_slide_is_kept_from_obstacles_as_fast_as_it_moves(load):
    """A gantry along x: its shapes are as near to its axis as they are thick."""
    arm = ARM.replace('<joint name="j1" axis="0 0 1" range="-2.9 2.9"/>', SLIDE)
    arm = arm.replace('name="l1" pos="0 0 0.15"', 'name="l1" pos="0 0 0.3"')
    wall = '<geom name="wall" type="box" size="0.02 1 1" pos="1.2 0 0.5"/></worldbody>'
    robot = ROBOT.replace("[-2.9,", "[-1.0,").replace("[2.9,", "[2.0,").replace("0.5, 1.0", "0, 0")
    task = load(arm=arm, robot=robot, scene=SCENE.replace("</worldbody>", wall))
    safety = SafetyFilter(task.robot, "velocity", 0.05, task.config.scene)
    clearance = Clearance(task.robot, task.config.scene)
    kinematics = Arm(task.robot)
    position = np.zeros(3)
    nearest = np.inf
    for step in range(400):
        state = kinematics.state(1 + step * 50_000_000, position, np.zeros(3), np.zeros(3))
        position = position + 0.05 * safety.admit(np.array([2.0, 0.0, 0.0]), state)
        nearest = min(nearest, float(clearance.measure_all(position).min()))
    assert position[0] > 0.5
    assert nearest > 0.5 * task.robot.clearance_m


def test_overlapping_neighbours_keep_their_distance_elsewhere(load):
    """The hub of l2 overlaps the base; its tube must not go into it."""
    hub = '<joint name="j2" range="-1.8 1.8"/><geom size="0.06" pos="0 0 -0.05" mass="0.1"/>'
    arm = ARM.replace('<joint name="j2" range="-1.8 1.8"/>', hub)
    task = load(arm=arm, robot=ROBOT + "always_near: [[base, l2]]\n")
    clearance = Clearance(task.robot, task.config.scene)
    pairs = {
        tuple(sorted(str(clearance.model.body(body).name) for body in bodies))
        for bodies in clearance.model.geom_bodyid[clearance.pairs]
    }
    assert ("base", "l3") in pairs
    assert clearance.overlapping == [("base", "l1")]  # the ball on its cylinder
    assert "not kept apart: base-l1 (always overlapping)" in check_robot(task).lines()
    limits = effective_limits(task, clearance, 0.0, {})
    assert "not kept apart, always overlapping: base and l1" in limits
    sim = Simulation(task.config.scene, task.robot)
    assert ("base", "l2") not in overlapping_bodies(sim)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"scene": SCENE.replace("</mujoco>", EXCLUDE.format("l3", "base"))},
            r"<exclude> or <pair> of base, l3",
            id="an exclude of the scene that names the arm",
        ),
        pytest.param(
            {"arm": ARM.replace("<option ", '<option gravity="9.81 0 0" ')},
            r"gravity of .* is \[9.81",
            id="another gravity",
        ),
        pytest.param(
            {"scene": SCENE.replace("<worldbody>", HELD), "held.xml": LOOSE},
            "expected one body without joints",
            id="a held object that can move",
        ),
    ],
)
def test_a_scene_that_takes_protection_from_the_arm_is_refused(load, changes, said):
    with pytest.raises(ConfigError, match=said):
        check_robot(load(**changes))


def test_names_of_a_scene_never_become_those_of_the_arm(load):
    scene = SCENE.replace(
        "</worldbody>",
        '<body name="l3" pos="2 2 1"><geom name="l2" size="0.1"/></body>'
        '<body name="block" pos="2 -2 1"><geom size="0.1"/><site name="flange"/></body>'
        "</worldbody>",
    ).replace("</mujoco>", EXCLUDE.format("l3", "block"))
    task = load(scene=scene, robot=ROBOT.replace("tool: tool", "tool: flange"))
    model = Simulation(task.config.scene, task.robot).model
    assert model.body("scene/l3").pos[0] == 2.0
    assert model.body(int(model.site("flange").bodyid[0])).name == "flange"
    assert is_sound(task)


def test_the_scene_of_the_robot_file_counts_where_the_task_names_none(load):
    task = load(task=TASK.replace("scene: scene.xml\n", ""), robot=ROBOT + "scene: scene.xml\n")
    assert task.config.scene.endswith("scene.xml")


def test_an_object_that_can_move_is_said_not_to_be_guarded(load):
    door = '<body name="door" pos="1 1 0.3"><joint/><geom type="box" size=".1 .1 .3"/></body>'
    report = check_robot(load(scene=SCENE.replace("</worldbody>", door + "</worldbody>")))
    assert any("door of the scene can move" in text for text in report.warnings)


def test_limits_beyond_the_description_are_an_error(load):
    arm = ARM.replace('<joint axis="0 1 0" ', '<joint axis="0 1 0" actuatorfrcrange="-40 40" ')
    with pytest.raises(ConfigError, match="limits beyond the description: j1: effort_limit 60"):
        require_sound_robot(load(arm=arm))


def test_a_joint_without_a_range_is_a_guess(load):
    task = load(arm=ARM.replace(' range="-2.9 2.9"', ""), robot=NAMES)
    assert {"position_lower", "position_upper"} <= set(task.robot.unconfirmed)


def test_the_tool_of_a_task_frees_no_point_of_the_arm_from_the_speed_limit(load):
    """The robot's tool sticks out of all shapes; the task looks at the wrist."""
    arm = ARM.replace(FLANGE, '<site name="tool" pos="0 0 0.5"/><site name="wrist"/>')
    robot = load(arm=arm).robot
    scene = load(arm=arm).config.scene
    other = load(arm=arm, task=TASK + "tool: wrist\n").robot
    pose = np.array(robot.neutral_position)
    speed = np.array([0.0, 1.0, 0.0])
    fastest = [
        Clearance(each, scene).link_speeds().squared(pose, speed).max() for each in (robot, other)
    ]
    assert fastest[1] == pytest.approx(fastest[0])


def test_a_fixed_joint_behind_a_controlled_one_leaves_its_axis(load):
    """j2 bends about y; the fixed joint behind it twists the link about its own length."""
    twist = '<joint name="j2" range="-1.8 1.8"/><joint name="twist" axis="0 0 1" pos="0.1 0 0"/>'
    arm = ARM.replace('<joint name="j2" range="-1.8 1.8"/>', twist)
    task = load(arm=arm, robot=ROBOT + "fixed_joints: {twist: 1.2}\n")
    model = mujoco.MjModel.from_xml_string(arm)
    data = mujoco.MjData(model)
    kinematics = Arm(task.robot)
    for pose in np.random.default_rng(0).uniform(-1.5, 1.5, (5, 3)):
        data.qpos[:] = [pose[0], pose[1], 1.2, pose[2]]
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(
            kinematics.tool_position(pose), data.site("tool").xpos, atol=1e-12
        )


@pytest.mark.parametrize("place", ["l2", "flange"])
def test_a_joint_that_carries_the_arm_and_is_not_controlled_needs_a_posture(load, place):
    """Such as the lever of a palletiser, which another joint moves (mimic)."""
    names = {"l2": '<body name="l2">', "flange": '<body name="flange" pos="0 0 0.3">'}
    arm = ARM.replace(names[place], names[place] + '<joint name="lever" axis="0 0 1"/>')
    with pytest.raises(ConfigError, match=r"'lever'.*fixed_joints.*mimic"):
        check_robot(load(arm=arm))
    check_robot(load(arm=arm, robot=ROBOT + "fixed_joints: {lever: 0.1}\n"))


@pytest.mark.filterwarnings("ignore:compiler attribute")
def test_the_masses_of_an_arm_are_those_of_its_own_file(load):
    total = 'angle="radian" settotalmass="20"'
    alone = mujoco.MjModel.from_xml_string(ARM.replace('angle="radian"', total))
    scene = SCENE.replace("<worldbody>", '<compiler settotalmass="99"/><worldbody>')
    task = load(arm=ARM.replace('angle="radian"', total), scene=scene)
    model = Simulation(task.config.scene, task.robot).model
    for name in ("l2", "l3"):
        assert model.body(name).mass == pytest.approx(alone.body(name).mass)
        assert model.body(name).inertia == pytest.approx(alone.body(name).inertia)


def test_what_always_overlaps_the_scene_is_refused_until_it_is_named(load):
    """Nothing of the scene is dropped without a word."""
    stand = '<body name="stand" pos="0 0 0.15"><geom size="0.04"/></body></worldbody>'
    scene = SCENE.replace("</worldbody>", stand)
    with pytest.raises(ConfigError, match="never so far apart: l1 and stand"):
        check_robot(load(scene=scene))
    check_robot(load(scene=scene, robot=ROBOT + "always_near: [[l1, stand]]\n"))


def _closest(task, joint: int) -> float:
    """Return the least distance while the filter is asked to move one joint up [m]."""
    safety = SafetyFilter(task.robot, "velocity", 0.05, task.config.scene)
    clearance = Clearance(task.robot, task.config.scene)
    kinematics = Arm(task.robot)
    position = np.array(task.robot.neutral_position)
    wish = np.eye(3)[joint] * 2.0
    nearest = np.inf
    for step in range(100):
        state = kinematics.state(1 + step * 50_000_000, position, np.zeros(3), np.zeros(3))
        position = position + 0.05 * safety.admit(wish, state)
        clearance.measure_all(position)
        shapes = [clearance.model.body(name).geomadr[0] for name in ("l2", "l3")]
        nearest = min(
            nearest, mujoco.mj_geomDistance(clearance.model, clearance.data, *shapes, 1.0, None)
        )
    return nearest


def test_a_link_is_kept_from_its_parent_where_they_are_clear_at_rest(load):
    """l3 folds onto l2 at 2.5 rad."""
    task = load()
    assert _closest(task, 2) > 0.5 * task.robot.clearance_m


def test_neighbours_that_are_near_at_rest_are_named(load):
    report = check_robot(load(robot=ROBOT + "clearance_m: 0.04\n"))
    assert any(text.startswith("l2-l3 (neighbours") for text in report.unguarded)


def test_shapes_whose_bits_match_nothing_are_guarded(load):
    arm = ARM.replace('size="0.025"', 'size="0.025" contype="2" conaffinity="4"')
    clearance = Clearance(load(arm=arm).robot, load(arm=arm).config.scene)
    assert (clearance.pairs == clearance.model.body("l3").geomadr[0]).any()


def test_an_arm_whose_bits_match_nothing_of_the_scene_is_kept_from_it(load):
    block = '<body name="block" pos="1 1 0"><geom size="0.1"/></body></worldbody>'
    arm = ARM.replace("<geom ", '<geom contype="2" conaffinity="2" ')
    task = load(arm=arm, scene=SCENE.replace("</worldbody>", block))
    clearance = Clearance(task.robot, task.config.scene)
    assert (clearance.pairs == clearance.model.body("block").geomadr[0]).any()


def test_limits_and_starts_of_a_slide_are_in_metres_and_within_its_range(load):
    arm = ARM.replace('<joint name="j1" axis="0 0 1" range="-2.9 2.9"/>', SLIDE)
    arm = arm.replace('name="l1" pos="0 0 0.15"', 'name="l1" pos="0 0 0.3"')
    robot = ROBOT.replace("[-2.9,", "[-0.1,").replace("[2.9,", "[0.1,")
    task = load(arm=arm, robot=robot)
    limits = effective_limits(task, Clearance(task.robot, task.config.scene), 0.0, {})
    assert "j1: -0.050 to 0.050 m, 1.8 m/s, 7.2 m/s^2" in limits
    assert "j2: -1.750 to 1.750 rad," in limits
    rng = np.random.default_rng(0)
    starts = np.array([task.begin(rng).start for _ in range(50)])
    assert np.abs(starts[:, 0]).max() <= 0.05
    assert np.ptp(starts[:, 1]) > 0.4
