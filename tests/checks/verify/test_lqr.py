"""The closed form of the soft regulator against quadrature, and against Monte Carlo in two
dimensions.
"""

import dataclasses

import numpy as np
import pytest

from sql_ros.checks.verify import lqr
from sql_ros.checks.verify.lqr import SoftLqr
from sql_ros.checks.verify.problems import regulator_with_one_action, regulator_with_two_actions

LINE = SoftLqr(
    *(np.array([[x]]) for x in (0.9, 0.4, 1.0, 0.3, 0.02)), discount=0.85, temperature=0.2
)
STATES = np.linspace(-2, 2, 9)[:, None]
ACTIONS = np.linspace(-12, 12, 20_001)


def _q_on_grid(regulator: SoftLqr) -> np.ndarray:
    return regulator.q(
        STATES[:, None], np.broadcast_to(ACTIONS[:, None], (len(STATES), len(ACTIONS), 1))
    )


def _soft_value_by_quadrature(regulator: SoftLqr) -> np.ndarray:
    q = _q_on_grid(regulator)
    largest = q.max(axis=1)
    return largest + regulator.temperature * np.log(
        np.trapezoid(np.exp((q - largest[:, None]) / regulator.temperature), ACTIONS, axis=1)
    )


def _bellman_by_quadrature(regulator: SoftLqr, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    node, weight = np.polynomial.hermite_e.hermegauss(8)
    noise = node[:, None] * np.sqrt(regulator.noise_covariance[0])
    following = regulator.following(state, action)
    expected = sum(w * regulator.value(following + x) for x, w in zip(noise, weight)) / weight.sum()
    return regulator.reward(state, action) + regulator.discount * expected


def test_value_is_the_soft_value_of_q():
    np.testing.assert_allclose(LINE.value(STATES), _soft_value_by_quadrature(LINE), atol=1e-9)


def test_q_is_the_soft_bellman_backup_of_the_value(rng):
    state, action = rng.normal(size=(20, 1)), rng.normal(size=(20, 1))
    np.testing.assert_allclose(
        LINE.q(state, action), _bellman_by_quadrature(LINE, state, action), atol=1e-9
    )


def test_mean_and_covariance_are_those_of_the_boltzmann_density():
    density = np.exp((_q_on_grid(LINE) - LINE.value(STATES)[:, None]) / LINE.temperature)
    mean = np.trapezoid(density * ACTIONS, ACTIONS, axis=1)
    variance = np.trapezoid(density * (ACTIONS - mean[:, None]) ** 2, ACTIONS, axis=1)
    np.testing.assert_allclose(LINE.policy_mean(STATES)[:, 0], mean, atol=1e-9)
    np.testing.assert_allclose(LINE.policy_covariance[0, 0], variance, atol=1e-9)


@pytest.mark.parametrize("field", ["noise_covariance", "discount", "temperature"])
def test_a_value_for_another_problem_is_not_the_soft_value_of_q(field):
    """The quadrature above can fail: V of a problem that differs by a tenth in one number does not
    fit Q of this one.
    """
    other = dataclasses.replace(LINE, **{field: 1.1 * getattr(LINE, field)})
    assert np.abs(other.value(STATES) - _soft_value_by_quadrature(LINE)).max() > 1e-3


@pytest.mark.parametrize("problem", [regulator_with_one_action, regulator_with_two_actions])
def test_value_of_the_shipped_regulators_is_the_soft_value_of_q(problem, rng):
    """By importance sampling from a wider Gaussian.

    Its own policy would have zero variance, right or wrong by a constant.
    """
    regulator = problem()
    state = rng.uniform(-1, 1, (5, 1, 2))
    wide = 2.0 * regulator.policy_covariance
    deviation = rng.multivariate_normal(np.zeros(len(wide)), wide, size=(5, 50_000))
    log_density = (
        -np.einsum("bki,ij,bkj->bk", deviation, np.linalg.inv(wide), deviation) / 2
        - np.linalg.slogdet(2 * np.pi * wide)[1] / 2
    )
    q = regulator.q(
        np.broadcast_to(state, (5, 50_000, 2)), regulator.policy_mean(state) + deviation
    )
    largest = q.max(axis=1, keepdims=True)
    value = largest[:, 0] + regulator.temperature * np.log(
        np.exp((q - largest) / regulator.temperature - log_density).mean(axis=1)
    )
    np.testing.assert_allclose(value, regulator.value(state[:, 0]), atol=2e-3)


def test_a_regulator_that_cannot_be_stabilised_says_so(monkeypatch):
    monkeypatch.setattr(lqr, "SWEEPS", 2000)
    lost = dataclasses.replace(LINE, dynamics=np.array([[2.0]]), control=np.array([[0.0]]))
    with np.errstate(all="ignore"), pytest.raises(RuntimeError, match="stabilisable"):
        _ = lost.gain
