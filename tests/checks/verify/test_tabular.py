"""Exact solutions of finite problems, and checks on them that notice a wrong formula."""

import numpy as np
import pytest

from sql_ros.checks.verify import tabular, tabular_checks
from sql_ros.checks.verify.tabular import (
    FiniteMdp,
    backup,
    policy_of,
    random_mdp,
    soft_policy_evaluation,
    soft_q_iteration,
    soft_value,
)

SEEDS = [0, 1, 2]


def _broken(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_theorem_holds_on_random_problems(seed):
    assert _broken(tabular_checks.tabular_checks(seed)) == []


def test_value_of_cells_of_equal_q_is_q_plus_temperature_times_the_log_volume():
    q = np.full((1, 50), 3.0)
    assert soft_value(q, 0.5, np.log(2 / 50)) == pytest.approx(3.0 + 0.5 * np.log(2.0))


def test_value_of_great_qs_at_a_small_temperature_is_their_maximum():
    assert soft_value(np.array([[1e5, 2e5]]), 1e-3) == pytest.approx(2e5)


def test_a_lone_state_is_worth_the_geometric_sum_of_its_soft_values():
    mdp = FiniteMdp(np.array([[1.0, 2.0]]), np.ones((1, 2, 1)), 0.75)
    value = np.log(np.e + np.e**2) / 0.25
    np.testing.assert_allclose(soft_q_iteration(mdp, 1.0), [[1 + 0.75 * value, 2 + 0.75 * value]])


@pytest.mark.parametrize("log_weight", [0.0, np.log(np.array([0.1, 0.5, 2.0]))])
def test_the_optimal_policy_evaluates_to_the_fixed_point(rng, log_weight):
    drawn = random_mdp(rng, 5, 3, 0.8)
    mdp = FiniteMdp(drawn.reward, drawn.transition, drawn.discount, log_weight)
    q = soft_q_iteration(mdp, 0.3)
    policy = policy_of(q, 0.3, log_weight)
    np.testing.assert_allclose(policy.sum(axis=1), 1.0)
    np.testing.assert_allclose(soft_policy_evaluation(mdp, policy, 0.3), q, atol=1e-10)


def test_no_random_policy_beats_the_fixed_point(rng):
    mdp = random_mdp(rng, 5, 3, 0.8)
    q = soft_q_iteration(mdp, 0.3)
    for _ in range(20):
        assert (soft_policy_evaluation(mdp, rng.dirichlet(np.ones(3), 5), 0.3) < q).all()


def test_an_expansion_fails_the_contraction(monkeypatch):
    monkeypatch.setattr(
        tabular_checks,
        "soft_backup",
        lambda mdp, q, alpha: 1.01 * backup(mdp, soft_value(q, alpha)),
    )
    assert len(_broken(tabular_checks.contraction(0))) == 2


def test_an_evaluation_without_entropy_fails_the_fixed_point_and_the_improvement(monkeypatch):
    def hard(mdp, policy, alpha):
        return soft_policy_evaluation(mdp, policy, 0.0)

    monkeypatch.setattr(tabular, "soft_policy_evaluation", hard)
    assert "soft policy iteration against soft Q-iteration" in _broken(
        tabular_checks.fixed_point(0)
    )
    assert "largest loss of Q by a policy improvement" in _broken(
        tabular_checks.policy_improvement(0)
    )


def test_a_policy_that_never_improves_fails_the_improvement(monkeypatch):
    monkeypatch.setattr(tabular, "policy_of", lambda q, *_: np.full_like(q, 1 / q.shape[1]))
    assert _broken(tabular_checks.policy_improvement(0)) == ["gain of Q by the first improvement"]


def test_an_iteration_that_ends_early_fails_the_fixed_point(monkeypatch):
    monkeypatch.setattr(tabular, "CLOSE", 1e-6)
    assert len(_broken(tabular_checks.fixed_point(0))) == 2


def test_a_temperature_that_is_ignored_fails_the_scale_invariance(monkeypatch):
    monkeypatch.setattr(
        tabular_checks, "soft_q_iteration", lambda mdp, _: soft_q_iteration(mdp, 1.0)
    )
    assert _broken(tabular_checks.scale_invariance(0)) == [
        "scale invariance Q*(k r, k alpha) = k Q*(r, alpha)"
    ]


def test_a_discount_of_one_is_reported_instead_of_looping_for_ever(rng, monkeypatch):
    monkeypatch.setattr(tabular, "SWEEPS", 100)
    with pytest.raises(RuntimeError, match="discount below 1"):
        soft_q_iteration(random_mdp(rng, 3, 2, 1.0), 1.0)
