"""Skills that act together by the weighted sum of their Q."""

import dataclasses

import numpy as np
import pytest

from sql_ros.common.errors import ConfigError, PolicyError
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_composition, export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.policy.blend import WEIGHT_RATE, Blend, observed_components, parse_weights
from sql_ros.policy.runtime import Policy, QFunction, read_spec


@pytest.fixture(scope="module")
def narrow_spec(small_spec):
    """The interface of a skill that observes less than the task, in another order."""
    return dataclasses.replace(
        small_spec,
        task="narrow",
        observation=("c", "a"),
        observation_offset=(0.0, 0.0),
        observation_scale=(10.0, 1.0),
    )


def _learner(spec, seed, temperature=0.25):
    config = AlgorithmConfig(hidden_sizes=(32, 32), temperature=temperature)
    scaling = Scaling(spec.observation_offset, spec.observation_scale)
    learner = Learner(config, scaling, spec.action_size, seed=seed)
    generator = np.random.default_rng(seed)
    for parameter in learner.q_target.parameters():
        noise = generator.normal(size=parameter.shape).astype(np.float32)
        parameter.data.add_(parameter.data.new_tensor(0.3 * noise))
    return learner


def _skill(spec, seed, temperature=0.25):
    return Policy(export_policy(_learner(spec, seed, temperature), spec, 1, "")[0], spec)


@pytest.fixture(scope="module")
def skills(small_spec, narrow_spec):
    return [_skill(small_spec, 1), _skill(narrow_spec, 2)]


def test_q_of_given_actions_is_that_of_the_whole_graph(skills, rng):
    for skill in skills:
        observation = rng.normal(size=skill.spec.observation_size).astype(np.float32)
        noise = rng.normal(size=(7, skill.noise_size)).astype(np.float32)
        action, q = skill.candidates(observation, noise)
        given = QFunction(skill.data).evaluate(observation, action)
        np.testing.assert_allclose(given, q, rtol=1e-5, atol=1e-6)
        assert not np.allclose(QFunction(skill.data).evaluate(observation, -action), q)


def test_the_order_is_that_of_the_weighted_sum(skills, small_spec, rng):
    weights = (0.7, 0.2)
    observation = rng.normal(size=3).astype(np.float32)
    actions = Blend(skills, weights, small_spec).ranked(observation, rng)
    q = weights[0] * QFunction(skills[0].data).evaluate(observation, actions)
    q += weights[1] * QFunction(skills[1].data).evaluate(observation[[2, 0]], actions)
    assert len(actions) == 3 * 16 + 2
    assert np.all(np.diff(q) <= 1e-5)
    assert np.abs(actions).max() <= 1.0


def test_a_low_temperature_prefers_the_best_and_a_high_one_does_not(skills, small_spec):
    blend = Blend(skills, (0.5, 0.5), small_spec)
    observation = np.ones(3, np.float32)

    def draws(temperature):
        return blend.tempered(observation, np.random.default_rng(3), temperature)

    # the candidates are the same, as the seed is: their order alone depends on the temperature
    actions = draws(1e-6)
    best = blend.ranked(observation, np.random.default_rng(3))
    np.testing.assert_array_equal(actions, best)
    assert not np.array_equal(draws(100.0), best)


def test_each_preferred_action_is_counted_at_its_source(skills, small_spec, rng):
    blend = Blend(skills, (0.5, 0.5), small_spec)
    for _ in range(50):
        blend.ranked(rng.normal(size=3).astype(np.float32), rng)
    blend.sample(np.zeros(3, np.float32), rng)  # a rehearsal
    assert blend.chosen.sum() == 50
    shares = [float(value) for key, value in blend.values().items() if key.startswith("share/")]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1.0, abs=0.002)


def test_weights_approach_what_is_wanted_at_a_limited_rate(skills, small_spec, rng):
    blend = Blend(skills, (1.0, 0.0), small_spec)
    blend.wanted = np.array((0.0, 0.02), np.float32)
    step = WEIGHT_RATE / small_spec.control_rate_hz
    blend.ranked(np.zeros(3, np.float32), rng)
    np.testing.assert_allclose(blend.weights, (1.0 - step, 0.02), atol=1e-6)
    for _ in range(20):
        blend.ranked(np.zeros(3, np.float32), rng)
    np.testing.assert_allclose(blend.weights, (0.0, 0.02), atol=1e-6)


def test_a_score_that_is_not_finite_gives_no_action(skills, small_spec, rng):
    blend = Blend(skills, (0.5, 0.5), small_spec)
    observation = np.array((0.0, np.nan, 0.0), np.float32)  # only the first skill observes it
    assert np.isnan(blend.ranked(observation, rng)).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.5", "expected 2 numbers"),
        ("0.5,0.5,1", "expected 2 numbers"),
        ("0.5,-0.1", "finite numbers from 0 on"),
        ("nan,1", "finite numbers from 0 on"),
        ("inf,1", "finite numbers from 0 on"),
        ("1e300,1", "finite numbers from 0 on"),
        ("0,0", "not all of them 0"),
        ("a,b", "numbers with commas"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_weights(text, 2)


def test_weights_are_not_normalised_and_default_to_the_mean():
    assert parse_weights("1, 1", 2) == (1.0, 1.0)
    assert parse_weights("", 4) == (0.25,) * 4


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"joints": ("j0", "j2")}, "joints"),
        ({"command_mode": "torque"}, "command_mode"),
        ({"action_scale": (1.0, 1.0)}, "action_scale"),
        ({"control_rate_hz": 10.0}, "control_rate_hz"),
        ({"observation": ("a", "b", "d")}, "observes d, which task 'small' does not"),
    ],
)
def test_a_skill_that_does_not_fit_the_task_is_refused(small_spec, changed, reason):
    with pytest.raises(PolicyError, match=reason):
        observed_components(dataclasses.replace(small_spec, **changed), small_spec)


def test_skills_of_different_temperatures_are_refused(skills, small_spec):
    with pytest.raises(PolicyError, match="temperatures"):
        Blend([skills[0], _skill(small_spec, 3, temperature=0.5)], (1.0, 1.0), small_spec)


def test_a_composed_policy_is_no_skill(skills, small_spec):
    learners = [_learner(small_spec, seed) for seed in (1, 2)]
    data = export_composition(learners, [0.5, 0.5], small_spec)
    composed = Policy(data, read_spec(data))
    with pytest.raises(PolicyError, match="a composed policy cannot be a skill"):
        Blend([skills[0], composed], (1.0, 1.0), small_spec)
