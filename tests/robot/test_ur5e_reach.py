"""The task `ur5e_reach`: an arm that is a config file and an MJCF."""

import itertools

import mujoco
import numpy as np
import pytest

from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task
from sql_ros.sim.simulation import Simulation


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("ur5e_reach")


@pytest.fixture(scope="module")
def sim(task) -> Simulation:
    return Simulation(task.config.scene, task.robot)


def movable_pairs(model: mujoco.MjModel, robot) -> list[tuple[int, int]]:
    """Pairs of colliding shapes whose distance depends on the joints, found by trying poses."""
    data, generator = mujoco.MjData(model), np.random.default_rng(0)
    shapes = [g for g in range(model.ngeom) if model.geom_contype[g]]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(shapes, 2)
        if model.geom_bodyid[a] != model.geom_bodyid[b]
    ]
    distances = []
    for position in generator.uniform(
        robot.position_lower, robot.position_upper, (30, len(robot.joints))
    ):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        distances.append([mujoco.mj_geomDistance(model, data, a, b, 3.0, None) for a, b in pairs])
    return [pair for pair, spread in zip(pairs, np.ptp(distances, axis=0)) if spread > 1e-3]


def test_it_has_another_number_of_joints_and_another_command_than_the_first_arm(task):
    assert task.spec.action_size == 6
    assert task.spec.observation_size == 18
    assert task.spec.command_mode == "position"
    assert task.robot.interface("position") == "trajectory"


def test_start_poses_keep_the_clearance_to_the_bench_and_to_the_arm_itself(task, sim):
    pairs = movable_pairs(sim.model, task.robot)
    spread, neutral = task.config.start_spread_rad, np.array(task.robot.neutral_position)
    generator = np.random.default_rng(1)
    starts = [
        neutral + spread * np.array(corner) for corner in itertools.product((-1, 1), repeat=6)
    ]
    starts += [task.begin(generator).start for _ in range(100)]
    nearest = np.inf
    for start in starts:
        sim.reset(start)
        assert sim.data.ncon == 0
        nearest = min(
            nearest,
            *(mujoco.mj_geomDistance(sim.model, sim.data, a, b, 0.5, None) for a, b in pairs),
        )
    assert len(pairs) > 60
    assert nearest > task.robot.clearance_m


def test_targets_are_within_reach_above_the_bench_and_away_from_the_base(task):
    shoulder = np.array([0.0, 0.0, 0.1625])
    for corner in itertools.product(*zip(task.config.target_lower, task.config.target_upper)):
        assert np.linalg.norm(np.array(corner) - shoulder) < 0.9 * (0.425 + 0.3922 + 0.0997)
        assert np.hypot(*corner[:2]) > 0.3
        assert corner[2] > 0.1


def test_a_full_step_is_within_the_speed_the_arm_may_have(task):
    fastest = np.array(task.config.action_scale) * task.config.control_rate_hz
    assert (fastest < task.robot.limit_fraction * np.array(task.robot.velocity_limit)).all()
