"""An arm that does not move as it is told is noticed, one that does is left in peace."""

from dataclasses import replace

import numpy as np
import pytest

from sql_ros.robot.arm import Arm
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.driver.following import LEAD_RAD, MOST_REST_S, REST_S, FollowingCheck
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.tasks import load_task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.disturbance import Disturbance

PERIOD = 0.05
HARD = [
    ("push", 200.0),
    ("payload", 2.4),
    ("damping", 5.0),
    ("damping", 0.2),
    ("delay", 3.0),
    ("friction", 3.0),
]  # the largest of config/trials/standard.yaml
MIDDLE = {"sawyer": "right_l5", "ur5e": "wrist_2_link"}


@pytest.fixture(params=["sawyer_reach", "ur5e_reach", "sawyer_stack"])
def task(request):
    return load_task(request.param)


def _acting(task, steps, moves=lambda step: True):
    """Return the steps at which an exploring actor was found not to be followed.

    Where `moves` is false the arm stands still whatever it is told, and knows no velocity.
    """
    arm, actor = SimulatedArm(task), Actor(task, seed=0)
    following = FollowingCheck(task.robot, task.config.command_mode, PERIOD)
    rng, fired = np.random.default_rng(0), []
    for step in range(steps):
        if step % 60 == 59:
            kind, size = HARD[step // 60 % len(HARD)]
            arm.sim.disturb(Disturbance("over", 0.0))
            force = rng.normal(size=3)
            force /= np.linalg.norm(force)
            body = MIDDLE[task.robot.name]
            arm.sim.disturb(Disturbance(kind, size, body, tuple(force), 0.3, 0.1))
        state = arm.state()
        taken = actor.step(state)
        following.sent(taken.command, state.position)
        if following.reasons:
            fired.append(step)
            following.rest(state.position, np.ones(len(state.position)))
            break
        if moves(step):
            arm.sim.command(task.config.command_mode, taken.command, PERIOD)
        else:
            arm.sim.reset(state.position)
        arm.sim.advance(arm.sim.physics_steps(1.0 / PERIOD))
        if not moves(step):
            arm.sim.reset(state.position)
    return fired


def test_simulated_arms_follow_whatever_is_done_to_them(task):
    """Sixty seconds of exploring, each disturbance of the trials at its largest."""
    assert _acting(task, 1200) == []


def test_an_arm_that_freezes_in_motion_is_noticed(task):
    (step,) = _acting(task, 400, moves=lambda step: step < 230)
    limit_s = {"velocity": 1.0, "position": 0.6, "torque": 3.0}[task.config.command_mode]
    assert step - 230 <= limit_s / PERIOD


@pytest.mark.parametrize(
    ("rate", "speed"), [(20.0, 0.25), (125.0, 0.25), (500.0, 1.0), (20.0, 0.1)]
)
def test_an_arm_that_freezes_is_noticed_in_the_time_stated(rate, speed):
    robot = load_task("sawyer_reach").robot
    following, steps = FollowingCheck(robot, "velocity", 1.0 / rate), 0
    position, command = np.zeros(7), np.array([0, 0, speed, 0, 0, 0, 0])
    for _ in range(5):  # it moves
        following.sent(command, position)
        position = position + 0.01
    while not following.reasons:
        following.sent(command, position)
        steps += 1
    assert steps / rate <= 0.3 + 0.05 / speed + 3.0 / min(rate, 50.0)
    assert "right_j2 stands still against commands by 0.0" in following.reasons["not_following"]


def test_an_arm_that_never_moved_gets_time_to_open_its_brakes():
    following, steps = FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD), 0
    while not following.reasons:
        following.sent(np.full(7, 0.5), np.zeros(7))
        steps += 1
    assert 1.4 <= steps * PERIOD <= 1.75


@pytest.mark.parametrize("rate", [20.0, 500.0])
def test_an_arm_that_moves_the_other_way_is_noticed(rate):
    robot = load_task("sawyer_reach").robot
    following, position = FollowingCheck(robot, "velocity", 1.0 / rate), np.zeros(7)
    command = np.full(7, 0.5)
    for _ in range(round(1.5 * rate)):
        following.sent(command, position)
        position = position - command / rate
    assert "moves on its own" in following.reasons["not_following"]


@pytest.mark.parametrize("rate", [20.0, 500.0])
def test_an_arm_a_quarter_of_a_second_behind_follows(rate):
    robot = load_task("sawyer_reach").robot
    following, delay = FollowingCheck(robot, "velocity", 1.0 / rate), round(0.25 * rate)
    times = np.arange(round(10 * rate)) / rate
    path = 0.4 * np.sin(2.0 * times)[:, None] * np.ones(7)
    for step in range(delay, len(times) - 1):
        following.sent((path[step + 1] - path[step]) * rate, path[step - delay])
        assert not following.reasons


def test_it_is_tried_again_after_a_rest_that_doubles():
    robot = load_task("sawyer_reach").robot
    following, position, rests = FollowingCheck(robot, "velocity", PERIOD), np.zeros(7), []
    for _ in range(6):
        while not following.reasons:
            following.sent(np.full(7, 0.5), position)
        steps = 0
        while following.reasons:
            following.rest(position, np.zeros(7))
            steps += 1
        rests.append(steps * PERIOD)
    assert rests == pytest.approx(
        [REST_S, 2.0, 4.0, MOST_REST_S, MOST_REST_S, MOST_REST_S], abs=0.06
    )
    for step in range(20):
        following.sent(np.full(7, 0.5), position + step * PERIOD * 0.5)
    assert following.attempts == 0


def test_an_arm_that_does_not_rest_is_not_tried_again():
    following = FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD)
    while not following.reasons:
        following.sent(np.full(7, 0.5), np.zeros(7))
    for _ in range(200):
        following.rest(np.zeros(7), np.full(7, 0.1))
    assert following.reasons


def _frozen(following, actor, state, touched=lambda step: 0.0, *, steps=100):
    """Return the largest commands [rad/s] to an arm that stands still until it is held.

    One joint is pushed.
    """
    asked = []
    while not following.reasons and len(asked) < steps:
        position = state.position.copy()
        position[4] += touched(len(asked))
        seen = replace(state, position=position, stamp_ns=state.stamp_ns + len(asked) * 50_000_000)
        if following.is_trying:
            actor.safety.trust(seen, LEAD_RAD)
        command = actor.step(seen).command
        following.sent(command, position)
        asked.append(np.abs(command))
    return np.array(asked)


@pytest.fixture
def standing():
    """A velocity arm that rests, an actor that wants to move it far, one step of the ramp, its
    memory.
    """
    task = load_task("sawyer_reach")
    position = np.array(task.robot.neutral_position)
    position[0] += 0.6
    state = Arm(task.robot).state(1, position, np.zeros(7), np.zeros(7))
    ramp = task.robot.limit_fraction * np.array(task.robot.acceleration_limit) * PERIOD + 1e-9
    return state, Actor(task, 0), ramp, FollowingCheck(task.robot, "velocity", PERIOD)


def test_an_arm_not_seen_to_move_is_asked_for_one_step(standing):
    """Its brakes may open within 1.5 s: it was told 0.87 rad/s then, and jumped."""
    state, actor, ramp, following = standing
    asked = _frozen(following, actor, state)
    assert len(asked) * PERIOD >= 1.4
    assert (asked <= ramp).all()
    assert asked[:, 0].min() > 0.9 * ramp[0]  # and never told another way because it stands


def test_a_nudge_of_another_joint_is_no_obedience(standing):
    state, actor, ramp, following = standing
    _frozen(following, actor, state)
    for _ in range(100):
        following.rest(state.position, state.velocity)
    assert not following.reasons
    asked = _frozen(following, actor, state, lambda step: 0.006 * (step >= 2))
    assert following.reasons
    assert following.attempts == 2
    assert (asked <= ramp).all()


def test_motion_as_told_ends_the_attempt():
    following, position = (
        FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD),
        np.zeros(7),
    )
    command = np.array([0.4, -0.4, 0, 0, 0, 0, 0])
    for step in range(6):
        assert following.is_trying == (step < 2)
        following.sent(command, position)
        position = position + 0.5 * PERIOD * command


def test_motion_against_the_command_does_not():
    following, position = (
        FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD),
        np.zeros(7),
    )
    command = np.array([0.4, 0.4, 0, 0, 0, 0, 0])
    for _ in range(6):
        following.sent(command, position)
        position = position + PERIOD * np.array([0.4, -0.1, 0, 0, 0, 0, 0])
    assert following.is_trying


@pytest.mark.parametrize("every", [10, 7, 6, 5])
def test_a_frozen_arm_beside_short_holds_is_noticed(every):
    """Each 0.25 s one held step: no memory was ever long enough."""
    following, steps = FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD), 0
    while not following.reasons and steps < 100:
        steps += 1
        is_hold = steps % every == 0
        if is_hold:
            following.hold()
        following.sent(np.full(7, 0.0 if is_hold else 0.4), np.zeros(7))
    assert steps * PERIOD <= 1.9


def test_a_long_hold_begins_the_memory_anew():
    """The arm may be put elsewhere meanwhile."""
    following = FollowingCheck(load_task("sawyer_reach").robot, "velocity", PERIOD)
    for _ in range(20):
        following.sent(np.full(7, 0.4), np.zeros(7))
    for _ in range(8):
        following.hold()
        following.sent(np.zeros(7), np.zeros(7))
    for _ in range(20):
        following.sent(np.full(7, 0.4), np.zeros(7))
    assert not following.reasons


def test_the_hold_of_a_position_arm_rests_where_it_is():
    """One joint stands still and is behind.

    Once the others have come to rest, nothing may jump on release.
    """
    robot, rate = load_task("ur5e_reach").robot, 1.0 / PERIOD
    safety, following = (
        SafetyFilter(robot, "position", 1.0 / rate),
        FollowingCheck(robot, "position", 1.0 / rate),
    )
    arm, position, told, steps = Arm(robot), np.array(robot.neutral_position), [], 0
    velocity = np.zeros(6)
    while not following.reasons or following._rested_s < 0.5:
        state = arm.state(1 + steps, position, velocity, np.zeros(6))
        if following.reasons:
            command = safety.hold(state)
            following.sent(command, position)
            if following.rest(position, velocity):
                safety.forget()
        else:
            command = safety.steer(np.array([0.8, 0.3, 0, 0, 0, 0]), state)
            following.sent(command, position)
        told.append(command)
        velocity = (command - position) * min(1.0 / 0.053, rate)
        velocity[1] = 0.0
        position = position + velocity / rate
        steps += 1
        assert steps < 10 * rate
    np.testing.assert_allclose(told[-1], position, atol=1e-3)
    acceleration = np.diff(told, 2, axis=0)[:, 0] * rate**2  # of the joint that follows
    most = robot.limit_fraction * robot.acceleration_limit[0]
    assert np.abs(acceleration).max() <= 1.5 * most


def _drive_frozen_ur5e(safety, following, seconds):
    """Return, by step, how far the position commands lead an arm that stands still, and whether
    it is held.
    """
    robot = load_task("ur5e_reach").robot
    arm, position = Arm(robot), np.array(robot.neutral_position)
    leads, held = [], []
    for step in range(round(seconds / PERIOD)):
        state = arm.state(1 + step, position, np.zeros(6), np.zeros(6))
        held.append(bool(following.reasons))
        if following.reasons:
            if following.rest(position, state.velocity):
                safety.forget()
            command = safety.hold(state)
        else:
            if following.is_trying:
                safety.trust(state, LEAD_RAD)
            command = safety.steer(np.array([0.8, 0.3, 0, 0, -0.5, 0]), state)
        following.sent(command, position)
        leads.append(np.abs(command - position).max())
    return np.array(leads), np.array(held)


def test_a_position_arm_not_seen_to_move_is_asked_for_one_step():
    """Released during an attempt it jumped: the commands led it by 0.05 rad."""
    robot = load_task("ur5e_reach").robot
    safety, following = (
        SafetyFilter(robot, "position", PERIOD),
        FollowingCheck(robot, "position", PERIOD),
    )
    leads, held = _drive_frozen_ur5e(safety, following, 12.0)
    assert following.attempts >= 2
    ramp = robot.limit_fraction * robot.acceleration_limit[0] * PERIOD**2
    assert leads.max() <= ramp + LEAD_RAD + 1e-9
    assert held.mean() > 0.5


def test_a_position_arm_that_froze_is_held_where_it_is_from_the_first_step():
    """It had stood for long when it was noticed; released 0.2 s later it jumped."""
    robot = load_task("ur5e_reach").robot
    safety, following = (
        SafetyFilter(robot, "position", PERIOD),
        FollowingCheck(robot, "position", PERIOD),
    )
    arm, position = Arm(robot), np.array(robot.neutral_position)
    for step in range(10):
        state = arm.state(1 + step, position, np.full(6, 0.2), np.zeros(6))
        command = safety.steer(np.full(6, 0.2), state)
        following.sent(command, position)
        position = command
    assert following.obeys
    steps = 0
    while not following.reasons:
        state = arm.state(20 + steps, position, np.zeros(6), np.zeros(6))
        following.sent(safety.steer(np.full(6, 0.2), state), position)
        steps += 1
    state = arm.state(20 + steps, position, np.zeros(6), np.zeros(6))
    assert following.rest(position, state.velocity)
    safety.forget()
    np.testing.assert_array_equal(safety.hold(state), position)
