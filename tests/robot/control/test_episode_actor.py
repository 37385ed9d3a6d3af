"""The actor's transitions: what is paired with what, and when an episode ends."""

import dataclasses
import itertools

import numpy as np
import pytest

from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor, Phase
from sql_ros.robot.control.homing import ARRIVED_RAD, LONGEST_S, Trail
from sql_ros.robot.tasks import load_task
from sql_ros.robot.tasks.reach import Task
from sql_ros.runs.rollout import SimulatedArm


@pytest.fixture
def short(task) -> Task:
    return Task(task.spec.task, dataclasses.replace(task.config, episode_s=0.5), task.robot)


def _run(task: Task, actor: Actor, steps: int):
    arm = SimulatedArm(task)
    return [arm.follow(actor) for _ in range(steps)]


def test_transitions_follow_each_other_without_a_gap(short):
    transitions = [
        step.transition for step in _run(short, Actor(short, seed=0), 80) if step.transition
    ]
    assert len(transitions) > 10
    for before, after in itertools.pairwise(transitions):
        if not before.truncated:
            np.testing.assert_array_equal(before.next_observation, after.observation)


@pytest.mark.parametrize("every", [2, 3, 4])  # 4: states at 15 Hz for control at 20 Hz
def test_a_step_without_a_newer_state_makes_no_transition(short, every):
    """A state and the next one make a transition where exactly one action acted between them."""
    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    seen, newer, made, ended, skipped = arm.state(), [], 0, 0, 0
    for number in range(400):
        is_newer = number % every > 0
        seen = arm.state() if is_newer else seen
        newer.append(is_newer)
        was_under_way = actor.phase is Phase.ACTING
        step = actor.step(seen)
        arm.sim.command(short.config.command_mode, step.command)
        arm.sim.advance(25)
        made += step.transition is not None
        ended += step.summary is not None
        skipped += was_under_way and step.transition is None
        if step.transition is not None:
            assert newer[-2:] == [True, True]
            assert not np.array_equal(step.transition.observation, step.transition.next_observation)
    assert ended > 3
    assert actor.skipped == skipped > 50
    assert made > 30 or every == 2  # of every two states one is repeated: no step is whole


def test_the_command_goes_out_once_and_before_what_the_arm_need_not_wait_for(short, monkeypatch):
    happened, reward = [], Task.reward
    monkeypatch.setattr(
        Task, "reward", lambda *given: (happened.append("reward"), reward(*given))[1]
    )
    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    kinds = set()
    for _ in range(80):
        happened.clear()
        step = actor.step(arm.state(), lambda command: happened.append(command))
        sent = [what for what in happened if not isinstance(what, str)]
        assert len(sent) == 1
        assert sent[0] is step.command
        if step.transition and not step.transition.truncated:
            assert happened[1] == "reward"
        kinds.add((step.transition is not None, step.summary is not None, step.target is not None))
        arm.sim.command(short.config.command_mode, step.command)
        arm.sim.advance(25)
    assert kinds == {
        (False, False, False),
        (False, False, True),
        (True, False, False),
        (True, True, False),
    }


def test_an_arm_moved_while_the_actor_was_not_active_is_taken_as_it_is(short):
    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    while arm.follow(actor).transition is None:
        pass
    actor.forget()
    assert actor.given_up == 1
    assert actor.safety.is_at_rest
    start = actor.episode.start.copy()
    start[0] += 0.6
    arm.sim.reset(start)
    step = actor.step(arm.state())
    assert (step.transition, actor.given_up) == (None, 1)
    change = (
        short.robot.limit_fraction
        * np.array(short.robot.acceleration_limit)
        / short.config.control_rate_hz
    )
    assert (np.abs(step.command) <= change + 1e-12).all()  # from rest


def test_an_episode_cut_for_time_is_truncated_and_not_terminated(short):
    steps = [step for step in _run(short, Actor(short, seed=0), 80) if step.transition]
    last = [step for step in steps if step.summary]
    assert last
    assert all(step.transition.truncated and not step.transition.terminated for step in last)
    assert all(step.step_index == short.episode_steps - 1 for step in last)
    assert not any(step.transition.truncated for step in steps if not step.summary)


def test_the_action_stored_is_the_one_chosen_and_the_reward_that_of_what_was_sent(short):
    """A filter that changes the command is a part of the world that answers."""
    narrow = dataclasses.replace(short.robot, velocity_limit=(0.2,) * 7)
    task = Task(short.spec.task, short.config, narrow)
    actor, arm = Actor(task, seed=0), SimulatedArm(task)
    command, arm_state, stored = None, arm.state(), []
    for _ in range(200):
        step = arm.follow(actor)
        if step.transition:
            applied = (command / 0.8).astype(np.float32)
            assert np.abs(applied).max() <= 0.25 + 1e-6
            if not step.transition.truncated:  # then the next episode is there
                assert step.transition.reward == pytest.approx(
                    task.reward(arm_state, applied, actor.episode), abs=1e-6
                )
            stored.append(step.transition.action)
        command, arm_state = step.command, arm.state()
    assert len(stored) > 5
    assert np.abs(stored).max() > 0.9
    assert actor.safety.interventions["velocity"] > 0


def test_the_same_seed_gives_the_same_transitions(short):
    first, second = (
        [
            step.transition.next_observation
            for step in _run(short, Actor(short, seed=4), 60)
            if step.transition
        ]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_without_a_policy_and_without_leave_to_explore_it_holds(short):
    steps = _run(short, Actor(short, seed=0, explores=False), 30)
    assert all(step.transition is None for step in steps)
    assert all((step.command == 0).all() for step in steps)


def test_an_interrupted_episode_gives_no_transition_across_the_gap(short):
    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    while arm.follow(actor).transition is None:
        pass
    speeds = []
    for _ in range(8):
        speeds.append(np.abs(actor.interrupt(arm.state())).max())
        arm.sim.command("velocity", np.zeros(7))
        arm.sim.advance(25)
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] == 0.0
    assert arm.follow(actor).transition is None


def test_however_often_an_episode_is_interrupted_it_begins_at_its_start_pose(task):
    actor, arm = Actor(task, seed=0), SimulatedArm(task)
    steps = 0
    for _ in range(round(LONGEST_S / task.config.episode_s) + 2):
        away, target = np.inf, None
        while target is None:
            away = np.abs(actor.episode.start - arm.state().position).max()
            target = arm.follow(actor).target
            steps += 1
        assert away < ARRIVED_RAD
        for _ in range(task.episode_steps - 1):
            arm.follow(actor)
            steps += 1
        actor.interrupt(arm.state())
    while (summary := arm.follow(actor).summary) is None:
        steps += 1
    assert summary.robot_steps == pytest.approx(steps, abs=20)  # of every attempt


def test_an_arm_that_was_put_elsewhere_gives_no_transition_across_the_jump(short):
    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    while arm.follow(actor).transition is None:
        pass
    arm.sim.reset(arm.state().position + 0.5)
    assert arm.follow(actor).transition is None
    assert actor.given_up == 1


def test_actions_beyond_the_box_are_cut_to_it(short):
    class Wild:
        info = type("Info", (), {"version": 1})

        def sample(self, observation, rng):
            return np.full(7, 5.0, np.float32)

    actor, arm = Actor(short, seed=0), SimulatedArm(short)
    actor.policy = Wild()
    commands = [
        step.command
        for step in (arm.follow(actor) for _ in range(60))
        if step.transition and not step.summary
    ]
    assert commands
    assert np.max(commands) == pytest.approx(0.8)


def test_robot_time_counts_the_way_to_the_start_pose(short):
    summary = next(step.summary for step in _run(short, Actor(short, seed=0), 80) if step.summary)
    assert summary.steps == short.episode_steps
    assert summary.robot_steps > summary.steps


# a hand low over the table: what turns its wrist back brings the brick nearer
WOUND_UP = [0.01, -0.62, 0.09, 2.03, 0.76, 0.05, -1.62]
# nearer than the clearance already
BESIDE_THE_PEDESTAL = [-1.2815, 0.9107, 0.8612, 2.0125, -2.8507, -1.5466, -4.5487]


@pytest.mark.parametrize("pose", [WOUND_UP, BESIDE_THE_PEDESTAL])
def test_an_arm_gets_back_to_the_start_pose_from_where_the_filter_stops_it_on_the_straight_way(
    pose,
):
    task = load_task("sawyer_stack")
    actor, arm = Actor(task, seed=0), SimulatedArm(task)
    arm.sim.reset(np.array(pose))
    for _ in range(round(LONGEST_S * 20)):
        step = arm.follow(actor)
        if step.target is not None:
            break
    assert step.target is not None
    # and not from wherever it was when time was up
    assert np.abs(arm.state().position - actor.episode.start).max() < 2 * ARRIVED_RAD


def test_a_trail_leads_back_by_what_was_passed_without_its_loops():
    trail = Trail()
    assert trail.before(np.zeros(2)) is None
    there = [np.array([x, 0.0]) for x in np.arange(0.0, 1.9, 0.4)]
    loop = [np.array([1.6, y]) for y in (0.4, 0.8, 0.4, 0.0)]
    up = [np.array([1.6, -y]) for y in (0.4, 0.8)]
    for pose in there + loop + up:
        trail.add(pose)
        trail.add(pose + 0.01)  # too near to the one before
    at, passed = up[-1], []
    while (goal := trail.before(at)) is not None:
        passed.append(goal.round(2).tolist())
        at = goal
    assert passed == [[1.6, -0.4], [1.6, 0.0], [1.2, 0.0], [0.8, 0.0], [0.4, 0.0], [0.0, 0.0]]
    assert trail.clear()
    assert not trail.clear()


def test_an_arm_that_wandered_off_finds_back_and_the_next_episode_begins_at_its_start():
    """Full torque one way for a whole episode, ten times another way: what no learner should do and
    a young one does.
    """
    task, rng = load_task("sawyer_stack"), np.random.default_rng(3)

    class Wilful(Actor):
        wish = rng.choice([-1.0, 1.0], 7).astype(np.float32)

        def _candidates(self, policy, observation):
            yield self.wish

    actor, arm, ways, late = Wilful(task, seed=0), SimulatedArm(task), [], 0
    while len(ways) < 10:
        step = arm.follow(actor)
        if step.target is not None:
            late += int(np.abs(arm.state().position - actor.episode.start).max() > 0.2)
        if step.summary is not None:
            ways.append(step.summary.robot_steps - step.summary.steps)
            actor.wish = rng.choice([-1.0, 1.0], 7).astype(np.float32)
    assert late <= 3


def test_a_temperature_set_in_play_changes_what_is_drawn(short, untrained):
    """From the next step on; with 0 again the actor acts as before."""
    policy = Policy(untrained(), short.spec)

    def command(temperature: float) -> np.ndarray:
        actor, arm = Actor(short, seed=0, deterministic=True), SimulatedArm(short)
        actor.policy, actor.temperature = policy, temperature
        arm.begin(actor, actor.episode)
        return actor.step(arm.state()).command

    drawn = [command(policy.info.temperature) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    assert not np.array_equal(drawn[0], command(0.0))
    np.testing.assert_array_equal(command(0.0), command(0.0))
