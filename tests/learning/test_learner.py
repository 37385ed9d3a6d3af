"""Soft Q-learning as a whole on a problem whose answer is known, and its plumbing."""

import copy
import math

import numpy as np
import pytest
import torch

from sql_ros.common.errors import ConfigError
from sql_ros.learning import learner as learner_module
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.learning.replay import Batch

ONE = Scaling((0.0,), (1.0,))


def _batch(rng: np.random.Generator, size: int = 64) -> Batch:
    observation = rng.normal(size=(size, 1)).astype(np.float32)
    action = rng.uniform(-1, 1, (size, 1)).astype(np.float32)
    reward = (-4.0 * np.square(action - 0.5)).ravel().astype(np.float32)
    following = rng.normal(size=(size, 1)).astype(np.float32)
    return Batch(observation, action, reward, following, np.zeros(size, np.float32))


@pytest.mark.parametrize(
    ("sampler", "proposal"), [("mixture", "sampler"), ("stein", "sampler"), ("stein", "uniform")]
)
def test_q_of_a_repeating_bandit_is_the_sum_of_its_soft_values(rng, sampler, proposal):
    """r = -4 (a - 1/2)^2 whatever the state: V = v + gamma V with v = alpha log int exp(r / alpha)
    da, Q = r + gamma V.
    """
    alpha, discount = 0.5, 0.5
    config = AlgorithmConfig(
        temperature=alpha,
        discount=discount,
        hidden_sizes=(64, 64),
        value_proposal=proposal,
        sampler=sampler,
        target_rate=0.05,
        q_learning_rate=3e-3,
    )
    learner = Learner(config, ONE, 1, seed=0)
    for _ in range(1200):
        learner.step(_batch(rng))
    grid = np.linspace(-1, 1, 4001)
    step_value = alpha * math.log(np.trapezoid(np.exp(-4 * (grid - 0.5) ** 2 / alpha), grid))
    value = step_value / (1 - discount)
    action = torch.tensor([[-0.5], [0.0], [0.5], [1.0]])
    q = learner.q(torch.zeros(4, 1), action.unsqueeze(1)).detach().numpy().ravel()
    expected = -4 * (action.numpy().ravel() - 0.5) ** 2 + discount * value
    np.testing.assert_allclose(q, expected, atol=0.15)


def test_networks_without_a_hidden_layer_are_refused():
    with pytest.raises(ConfigError, match=r"'hidden_sizes' is \[\], expected the width of one"):
        AlgorithmConfig(hidden_sizes=())


def test_hard_copies_come_exactly_when_they_are_due(rng, monkeypatch):
    monkeypatch.setattr(learner_module, "TARGET_PERIOD", 3)
    learner = Learner(AlgorithmConfig(target_update="hard", hidden_sizes=(8, 8)), ONE, 1, seed=0)
    before = copy.deepcopy(learner.q_target.state_dict())
    for update in (1, 2):
        learner.step(_batch(rng))
        assert all(
            torch.equal(a, b)
            for a, b in zip(before.values(), learner.q_target.state_dict().values())
        ), update
    learner.step(_batch(rng))
    assert all(
        torch.equal(a, b)
        for a, b in zip(learner.q.state_dict().values(), learner.q_target.state_dict().values())
    )


def test_polyak_moves_the_target_by_its_rate(rng):
    learner = Learner(AlgorithmConfig(target_rate=0.25, hidden_sizes=(8, 8)), ONE, 1, seed=0)
    before = copy.deepcopy(learner.q_target.state_dict())
    learner.step(_batch(rng))
    for name, after in learner.q_target.state_dict().items():
        torch.testing.assert_close(after, 0.75 * before[name] + 0.25 * learner.q.state_dict()[name])


def test_a_restored_learner_makes_the_same_next_step_to_the_bit(rng):
    config = AlgorithmConfig(hidden_sizes=(16, 16))
    learner, other = Learner(config, ONE, 1, seed=0), Learner(config, ONE, 1, seed=1)
    for _ in range(5):
        learner.step(_batch(rng))
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    batch = _batch(rng)
    assert learner.step(batch)["q_loss"] == other.step(batch)["q_loss"]
    for a, b in zip(learner.sampler.parameters(), other.sampler.parameters()):
        assert torch.equal(a, b)


def test_temperature_is_annealed_log_linearly():
    config = AlgorithmConfig(temperature=1.0, final_temperature=0.01, annealing_updates=100)
    assert config.temperature_at(0) == pytest.approx(1.0)
    assert config.temperature_at(50) == pytest.approx(0.1)
    assert config.temperature_at(1000) == pytest.approx(0.01)
    assert AlgorithmConfig(temperature=0.3).temperature_at(1000) == 0.3


def test_networks_see_observations_scaled():
    """A learner told of millimetres and one told of metres give the same Q for the same
    situation.
    """
    metres = Learner(AlgorithmConfig(hidden_sizes=(8, 8)), Scaling((0.5,), (0.1,)), 1, seed=0)
    millimetres = Learner(
        AlgorithmConfig(hidden_sizes=(8, 8)), Scaling((500.0,), (100.0,)), 1, seed=0
    )
    action = torch.tensor([[[0.3]]])
    expected = metres.q(torch.tensor([[0.62]]), action)
    torch.testing.assert_close(millimetres.q(torch.tensor([[620.0]]), action), expected)
    assert not torch.allclose(metres.q(torch.tensor([[0.5]]), action), expected)


def test_a_tuned_temperature_reaches_the_target_entropy(rng):
    """r = -4 (a - 1/2)^2 and no future: the right alpha is known by quadrature."""
    grid = (np.arange(4000) + 0.5) / 2000 - 1
    energy = -4 * (grid - 0.5) ** 2

    def entropy(alpha: float) -> float:
        log_z = np.log(np.exp(energy / alpha).mean() * 2)
        return float(log_z - (np.exp(energy / alpha - log_z) * energy / alpha).mean() * 2)

    config = AlgorithmConfig(
        temperature=3.0,
        temperature_mode="tuned",
        target_entropy=-0.2,
        temperature_learning_rate=1e-2,
        discount=0.0,
        hidden_sizes=(64, 64),
        batch_size=64,
        q_learning_rate=3e-3,
    )
    learner = Learner(config, ONE, 1, seed=0)
    for _ in range(1200):
        metrics = learner.step(_batch(rng))
    assert entropy(learner.temperature) == pytest.approx(-0.2, abs=0.08)
    assert metrics["entropy"].item() == pytest.approx(-0.2, abs=0.08)


def test_the_configured_schedule_wins_over_the_checkpoint():
    warm, cold = (
        AlgorithmConfig(temperature=1.0, hidden_sizes=(8, 8)),
        AlgorithmConfig(temperature=0.1, hidden_sizes=(8, 8)),
    )
    learner = Learner(cold, ONE, 1, seed=0)
    learner.load_state_dict(Learner(warm, ONE, 1, seed=0).state_dict())
    assert learner.temperature == pytest.approx(0.1)


@pytest.mark.parametrize("sampler", ["mixture", "stein"])
def test_the_policy_takes_on_the_boltzmann_density_of_its_q(rng, sampler):
    """r = -4 (a - 1/2)^2 at alpha 0.5: nearly a Gaussian of mean 1/2 and deviation 1/4,
    cut at 1.
    """
    config = AlgorithmConfig(
        temperature=0.5, discount=0.0, hidden_sizes=(64, 64), sampler=sampler, q_learning_rate=3e-3
    )
    learner = Learner(config, ONE, 1, seed=0)
    for _ in range(1000):
        learner.step(_batch(rng))
    action = learner.sample(torch.zeros(1, 1), 20_000)
    assert action.mean().item() == pytest.approx(0.4855, abs=0.05)
    assert action.std().item() == pytest.approx(0.2350, abs=0.04)


def _two_opinions(minimum_of: str, temperature: float, count: int) -> Learner:
    """A learner one of whose Q-networks is the action itself, the other its opposite, and stay
    so.
    """
    config = AlgorithmConfig(
        temperature=temperature,
        hidden_sizes=(2,),
        q_learning_rate=0.0,
        sampler_learning_rate=1e-2,
        value_particles=count,
        uniform_particles=count // 4,
        minimum_of=minimum_of,
    )
    learner = Learner(config, ONE, 1, seed=0)
    with torch.no_grad():
        for sign, (hidden, last) in zip((1.0, -1.0), learner.q.mlp.members):
            # of the state, of the action: relu(a), relu(-a)
            hidden.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
            last.weight.copy_(sign * torch.tensor([[1.0], [-1.0]]))
    learner.q_target.load_state_dict(learner.q.state_dict())
    return learner


def test_minimum_of_values_and_minimum_of_particles_differ():
    """Q = a and Q = 1 - a at alpha 1/2: V is log(sinh 2) / 2 and 1 more.

    Of min(a, 1 - a) it is log((2 e - 1 - exp(-2)) / 2) / 2.
    """
    state, v = torch.zeros(256, 1), {}
    for minimum_of in ("values", "particles"):
        learner = _two_opinions(minimum_of, 0.5, 1024)
        with torch.no_grad():
            learner.q_target.mlp.members[1][-1].bias.fill_(1.0)
        v[minimum_of] = learner.value(state).mean().item()
    assert v["values"] == pytest.approx(0.5 * math.log(math.sinh(2.0)), abs=0.03)
    assert v["particles"] == pytest.approx(
        0.5 * math.log((2.0 * math.e - 1.0 - math.exp(-2.0)) / 2.0), abs=0.03
    )


@pytest.mark.parametrize(
    ("minimum_of", "inner"),
    [
        ("values", math.sinh(2.5) / math.sinh(5.0)),
        ("particles", math.expm1(-2.5) / math.expm1(-5.0)),
    ],
)
def test_a_policy_keeps_what_either_network_holds_for_good(rng, minimum_of, inner):
    """Q = a and Q = -a: half of exp(a / alpha) and half of exp(-a / alpha), at both ends.

    Or exp(-|a| / alpha), in the middle.
    """
    learner = _two_opinions(minimum_of, 0.2, 16)
    for _ in range(400):
        learner.step(_batch(rng))
    share = (learner.sample(torch.zeros(1, 1), 20_000).abs() < 0.5).float().mean().item()
    assert share == pytest.approx(inner, abs=0.05)


def test_particles_that_do_not_divide_among_networks_are_refused():
    with pytest.raises(
        ConfigError, match="'value_particles' is 8, expected a multiple of q_networks = 3"
    ):
        AlgorithmConfig(q_networks=3)
    with pytest.raises(
        ConfigError, match="'uniform_particles' is 1, expected a multiple of q_networks = 2"
    ):
        AlgorithmConfig(uniform_particles=1)
    for other in (
        {"minimum_of": "particles"},
        {"sampler": "stein"},
        {"value_proposal": "uniform"},
        {"kind": "sac"},
    ):
        assert not AlgorithmConfig(q_networks=3, **other).splits_value_particles
