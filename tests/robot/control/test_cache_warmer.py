"""Rehearsed steps: they leave no trace."""

import dataclasses

import numpy as np
import pytest

import sql_ros.robot.control.cache_warmer as rehearsal_module
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.cache_warmer import CacheWarmer
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.runs.rollout import SimulatedArm


@pytest.mark.parametrize("has_policy", [True, False])
def test_what_is_sent_and_learned_is_the_same_with_rehearsals_in_between(
    task, untrained, has_policy
):
    short = type(task)(task.spec.task, dataclasses.replace(task.config, episode_s=0.5), task.robot)
    policy = Policy(untrained(), short.spec) if has_policy else None

    def run(parts: int):
        actor, arm, rehearsal = Actor(short, seed=3), SimulatedArm(short), CacheWarmer(short, 0.001)
        actor.policy = policy
        steps = []
        for _ in range(80):
            for _ in range(parts):
                rehearsal.run_stage(policy, arm.state())
            steps.append(arm.follow(actor))
        assert rehearsal.parts == 80 * parts
        return steps, actor.safety.interventions

    (steps, interventions), (undisturbed, expected) = run(5), run(0)
    assert interventions == expected
    np.testing.assert_array_equal(
        [step.command for step in steps], [step.command for step in undisturbed]
    )
    rewards = [
        [step.transition.reward for step in each if step.transition]
        for each in (steps, undisturbed)
    ]
    assert len(rewards[0]) > 10
    assert rewards[0] == rewards[1]


def test_a_policy_that_gives_nan_does_no_harm(task, untrained):
    class Lost(Policy):
        def sample(self, observation, rng):
            return np.full(self.spec.action_size, np.nan, np.float32)

    rehearsal, arm = CacheWarmer(task, 0.001), SimulatedArm(task)
    for _ in range(8):
        rehearsal.run_stage(Lost(untrained(), task.spec), arm.state())
    assert rehearsal.parts == 8


def test_it_is_rehearsed_just_before_a_state_is_due_and_only_after_a_pause(task):
    rehearsal = CacheWarmer(task, ahead_s=3.0)
    assert rehearsal.wait_s(now=1.0, due=10.0) == 6.0
    assert rehearsal.wait_s(now=7.0, due=10.0) == rehearsal.wait_s(now=12.0, due=10.0) == 0.0
    assert rehearsal.wait_s(now=13.5, due=10.0) == np.inf  # none came
    # a step until just now
    assert rehearsal.wait_s(now=18.0, due=20.0) == rehearsal.wait_s(now=19.0, due=20.0) == np.inf
    assert rehearsal.wait_s(now=21.0, due=30.0) == 6.0


def test_nothing_is_rehearsed_where_most_of_a_core_is_used(task, monkeypatch):
    """Linux takes a core from SCHED_FIFO threads for 50 ms when they have used 95 % of a second."""
    rehearsal, used = CacheWarmer(task, ahead_s=0.5), 0.0
    monkeypatch.setattr(rehearsal_module.time, "process_time", lambda: used)
    outcomes = []
    for second, share in enumerate((0.5, 0.9, 0.9, 0.5, 0.5), start=10):
        used += share
        outcomes.append(rehearsal.wait_s(now=float(second), due=second + 1.0))
    assert outcomes == [0.5, np.inf, np.inf, 0.5, 0.5]
