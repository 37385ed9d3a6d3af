"""A playing actor that is sent somewhere: accepted, reached, preempted, refused, and held in
between.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sql_ros.common.errors import MessageError
from sql_ros.robot.arm import Arm
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.goals import OLDEST_S, GoalFollower, check_age, check_goal
from sql_ros.runs.rollout import SimulatedArm

NEAR, FAR = np.array([0.6, 0.15, 0.3]), np.array([0.55, -0.2, 0.25])
STEPS = 300


class Servo:
    """A policy that goes straight to the target, by the Jacobian of the arm."""

    def __init__(self, task) -> None:
        self._arm, self._count = Arm(task.robot), len(task.robot.joints)
        self._scale = np.array(task.config.action_scale)
        self.info = SimpleNamespace(version=1)

    def ranked(self, observation, rng):
        position, to_target = observation[: self._count], observation[-3:]
        way = np.linalg.pinv(self._arm.jacobian(position)[:3]) @ (3.0 * to_target)
        action = way / self._scale
        return [np.asarray(action / max(1.0, np.abs(action).max()), np.float32)]


@pytest.fixture(scope="module")
def mapper(task) -> ActionMapper:
    return ActionMapper(task)


@pytest.fixture
def play(task, mapper):
    """A simulated arm at its neutral pose and what sends its actor to goals: play(waits=True)."""

    def begin(*, waits: bool):
        goals = GoalFollower(task, 0, waits=waits, mapper=mapper)
        goals.actor.policy = Servo(task)
        mapper.safety.forget()
        return SimulatedArm(task), goals

    return begin


def _until(arm, goals, word: str) -> list:
    """Steps up to the news that begin with a word, which are left there."""
    steps = []
    while not any(text.startswith(word) for text in goals.news):
        steps.append(arm.follow(goals.actor))
        assert len(steps) < STEPS, f"not {word} in {STEPS} steps: {list(goals.news)}"
    return steps


def test_it_holds_until_a_first_goal_and_goes_there_from_where_it_is(play, task):
    arm, goals = play(waits=True)
    held = [arm.follow(goals.actor) for _ in range(20)]
    assert goals.waits
    assert not any(step.command.any() or step.target is not None for step in held)
    goals.give(NEAR)
    steps = _until(arm, goals, "reached")
    assert [text.split()[0] for text in goals.news] == ["accepted", "reached"]
    np.testing.assert_array_equal(steps[0].target, NEAR)  # at once: no way to a start pose
    assert np.linalg.norm(arm.state().tool_position - NEAR) < task.config.tolerance_m


def test_it_stays_at_a_goal_beyond_the_time_of_an_episode(play, task):
    arm, goals = play(waits=True)
    goals.give(NEAR)
    _until(arm, goals, "reached")
    steps = [arm.follow(goals.actor) for _ in range(2 * task.episode_steps)]
    assert not any(step.summary or step.target is not None for step in steps)
    assert np.linalg.norm(arm.state().tool_position - NEAR) < task.config.tolerance_m
    assert list(goals.news)[2:] == []


def test_the_next_goal_ends_the_present_one_without_a_stop(play):
    arm, goals = play(waits=True)
    goals.give(NEAR)
    _until(arm, goals, "reached")
    goals.give(NEAR + 0.01)
    goals.give(FAR)  # before a control step could begin with the one before
    assert "preempted (0.610, 0.160, 0.310)" in goals.news[-2]
    step = arm.follow(goals.actor)
    assert step.summary.success
    assert np.array_equal(step.target, FAR)
    for _ in range(5):
        arm.follow(goals.actor)
    goals.news.clear()
    goals.give(NEAR)
    assert goals.news[0].startswith("preempted (0.550, -0.200, 0.250): by goal (0.600")
    before = arm.state().velocity
    arm.follow(goals.actor)
    assert np.abs(before).max() > 0.05  # it was moving, and goes on within its acceleration
    change = np.abs(arm.state().velocity - before) / 0.05
    assert (change < np.array(goals.actor.task.robot.acceleration_limit)).all()
    _until(arm, goals, "reached")


def test_drawn_episodes_go_on_until_a_first_goal(play):
    arm, goals = play(waits=False)
    while arm.follow(goals.actor).target is None:
        pass
    goals.give(NEAR)
    assert arm.follow(goals.actor).summary is None  # a drawn episode is given up
    assert goals.actor.given_up == 1
    _until(arm, goals, "reached")


def test_a_cancelled_goal_leaves_the_arm_held_until_the_next(play):
    arm, goals = play(waits=False)
    goals.give(NEAR)
    for _ in range(10):
        arm.follow(goals.actor)
    goals.cancel("stop: it was called")
    assert goals.news[-1] == "preempted (0.600, 0.150, 0.300): stop: it was called"
    for _ in range(20):
        step = arm.follow(goals.actor)
    assert not step.command.any()
    goals.give(NEAR)
    _until(arm, goals, "reached")


def test_a_stop_gives_up_a_goal_that_waits_for_its_transform(play):
    _, goals = play(waits=True)
    goals.expect("(0.500, 0.000, 0.300) in camera")
    goals.cancel("stop: it was called")
    assert list(goals.news) == ["preempted (0.500, 0.000, 0.300) in camera: stop: it was called"]
    assert not goals.take_pending()
    assert goals.waits


def test_a_pending_goal_does_not_overtake_a_newer_one(play):
    _, goals = play(waits=True)
    goals.expect("A in camera")
    goals.expect("B in camera")
    goals.give(NEAR)
    assert list(goals.news)[:2] == [
        "preempted A in camera: by a newer goal",
        "preempted B in camera: by goal (0.600, 0.150, 0.300)",
    ]
    assert not goals.take_pending()
    assert np.array_equal(goals.goal, NEAR)
    goals.expect("C in camera")
    assert goals.take_pending()
    assert not goals.take_pending()


def test_a_hold_interrupts_a_goal_and_the_goal_goes_on_afterwards(play):
    arm, goals = play(waits=True)
    goals.give(NEAR)
    for _ in range(10):
        arm.follow(goals.actor)
    goals.actor.interrupt(arm.state())
    steps = _until(arm, goals, "reached")
    assert np.array_equal(steps[0].target, NEAR)


def test_the_same_goal_again_changes_nothing_and_is_answered(play):
    arm, goals = play(waits=True)
    goals.give(NEAR)
    _until(arm, goals, "reached")
    goals.give(NEAR.copy())
    assert goals.news[-1].startswith("reached (0.600")
    assert arm.follow(goals.actor).summary is None


def test_a_goal_outside_of_the_box_is_refused_with_the_box(task):
    with pytest.raises(MessageError) as error:
        check_goal(np.array([2.0, 0.0, 0.3]), task, "base")
    assert "(2.000, 0.000, 0.300) is outside" in str(error.value)
    assert "[0.45, -0.3, 0.1] to [0.75, 0.3, 0.45] m in base" in str(error.value)
    with pytest.raises(MessageError, match="not finite"):
        check_goal(np.array([np.nan, 0.0, 0.3]), task, "base")


def test_a_goal_on_the_edge_is_taken_whatever_was_rounded(task):
    edge = np.array(task.config.target_upper)
    np.testing.assert_array_equal(check_goal(edge + 1e-9, task, "base"), edge)
    flat = replace(task.config, target_lower=(0.5, 0.0, 0.2), target_upper=(0.7, 0.0, 0.2))
    table = SimpleNamespace(config=flat, name="flat")
    np.testing.assert_array_equal(check_goal(np.array([0.6, 0.0, 0.2]), table, "base")[2], 0.2)


@pytest.mark.parametrize("age_s", [-OLDEST_S - 1.0, OLDEST_S + 1.0, 1e9])
def test_a_goal_with_an_old_or_foreign_stamp_is_refused(age_s):
    check_age(0.5)
    with pytest.raises(MessageError, match="expected at most 10 s"):
        check_age(age_s)
