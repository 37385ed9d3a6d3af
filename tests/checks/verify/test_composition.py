"""Composed skills: bounds that hold, and that notice what is not the mean of skills of one
temperature.
"""

import dataclasses

import numpy as np
import pytest

from sql_ros.checks.verify import composition
from sql_ros.checks.verify.tabular import policy_of, random_mdp, soft_q_iteration


def _broken(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bounds_and_exact_correction_hold_on_random_problems(seed):
    assert _broken(composition.composition_checks(seed)) == []


def test_equal_skills_need_no_correction(rng):
    mdp = random_mdp(rng, 5, 3, 0.9)
    q = soft_q_iteration(mdp, 0.5)
    bound = composition.divergence_bound(mdp, [q, q], 0.5)
    np.testing.assert_allclose(bound, 0.0, atol=1e-10)
    np.testing.assert_allclose(
        composition.regret_bound(mdp, bound, policy_of(q, 0.5)), 0.0, atol=1e-10
    )
    np.testing.assert_allclose(
        composition.correction(mdp, [q, q], [0.3, 0.7], 0.5), 0.0, atol=1e-10
    )


def test_a_bound_without_the_divergence_fails_from_below(monkeypatch):
    monkeypatch.setattr(
        composition, "divergence_bound", lambda mdp, qs, alpha: np.zeros_like(mdp.reward)
    )
    assert any("less C*" in name for name in _broken(composition.bounds(0, 5)))


def test_a_regret_bound_of_zero_fails(monkeypatch):
    monkeypatch.setattr(composition, "regret_bound", lambda mdp, *_: np.zeros_like(mdp.reward))
    assert any("less D*" in name for name in _broken(composition.bounds(0, 5)))


def test_a_soft_minimum_in_place_of_the_soft_maximum_fails_from_above(monkeypatch):
    def soft_minimum(mdp, temperature):
        return -soft_q_iteration(dataclasses.replace(mdp, reward=-mdp.reward), temperature)

    monkeypatch.setattr(composition, "soft_q_iteration", soft_minimum)
    assert any("below the exact Q" in name for name in _broken(composition.bounds(0, 5)))


def test_a_correction_that_is_left_out_fails(monkeypatch):
    monkeypatch.setattr(composition, "correction", lambda mdp, *_: np.zeros_like(mdp.reward))
    assert _broken(composition.exact_composition(0, 4))
