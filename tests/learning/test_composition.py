"""Two skills whose Q is known: what their sum does, in torch and as a policy for the actor."""

import json

import numpy as np
import pytest
import torch

from sql_ros.common.errors import ConfigError
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.export import compose, export_composition
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import Batch
from sql_ros.learning.trainer import Trainer, load_learner
from sql_ros.policy.runtime import Policy
from sql_ros.policy.task_spec import TaskSpec

SPEC = TaskSpec("bandit", ("o0",), (0.0,), (1.0,), ("a0", "a1"), "torque", (1.0, 1.0), 1.0)
SMALL = AlgorithmConfig(
    hidden_sizes=(64, 64),
    discount=0.0,
    temperature=0.05,
    final_temperature=0.05,
    batch_size=128,
    target_rate=0.05,
)


def _skill(axis: int, centre: float) -> Learner:
    """Learns that the action should be at `centre` along an axis; the other one does not matter."""
    learner = Learner(SMALL, Scaling((0.0,), (1.0,)), 2, axis)
    rng = np.random.default_rng(axis)
    for _ in range(1200):
        action = rng.uniform(-1.0, 1.0, (128, 2)).astype(np.float32)
        zero = np.zeros((128, 1), np.float32)
        learner.step(
            Batch(
                zero, action, -np.square(action[:, axis] - centre), zero, np.zeros(128, np.float32)
            )
        )
    return learner


@pytest.fixture(scope="module")
def skills():
    torch.set_num_threads(1)
    return [_skill(0, 0.5), _skill(1, -0.5)]


def test_the_composed_policy_does_what_both_skills_ask_for(skills):
    composed = compose(skills, [0.5, 0.5], SPEC)
    noise = torch.randn(64, composed.noise_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        action, q = composed(torch.zeros(1, 1), noise)
    best = action[q.argmax()]
    assert abs(float(best[0]) - 0.5) < 0.15
    assert abs(float(best[1]) + 0.5) < 0.15


def test_its_q_is_the_weighted_sum(skills):
    composed = compose(skills, [0.3, 0.7], SPEC)
    action = torch.rand(5, 2) - 0.5
    with torch.no_grad():
        each = [learner.q_target(torch.zeros(1, 1), action[None])[0] for learner in skills]
        torch.testing.assert_close(
            composed.evaluate_q(torch.zeros(1, 1), action), 0.3 * each[0] + 0.7 * each[1]
        )


def test_the_actor_runs_it_as_any_policy(skills):
    policy = Policy(export_composition(skills, [0.5, 0.5], SPEC), SPEC)
    composed = compose(skills, [0.5, 0.5], SPEC)
    best = policy.ranked(np.zeros(1, np.float32), np.random.default_rng(0))[0]
    assert abs(best[0] - 0.5) < 0.5
    assert policy.noise_size == composed.noise_size


def test_skills_that_do_not_fit_together_are_refused(skills):
    warm = Learner(
        AlgorithmConfig(hidden_sizes=(64, 64), temperature=0.1, final_temperature=0.1),
        Scaling((0.0,), (1.0,)),
        2,
        0,
    )
    wide = Learner(SMALL, Scaling((0.0, 0.0), (1.0, 1.0)), 2, 0)
    for learners, weights, words in (
        ([skills[0], warm], [0.5, 0.5], "temperatures"),
        ([skills[0], wide], [0.5, 0.5], "components"),
        ([skills[0]], [1.0], "two skills"),
        (skills, [1.0], "weight for each"),
        (skills, [float("nan"), 1.0], "finite"),
        (skills, [0.0, 0.0], "not all of them 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            compose(learners, weights, SPEC)


def test_a_learner_is_read_from_a_checkpoint_with_its_task(tmp_path):
    trainer = Trainer(SPEC, TrainerConfig(), SMALL, 3)
    trainer.save(tmp_path, {})
    learner, spec = load_learner(tmp_path)
    assert spec == SPEC
    assert learner.config == SMALL
    for mine, theirs in zip(learner.q.parameters(), trainer.learner.q.parameters()):
        assert torch.equal(mine, theirs)


def test_the_interface_of_a_task_survives_its_json():
    assert TaskSpec.from_json(SPEC.to_json()) == SPEC
    assert json.loads(SPEC.to_json())["joints"] == ["a0", "a1"]
