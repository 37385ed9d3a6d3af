"""The problems keep their promises: nothing leaves the box, and the box changes no answer."""

import itertools

import numpy as np
import pytest

from sql_ros.checks.verify.problems import (
    Fork,
    interpolation,
    regulator_with_one_action,
    regulator_with_two_actions,
    transitions_of,
)
from sql_ros.checks.verify.tabular import policy_of, soft_q_iteration, soft_value

REGULATORS = [regulator_with_one_action, regulator_with_two_actions]


@pytest.mark.parametrize("problem", REGULATORS)
def test_three_deviations_of_the_optimal_policy_stay_in_the_action_box(problem):
    lqr = problem()
    corner = np.array(list(itertools.product((-1.0, 1.0), repeat=2)))
    reach = np.abs(lqr.policy_mean(corner)) + 3 * np.sqrt(np.diag(lqr.policy_covariance))
    assert reach.max() < 1


@pytest.mark.parametrize("draw", [*(transitions_of(p()) for p in REGULATORS), Fork().draw])
def test_no_step_leaves_the_box_of_states(draw, rng):
    batch = draw(20_000, rng)
    assert 0.5 < np.abs(batch.next_observation).max() <= 1


@pytest.mark.parametrize("problem", REGULATORS)
def test_drawn_noise_has_the_covariance_of_the_closed_form(problem, rng):
    lqr = problem()
    batch = transitions_of(lqr)(50_000, rng)
    noise = batch.next_observation - lqr.following(batch.observation, batch.action)
    np.testing.assert_allclose(np.cov(noise.T), lqr.noise_covariance, atol=3e-5)


def test_interpolation_is_exact_for_straight_lines(rng):
    point = rng.uniform(-1, 1, (4, 3))
    np.testing.assert_allclose(interpolation(point, 11) @ np.linspace(-1, 1, 11), point, atol=1e-12)


def test_the_fork_on_a_finer_grid_has_the_same_value():
    values = []
    for states, actions in ((51, 64), (101, 128)):
        mdp, state, _ = Fork().on_a_grid(states, actions)
        q = soft_q_iteration(mdp, Fork().temperature)
        values.append(
            np.interp(
                np.linspace(-1, 1, 21), state, soft_value(q, Fork().temperature, mdp.log_weight)
            )
        )
    np.testing.assert_allclose(*values, atol=1e-3)


def test_the_fork_has_one_mode_on_the_left_and_two_on_the_right():
    mdp, _, _ = Fork().on_a_grid(51, 64)
    policy = policy_of(
        soft_q_iteration(mdp, Fork().temperature), Fork().temperature, mdp.log_weight
    )
    modes = [int(((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])).sum()) for p in policy]
    assert modes[5] == 1
    assert modes[45] == 2


def test_grid_and_drawn_transitions_of_the_fork_agree(rng):
    """The expected next value of a cell, by its row of the grid and by simulation."""
    mdp, state, action = Fork().on_a_grid(101, 128)
    value = np.sin(3 * state)
    following = Fork().following(state[80], action[20]) + rng.uniform(-0.05, 0.05, 100_000)
    assert mdp.transition[80, 20] @ value == pytest.approx(np.sin(3 * following).mean(), abs=1e-3)
