"""The task `sawyer_stack` as pure functions, and what the actor makes of its end."""

import dataclasses

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.task import Episode
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.stack import Task, angle_of
from sql_ros.runs.rollout import SimulatedArm

TASK = load_task("sawyer_stack")
PLAIN = Task("plain", dataclasses.replace(TASK.config, fine_bonus=0.0), TASK.robot)
ARM = Arm(TASK.robot)
NEUTRAL = np.array(TASK.robot.neutral_position)
SEAT = np.array([0.60, 0.10, -0.0708])
EPISODE = Episode(NEUTRAL, SEAT)
REST = np.zeros(7, np.float32)


def _about_z(angle: float) -> np.ndarray:
    return np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )


def _state(offset=(0.0, 0.0, 0.0), angle=0.0, velocity=0.0):
    pose = ARM.solve(SEAT + np.array(offset), _about_z(angle), NEUTRAL)
    return ARM.state(0, pose, np.full(7, velocity), np.zeros(7))


def _reward(state, action=REST) -> float:
    """In the unit of the source, and without the bonus that it does not have."""
    return PLAIN.reward(state, action, EPISODE) / TASK.config.reward_scale


def test_the_observation_is_that_of_the_real_arm():
    named = dict(
        zip(
            TASK.spec.observation,
            TASK.observe(_state((0.01, -0.02, 0.03), 0.2, 0.1), EPISODE).tolist(),
        )
    )
    assert len(named) == TASK.spec.observation_size == 20
    assert named["velocity/right_j6"] == pytest.approx(0.1)
    assert [named[f"from_target/{axis}"] for axis in "xyz"] == pytest.approx(
        [0.01, -0.02, 0.03], abs=2e-4
    )
    assert [named[angle] for angle in ("roll", "pitch", "yaw")] == pytest.approx(
        [0.0, 0.0, 0.2], abs=2e-4
    )


def test_the_reward_is_that_of_the_source():
    """By hand, at three places: far, above the target, aligned; and with torques that press."""
    x, y, z = 0.10, -0.05, 0.20
    squared = x * x + y * y + 1.25 * z * z
    far = -3 * 0.4 - (np.log(2 * squared + 1e-3) + 10 * np.sqrt(squared))
    assert _reward(_state((x, y, z), 0.4)) == pytest.approx(far, abs=5e-3)
    squared = 1.25 * 0.02**2
    above = 1.5 - 3 * 0.2 - (np.log(2 * squared + 1e-3) + 10 * np.sqrt(squared))
    assert _reward(_state((0, 0, 0.02), 0.2)) == pytest.approx(above, abs=5e-3)
    assert _reward(_state()) == pytest.approx(3.0 - np.log(1e-3), abs=5e-3)


def test_the_bonus_at_the_seat_is_lost_by_millimetres_and_degrees():
    config = TASK.config

    def bonus(state) -> float:
        return (
            TASK.reward(state, REST, EPISODE) - PLAIN.reward(state, REST, EPISODE)
        ) / config.reward_scale

    assert bonus(_state()) == pytest.approx(config.fine_bonus, rel=1e-2)
    assert bonus(_state((config.fine_scale_m, 0, 0))) == pytest.approx(
        config.fine_bonus / 2, rel=0.05
    )
    assert bonus(_state(angle=config.fine_scale_rad)) == pytest.approx(
        config.fine_bonus / 2, rel=0.05
    )
    assert (
        bonus(_state((0, 0, 0.005), 0.08))
        > bonus(_state((0, 0, 0.005), 0.1))
        > 0.05 * config.fine_bonus
    )  # askew on the studs
    assert bonus(_state((0.04, 0, 0))) == 0.0


def test_pressing_pays_by_the_newton_above_the_target_only():
    pose = ARM.solve(SEAT, np.eye(3), NEUTRAL)
    down = (
        ARM.jacobian(pose).T @ np.array([0, 0, -5.0, 0, 0, 0]) / np.array(TASK.config.action_scale)
    )  # 5 N
    torque = np.array(TASK.config.action_scale) * down
    for state, paid in ((_state(), 5 * TASK.config.press_bonus), (_state((0, 0, 0.05)), 0.0)):
        gained = _reward(state, down.astype(np.float32)) - _reward(state)
        assert gained == pytest.approx(paid - 0.001 * float(torque @ torque), abs=1e-3)


@pytest.mark.parametrize(
    ("offset", "angle", "seated"),
    [
        ((0, 0, 0.0008), 0.0, True),
        ((0, 0, 0.0012), 0.0, False),
        ((0.0018, 0, 0), 0.0, True),
        ((0.0016, 0.0016, 0), 0.0, False),
        ((0, 0, 0), 0.03, True),
        ((0, 0, 0), 0.04, False),
    ],
)
def test_seated_is_a_matter_of_height_place_and_angle(offset, angle, seated):
    assert TASK.is_reached(_state(offset, angle), EPISODE) is seated


def test_the_angle_of_a_rotation():
    assert angle_of(np.eye(3)) == 0.0
    assert angle_of(_about_z(-0.3)) == pytest.approx(0.3)


def test_inverse_kinematics_finds_the_pose_or_says_that_there_is_none():
    state = _state((0.03, -0.02, 0.1), 0.5)
    np.testing.assert_allclose(state.tool_position, SEAT + np.array([0.03, -0.02, 0.1]), atol=2e-4)
    np.testing.assert_allclose(state.tool_rotation, _about_z(0.5), atol=5e-4)
    with pytest.raises(ValueError, match="out of reach of 'sawyer'"):
        ARM.solve(np.array([2.0, 0.0, 0.0]), np.eye(3), NEUTRAL)


def test_a_target_out_of_reach_is_a_wrong_task_file():
    with pytest.raises(
        ConfigError,
        match=(
            r"sawyer_stack.yaml: the middle of 'target_lower' and 'target_upper': .* out of reach"
            r" of 'sawyer'"
        ),
    ):
        load_task("sawyer_stack", target_lower=(2.0, 0.0, 0.0), target_upper=(2.0, 0.0, 0.0))


def test_the_jacobian_is_the_derivative_of_the_pose():
    delta, jacobian = 1e-6, ARM.jacobian(NEUTRAL)
    for joint in range(7):
        moved = ARM.state(0, NEUTRAL + delta * np.eye(7)[joint], REST, REST).tool_position
        np.testing.assert_allclose(
            (moved - ARM.state(0, NEUTRAL, REST, REST).tool_position) / delta,
            jacobian[:3, joint],
            atol=1e-5,
        )


def test_a_task_may_not_name_bodies_that_are_not_there():
    config = dataclasses.replace(TASK.config, may_touch=(("held/brick", "gaol"),))
    with pytest.raises(ConfigError, match="'may_touch' names the body 'gaol'"):
        Actor(Task("odd", config, load_task("sawyer_reach").robot), seed=0)


def _end_of_an_episode(drop: bool):
    """An episode that ends with the brick on the studs; `drop`: pulled off while the arm is left
    alone.
    """
    task = Task(
        "brief",
        dataclasses.replace(TASK.config, episode_s=0.1, vary_friction=0.0),
        load_task("sawyer_reach").robot,
    )
    arm, actor = SimulatedArm(task), Actor(task, seed=0)
    pose = ARM.solve(SEAT, np.eye(3), NEUTRAL)
    arm.begin(actor, Episode(pose, SEAT))
    steps = []
    while not steps or steps[-1].summary is None:
        steps.append(actor.step(arm.state()))
        arm.sim.command("torque", np.zeros(7))
        if drop and len(steps) > 3:
            arm.sim.data.xfrc_applied[arm.sim.model.body("held/brick").id, 2] = 40.0
        arm.sim.advance(arm.sim.physics_steps(20.0))
    return task, steps


def test_a_seated_brick_that_stays_is_a_success_and_the_release_is_no_transition():
    task, steps = _end_of_an_episode(drop=False)
    assert steps[-1].summary.success
    assert sum(step.transition is not None for step in steps) == task.episode_steps == 2
    assert len(steps) == 1 + task.episode_steps + task.release_steps
    assert steps[-1].summary.robot_steps >= task.episode_steps + task.release_steps
    assert [step.target is not None for step in steps] == [True] + [False] * (len(steps) - 1)


def test_a_brick_that_comes_off_when_the_arm_is_left_alone_is_none():
    assert not _end_of_an_episode(drop=True)[1][-1].summary.success


def test_in_twist_form_the_downward_speed_is_rewarded_as_the_force():
    task = load_task("sawyer_stack_twist")
    config, state = task.config, _state((0.0, 0.0, 0.002))

    def gain(action):
        """Return the reward of an action beyond that of no action, in the unit of the source."""
        rewards = [
            task.reward(state, np.array(each, np.float32), EPISODE) for each in (action, [0] * 6)
        ]
        return (rewards[0] - rewards[1]) / config.reward_scale

    press = config.press_bonus * config.most_press_n
    assert gain([0, 0, -1, 0, 0, 0]) == pytest.approx(press - config.torque_cost)
    assert gain([0, 0, -0.5, 0, 0, 0]) == pytest.approx(0.5 * press - 0.25 * config.torque_cost)
    assert gain([0, 0, 1, 0, 0, 0]) == pytest.approx(-config.torque_cost)
    assert gain([1, 1, 0, 1, 1, 1]) == pytest.approx(-5 * config.torque_cost)
