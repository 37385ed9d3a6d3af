"""How fast links are, against MuJoCo's velocities of the shapes themselves."""

import dataclasses

import mujoco
import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.config import REDUCED_SPEED_M_S
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.safety.link_speed import LinkSpeeds
from sql_ros.robot.safety.posed_scene import load_scene
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

CASES = [("sawyer_reach", "right_hand"), ("sawyer_stack", "held/brick"), ("ur5e_reach", "tool0")]


def _fastest_corner(sim, velocity) -> float:
    """Return the largest speed of a point on the surface of a collision shape, at random points
    of it.
    """
    model, data = sim.model, sim.data
    rng, fastest = np.random.default_rng(0), 0.0
    for geom in np.flatnonzero(model.geom_contype):
        turn = data.geom_xmat[geom].reshape(3, 3)
        half = model.geom_aabb[geom][3:]
        for _ in range(20):
            inside = rng.uniform(-1.0, 1.0, 3) * half  # of the box around it: of a box, all of it
            if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_BOX:
                inside[:2] *= 0.7  # within the circle
            jacobian = np.zeros((3, model.nv))
            point = data.geom_xpos[geom] + turn @ inside
            mujoco.mj_jac(model, data, jacobian, None, point, model.geom_bodyid[geom])
            fastest = max(
                fastest, float(np.linalg.norm(jacobian[:, sim.velocity_address] @ velocity))
            )
    return fastest


@pytest.mark.parametrize(("task_name", "tool"), CASES)
def test_no_point_of_the_arm_is_faster_than_the_fastest_that_is_looked_at(task_name, tool, rng):
    task = load_task(task_name)
    robot, sim = task.robot, Simulation(task.config.scene, task.robot)
    links = LinkSpeeds(*load_scene(robot, task.config.scene), tool)
    shares = []
    for _ in range(40):
        position = rng.uniform(robot.position_lower, robot.position_upper)
        velocity = rng.uniform(-1.0, 1.0, len(position)) * robot.velocity_limit
        sim.reset(position)
        speeds = np.sqrt(links.squared(position, velocity))
        assert speeds[links.tool] == pytest.approx(
            np.linalg.norm(sim.tool_jacobian() @ velocity), abs=1e-3
        )
        fastest = _fastest_corner(sim, velocity)
        assert fastest <= speeds.max() + 1e-3
        shares.append(fastest / speeds.max())
    assert np.mean(shares) > 0.85  # nor much slower


def test_the_gradient_is_that_of_the_speed(rng):
    robot, scene = load_robot("sawyer"), "sim/scenes/sawyer_reach.xml"
    links = LinkSpeeds(*load_scene(robot, scene), robot.tool)
    for _ in range(20):
        position, velocity, step = (
            rng.uniform(-1, 1, 7),
            rng.uniform(-1, 1, 7),
            rng.uniform(-1, 1, 7),
        )
        point = int(links.squared(position, velocity).argmax())
        ahead, behind = (
            np.sqrt(links.squared(position, velocity + sign * 1e-3 * step)[point])
            for sign in (1, -1)
        )
        slope = links.gradient(point, position, velocity) @ step
        assert (ahead - behind) / 2e-3 == pytest.approx(slope, abs=1e-3)


def test_what_is_no_number_is_too_fast():
    robot = load_robot("sawyer")
    safety, lost = SafetyFilter(robot, "velocity", 0.05), np.full(7, np.nan)
    assert safety._nearest.is_too_fast(lost, np.zeros(7))
    assert safety._nearest.is_too_fast(np.zeros(7), lost)


def _fastest_link(robot, scene, mode, steps=200, reduced=False):
    """Return the largest speed of a body of the arm in closed loop, random wishes that each last
    a second; and the filter.
    """
    period = 0.05
    sim, arm = Simulation(scene, robot), Arm(robot)
    safety = SafetyFilter(robot, mode, period, scene)
    safety.reduce_speed(reduced)
    speed, rng, fastest = np.array(robot.velocity_limit), np.random.default_rng(0), 0.0
    bodies = [
        body
        for body in range(sim.model.nbody)
        if sim.model.body_dofnum[sim.model.body_weldid[body]]
    ]
    for step in range(steps):
        if step % 20 == 0:
            wish = speed * rng.uniform(-1.0, 1.0, len(speed))
        m = sim.measure()
        sim.command(
            mode,
            safety.steer(wish, arm.state(m.stamp_ns, m.position, m.velocity, m.effort)),
            period,
        )
        sim.advance(sim.physics_steps(1.0 / period))
        velocity = np.zeros(6)
        for body in bodies:
            mujoco.mj_objectVelocity(
                sim.model, sim.data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0
            )
            fastest = max(fastest, float(np.linalg.norm(velocity[3:])))
    return fastest, safety


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_no_link_is_faster_than_the_tool_may_be(mode):
    robot = dataclasses.replace(load_robot("sawyer"), tip_speed_limit_m_s=0.5)
    fastest, safety = _fastest_link(robot, "sim/scenes/sawyer_reach.xml", mode)
    assert 0.2 < fastest <= 0.5
    assert safety.interventions["link_speed"] > 0
    assert safety.interventions["braking"] < 60


def test_with_people_in_reach_no_link_is_faster_than_a_quarter_metre_per_second():
    robot = dataclasses.replace(load_robot("ur5e"), people_in_reach=True)
    assert robot.speed_limit_m_s == REDUCED_SPEED_M_S
    fastest, _ = _fastest_link(robot, "sim/scenes/ur5e_reach.xml", "velocity")
    assert 0.1 < fastest <= REDUCED_SPEED_M_S


def test_speed_is_reduced_and_given_back_while_it_runs():
    robot = load_robot("ur5e")
    fastest, safety = _fastest_link(
        robot, "sim/scenes/ur5e_reach.xml", "velocity", steps=100, reduced=True
    )
    assert 0.1 < fastest <= REDUCED_SPEED_M_S
    safety.reduce_speed(False)
    assert safety.limits.point_m_s == pytest.approx(
        robot.limit_fraction * robot.tip_speed_limit_m_s
    )


@pytest.mark.parametrize("mode", ["velocity", "position", "torque"])
def test_a_share_of_the_speed_slows_joints_and_links(mode):
    robot = load_robot("sawyer")
    share, speeds = 0.2, []
    arm, sim = Arm(robot), Simulation("sim/scenes/sawyer_reach.xml", robot)
    safety = SafetyFilter(robot, mode, 0.05, "sim/scenes/sawyer_reach.xml")
    safety.limit_speed(share)
    rng = np.random.default_rng(1)
    for step in range(100):
        if step % 20 == 0:
            wish = np.array(robot.velocity_limit) * rng.uniform(-1.0, 1.0, 7)
        m = sim.measure()
        sim.command(
            mode, safety.steer(wish, arm.state(m.stamp_ns, m.position, m.velocity, m.effort)), 0.05
        )
        sim.advance(sim.physics_steps(20.0))
        speeds.append(np.abs(m.velocity) / robot.velocity_limit)
    assert 0.5 * share < np.max(speeds) <= 1.1 * share


@pytest.mark.parametrize("mode", ["velocity", "position"])
def test_an_arm_that_is_too_fast_for_its_share_brakes_as_ever(mode):
    robot = load_robot("sawyer")
    arm, safety = Arm(robot), SafetyFilter(robot, mode, 0.05)
    held = SafetyFilter(robot, mode, 0.05)
    state = arm.state(0, np.array(robot.neutral_position), np.zeros(7), np.zeros(7))
    wish = np.array([1.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(10):
        for each in (safety, held):
            each.steer(wish, state)
    safety.limit_speed(0.1)
    slowed, braked = safety.brake.velocity[0], held.brake.velocity[0]
    assert slowed == braked > 1.0
    for _ in range(10):
        safety.steer(wish, state)
        held.hold(state)
        assert held.brake.velocity[0] - 1e-9 <= safety.brake.velocity[0] < slowed
        slowed = safety.brake.velocity[0]
        if slowed < 0.2:
            break
    assert slowed == pytest.approx(0.1 * robot.limit_fraction * robot.velocity_limit[0])
