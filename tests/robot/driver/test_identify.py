"""The identification tells which joint did what, and how late, before the arm has gone anywhere."""

import numpy as np
import pytest

from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm, wiring_matrix
from sql_ros.robot.arm import Arm
from sql_ros.robot.driver.identify import AMPLITUDE_RAD, Identification
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task

PERIOD = 0.05
PARTS = 25
TASKS = ("sawyer_reach", "ur5e_reach", "sawyer_stack")


def _identify(
    name, matrix=None, *, servo_s=0.01, late=0, noise_rad=0.0, robot=None, start=None, coasts=False
):
    """Return the identification of a plant that is wired as given, the farthest motion [rad] and
    how long it took [s].

    `late` is by how many periods the plant is behind; a plant that `coasts` goes on at its first
    speed.
    """
    task = load_task(name)
    robot, mode = robot or task.robot, task.config.command_mode
    origin = np.array(robot.neutral_position) + 0.1 if start is None else start
    plant = (
        DynamicArm(task.config.scene, robot, origin)
        if mode == "torque"
        else KinematicArm(origin, servo_s)
    )
    matrix = np.eye(len(origin)) if matrix is None else matrix
    arm, safety = Arm(robot), SafetyFilter(robot, mode, PERIOD, task.config.scene)
    identification, rng, queue = Identification(robot, mode, PERIOD), np.random.default_rng(0), []
    farthest, step, drift = 0.0, 0, np.zeros(len(origin))
    while not (identification.is_over or identification.failure):
        assert step * PERIOD < 120.0, identification.activity
        noise = noise_rad * rng.standard_normal(len(origin))
        state = arm.state(
            1 + step * 50_000_000, plant.position + noise, plant.velocity, plant.effort
        )
        command = safety.steer(identification.step(state), state)
        identification.sent(command, safety.asked)
        if coasts and mode == "velocity" and np.abs(command).max() > 0.05:
            drift = command
        queue.append(command)
        told = queue[max(len(queue) - 1 - late, 0)]
        begin = plant.position.copy()
        told = origin + matrix @ (told - origin) if mode == "position" else matrix @ told
        for part in range(1, PARTS + 1):
            if mode == "position":
                plant.advance(PERIOD / PARTS, "position", begin + (told - begin) * part / PARTS)
            else:
                plant.advance(
                    PERIOD / PARTS, "velocity" if mode == "velocity" else "effort", told + drift
                )
        farthest = max(farthest, float(np.abs(plant.position - origin).max()))
        step += 1
    return identification, farthest, step * PERIOD


@pytest.mark.parametrize("name", TASKS)
def test_an_arm_that_obeys_is_identified(name):
    identification, farthest, seconds = _identify(name)
    assert identification.failure == ""
    assert len(identification.scales) == len(load_task(name).robot.joints)
    assert np.array(identification.scales) == pytest.approx(1.0, abs=0.1)
    assert farthest < 1.3 * AMPLITUDE_RAD
    assert identification.latency_s < 0.06
    print(f"{name}: {seconds:.1f} s, latency {identification.latency_s:.3f} s")


@pytest.mark.parametrize("wiring", ["flipped", "swapped"])
def test_wrong_torques_end_it_after_a_small_motion(wiring):
    """Every joint is held by torques, so that another one may be the first to go astray."""
    identification, farthest, _ = _identify("sawyer_stack", wiring_matrix(wiring, 7))
    assert identification.failure
    assert not identification.is_over
    assert farthest < 0.15


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
@pytest.mark.parametrize(
    ("wiring", "words"),
    [
        ("flipped", "is its sign reversed"),
        ("doubled", "another unit"),
        ("swapped", "in the controller's order"),
    ],
)
def test_a_wrong_plant_is_named(name, wiring, words):
    names = load_task(name).robot.joints
    identification, farthest, _ = _identify(name, wiring_matrix(wiring, len(names)))
    assert words in identification.failure
    assert identification.failure.startswith(f"{names[1]} was told to move by ")
    if wiring == "swapped":
        assert f"and {names[2]} moved by" in identification.failure
    assert not identification.is_over
    assert farthest < 0.1


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
def test_half_the_motion_is_named(name):
    names = load_task(name).robot.joints
    matrix = np.eye(len(names))
    matrix[-1, -1] = 0.5
    identification, _, _ = _identify(name, matrix)
    assert identification.failure.startswith(f"{names[-1]} was told to move by ")
    assert "another unit" in identification.failure


def test_an_arm_that_stands_still_is_named():
    identification, farthest, _ = _identify("sawyer_reach", np.zeros((7, 7)))
    assert "moved by +0.000 rad: brakes" in identification.failure
    assert farthest == 0.0


def test_a_stop_that_is_not_obeyed_is_named():
    identification, farthest, _ = _identify("sawyer_reach", coasts=True)
    assert identification.failure
    assert farthest < 0.3


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
@pytest.mark.parametrize(("late", "servo_s"), [(0, 0.05), (1, 0.01), (2, 0.05)])
def test_the_delay_is_measured(name, late, servo_s):
    identification, _, _ = _identify(name, late=late, servo_s=servo_s, noise_rad=1e-4)
    assert identification.failure == ""
    assert identification.latency_s == pytest.approx(late * PERIOD + servo_s, abs=0.03)


def test_a_delay_beyond_all_sense_is_a_failure():
    identification, _, _ = _identify("sawyer_reach", late=8)
    assert "after its command" in identification.failure or "come to rest" in identification.failure


def test_a_joint_without_room_goes_the_other_way():
    """The filter admits nothing in the first direction, as before an obstacle."""
    robot = load_task("sawyer_reach").robot
    identification, arm = Identification(robot, "velocity", PERIOD), Arm(robot)
    position, velocity, first, step = np.array(robot.neutral_position), np.zeros(7), 0.0, 0
    while not identification.scales:
        wish = identification.step(
            arm.state(1 + step * 50_000_000, position, velocity, np.zeros(7))
        )
        first = first or wish[0]
        velocity = (
            np.where(wish * first > 0.0, 0.0, wish)
            if identification.scales == [] and position[0] == 0.0
            else wish
        )
        identification.sent(velocity, velocity)
        position = position + PERIOD * velocity
        step += 1
        assert not identification.failure
        assert step < 600
    assert first != 0.0
    assert identification.scales[0] == pytest.approx((1.0, 1.0))


def test_an_interruption_begins_the_joint_again():
    robot = load_task("sawyer_reach").robot
    identification = Identification(robot, "velocity", PERIOD)
    assert "right_j0" in identification.activity
    arm, position = Arm(robot), np.array(robot.neutral_position)
    for step in range(10):
        state = arm.state(1 + step * 50_000_000, position, np.zeros(7), np.zeros(7))
        wish = identification.step(state)
        identification.sent(wish, wish)
    assert wish[0] != 0.0
    identification.interrupt()
    assert not identification.step(state).any()
    assert not identification.is_over
