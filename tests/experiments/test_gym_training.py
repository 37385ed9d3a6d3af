"""The one learner on a Gymnasium environment."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.curve import evaluate
from sql_ros.experiments.gym_task import make_env, spec_of
from sql_ros.experiments.gym_training import Walk, deterministic, train
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.runtime import Policy


def test_it_learns_where_the_reward_is(line, small, pace):
    curve = train(line, 600, 0, small, pace, evaluate_every=600, evaluation_episodes=5)
    rng = np.random.default_rng(0)
    uniform, _, _ = evaluate(
        make_env(line), lambda _: rng.uniform(-1.0, 1.0, 1).astype(np.float32), 20
    )
    assert uniform < -2.0  # five times the mean distance of 0.625
    assert curve.returns[-1] > -0.75
    assert curve.successes[-1] >= 0.6


def test_a_point_is_made_at_every_evaluation_and_at_the_last_step(line, small, pace):
    seen = []
    curve = train(
        line,
        50,
        0,
        small,
        replace(pace, updates_per_transition=2.0),
        evaluate_every=20,
        evaluation_episodes=1,
        progress=lambda trainer, curve: seen.append((trainer.learner.updates, len(curve.steps))),
    )
    assert curve.steps == [20, 40, 50]
    assert curve.updates == [0, 40, 60]
    assert seen == [(0, 1), (40, 2), (60, 3)]
    assert (
        len(curve.returns)
        == len(curve.successes)
        == len(curve.train_s)
        == len(curve.train_cpu_s)
        == 3
    )
    assert curve.train_s == sorted(curve.train_s)


def test_evaluating_more_often_does_not_change_what_is_learned(line, small, pace):
    often, rarely = (
        train(line, 60, 3, small, pace, evaluate_every=every, evaluation_episodes=2)
        for every in (10, 60)
    )
    assert often.returns[-1] == rarely.returns[-1]


def test_evaluated_is_what_the_exported_policy_would_do(line, small, pace):
    env, kept = make_env(line), []
    train(
        line,
        60,
        0,
        small,
        pace,
        evaluate_every=60,
        evaluation_episodes=0,
        progress=lambda trainer, _: kept.append(trainer),
    )
    acts, rng = deterministic(kept[0].learner, spec_of(env)), np.random.default_rng(0)
    policy = Policy(kept[0].export(), spec_of(env))
    for seed in range(5):
        observation = env.reset(seed=seed)[0].astype(np.float32)
        np.testing.assert_array_equal(acts(observation), policy.ranked(observation, rng)[0])


def test_another_seed_gives_another_run(line, small, pace):
    first, second = (
        train(line, 40, seed, small, pace, evaluate_every=40, evaluation_episodes=2)
        for seed in (0, 1)
    )
    assert first.returns != second.returns


def test_an_episode_cut_for_time_is_truncated_not_terminated_and_the_next_begins_elsewhere(
    line, small, pace
):
    env = make_env(line)
    walk = Walk([env], Trainer(spec_of(env), pace, small, 0), 0)
    transitions = [walk.step()[0] for _ in range(10)]
    assert [item.truncated for item in transitions] == [False, False, False, False, True] * 2
    assert not any(item.terminated for item in transitions)
    # the state stays, also at the end
    np.testing.assert_array_equal(transitions[4].next_observation, transitions[4].observation)
    assert not np.array_equal(transitions[5].observation, transitions[4].next_observation)


def test_warm_up_actions_are_uniform_on_the_unit_box(line, small, pace):
    env = make_env(line)
    walk = Walk([env], Trainer(spec_of(env), pace, small, 0), 0)
    actions = np.array([walk.step()[0].action[0] for _ in range(2000)])
    assert np.abs(actions).max() <= 1.0
    assert abs(actions.var() - 1.0 / 3.0) < 0.03


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_what_is_not_finite_ends_the_run_and_names_the_environment(line, small, pace, what, value):
    class Breaks(gymnasium.Wrapper):
        made = 0

        def step(self, action):
            observation, reward, *rest = self.env.step(action)
            self.made += 1
            if self.made == 30:
                observation, reward = (
                    (np.array([0.0, value]), reward)
                    if what == "observation"
                    else (observation, value)
                )
            return observation, reward, *rest

    kept = []
    says = f"environment '{line}' gave the {what} .*, expected finite numbers"
    with pytest.raises(ConfigError, match=says):
        train(
            line,
            100,
            0,
            small,
            pace,
            evaluate_every=100,
            evaluation_episodes=1,
            wrap=Breaks,
            prepare=kept.append,
        )
    (trainer,) = kept
    assert trainer.replay.added == 29


def test_a_first_state_that_is_not_finite_is_refused_too(line, small, pace):
    class Lost(gymnasium.Wrapper):
        def reset(self, **options):
            return np.array([np.nan, 0.0]), {}

    with pytest.raises(ConfigError, match="gave the observation"):
        train(line, 100, 0, small, pace, evaluate_every=100, evaluation_episodes=1, wrap=Lost)
