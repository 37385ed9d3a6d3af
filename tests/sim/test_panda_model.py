"""Our Panda model against the maker's tables, computed here in closed form.

Sources: "Denavit-Hartenberg parameters" and "Limits for Panda" of the Franka Control Interface
documentation (frankaemika.github.io/docs/control_parameters.html), in Craig's convention; masses
and centres of mass of frankaemika/franka_description, robots/fer/inertials.yaml, commit b299b39.
Joint angles in [rad].
"""

from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from sql_ros.arms.import_robot import import_robot
from sql_ros.arms.robot_checks import check_robot
from sql_ros.common.data_files import share_folder
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

PANDA_XML = Path(__file__).parents[2] / "sim/robots/panda.xml"
JOINTS = [f"panda_joint{index}" for index in range(1, 8)]
FLANGE_M = 0.107  # from the frame of joint 7 to the flange
TOOL_M = 0.1034  # from the flange to the point between the finger tips
TOOL_TURN = -np.pi / 4  # of the hand about the axis of the flange

# alpha [rad] and a [m] before the joint, d [m]
CRAIG = [
    (0.0, 0.0, 0.333),
    (-np.pi / 2, 0.0, 0.0),
    (np.pi / 2, 0.0, 0.316),
    (np.pi / 2, 0.0825, 0.0),
    (-np.pi / 2, -0.0825, 0.384),
    (np.pi / 2, 0.0, 0.0),
    (np.pi / 2, 0.088, 0.0),
]
# mass [kg] and centre of mass in the frame of the link [m]
MASSES = [
    (2.7907, (0.00033, -0.02204, -0.04762)),
    (2.5420, (0.00038, -0.09211, 0.01908)),
    (2.2513, (0.05152, 0.01696, -0.02971)),
    (2.2037, (-0.05113, 0.05825, 0.01698)),
    (2.2855, (-0.00005, 0.03730, -0.09280)),
    (1.353, (0.06572, -0.00371, 0.00153)),
    (0.35973, (0.00089, -0.00044, 0.05491)),
]
LIMITS = {
    "position_lower": (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    "position_upper": (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    "velocity_limit": (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    "acceleration_limit": (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    "effort_limit": (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
}
POSES = {
    "ready": [0.0, -0.785, 0.0, -2.36, 0.0, 1.57, 0.785],
    "A": [0.3, -0.5, 0.2, -1.1, -0.4, 0.7, 1.2],
    "B": [-1.2, 1.4, -0.9, -2.5, 1.7, 3.1, -2.6],
}


def craig_frames(joint_positions) -> list[np.ndarray]:
    """Return the poses (4, 4) of the frames 1 .. 7 in the world frame."""
    frames = [np.eye(4)]
    for angle, (alpha, a, d) in zip(joint_positions, CRAIG):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        step = [
            [c, -s, 0, a],
            [s * ca, c * ca, -sa, -d * sa],
            [s * sa, c * sa, ca, d * ca],
            [0, 0, 0, 1],
        ]
        frames.append(frames[-1] @ np.array(step))
    return frames[1:]


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model(load_robot("panda"))


def at(model: mujoco.MjModel, joint_positions) -> mujoco.MjData:
    """Return a state at rest with every derived quantity computed."""
    data = mujoco.MjData(model)
    data.qpos[:7] = joint_positions
    mujoco.mj_forward(model, data)
    return data


@pytest.mark.parametrize("pose", POSES)
def test_the_tool_is_where_the_dh_parameters_say(model, pose):
    flange = craig_frames(POSES[pose])[-1]
    c, s = np.cos(TOOL_TURN), np.sin(TOOL_TURN)
    tool = flange @ [[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, FLANGE_M + TOOL_M], [0, 0, 0, 1]]
    data = at(model, POSES[pose])
    assert data.site("panda_hand_tcp").xpos == pytest.approx(tool[:3, 3], abs=1e-6)
    turn = data.site("panda_hand_tcp").xmat.reshape(3, 3)
    assert turn == pytest.approx(tool[:3, :3], abs=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_masses_are_where_the_makers_table_says(model, pose):
    data = at(model, POSES[pose])
    for index, (frame, (mass, centre)) in enumerate(zip(craig_frames(POSES[pose]), MASSES), 1):
        link = f"panda_link{index}"
        assert model.body(link).mass[0] == pytest.approx(mass, abs=1e-9), link
        assert data.body(link).xipos == pytest.approx((frame @ [*centre, 1.0])[:3], abs=1e-6), link


def test_limits_are_the_makers_in_the_model_and_in_the_robot_file(model):
    robot = load_robot("panda")
    for key, values in LIMITS.items():
        assert getattr(robot, key) == pytest.approx(values), key
    arm = mujoco.MjModel.from_xml_path(str(PANDA_XML))
    expected = np.column_stack([LIMITS["position_lower"], LIMITS["position_upper"]])
    assert arm.jnt_range[:7] == pytest.approx(expected)
    assert arm.jnt_actfrcrange[:7, 1] == pytest.approx(LIMITS["effort_limit"])


def test_open_fingers_are_guarded_and_fixed():
    robot = load_robot("panda")
    clearance = Clearance(robot, load_task("panda_reach").config.scene)
    names = {clearance.model.geom(geom).name for geom in clearance.pairs.ravel()}
    assert {"leftfinger_collision", "rightfinger_collision", "hand_collision"} <= names
    sim = Simulation(load_task("panda_reach").config.scene, robot)
    sim.reset(np.array(robot.neutral_position))
    left, right = (sim.data.body(f"panda_{side}finger").xpos for side in ("left", "right"))
    assert np.linalg.norm(left - right) == pytest.approx(0.08, abs=1e-4)


def test_start_poses_are_free_and_no_pair_is_always_near():
    """A pair that is always near would slow every way to a start pose."""
    task = load_task("panda_reach")
    clearance = Clearance(task.robot, task.config.scene)
    generator = np.random.default_rng(1)
    starts = [task.begin(generator).start for _ in range(50)]
    nearest = min(clearance.measure_all(start).min() for start in starts)
    assert nearest > 1.2 * task.robot.clearance_m


def test_it_passes_the_checks_and_nothing_is_unconfirmed():
    report = check_robot(load_task("panda_reach"))
    assert report.errors == []
    assert report.warnings == []
    load_robot("panda").check_confirmed()


def test_the_shipped_files_are_those_of_the_import_but_for_what_was_confirmed(tmp_path):
    arm = import_robot(PANDA_XML, tmp_path / "panda", "panda_hand_tcp")
    assert arm.report.errors == []
    written = yaml.safe_load(arm.robot.read_text())
    shipped = yaml.safe_load((share_folder() / "config/robots/panda.yaml").read_text())
    replaced = {"model", "velocity_limit", "acceleration_limit", "may_touch", "controllers"}
    for key in set(written) - replaced - {"unconfirmed"}:
        assert shipped[key] == written[key], key
    task = yaml.safe_load(arm.task.read_text())
    shipped_task = yaml.safe_load((share_folder() / "config/tasks/panda_reach.yaml").read_text())
    for key in set(task) - {"robot", "scene", "command_mode", "action_scale"}:
        assert shipped_task[key] == task[key], key
