"""SAC and DDPG of stable-baselines3 under our conditions."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError
from sql_ros.experiments.baselines import ScaledEnv, export_baseline, train_baseline
from sql_ros.experiments.gym_task import make_env
from sql_ros.experiments.gym_training import train
from sql_ros.policy.runtime import Policy


@pytest.mark.parametrize("method", ["sac", "ddpg"])
def test_a_baseline_is_evaluated_at_the_same_points_after_as_many_updates(
    method, line, small, pace
):
    theirs = train_baseline(
        method, line, 60, 0, small, pace, evaluate_every=25, evaluation_episodes=2
    )
    ours = train(line, 60, 0, small, pace, evaluate_every=25, evaluation_episodes=2)
    assert theirs.steps == ours.steps
    # SB3 calls back before the update of a step
    assert np.abs(np.subtract(theirs.updates, ours.updates)).max() <= 1
    assert len(theirs.successes) == len(theirs.returns)


def test_a_baseline_sees_the_observations_of_an_arm_scaled():
    env = make_env("sql_ros/SawyerReach-v0")
    raw, _ = env.reset(seed=0)
    scaled, _ = ScaledEnv(env).reset(seed=0)
    spec = env.unwrapped.task.spec
    np.testing.assert_allclose(
        scaled,
        (raw - np.array(spec.observation_offset)) / np.array(spec.observation_scale),
        rtol=1e-5,
    )


def test_an_unknown_baseline_is_refused(line, small, pace):
    with pytest.raises(ConfigError, match="'td3', expected one of: sac, ddpg"):
        train_baseline("td3", line, 10, 0, small, pace, evaluate_every=5, evaluation_episodes=1)


@pytest.mark.parametrize("ratio", [0.5, 2.5])
def test_a_share_of_an_update_is_refused_and_not_rounded(ratio, line, small, pace):
    with pytest.raises(
        ConfigError, match=f"updates_per_transition is {ratio}, expected a whole number"
    ):
        train_baseline(
            "sac",
            line,
            60,
            0,
            small,
            replace(pace, updates_per_transition=ratio),
            evaluate_every=60,
            evaluation_episodes=1,
        )


def test_without_stable_baselines3_the_error_says_what_to_install(line, small, pace, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r"sql_ros\[bench\]"):
        train_baseline("sac", line, 10, 0, small, pace, evaluate_every=5, evaluation_episodes=1)


@pytest.mark.parametrize("method", ["sac", "ddpg"])
def test_an_exported_baseline_acts_as_the_model_does(method, small, pace):
    kept = []
    train_baseline(
        method,
        "sql_ros/SawyerReach-v0",
        60,
        0,
        small,
        pace,
        evaluate_every=60,
        evaluation_episodes=1,
        progress=lambda model, curve: kept.append(model),
    )
    env = make_env("sql_ros/SawyerReach-v0")
    spec = env.unwrapped.task.spec
    policy = Policy(export_baseline(kept[-1], spec), spec)
    for seed in range(5):
        observation = env.reset(seed=seed)[0]
        theirs, _ = kept[-1].predict(ScaledEnv(env).observation(observation), deterministic=True)
        np.testing.assert_allclose(
            policy.ranked(observation, np.random.default_rng(0))[0], theirs, atol=1e-5
        )
