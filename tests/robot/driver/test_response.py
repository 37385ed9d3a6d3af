"""Commands that a plant answers with a wrong sign, order or scale are noticed before a limit is
passed.
"""

import numpy as np
import pytest

from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.driver.following import LEAD_RAD, FollowingCheck
from sql_ros.robot.driver.response import SLOW_RAD_S, Mismatch, ResponseCheck
from sql_ros.robot.tasks import load_task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.disturbance import Disturbance

PERIOD = 0.05
PARTS = 25  # of a period, in which the plant moves
TASKS = ("sawyer_reach", "ur5e_reach", "sawyer_stack")
HARD = [
    ("push", 200.0),
    ("payload", 2.4),
    ("damping", 5.0),
    ("damping", 0.2),
    ("delay", 3.0),
    ("friction", 3.0),
]
MIDDLE = {"sawyer": "right_l5", "ur5e": "wrist_2_link"}


class Loop:
    """An exploring actor before a plant that makes `plant_of` of its commands.

    Attributes:
        response: what is tested.
        seconds: until now.
        beyond_rad: farthest that a joint was beyond its position limits.
        tool_m_s: largest speed of the tool, over a fifth of a period.
        contacts: of the plant's shapes with each other or the scene.
    """

    def __init__(self, name, matrix, *, seed=0, servo_s=0.01, noise_rad=0.0):
        self.task = load_task(name)
        self._mode, robot = self.task.config.command_mode, self.task.robot
        self._matrix, self._noise = matrix, noise_rad
        self._actor, self._arm = Actor(self.task, seed=seed), Arm(robot)
        self.response = ResponseCheck(robot, self._mode, PERIOD, self.task.config.scene)
        self._following = FollowingCheck(robot, self._mode, PERIOD)
        self._start = np.array(robot.neutral_position) + 0.1
        self._plant = KinematicArm(self._start, servo_s)
        if self._mode == "torque":
            self._plant = DynamicArm(self.task.config.scene, robot, self._start)
        self._rng = np.random.default_rng(seed)
        self._limits = np.array(robot.position_lower), np.array(robot.position_upper)
        self.seconds = self.tool_m_s = 0.0
        self.beyond_rad = -np.inf

    def run(self, seconds):
        """Go on until a contradiction is seen; return it, or None after a time."""
        while self.seconds < seconds:
            plant = self._plant
            noise = self._noise * self._rng.standard_normal(len(plant.position))
            stamp_ns = 1 + round(1e9 * self.seconds)
            state = self._arm.state(stamp_ns, plant.position + noise, plant.velocity, plant.effort)
            safety = self._actor.safety
            safety.slow(self.response.speeds)
            if self._following.is_trying:
                safety.trust(state, LEAD_RAD)
            command = self._actor.step(state).command
            self._following.sent(command, state.position)
            self.response.sent(command, state)
            self.seconds += PERIOD
            if self.response.mismatch is not None or self._following.reasons:
                return self.response.mismatch or self._following.reasons
            self._advance(command)
        return None

    def _advance(self, command):
        """Move the plant for a period; a trajectory leads to its point within it."""
        plant, origin = self._plant, self._plant.position.copy()
        told = self._matrix @ command
        if self._mode == "position":
            told = self._start + self._matrix @ (command - self._start)
        before = self._tool()
        for part in range(1, PARTS + 1):
            if self._mode == "position":
                plant.advance(PERIOD / PARTS, "position", origin + (told - origin) * part / PARTS)
            else:
                plant.advance(
                    PERIOD / PARTS, "velocity" if self._mode == "velocity" else "effort", told
                )
            lower, upper = self._limits
            self.beyond_rad = max(
                self.beyond_rad, (lower - plant.position).max(), (plant.position - upper).max()
            )
            if part % 5 == 0:
                now = self._tool()
                self.tool_m_s = max(
                    self.tool_m_s, float(np.linalg.norm(now - before)) / (5 * PERIOD / PARTS)
                )
                before = now

    def _tool(self):
        zeros = np.zeros_like(self._start)
        return self._arm.state(1, self._plant.position, zeros, zeros).tool_position


class Told(Loop):
    """Remember what was told.

    Attributes:
        told: Speeds (N,) [rad/s] of each step, and which joints were confirmed by its end (N,).
    """

    def __init__(self, name, matrix, **given):
        super().__init__(name, matrix, **given)
        self.told = []
        self._last = self._start

    def _advance(self, command):
        is_position = self._mode == "position"
        speed = (command - self._last) / PERIOD if is_position else command
        self._last = command
        self.told.append((np.abs(speed), self.response.confirmed.copy()))
        super()._advance(command)


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
def test_a_joint_is_told_to_be_slow_until_it_was_seen_to_obey(name):
    """An arm that does as it is told: no joint is asked for more than 0.15 rad/s before it is
    confirmed, and for more afterwards.
    """
    loop = Told(name, np.eye(_size(name)))
    assert loop.run(15.0) is None
    speeds, confirmed = (np.array(each) for each in zip(*loop.told))
    assert confirmed[-1].all()
    assert not confirmed[0].any()
    # a position begins where the arm is measured
    within = confirmed | (np.arange(len(speeds)) == 0)[:, None]
    assert speeds[~within].max() <= SLOW_RAD_S + 1e-6
    assert speeds[confirmed].max() > 2.0 * SLOW_RAD_S


def _scaled(size, joint, scale):
    matrix = np.eye(size)
    matrix[joint, joint] = scale
    return matrix


def _swapped(size, first, second):
    matrix = np.eye(size)
    matrix[[first, second]] = matrix[[second, first]]
    return matrix


def _size(name):
    return len(load_task(name).robot.joints)


def _check(loop, seconds, what):
    """Check that a contradiction is seen, and that no limit was passed before."""
    found = loop.run(seconds)
    assert found is not None, f"{what}: nothing was seen in {seconds} s"
    assert loop.beyond_rad < 0.0, f"{what}: {loop.beyond_rad:.3f} rad beyond a limit, {found}"
    limit = loop.task.robot.tip_speed_limit_m_s
    assert loop.tool_m_s <= limit, (
        f"{what}: the tool moved at {loop.tool_m_s:.2f} m/s, limit {limit}, {found}"
    )
    return found


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("scale", "kind"), [(-1.0, "flipped"), (2.0, "scaled")])
def test_a_wrong_sign_or_scale_is_seen_before_a_limit_is_passed(name, scale, kind):
    for joint in range(_size(name)):
        found = _check(
            Loop(name, _scaled(_size(name), joint, scale)),
            8.0,
            f"{name} joint {joint} times {scale}",
        )
        assert found.joint == joint
        assert found.kind in (kind, "strange")


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
def test_half_the_motion_is_seen(name):
    """Harmless: the arm is slower than it was told.

    In torque mode it takes longer than this test.
    """
    for joint in range(_size(name)):
        found = _check(
            Loop(name, _scaled(_size(name), joint, 0.5)), 12.0, f"{name} joint {joint} times 0.5"
        )
        assert (found.joint, found.kind) == (joint, "scaled")
        assert found.scale == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", TASKS)
def test_swapped_joints_are_seen_before_a_limit_is_passed(name):
    size = _size(name)
    for first, second in [(joint, joint + 1) for joint in range(size - 1)] + [(0, size - 2)]:
        found = _check(
            Loop(name, _swapped(size, first, second)),
            8.0,
            f"{name} joints {first} and {second} swapped",
        )
        if isinstance(found, Mismatch):
            assert found.joint in (first, second)
        else:  # it stands still in a turn of its own
            joints = load_task(name).robot.joints
            assert any(
                found["not_following"].startswith(f"{joints[joint]} ") for joint in (first, second)
            )


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
def test_a_wrong_plant_is_seen_behind_a_slow_servo_and_noise(name):
    size = _size(name)
    for joint in range(size):
        loop = Loop(name, _scaled(size, joint, -1.0), servo_s=0.05, noise_rad=1e-4, seed=1)
        assert _check(loop, 8.0, f"{name} joint {joint} flipped").joint == joint


@pytest.mark.parametrize("name", ["sawyer_reach", "ur5e_reach"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_slow_servo_and_noise_are_no_contradiction(name, seed):
    loop = Loop(name, np.eye(_size(name)), servo_s=0.05, noise_rad=1e-4, seed=seed)
    assert loop.run(30.0) is None
    assert loop.response.confirmed.all()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_trials_do_to_an_arm_is_no_contradiction(name, seed):
    """Sixty seconds of exploring, each disturbance of the trials at its largest."""
    task = load_task(name)
    mode = task.config.command_mode
    arm, actor = SimulatedArm(task), Actor(task, seed=seed)
    response, rng = (
        ResponseCheck(task.robot, mode, PERIOD, task.config.scene),
        np.random.default_rng(seed),
    )
    for step in range(1200):
        if step % 60 == 59:
            kind, size = HARD[step // 60 % len(HARD)]
            arm.sim.disturb(Disturbance("over", 0.0))
            force = rng.normal(size=3)
            force /= np.linalg.norm(force)
            arm.sim.disturb(
                Disturbance(kind, size, MIDDLE[task.robot.name], tuple(force), 0.3, 0.1)
            )
        state = arm.state()
        command = actor.step(state).command
        response.sent(command, state)
        assert response.mismatch is None, (
            f"step {step}: {response.mismatch.text(task.robot.joints)}"
        )
        arm.sim.command(mode, command, PERIOD)
        arm.sim.advance(arm.sim.physics_steps(1.0 / PERIOD))
    assert response.confirmed.all()


@pytest.mark.parametrize("rate", [20.0, 125.0, 500.0])
def test_a_joint_is_confirmed_by_its_own_motion_alone(rate):
    robot = load_task("ur5e_reach").robot
    arm, response = Arm(robot), ResponseCheck(robot, "velocity", 1.0 / rate)
    position, command = np.array(robot.neutral_position), np.zeros(6)
    for step in range(round(0.6 * rate)):
        response.sent(command, arm.state(round(1e9 * step / rate), position, command, command))
        position = position + command / rate
        command = np.array([0.0, 0.15, 0.0, 0.0, 0.0, 0.0])
    assert response.confirmed.tolist() == [False, True, False, False, False, False]
    response.forget()
    assert not response.confirmed.any()


def test_a_mismatch_says_which_joint_did_what():
    size = _size("sawyer_reach")
    joints = load_task("sawyer_reach").robot.joints
    flipped = Loop("sawyer_reach", _scaled(size, 2, -1.0)).run(8.0)
    assert (
        flipped.text(joints)
        == "right_j2 moves against its commands, -1.01 times as far: is its sign reversed?"
    )
    swapped = Loop("sawyer_reach", _swapped(size, 4, 5)).run(8.0)
    assert swapped.text(joints) in [
        f"{joint} moves as {other} was told: are the joints in the controller's order?"
        for joint, other in (("right_j4", "right_j5"), ("right_j5", "right_j4"))
    ]


@pytest.mark.parametrize("mode", ["velocity", "position"])
def test_joints_that_are_told_the_same_are_not_confirmed_by_it(mode):
    """It was seen that two swapped joints were confirmed so, and then driven by each other's
    commands at full speed.
    """
    robot = load_task("ur5e_reach").robot
    arm, response = Arm(robot), ResponseCheck(robot, mode, PERIOD)
    position = np.array(robot.neutral_position)
    same = np.array([0.0, 0.15, 0.15, 0.0, 0.0, 0.0])
    for step in range(60):
        told = position + PERIOD * same if mode == "position" else same
        response.sent(told, arm.state(1 + round(1e9 * step * PERIOD), position, same, same))
        position = position + PERIOD * same
    assert not response.confirmed.any()
    assert response.mismatch is None


def test_joints_not_yet_confirmed_move_in_turns_of_their_own():
    robot = load_task("sawyer_reach").robot
    arm, response = Arm(robot), ResponseCheck(robot, "velocity", PERIOD)
    rest, seen = np.zeros(7), []
    for step in range(30):
        seen.append(response.speeds > 0.0)
        response.sent(
            rest,
            arm.state(1 + round(1e9 * step * PERIOD), np.array(robot.neutral_position), rest, rest),
        )
    moves = np.array(seen).T
    assert moves.mean() == pytest.approx(0.6)
    assert len({tuple(row) for row in moves.tolist()}) == 7
    response.confirmed[:] = True
    assert response.speeds is None


@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_an_unconfirmed_joint_that_goes_into_its_margin_is_seen(end):
    robot = load_task("ur5e_reach").robot
    arm, response = Arm(robot), ResponseCheck(robot, "velocity", PERIOD)
    position, speed, rest = np.array(robot.neutral_position), np.zeros(6), np.zeros(6)
    limit = robot.position_upper if end > 0.0 else robot.position_lower
    speed[2] = 0.15 * end
    position[2] = limit[2] - 0.1 * end
    for step in range(20):
        response.sent(rest, arm.state(1 + round(1e9 * step * PERIOD), position, speed, rest))
        if response.mismatch is not None:
            break
        position = position + PERIOD * speed
    assert response.mismatch.joint == 2
    assert end * position[2] < end * limit[2]


@pytest.mark.parametrize("are_lost", [False, True])
def test_motion_while_states_were_lost_is_compared_with_no_command(are_lost):
    """Somebody moves the arm back meanwhile; seen at once, that is a reversed sign."""
    robot = load_task("sawyer_reach").robot
    response, arm = ResponseCheck(robot, "velocity", PERIOD), Arm(robot)
    position = np.array(robot.neutral_position)
    told = np.where(np.arange(len(position)) == 1, 0.1, 0.0)
    zeros = np.zeros_like(position)
    stamp_ns = 1

    def step(moved):
        nonlocal position, stamp_ns
        stamp_ns += round(1e9 * PERIOD)
        position = position + PERIOD * moved
        response.sent(told, arm.state(stamp_ns, position, zeros, zeros))

    for _ in range(20):
        step(told)
    assert response.confirmed[1]
    if are_lost:
        response.clear()
        position = position - 20 * PERIOD * told
    for _ in range(20):
        step(told if are_lost else -told)
    assert response.confirmed[1]
    assert (response.mismatch is None) == are_lost
