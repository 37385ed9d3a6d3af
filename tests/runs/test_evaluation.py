"""Evaluation: the same episodes for every policy, and an early end when asked for."""

import pytest

from sql_ros.common.errors import PolicyError
from sql_ros.policy.runtime import Policy
from sql_ros.runs.evaluation import Evaluator


@pytest.fixture(scope="module")
def policy(task, untrained) -> Policy:
    return Policy(untrained(), task.spec)


def test_an_episode_does_not_depend_on_those_before_it(task, policy):
    evaluator = Evaluator(task, seed=5)
    whole = evaluator.evaluate(policy, 4)
    assert len(set(whole.returns)) == 4
    assert evaluator.evaluate(policy, 4).returns == whole.returns
    assert Evaluator(task, seed=5).evaluate(policy, 2).returns == whole.returns[:2]
    assert Evaluator(task, seed=6).evaluate(policy, 2).returns != whole.returns[:2]


def test_an_evaluation_ends_when_its_listener_has_heard_enough(task, policy):
    heard = []
    result = Evaluator(task, seed=5).evaluate(
        policy, 10, lambda so_far: heard.append(len(so_far.returns)) or heard[-1] < 3
    )
    assert heard == [1, 2, 3]
    assert len(result.successes) == 3


def test_a_policy_whose_output_is_not_finite_ends_its_evaluation(task, overflowing):
    with pytest.raises(
        PolicyError, match="policy version 1 cannot be evaluated: policy_non_finite in episode 0"
    ):
        Evaluator(task, seed=5).evaluate(Policy(overflowing, task.spec), 1)
