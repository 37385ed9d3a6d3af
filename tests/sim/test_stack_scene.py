"""The two bricks: what it takes to seat one on the other, and that the physics is not the step
size's.
"""

import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

TASK = load_task("sawyer_stack")
ARM = Arm(TASK.robot)
SEAT = np.array([0.60, 0.10, -0.0708])
RAMP_N_S = 4.0


def _turned(angle: float) -> np.ndarray:
    return np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )


def _pressed(aside=(0.0, 0.0), angle=0.0, most_n=25.0, step_s=0.0, above=0.008, friction=1.0):
    """A hand that keeps its place and orientation like a spring presses down harder and harder.

    Returns:
        the force at which the brick was seated within half a millimetre, or None, and where it came
        to rest, from its seat [m].
    """
    sim = Simulation(TASK.config.scene, TASK.robot)
    sim.model.geom_friction *= friction
    if step_s:
        sim.model.opt.timestep = step_s
    start, rotation = SEAT + np.array([*aside, above]), _turned(angle)
    sim.reset(ARM.solve(start, rotation, np.array(TASK.robot.neutral_position)))
    steps = max(round(0.001 / sim.model.opt.timestep), 1)
    force = 0.0
    while force < most_n:
        force += RAMP_N_S * 0.001
        measured = sim.measure()
        state = ARM.state(0, measured.position, measured.velocity, measured.effort)
        jacobian = ARM.jacobian(measured.position)
        speed = jacobian @ measured.velocity
        between = rotation @ state.tool_rotation.T
        turn = 0.5 * np.array(
            [
                between[2, 1] - between[1, 2],
                between[0, 2] - between[2, 0],
                between[1, 0] - between[0, 1],
            ]
        )
        push = (
            np.array([800.0, 800.0, 0.0]) * (start - state.tool_position)
            - np.array([40.0, 40.0, 120.0]) * speed[:3]
        )
        push[2] -= force
        sim.command("torque", jacobian.T @ np.concatenate((push, 20.0 * turn - speed[3:])))
        sim.advance(steps)
        if state.tool_position[2] - SEAT[2] < 0.0005:
            return force, state.tool_position - SEAT
    return None, state.tool_position - SEAT


def test_an_aligned_brick_is_pressed_on_by_a_plausible_force():
    force, _ = _pressed()
    assert 4.0 < force < 9.0  # what the policy's torques can press with at this pose: see below


def test_the_more_friction_the_more_force():
    """The contact's softness must not hang on its friction: what stands for the bending of the
    walls is always there.
    """
    forces = [_pressed(friction=factor)[0] for factor in (0.5, 1.0, 2.0)]
    assert 2.0 < forces[0] < forces[1] < forces[2] < 9.0


@pytest.mark.parametrize("aside", [(0.001, 0.001), (0.002, 0.0), (0.0, -0.002)])
def test_a_brick_that_is_a_little_aside_slides_into_place(aside):
    force, rest = _pressed(aside)
    assert force is not None
    assert force < 9.0
    assert np.hypot(*rest[:2]) < 0.0005


@pytest.mark.parametrize(
    ("aside", "angle"), [((0.006, 0.0), 0.0), ((0.0, 0.006), 0.0), ((0.0, 0.0), 0.15)]
)
def test_a_brick_that_is_not_aligned_stands_on_the_studs(aside, angle):
    force, rest = _pressed(aside, angle, most_n=15.0)
    assert force is None
    assert rest[2] > 0.002


def test_the_force_does_not_depend_on_the_step():
    (coarse, _), (fine, _) = _pressed(), _pressed(step_s=TASK_STEP_S / 4)
    assert coarse == pytest.approx(fine, rel=0.05)


TASK_STEP_S = Simulation(TASK.config.scene, TASK.robot).model.opt.timestep


def test_the_policy_can_press_hard_enough():
    """The largest force straight down within the torques of action 1."""
    pose = ARM.solve(SEAT, np.eye(3), np.array(TASK.robot.neutral_position))
    per_newton = np.abs(ARM.jacobian(pose).T @ np.array([0, 0, -1.0, 0, 0, 0]))
    assert (np.array(TASK.config.action_scale) / np.maximum(per_newton, 1e-9)).min() > 9.0


def test_nothing_tunnels_at_full_torque():
    """Driven straight down from 10 cm above, unfiltered, with all the torque of action 1: it hits,
    and comes no lower than its seat.
    """
    pose = ARM.solve(
        SEAT + np.array([0.0, 0.0, 0.10]), np.eye(3), np.array(TASK.robot.neutral_position)
    )
    sim, scale = Simulation(TASK.config.scene, TASK.robot), np.array(TASK.config.action_scale)
    sim.reset(pose)
    heights, fastest = [], 0.0
    for _ in range(1000):
        measured = sim.measure()
        state = ARM.state(0, measured.position, measured.velocity, measured.effort)
        jacobian = ARM.jacobian(measured.position)
        speed, rotation = jacobian @ measured.velocity, state.tool_rotation
        turn = 0.5 * np.array(
            [
                rotation[1, 2] - rotation[2, 1],
                rotation[2, 0] - rotation[0, 2],
                rotation[0, 1] - rotation[1, 0],
            ]
        )
        aside = 2000.0 * (SEAT - state.tool_position)[:2] - 40.0 * speed[:2]
        push = np.concatenate((aside, [-100.0], 100.0 * turn - 3.0 * speed[3:]))
        sim.command("torque", np.clip(jacobian.T @ push, -scale, scale))
        sim.advance(1)
        fastest = max(fastest, -float(speed[2]))
        heights.append(state.tool_position[2] - SEAT[2])
    assert fastest > 0.3
    assert -0.002 < min(heights) < 0.008


def test_the_actors_brick_is_the_simulations():
    """Success is judged by the pose that the arm's kinematics give: the very pose of the simulated
    brick.
    """
    sim, pose = (
        Simulation(TASK.config.scene, TASK.robot),
        np.array(TASK.robot.neutral_position) + 0.1,
    )
    sim.reset(pose)
    state = ARM.state(0, pose, np.zeros(7), np.zeros(7))
    np.testing.assert_allclose(sim.data.body("held/brick").xpos, state.tool_position, atol=1e-12)
    np.testing.assert_allclose(
        sim.data.body("held/brick").xmat.reshape(3, 3), state.tool_rotation, atol=1e-12
    )


def test_a_brick_fits_one_stud_farther_but_not_in_between():
    """As real ones do."""
    assert _pressed((0.0, 0.016))[0] is not None
    assert _pressed((0.0, 0.0124), most_n=15.0)[0] is None
