"""Our UR5e model against the maker's table of DH parameters, masses and centres of mass, computed
here in closed form.

Source: Universal Robots, "DH Parameters for calculations of kinematics and dynamics", UR5e
(universal-robots.com). The model itself is written from Universal_Robots_ROS2_Description
(2221ec0), so the two agree only if both are read right. Joint angles in [rad], joint order as in
`JOINTS`. The table's base frame is the model's, turned by pi about z.
"""

import itertools
from pathlib import Path

import mujoco
import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot
from sql_ros.sim.simulation import Simulation

SIM = Path(__file__).parents[2] / "sim"
UR5E_XML = SIM / "robots" / "ur5e.xml"
SCENE = "sim/scenes/ur5e_reach.xml"

JOINTS = [
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
]
LINKS = [
    "shoulder_link",
    "upper_arm_link",
    "forearm_link",
    "wrist_1_link",
    "wrist_2_link",
    "wrist_3_link",
]

# a [m], d [m], alpha [rad], mass [kg], centre of mass in the link's own DH frame [m]
DH = [
    (0.0, 0.1625, np.pi / 2, 3.761, (0.0, -0.02561, 0.00193)),
    (-0.425, 0.0, 0.0, 8.058, (0.2125, 0.0, 0.11336)),
    (-0.3922, 0.0, 0.0, 2.846, (0.15, 0.0, 0.0265)),
    (0.0, 0.1333, np.pi / 2, 1.37, (0.0, -0.0018, 0.01634)),
    (0.0, 0.0997, -np.pi / 2, 1.3, (0.0, 0.0018, 0.01634)),
    (0.0, 0.0996, 0.0, 0.365, (0.0, 0.0, -0.001159)),
]

# Moments of inertia in the link frame [kg m^2], of the description; the table has none for this
# arm.
INERTIA = [
    (0.0102675, 0.0102675, 0.00666),
    (0.0151074, 0.13388583541666665, 0.13388583541666665),  # along x: its cylinder lies
    (0.004095, 0.03120936758333333, 0.03120936758333333),
    (0.0025599, 0.0025599, 0.0021942),
    (0.0025599, 0.0025599, 0.0021942),
    (9.890414008333333e-05, 9.890414008333333e-05, 0.0001321171875),
]

POSES = {
    "zero": [0, 0, 0, 0, 0, 0],
    "neutral": [-0.25, -1.5, 1.6, -1.67, -1.57, 0],
    "A": [0.3, -0.5, 0.2, 1.1, -0.4, 0.7],
    "B": [-1.2, -2.4, -0.9, -1.5, 1.7, -0.6],
    "C": [2.9, 1.3, 2.2, 3.9, -5.1, 4.4],
}


@pytest.fixture
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(UR5E_XML))


@pytest.fixture(scope="module")
def robot() -> RobotConfig:
    return load_robot("ur5e")


def at(model: mujoco.MjModel, joint_positions) -> mujoco.MjData:
    """A state at rest with every derived quantity computed."""
    data = mujoco.MjData(model)
    data.qpos[:] = joint_positions
    mujoco.mj_forward(model, data)
    return data


def dh_frames(joint_positions) -> list[np.ndarray]:
    """Poses (4, 4) of the DH frames 0 .. 6 in the model's world frame."""
    frames = [np.diag([-1.0, -1.0, 1.0, 1.0])]
    for angle, (a, d, alpha, *_) in zip(joint_positions, DH):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        step = [
            [c, -s * ca, s * sa, a * c],
            [s, c * ca, -c * sa, a * s],
            [0, sa, ca, d],
            [0, 0, 0, 1],
        ]
        frames.append(frames[-1] @ np.array(step))
    return frames


@pytest.mark.parametrize("pose", POSES)
def test_the_tool_is_where_the_dh_parameters_say(model, pose):
    data, expected = at(model, POSES[pose]), dh_frames(POSES[pose])[-1]
    assert data.site("tool0").xpos == pytest.approx(expected[:3, 3], abs=1e-6)
    assert data.site("tool0").xmat.reshape(3, 3) == pytest.approx(expected[:3, :3], abs=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_the_centres_of_mass_are_where_the_table_says(model, pose):
    data, frames = at(model, POSES[pose]), dh_frames(POSES[pose])
    for link, frame, (*_, centre) in zip(LINKS, frames[1:], DH):
        assert data.body(link).xipos == pytest.approx((frame @ [*centre, 1.0])[:3], abs=1e-6), link


@pytest.mark.parametrize("pose", POSES)
def test_the_torque_that_holds_the_arm_follows_from_the_table(model, pose):
    frames = dh_frames(POSES[pose])
    centres = [(frame @ [*centre, 1.0])[:3] for frame, (*_, centre) in zip(frames[1:], DH)]
    holding = [
        sum(
            9.81 * DH[i][3] * np.cross(frames[j][:3, 2], centres[i] - frames[j][:3, 3])[2]
            for i in range(j, 6)
        )
        for j in range(6)
    ]
    assert at(model, POSES[pose]).qfrc_bias == pytest.approx(holding, abs=1e-3)


def test_the_links_weigh_and_resist_what_the_sources_say(model):
    assert [model.body(link).mass[0] for link in LINKS] == pytest.approx(
        [mass for *_, mass, _ in DH], abs=1e-9
    )
    assert model.body("shoulder_link").subtreemass[0] == pytest.approx(17.7, abs=1e-9)
    for link, moments in zip(LINKS, INERTIA):
        axes = np.zeros(9)
        mujoco.mju_quat2Mat(axes, model.body(link).iquat)
        tensor = axes.reshape(3, 3) @ np.diag(model.body(link).inertia) @ axes.reshape(3, 3).T
        assert tensor == pytest.approx(np.diag(moments), abs=1e-9), link


def test_shapes_add_no_mass(model):
    assert sum(model.body_mass) == pytest.approx(17.7 + 4.0, abs=1e-9)


def test_limits_are_the_same_in_the_model_and_in_the_config(model, robot):
    assert model.jnt_range == pytest.approx(
        np.column_stack([robot.position_lower, robot.position_upper]), abs=1e-6
    )
    assert np.all(model.jnt_range[:, 0] <= robot.position_lower)
    assert np.all(model.jnt_range[:, 1] >= robot.position_upper)
    assert model.jnt_actfrcrange == pytest.approx(
        np.column_stack([-np.array(robot.effort_limit), robot.effort_limit])
    )
    assert np.all(model.jnt_limited)
    assert np.all(model.jnt_actfrclimited)


@pytest.mark.parametrize("place", ["", SCENE], ids=["robot", "scene"])
def test_motors_drive_the_six_joints_in_the_order_of_commands(place, robot):
    model = load_model(robot, place)
    assert list(robot.joints) == JOINTS
    assert [model.joint(i).name for i in range(model.njnt)] == JOINTS
    assert [model.actuator(i).name for i in range(model.nu)] == JOINTS
    assert model.actuator_trnid[:, 0].tolist() == [model.joint(name).id for name in JOINTS]


@pytest.mark.parametrize("pose", POSES)
def test_gravity_compensation_is_the_torque_that_holds_the_arm(model, pose):
    data = at(model, POSES[pose])
    assert data.qfrc_gravcomp == pytest.approx(data.qfrc_bias, abs=1e-9)


def test_the_released_arm_stays_where_it_is_and_would_fall_uncompensated(model):
    data = at(model, POSES["neutral"])
    mujoco.mj_step(model, data, nstep=500)
    assert data.qpos == pytest.approx(POSES["neutral"], abs=1e-3)
    model.body_gravcomp[:] = 0.0
    mujoco.mj_step(model, data, nstep=500)
    assert np.abs(data.qpos - POSES["neutral"]).max() > 0.1


def test_the_gap_between_a_link_and_the_next_is_the_same_in_every_pose(model):
    """Why no pair of shapes has to be excluded, and why a filter of distances never stops a
    joint by its own housing.
    """
    generator = np.random.default_rng(0)
    shapes = [
        [
            g
            for g in range(model.ngeom)
            if model.geom_bodyid[g] == model.body(name).id and model.geom_contype[g]
        ]
        for name in ["base_link_inertia", *LINKS]
    ]
    gaps = []
    for joint_positions in generator.uniform(*model.jnt_range.T, size=(50, 6)):
        data = at(model, joint_positions)
        gaps.append(
            [
                min(
                    mujoco.mj_geomDistance(model, data, a, b, 1.0, None)
                    for a in here
                    for b in there
                )
                for here, there in itertools.pairwise(shapes)
            ]
        )
    assert np.min(gaps) > 0.0
    assert np.ptp(gaps, axis=0).max() < 1e-4


@pytest.fixture
def sim(robot) -> Simulation:
    return Simulation("sim/scenes/ur5e_reach.xml", robot)


def test_the_position_servo_follows_a_ramp_at_twenty_commands_per_second(sim, robot):
    # up and away from the bench
    start, direction = np.array(robot.neutral_position), np.array([1, 1, -1, 1, 1, 1])
    steps, most = 0.04, 0.8
    behind = []
    for k in range(1, 41):
        goal = start + direction * min(steps * k, most)
        sim.command("position", goal, 0.05)
        sim.advance(25)
        behind.append(direction * (goal - sim.measure().position))
    assert np.max(behind) < 0.05  # 53 ms behind at 0.8 rad/s: damping over stiffness
    assert np.min(behind) > -0.003  # hardly any overshoot where the ramp stops
    assert np.abs(behind[-1]).max() < 1e-3


@pytest.mark.parametrize("joint", range(6), ids=JOINTS)
def test_the_position_servo_steps_without_ringing(sim, robot, joint):
    goal, reached = np.array(robot.neutral_position), []
    goal[joint] += 0.04
    for _ in range(400):
        sim.command("position", goal)
        sim.advance(1)
        reached.append((sim.measure().position[joint] - goal[joint] + 0.04) / 0.04)
    assert max(reached) < 1.02
    assert reached[24] > 0.5  # after one period of 20 Hz
    assert np.abs(np.array(reached[250:]) - 1.0).max() < 0.01


def test_the_scene_has_what_a_task_and_a_picture_need():
    scene = load_model(load_robot("ur5e"), SCENE)
    assert scene.camera("overview").id == 0
    assert scene.body("goal").mocapid[0] == 0
    data = mujoco.MjData(scene)
    data.qpos[:] = POSES["neutral"]
    mujoco.mj_forward(scene, data)
    data.mocap_pos[0] = data.site("tool0").xpos
    mujoco.mj_forward(scene, data)
    assert data.ncon == 0


def test_the_world_frame_is_base_link_and_not_the_pendants_base():
    """At zero the flange is at x = -0.8172 m in the maker's `base`, which is turned by pi."""
    tool = Arm(load_robot("ur5e")).state(0, *[np.zeros(6)] * 3).tool_position
    assert tool == pytest.approx([0.8172, 0.2329, 0.0628], abs=5e-4)
    assert load_robot("ur5e").wire_base_frame == "base_link"
