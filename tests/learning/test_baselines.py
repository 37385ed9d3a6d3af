"""DDPG and SAC by the one learner, on a bandit that repeats: r = -4 (a - 1/2)^2 whatever
the state.
"""

import math

import numpy as np
import pytest
import torch

from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import Batch
from sql_ros.policy.runtime import Policy
from sql_ros.policy.task_spec import TaskSpec

ONE = Scaling((0.0,), (1.0,))
SPEC = TaskSpec("bandit", ("o0",), (0.0,), (1.0,), ("a0",), "torque", (1.0,), 1.0)
ALPHA, DISCOUNT = 0.5, 0.5


def _batch(rng: np.random.Generator) -> Batch:
    observation, following = rng.normal(size=(2, 64, 1)).astype(np.float32)
    action = rng.uniform(-1, 1, (64, 1)).astype(np.float32)
    return Batch(
        observation,
        action,
        (-4.0 * np.square(action - 0.5)).ravel(),
        following,
        np.zeros(64, np.float32),
    )


def _trained(
    kind: str, rng: np.random.Generator, updates: int = 1200, **options: object
) -> Learner:
    config = AlgorithmConfig(
        kind=kind,
        temperature=ALPHA,
        final_temperature=ALPHA,
        discount=DISCOUNT,
        hidden_sizes=(64, 64),
        target_rate=0.05,
        q_learning_rate=3e-3,
        **options,
    )
    torch.set_num_threads(1)
    learner = Learner(config, ONE, 1, seed=0)
    for _ in range(updates):
        learner.step(_batch(rng))
    return learner


def test_ddpg_takes_the_best_action_and_its_q_is_that_of_it(rng):
    learner = _trained("ddpg", rng)
    actions = learner.sample(torch.zeros(3, 1), 50)
    assert actions.std() < 1e-6
    assert abs(float(actions.mean()) - 0.5) < 0.05
    # V = 0 for the best action, so Q = r
    q = learner.q(torch.zeros(1, 1), torch.tensor([[[-0.5], [0.5]]])).detach().numpy().ravel()
    np.testing.assert_allclose(q, [-4.0, 0.0], atol=0.15)


def test_sac_draws_from_the_best_gaussian_and_values_entropy(rng):
    """With one Gaussian before the squash exp(r / alpha) is missed a little, so the value lies
    just below the soft one.
    """
    learner = _trained("sac", rng)
    grid = np.linspace(-1, 1, 4001)
    weight = np.exp(-4 * (grid - 0.5) ** 2 / ALPHA)
    mean = np.trapezoid(weight * grid, grid) / np.trapezoid(weight, grid)
    deviation = math.sqrt(
        np.trapezoid(weight * (grid - mean) ** 2, grid) / np.trapezoid(weight, grid)
    )
    actions = learner.sample(torch.zeros(1, 1), 4000)
    assert abs(float(actions.mean()) - mean) < 0.05
    assert abs(float(actions.std()) - deviation) < 0.05
    value = ALPHA * math.log(np.trapezoid(weight, grid)) / (1 - DISCOUNT)
    q = learner.q(torch.zeros(1, 1), torch.tensor([[[0.5]]])).item()
    assert DISCOUNT * value - 0.2 < q < DISCOUNT * value + 0.1


@pytest.mark.long
def test_sac_tunes_its_temperature_to_the_target_entropy(rng):
    learner = _trained(
        "sac",
        rng,
        3000,
        temperature_mode="tuned",
        target_entropy=0.0,
        temperature_learning_rate=3e-3,
    )
    metrics = learner.step(_batch(rng))
    assert abs(float(metrics["entropy"])) < 0.15


@pytest.mark.parametrize("kind", ["ddpg", "sac"])
def test_the_policy_loss_leaves_q_alone(rng, kind):
    """Q of two learners that differ in their sampler's step size alone is the same after one
    update.
    """
    first, second = (
        Learner(
            AlgorithmConfig(kind=kind, hidden_sizes=(16, 16), sampler_learning_rate=rate),
            ONE,
            1,
            seed=0,
        )
        for rate in (0.0, 1e-2)
    )
    batch = _batch(rng)
    first.step(batch)
    second.step(batch)
    for mine, theirs in zip(first.q.parameters(), second.q.parameters()):
        assert torch.equal(mine, theirs)
    assert any(
        not torch.equal(mine, theirs)
        for mine, theirs in zip(first.sampler.parameters(), second.sampler.parameters())
    )


@pytest.mark.parametrize("kind", ["ddpg", "sac"])
def test_the_actor_runs_their_policies_as_any_other(rng, kind):
    learner = _trained(kind, rng, 50)
    policy = Policy(export_policy(learner, SPEC, 1, "")[0], SPEC)
    noise = rng.standard_normal((6, policy.noise_size)).astype(np.float32)
    action, q = policy.candidates(np.array([0.3], np.float32), noise)
    with torch.no_grad():
        state = torch.tensor([[0.3]])
        expected = learner.q_target(state, torch.from_numpy(action)[None])[0]
    np.testing.assert_allclose(q, expected, atol=1e-5)
    assert (np.ptp(action) < 1e-6) == (kind == "ddpg")
