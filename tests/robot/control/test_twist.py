"""Actions that are velocities of the tool: the request away from singularities, bounded at them."""

import dataclasses

import numpy as np
import pytest

from sql_ros.checks.verify.safety import HostileLoop
from sql_ros.robot.action_space import TwistConfig
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.twist import NEAR_SINGULAR, TwistSolver
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task
from sql_ros.runs.rollout import SimulatedArm

MODES = ("velocity", "position", "torque")
ROTATIONS = ("angular_x", "angular_y", "angular_z")
ROBOTS = {name: load_robot(name) for name in ("sawyer", "ur5e")}
ARMS = {name: Arm(robot) for name, robot in ROBOTS.items()}


def _twist(frame="base", frozen=(), linear=0.3, angular=0.8):
    return TwistConfig(frame=frame, linear_m_s=linear, angular_rad_s=angular, frozen=frozen)


def _state(arm, position, velocity=None):
    zero = np.zeros(arm.size)
    return arm.state(0, position, zero if velocity is None else velocity, zero)


def _asked_for(config, action, state):
    """Return the twist of an action in the base frame (6,)."""
    twist = np.zeros(6)
    twist[list(config.free)] = np.array(config.scale) * action
    if config.frame == "tool":
        return np.concatenate([state.tool_rotation @ part for part in np.split(twist, 2)])
    return twist


def _poses(robot, count, seed):
    rng = np.random.default_rng(seed)
    margin = robot.position_margin_rad
    low, high = np.array(robot.position_lower) + margin, np.array(robot.position_upper) - margin
    return rng.uniform(np.maximum(low, -np.pi), np.minimum(high, np.pi), (count, len(low)))


@pytest.fixture(scope="module")
def reach():
    """Build the reach task in twist form, in a command mode, around a free scene."""
    shipped = load_task("sawyer_reach_twist")

    def build(mode, twist, robot=shipped.robot):
        config = dataclasses.replace(shipped.config, command_mode=mode, twist=twist)
        return Task("reach", config, robot)

    return build


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("frame", ["base", "tool"])
@pytest.mark.parametrize("frozen", [(), ROTATIONS, ("linear_y", "angular_x")])
def test_the_tool_velocity_is_the_request_away_from_singularities(name, frame, frozen):
    arm, config = ARMS[name], _twist(frame, frozen)
    solver, rng, tried = TwistSolver(config, ROBOTS[name]), np.random.default_rng(0), 0
    for position in _poses(ROBOTS[name], 150, 0):
        jacobian = arm.jacobian(position)
        if np.linalg.svd(jacobian)[1][-1] < NEAR_SINGULAR:
            continue
        tried += 1
        state, action = _state(arm, position), rng.uniform(-1, 1, len(config.free))
        solver.prepare(state)
        velocity = solver.velocity(action)
        np.testing.assert_allclose(
            jacobian @ velocity, _asked_for(config, action, state), atol=1e-9
        )
        np.testing.assert_allclose(solver.to_action @ velocity, action, atol=1e-9)
    assert tried > 50


@pytest.mark.parametrize("name", ROBOTS)
def test_joint_velocities_are_bounded_at_singularities(name):
    """Random poses, those with the arm straight, and those a hair from it."""
    arm, config, robot = ARMS[name], _twist(), ROBOTS[name]
    solver, rng = TwistSolver(config, robot), np.random.default_rng(1)
    straight = np.zeros((1, arm.size))
    bent = straight + rng.uniform(-1e-3, 1e-3, (30, arm.size))
    poses, near = np.concatenate((straight, bent, _poses(robot, 200, 1))), 0
    for position in poses:
        jacobian = arm.jacobian(position)
        state, action = _state(arm, position), rng.uniform(-1, 1, 6)
        solver.prepare(state)
        drift, velocity = solver.velocity(np.zeros(6)), solver.velocity(action)
        asked = _asked_for(config, action, state)
        reached = jacobian @ (velocity - drift)
        assert np.linalg.norm(velocity - drift) <= np.linalg.norm(asked) / NEAR_SINGULAR + 1e-9
        # never the wrong way: the tool only lags behind the request
        left, singular, _ = np.linalg.svd(jacobian)
        share = (left.T @ reached)[: len(singular)] / (left.T @ asked)[: len(singular)]
        assert (share > -1e-6).all()
        assert (share < 1.0 + 1e-6).all()
        near += bool(singular[-1] < NEAR_SINGULAR)
    assert near > 30


def test_the_free_joint_goes_to_neutral_while_the_tool_stays():
    arm, robot = ARMS["sawyer"], ROBOTS["sawyer"]
    neutral = np.array(robot.neutral_position)
    solver = TwistSolver(_twist(), robot)
    position = neutral + 0.3 * np.linalg.svd(arm.jacobian(neutral))[2][-1]
    begin = _state(arm, position)
    for _ in range(400):
        solver.prepare(_state(arm, position))
        position = position + 0.02 * solver.velocity(np.zeros(6))
    assert np.linalg.norm(position - neutral) < 0.5 * np.linalg.norm(begin.position - neutral)
    np.testing.assert_allclose(arm.tool_position(position), begin.tool_position, atol=2e-3)


def test_a_state_that_is_not_finite_gives_no_velocity():
    arm, solver = ARMS["ur5e"], TwistSolver(_twist("tool"), ROBOTS["ur5e"])
    for bad in (np.nan, np.inf):
        solver.prepare(_state(arm, np.full(arm.size, bad)))
        assert np.isnan(solver.velocity(np.zeros(6))).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frame", ["base", "tool"])
def test_the_arm_moves_its_tool_as_asked(reach, mode, frame):
    """The first of seven periods accelerate. The simulated servos lag a little."""
    config = _twist(frame)
    task = reach(mode, config)
    mapper, plant = ActionMapper(task), SimulatedArm(task)
    period_s = 1.0 / task.config.control_rate_hz
    for action in ([0.5, 0, 0, 0, 0, 0], [0, 0, -0.4, 0, 0, 0.6], [0, 0.3, 0, -0.5, 0.2, 0]):
        plant.sim.reset(np.array(task.robot.neutral_position))
        mapper.safety.forget()
        for _ in range(7):
            before = plant.state()
            driven = mapper.act(np.array(action, np.float32), before)
            plant.sim.command(mode, driven.command, period_s)
            plant.sim.advance(plant.sim.physics_steps(task.config.control_rate_hz))
        moved = (plant.state().tool_position - before.tool_position) / period_s
        turned = plant.state().tool_rotation @ before.tool_rotation.T
        turn = np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], 0.0])
        turn[2] = turned[1, 0] - turned[0, 1]
        reached = np.concatenate((moved, 0.5 * turn / period_s))
        asked = _asked_for(config, action, before)
        np.testing.assert_allclose(reached[:3], asked[:3], atol=0.012)
        np.testing.assert_allclose(reached[3:], asked[3:], atol=0.04)
        np.testing.assert_allclose(driven.applied, action, atol=0.02)


@pytest.mark.parametrize("mode", MODES)
def test_the_tool_keeps_its_direction_while_it_accelerates(reach, mode):
    """The frozen dimensions do not move either."""
    task = reach(mode, _twist(frozen=ROTATIONS, linear=0.7))
    mapper = ActionMapper(task)
    state = _state(ARMS["sawyer"], np.array(task.robot.neutral_position))
    mapper.act(np.array([1.0, -1.0, 0.5], np.float32), state)
    twist = ARMS["sawyer"].jacobian(state.position) @ mapper.safety.asked
    direction = twist[:3] / np.linalg.norm(twist[:3])
    np.testing.assert_allclose(direction, np.array([1.0, -1.0, 0.5]) / 1.5, atol=1e-6)
    assert 0.01 < twist[0] < 0.6  # it does accelerate
    np.testing.assert_allclose(twist[3:], 0.0, atol=1e-6)
    assert not mapper.safety.interventions


def _joints_of_sawyer(**joints):
    position = np.array(ROBOTS["sawyer"].neutral_position)
    for index, value in joints.items():
        position[int(index[1:])] = value
    return position


START_POSES = {
    "stretched": _joints_of_sawyer(j1=-0.4, j3=0.02, j5=0.02),
    "base at its limit": _joints_of_sawyer(j0=3.0503 - 0.051),
    "wrist at its limit": _joints_of_sawyer(j6=4.7124 - 0.051, j5=-2.9),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pose", START_POSES)
def test_arms_at_singularities_and_limits_stay_within_them(reach, mode, pose):
    """Random actions, held for some periods, in a frame of the tool with a frozen dimension."""
    robot = ROBOTS["sawyer"]
    task = reach(mode, _twist("tool", ("angular_z",), 0.6, 1.5))
    mapper, plant, rng = ActionMapper(task), SimulatedArm(task), np.random.default_rng(3)
    rate, action = task.config.control_rate_hz, np.zeros(5, np.float32)
    plant.sim.reset(START_POSES[pose])
    for step in range(50):
        if step % 6 == 0:
            action = rng.choice([-1.0, 0.0, 1.0], 5).astype(np.float32)
        state = plant.state()
        driven = mapper.act(action, state)
        assert np.isfinite(driven.command).all()
        assert np.isfinite(driven.applied).all()
        assert np.abs(driven.applied).max() <= 1.0
        assert (np.abs(mapper.safety.asked) <= np.array(robot.velocity_limit)).all()
        assert (state.position > np.array(robot.position_lower)).all()
        assert (state.position < np.array(robot.position_upper)).all()
        plant.sim.command(mode, driven.command, 1.0 / rate)
        plant.sim.advance(plant.sim.physics_steps(rate))
    assert np.abs(state.position - START_POSES[pose]).max() > 0.05  # nor does it stick there


@pytest.mark.parametrize("mode", MODES)
def test_an_action_that_is_not_finite_brakes(reach, mode):
    mapper = ActionMapper(reach(mode, _twist()))
    state = _state(ARMS["sawyer"], np.array(ROBOTS["sawyer"].neutral_position))
    action = np.array([0.5, np.nan, 0, 0, 0, 0], np.float32)
    held = mapper.act(action, state)
    assert np.isfinite(held.command).all()
    np.testing.assert_array_equal(mapper.safety.asked, 0.0)
    assert mapper.safety.interventions == {"non_finite": 1}


def test_a_joint_without_speed_stops_the_tool_in_its_direction(reach):
    """A cap of the filter, as while a joint is stopped, shortens the whole motion."""
    mapper = ActionMapper(reach("velocity", _twist(frozen=ROTATIONS)))
    mapper.safety.slow(np.array([np.inf, 0.0, *[np.inf] * 5]))
    state = _state(ARMS["sawyer"], np.array(ROBOTS["sawyer"].neutral_position))
    command = mapper.act(np.array([0.0, 0.0, 1.0], np.float32), state).command
    np.testing.assert_allclose(command, 0.0, atol=1e-4)


def test_a_candidate_that_is_allowed_goes_before_one_that_would_be_clipped(reach):
    mapper, position = ActionMapper(reach("velocity", _twist())), _joints_of_sawyer()
    position[6] = ROBOTS["sawyer"].position_upper[6] - ROBOTS["sawyer"].position_margin_rad
    out = np.array([0, 0, 0, 0, 0, -1], np.float32)  # the last joint turns against z of the base
    driven = mapper.act(out, _state(ARMS["sawyer"], position), lambda: [out, -out])
    np.testing.assert_array_equal(driven.action, -out)
    assert driven.applied[5] > 0.1
    assert mapper.safety.interventions["resampled"] == 1


class _Twists:
    """The safety filter of a loop of `sql-ros verify safety`, behind twist actions.

    The joint velocities that the loop asks for become the nearest actions.
    """

    def __init__(self, loop, robot, mode, rate_hz):
        self._safety = loop.filter
        self._solver = TwistSolver(_twist("tool", ("angular_y",), 2.0, 6.0), robot)
        self._speed = np.array(robot.velocity_limit)
        self._effort = np.array(robot.effort_limit)
        self._mode, self._rate_hz = mode, rate_hz

    def __getattr__(self, name):
        return getattr(self._safety, name)

    def admit(self, wish, state):
        if self._mode == "position":
            wish = (wish - state.position) * self._rate_hz
        elif self._mode == "torque":
            wish = wish / self._effort * self._speed
        self._solver.prepare(state)
        with np.errstate(invalid="ignore"):
            action = np.minimum(np.maximum(self._solver.to_action @ wish, -1.0), 1.0)
        velocity = self._solver.velocity(action)
        return self._safety.send(self._safety.consider_direction(velocity, state))


@pytest.mark.parametrize("mode", MODES)
def test_hostile_twist_actions_break_no_limit(mode):
    """As in `sql-ros verify safety`, observed in the simulation alone."""
    robot, rate_hz = ROBOTS["sawyer"], 20.0
    loop = HostileLoop(robot, "sim/scenes/sawyer_reach.xml", mode, rate_hz, seed=0)
    loop.filter = _Twists(loop, robot, mode, rate_hz)
    tally = loop.run(120)
    assert {kind: share for kind, share in tally.worst.items() if share > 1.0} == {}
    assert tally.violations.total() == 0
    assert sum(tally.interventions.values()) > 10
