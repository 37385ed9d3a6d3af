"""Gymnasium environments seen as tasks."""

import gymnasium
import numpy as np
import pytest

from sql_ros.core.errors import ConfigError
from sql_ros.experiments.gym_task import make_env, spec_of, to_env


@pytest.mark.parametrize(("action", "expected"), [(-1.0, 0.0), (0.0, 1.0), (1.0, 2.0), (3.0, 2.0)])
def test_actions_from_minus_one_to_one_span_the_bounds_of_the_environment(action, expected):
    space = gymnasium.spaces.Box(0.0, 2.0, (1,), np.float32)
    assert to_env(np.array([action], np.float32), space) == pytest.approx(expected)


def test_every_component_of_a_gymnasium_environment_gets_a_name(line):
    spec = spec_of(make_env(line))
    assert (spec.task, spec.observation, spec.joints, spec.action_scale) == (line, ("o0", "o1"), ("a0",), (1.0,))
    assert spec.observation_offset == (0.0, 0.0)
    assert spec.observation_scale == (1.0, 1.0)


def test_the_control_rate_is_the_inverse_of_the_period_of_the_environment():
    assert spec_of(make_env("Pendulum-v1")).control_rate_hz == pytest.approx(20.0)


def test_an_arm_keeps_its_own_spec():
    env = make_env("sql_ros/SawyerReach-v0")
    assert spec_of(env) is env.unwrapped.task.spec


@pytest.mark.parametrize("env_id", ["CartPole-v1", "NoSuchTask-v0", "no_such_package/Task-v0"])
def test_what_cannot_be_trained_is_refused_with_its_name(env_id):
    with pytest.raises(ConfigError, match=env_id.split("-")[0]):
        make_env(env_id)
