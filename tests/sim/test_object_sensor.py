"""Simulated objects: placed, measured with noise, delay and losses, drawn by seed."""

import numpy as np
import pytest
from push_file import PUSH

from sql_ros.envs.arm_env import ArmEnv
from sql_ros.robot.objects import ObjectPose, ObjectsConfig
from sql_ros.robot.tasks import load_task
from sql_ros.sim.object_sensor import ObjectSensor
from sql_ros.sim.simulation import Simulation

RATE_HZ = 20.0


@pytest.fixture(scope="module")
def sim():
    """Return the simulation of a task with a puck."""
    task = load_task(PUSH)
    return Simulation(task.config.scene, task.robot, goal=True, objects=("puck",))


def sensor_of(sim, seed=0, **settings):
    """Return a sensor of the puck."""
    config = ObjectsConfig(names=("puck",), **settings)
    return ObjectSensor(sim, config, RATE_HZ, np.random.default_rng(seed))


def put(sim, x):
    """Place the puck, and return its position."""
    sim.place_objects({"puck": ObjectPose(np.array([x, 0.0, 0.02]), np.eye(3))})
    return sim.object_poses()["puck"].position


def test_a_placed_object_lies_at_rest_where_it_was_placed(sim):
    put(sim, 0.7)
    sim.advance(200)
    assert np.allclose(sim.object_poses()["puck"].position, [0.7, 0.0, 0.02], atol=1e-3)


def test_a_pose_arrives_after_its_delay(sim):
    """A delay of 0.1 s is two measurements."""
    sensor = sensor_of(sim, delay_s=0.1)
    seen = []
    for x in (0.50, 0.51, 0.52, 0.53):
        put(sim, x)
        seen.append(float(sensor.measure()["puck"].position[0]))
    assert np.allclose(seen, [0.50, 0.50, 0.50, 0.51])


def test_noise_has_its_standard_deviation_and_follows_the_seed(sim):
    put(sim, 0.5)
    first, again, other = (sensor_of(sim, seed, noise_m=0.005) for seed in (1, 1, 2))
    errors = np.array([first.measure()["puck"].position - [0.5, 0.0, 0.02] for _ in range(500)])
    assert errors.std() == pytest.approx(0.005, rel=0.1)
    assert np.array_equal(again.measure()["puck"].position - [0.5, 0.0, 0.02], errors[0])
    assert not np.array_equal(other.measure()["puck"].position - [0.5, 0.0, 0.02], errors[0])


def test_lost_poses_do_not_arrive_but_the_first_does(sim):
    sensor = sensor_of(sim, lost_share=0.5)
    arrived = [bool(sensor.measure()) for _ in range(400)]
    assert arrived[0]
    assert np.mean(arrived) == pytest.approx(0.5, abs=0.08)
    sensor.restart()
    assert sensor.measure()


def test_the_same_instant_is_measured_once(sim):
    sensor = sensor_of(sim, noise_m=0.005)
    seen = sensor.observe()["puck"].position
    assert np.array_equal(sensor.observe()["puck"].position, seen)
    sim.advance(1)
    assert not np.array_equal(sensor.observe()["puck"].position, seen)


def test_an_episode_begins_with_the_object_where_the_task_drew_it():
    env = ArmEnv(PUSH)
    env.reset(seed=3)
    drawn = env._episode.objects["puck"].position
    assert np.allclose(env._sim.object_poses()["puck"].position, drawn)
    observed = env._state.objects["puck"].position
    assert 0.0 < np.linalg.norm(observed - drawn) < 0.03  # with noise of 5 mm
    for _ in range(3):
        env.step(np.ones(2, np.float32))
    first = env.reset(seed=3)[0]
    assert np.array_equal(first, env.reset(seed=3)[0])
