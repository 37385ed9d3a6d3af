"""The comparison with exact answers: an exact learner passes, each kind of error fails its check,
and the real learner comes near.
"""

import numpy as np
import pytest
import torch

from sql_ros.checks.verify import fixed_points
from sql_ros.checks.verify.fixed_points import fork, regulator, regulators
from sql_ros.checks.verify.lqr import SoftLqr
from sql_ros.checks.verify.problems import Fork, regulator_with_two_actions
from sql_ros.checks.verify.tabular import policy_of, soft_q_iteration, soft_value
from sql_ros.learning.learner import Learner

TINY = {"hidden_sizes": (32, 32), "batch_size": 128}


class _ExactRegulator:
    """Speaks as a learner, from the closed form, with an error of choice."""

    def __init__(
        self,
        lqr: SoftLqr,
        value_error: float = 0.0,
        mean_error: float = 0.0,
        spread: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        self.lqr, self.value_error, self.mean_error, self.spread, self.noise = (
            lqr,
            value_error,
            mean_error,
            spread,
            noise,
        )
        self.rng = np.random.default_rng(0)

    def value(self, observation):
        value = self.lqr.value(observation.double().numpy()) + self.value_error
        return torch.from_numpy(value + self.noise * self.rng.normal(size=len(value)))

    def sample(self, observation, count):
        mean = self.lqr.policy_mean(observation.double().numpy()) + self.mean_error
        size = mean.shape[1]
        noise = self.rng.multivariate_normal(
            np.zeros(size), self.spread * self.lqr.policy_covariance, (len(mean), count)
        )
        return torch.from_numpy(mean[:, None] + noise)


class _ExactFork:
    """Speaks as a learner, from the grid, at a temperature of choice."""

    def __init__(self, temperature: float, mirrored: bool = False) -> None:
        self.mdp, self.state, self.action = Fork().on_a_grid(101, 128)
        self.exact = soft_q_iteration(self.mdp, temperature)[:, :: -1 if mirrored else 1]
        self.temperature = temperature
        self.rng = np.random.default_rng(0)

    def _rows(self, observation):
        return self.exact[np.abs(self.state - observation.double().numpy()).argmin(axis=1)]

    def value(self, observation):
        return torch.from_numpy(
            soft_value(self._rows(observation), self.temperature, self.mdp.log_weight)
        )

    def q(self, observation, action):
        cell = np.abs(self.action - action.double().numpy()).argmin(axis=2)
        return torch.from_numpy(np.take_along_axis(self._rows(observation), cell, axis=1))

    def sample(self, observation, count):
        policy = policy_of(self._rows(observation), self.temperature, self.mdp.log_weight)
        return torch.from_numpy(
            np.stack([self.rng.choice(self.action, (count, 1), p=p / p.sum()) for p in policy])
        )


def _broken(checks) -> set[str]:
    return {check.name.split(" [")[0] for check in checks if not check.passed}


def _regulator_checks(monkeypatch, **errors) -> set[str]:
    lqr = regulator_with_two_actions()
    monkeypatch.setattr(fixed_points, "train", lambda *_: _ExactRegulator(lqr, **errors))
    return _broken(regulator("two actions", lqr, 0))


def _fork_checks(monkeypatch, *arguments) -> set[str]:
    monkeypatch.setattr(fixed_points, "train", lambda *_: _ExactFork(*arguments))
    return _broken(fork(0))


def test_an_exact_learner_passes_every_check(monkeypatch):
    assert _regulator_checks(monkeypatch) == set()
    assert _fork_checks(monkeypatch, Fork().temperature) == set()


def test_a_value_without_the_entropy_bonus_fails(monkeypatch):
    lqr = regulator_with_two_actions()
    missing = (
        lqr.temperature
        / 2
        * np.linalg.slogdet(2 * np.pi * np.e * lqr.policy_covariance)[1]
        / (1 - lqr.discount)
    )
    broken = _regulator_checks(monkeypatch, value_error=-missing)
    assert broken == {"V: largest error over states", "V: mean error over states, absolute"}


def test_a_noisy_estimate_of_the_value_fails_the_check_on_particles(monkeypatch):
    assert _regulator_checks(monkeypatch, noise=0.5 * regulator_with_two_actions().temperature) == {
        "V: bias of the estimate for want of particles"
    }


def test_a_policy_beside_the_optimum_fails_the_check_on_its_mean(monkeypatch):
    assert _regulator_checks(monkeypatch, mean_error=0.1) == {
        "policy: error of the mean, root mean square over states"
    }


@pytest.mark.parametrize("spread", [0.6, 1.4])
def test_a_policy_at_another_temperature_fails_the_checks_on_its_covariance(monkeypatch, spread):
    assert len(_regulator_checks(monkeypatch, spread=spread)) == 2


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_temperature_off_by_a_fifth_fails_the_fork_on_v(monkeypatch, factor):
    assert "V: largest error over states" in _fork_checks(monkeypatch, factor * Fork().temperature)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_temperature_off_by_half_fails_the_fork_on_v_and_on_the_policy(monkeypatch, factor):
    broken = _fork_checks(monkeypatch, factor * Fork().temperature)
    assert {
        "V: largest error over states",
        "V: mean error over states, absolute",
        "sampler: largest total variation",
    } <= broken


def test_a_policy_that_prefers_the_wrong_side_of_the_fork_fails(monkeypatch):
    assert _fork_checks(monkeypatch, Fork().temperature, True) == {
        "exp(Q / alpha): largest total variation",
        "sampler: largest total variation",
        "sampler: largest error of the mass on the right",
    }


def test_an_untrained_learner_fails_on_v_and_on_the_policy():
    for checks in (regulators(0, updates=0, settings=TINY), fork(0, updates=0, settings=TINY)):
        assert {"V: largest error over states", "V: mean error over states, absolute"} < _broken(
            checks
        )
        assert any("policy" in name or "sampler" in name for name in _broken(checks))


def test_the_real_learner_comes_near_the_fork_within_a_thousand_updates(monkeypatch):
    lines: list[str] = []
    assert isinstance(
        fixed_points.train(Fork().draw, 1, 1, 0.8, 0.1, 0, 1, TINY, lines.append), Learner
    )
    checks = {check.name.split(" [")[0]: check.value for check in fork(0, 1000, TINY, lines.append)}
    assert lines == ["1000 of 1000 updates"]
    assert checks["V: mean error over states, absolute"] < 0.05
    assert checks["exp(Q / alpha): largest total variation"] < 0.15
    assert checks["sampler: largest total variation"] < 0.2
