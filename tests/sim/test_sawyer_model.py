"""Our Sawyer model against reference values computed from the URDF numbers of
RethinkRobotics/sawyer_robot (d1ef3d0).

Frames: every position [m] and quaternion (w, x, y, z) is of `right_hand` in `right_arm_base_link`,
which coincides with the world frame of the model. Order of joints: right_j0 .. right_j6 [rad].
"""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot

SIM = Path(__file__).parents[2] / "sim"
SAWYER_XML = SIM / "robots" / "sawyer.xml"
SCENE = "sim/scenes/sawyer_reach.xml"

JOINTS = [f"right_j{i}" for i in range(7)]
LINKS = [f"right_l{i}" for i in range(7)]

# name: joint angles [rad]
POSES = {
    "zero": [0, 0, 0, 0, 0, 0, 0],
    "neutral": [0, -1.18, 0, 2.18, 0, 0.57, 3.3161],
    "shipping": [0, -1.57, 0, 2.79, 0, -2.79, 3.3161],
    "A": [0.3, -0.5, 0.2, 1.1, -0.4, 0.7, 1.2],
    "B": [-1.2, 0.4, -0.9, -1.5, 1.7, -0.6, -2.3],
}
NEUTRAL = np.array(POSES["neutral"])

# name: position [m], quaternion (w, x, y, z)
HAND = {
    "zero": (
        [1.015500000, 0.160300000, 0.316999820],
        [0.454518512, -0.541676620, 0.454521851, -0.541672640],
    ),
    "neutral": (
        [0.449597778, 0.160300000, 0.215754054],
        [0.000278950, 0.707098601, 0.707114851, 0.000278943],
    ),
    "shipping": (
        [0.218884115, 0.160300000, 0.475860088],
        [0.707114849, 0.000284138, 0.000284145, 0.707098599],
    ),
    "A": (
        [0.675369815, 0.437462670, 0.110674276],
        [0.142477114, -0.551788830, 0.818459993, -0.073161460],
    ),
    "B": (
        [0.614165230, -0.375781193, 0.681354784],
        [0.200920652, 0.269241427, -0.129647730, 0.932915544],
    ),
}

# Link origins of pose A [m], right_l0 .. right_l6.
LINK_ORIGINS_A = [
    [0.000000000, 0.000000000, 0.080000000],
    [0.062606245, 0.071703961, 0.317000000],
    [0.137868746, 0.244147484, 0.384119575],
    [0.371835421, 0.273434635, 0.501447568],
    [0.510985827, 0.209870938, 0.410760905],
    [0.693438202, 0.347707453, 0.254882023],
    [0.667677722, 0.436544530, 0.133917312],
]

# Torque that holds the arm against gravity [N m], g = 9.81 m/s^2, without gripper.
HOLDING_TORQUE = {
    "zero": [0.0000, -39.1952, -6.1951, -11.6478, 2.1347, -0.7025, -0.0273],
    "neutral": [0.0000, -16.3026, -2.3389, -5.9377, 1.1831, 0.0931, 0.0000],
    "shipping": [0.0000, -3.8691, -0.0049, -3.9862, 0.7525, -0.0942, 0.0000],
    "A": [0.0000, -33.3683, -3.7711, -8.6661, 1.6805, -0.0811, -0.0077],
    "B": [0.0000, -29.6892, 3.3105, -3.7454, 1.2583, -0.2300, -0.0037],
}

# Diagonal of the mass matrix without armature [kg m^2].
INERTIA_DIAGONAL = {
    "zero": [3.43625, 2.47609, 0.09059, 0.46519, 0.02822, 0.00796, 0.00038],
    "neutral": [1.05156, 0.95572, 0.36974, 0.45200, 0.03185, 0.00796, 0.00038],
    "shipping": [0.44822, 0.64098, 0.14039, 0.35675, 0.03070, 0.00796, 0.00038],
    "A": [2.66020, 1.87880, 0.49054, 0.45306, 0.03169, 0.00805, 0.00038],
    "B": [2.49980, 1.45759, 0.62487, 0.48187, 0.03139, 0.00801, 0.00038],
}

# Rows vx vy vz [m/rad], wx wy wz [rad/rad].
JACOBIAN_NEUTRAL = [
    [-0.160300, -0.101246, 0.029772, -0.471088, 0.114692, -0.134500, 0.000000],
    [0.449598, 0.000000, 0.379375, 0.000000, 0.072581, 0.000000, 0.000000],
    [0.000000, -0.368598, -0.012266, -0.216228, 0.073643, -0.000107, 0.000000],
    [0.000000, 0.000000, 0.380925, 0.000000, 0.540302, 0.000000, 0.000789],
    [0.000000, 1.000000, 0.000000, 1.000000, 0.000000, 1.000000, 0.000000],
    [1.000000, 0.000000, 0.924606, 0.000000, -0.841471, 0.000000, -1.000000],
]

# Lower and upper limit [rad], effort limit [N m].
LIMITS = [
    (-3.0503, 3.0503, 80),
    (-3.8095, 2.2736, 80),
    (-3.0426, 3.0426, 40),
    (-3.0439, 3.0439, 40),
    (-2.9761, 2.9761, 9),
    (-2.9761, 2.9761, 9),
    (-4.7124, 4.7124, 9),
]


@pytest.fixture
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(SAWYER_XML))


@pytest.fixture
def scene() -> mujoco.MjModel:
    return load_model(load_robot("sawyer"), SCENE)


def at(model: mujoco.MjModel, joint_positions) -> mujoco.MjData:
    """A state at rest with every derived quantity computed."""
    data = mujoco.MjData(model)
    data.qpos[:] = joint_positions
    mujoco.mj_forward(model, data)
    return data


def touching(model: mujoco.MjModel, data: mujoco.MjData) -> list[tuple[str, str]]:
    """Names of the geoms of each contact."""
    return [
        tuple(model.geom(g).name for g in contact.geom) for contact in data.contact[: data.ncon]
    ]


def chain_index(model: mujoco.MjModel, geom_name: str) -> int | None:
    """Place of a geom's link along the arm, the base being -1.

    None for what is not a link of the arm.
    """
    link = model.body(model.geom(geom_name).bodyid[0]).name
    order = ["right_arm_base_link", *LINKS, "right_hand"]
    # rigid with l0, l6
    places = {name: index - 1 for index, name in enumerate(order)} | {"head": 0, "right_hand": 6}
    return places.get(link)


@pytest.mark.parametrize("pose", POSES)
def test_the_hand_is_where_the_reference_says(model, pose):
    data = at(model, POSES[pose])
    position, quaternion = HAND[pose]
    measured = np.zeros(4)
    mujoco.mju_mat2Quat(measured, data.site("right_hand").xmat)
    assert data.site("right_hand").xpos == pytest.approx(position, abs=1e-6)
    assert measured * np.sign(measured @ quaternion) == pytest.approx(quaternion, abs=1e-6)


def test_the_site_and_the_body_of_the_hand_coincide(model):
    data = at(model, POSES["A"])
    assert data.site("right_hand").xpos == pytest.approx(data.body("right_hand").xpos, abs=1e-12)
    assert data.site("right_hand").xmat == pytest.approx(data.body("right_hand").xmat, abs=1e-12)


def test_the_link_origins_are_where_the_reference_says(model):
    data = at(model, POSES["A"])
    assert np.array([data.body(link).xpos for link in LINKS]) == pytest.approx(
        np.array(LINK_ORIGINS_A), abs=1e-6
    )


def test_the_jacobian_at_neutral_is_the_reference(model):
    data = at(model, NEUTRAL)
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], model.site("right_hand").id)
    assert jacobian == pytest.approx(np.array(JACOBIAN_NEUTRAL), abs=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_the_torque_that_holds_the_arm_is_the_reference(model, pose):
    assert at(model, POSES[pose]).qfrc_bias == pytest.approx(HOLDING_TORQUE[pose], abs=1e-2)


@pytest.mark.parametrize("pose", POSES)
def test_gravity_compensation_is_the_torque_that_holds_the_arm(model, pose):
    # At zero velocity the bias force is gravity alone.
    data = at(model, POSES[pose])
    assert data.qfrc_gravcomp == pytest.approx(data.qfrc_bias, abs=1e-9)
    assert data.qfrc_actuator == pytest.approx(data.qfrc_gravcomp, abs=1e-9)


@pytest.mark.parametrize("pose", POSES)
def test_the_inertia_the_joints_feel_is_the_reference(model, pose):
    model.dof_armature[:] = 0.0
    data = at(model, POSES[pose])
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    assert np.diag(inertia) == pytest.approx(INERTIA_DIAGONAL[pose], abs=1e-4)


def test_the_moving_links_weigh_what_the_urdf_says(model):
    assert sum(model.body(link).mass[0] for link in LINKS) == pytest.approx(17.0863, abs=1e-9)
    assert model.body("right_hand").mass[0] == 0.0
    # with the head
    assert model.body("right_l0").subtreemass[0] == pytest.approx(18.6658, abs=1e-9)


def test_the_limits_are_those_of_the_table(model):
    lower, upper, effort = np.array(LIMITS).T
    assert model.jnt_range == pytest.approx(np.column_stack([lower, upper]))
    assert model.jnt_actfrcrange == pytest.approx(np.column_stack([-effort, effort]))
    assert np.all(model.jnt_limited)
    assert np.all(model.jnt_actfrclimited)


@pytest.mark.parametrize("place", ["", SCENE], ids=["robot", "scene"])
def test_motors_drive_the_seven_joints_in_the_order_of_commands(place):
    model = load_model(load_robot("sawyer"), place)
    assert [model.joint(i).name for i in range(model.njnt)] == JOINTS
    assert [model.actuator(i).name for i in range(model.nu)] == JOINTS
    assert model.actuator_trnid[:, 0].tolist() == [model.joint(name).id for name in JOINTS]
    assert (model.nq, model.nv, model.nu) == (7, 7, 7)


def test_one_newton_metre_of_ctrl_is_one_newton_metre_above_gravity(model):
    data = at(model, NEUTRAL)
    resting = data.qfrc_actuator.copy()
    data.ctrl[:] = 1.0
    mujoco.mj_forward(model, data)
    assert data.qfrc_actuator - resting == pytest.approx(np.ones(7), abs=1e-9)


def test_the_effort_limit_holds_for_motor_and_gravity_compensation_together(model):
    data = at(model, NEUTRAL)
    data.ctrl[:] = 1000.0
    mujoco.mj_forward(model, data)
    assert data.qfrc_actuator == pytest.approx([effort for _, _, effort in LIMITS])


@pytest.mark.parametrize("pose", ["zero", "neutral", "A", "B"])
def test_nothing_touches_in_an_ordinary_pose(model, pose):
    assert touching(model, at(model, POSES[pose])) == []


def test_neighbouring_links_never_touch(model):
    generator = np.random.default_rng(0)
    neighbours = set()
    for joint_positions in generator.uniform(*model.jnt_range.T, size=(2000, 7)):
        for pair in touching(model, at(model, joint_positions)):
            places = [chain_index(model, name) for name in pair]
            if None not in places and abs(places[0] - places[1]) <= 2:
                neighbours.add(pair)
    assert neighbours == set()


@pytest.mark.parametrize("place", ["", SCENE], ids=["robot", "scene"])
def test_the_released_arm_stays_where_it_is(place):
    model = load_model(load_robot("sawyer"), place)
    data = at(model, NEUTRAL)
    mujoco.mj_step(model, data, nstep=round(1.0 / model.opt.timestep))
    assert data.qpos == pytest.approx(NEUTRAL, abs=1e-3)


def test_without_gravity_compensation_the_arm_would_fall(model):
    model.body_gravcomp[:] = 0.0
    data = at(model, NEUTRAL)
    mujoco.mj_step(model, data, nstep=round(1.0 / model.opt.timestep))
    assert np.abs(data.qpos - NEUTRAL).max() > 0.1


def test_shapes_add_no_mass(model):
    assert np.all(
        model.body_mass[[model.body(n).id for n in ("base", "controller_box", "pedestal_feet")]]
        == 0.0
    )


def test_the_scene_leaves_the_reach_workspace_free(scene):
    top = scene.geom("table_top")
    assert scene.body("table").pos[2] + top.pos[2] + top.size[2] == pytest.approx(-0.1)
    assert touching(scene, at(scene, NEUTRAL)) == []


def test_the_goal_is_a_mocap_body_that_touches_nothing(scene):
    goal = scene.geom("goal")
    assert scene.body("goal").mocapid[0] == 0
    assert goal.size[0] == pytest.approx(0.02)
    data = mujoco.MjData(scene)
    data.mocap_pos[0] = at(scene, NEUTRAL).site("right_hand").xpos
    data.qpos[:] = NEUTRAL
    mujoco.mj_forward(scene, data)
    assert data.ncon == 0
    assert data.geom("goal").xpos == pytest.approx(data.site("right_hand").xpos)


def test_the_scene_has_a_camera_for_pictures(scene):
    assert scene.camera("overview").id == 0
