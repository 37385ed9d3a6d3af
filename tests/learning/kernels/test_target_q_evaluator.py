"""The target Q-networks at the value particles, against the networks themselves."""

import pytest
import torch

from sql_ros.learning.kernels.target_q_evaluator import TargetQEvaluator
from sql_ros.learning.networks import Scaling, TwinQ

# in millimetres: too large for eight bits without the scaling
SCALING = Scaling((0.0, 500.0, 0.0), (1.0, 100.0, 1.0))


def _networks(*, layer_norm: bool = False, count: int = 2) -> TwinQ:
    return TwinQ(
        SCALING, 2, (64, 64), count, torch.Generator().manual_seed(0), layer_norm=layer_norm
    )


def _points() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(6, 3, generator=generator) + torch.tensor([0.0, 500.0, 0.0])
    return observation, 2 * torch.rand(6, 9, 2, generator=generator) - 1


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_single_precision_gives_the_same_numbers(layer_norm, count):
    networks = _networks(layer_norm=layer_norm, count=count)
    torch.testing.assert_close(
        TargetQEvaluator(networks, torch.float32).smallest(*_points()),
        networks(*_points()).detach(),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("layer_norm", [False, True])
def test_bfloat16_error_is_below_a_fiftieth_of_the_spread_of_q(layer_norm):
    networks = _networks(layer_norm=layer_norm)
    exact = networks(*_points()).detach()
    rough = TargetQEvaluator(networks, torch.bfloat16).smallest(*_points())
    assert rough.dtype == torch.float32
    assert (rough - exact).square().mean().sqrt() < exact.std() / 50


def test_a_large_output_is_not_rounded_to_eight_bits():
    """The bias of the last layer stays in single precision: steps of Q below 1/256 of it
    survive.
    """
    networks = _networks()
    with torch.no_grad():
        for layers in networks.mlp.members:
            layers[-1].bias.add_(-100.0)
    exact, rough = (
        networks(*_points()).detach(),
        TargetQEvaluator(networks, torch.bfloat16).smallest(*_points()),
    )
    assert (rough - exact).abs().max() < 0.05


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_copied_weights_are_those_of_the_source(precision):
    networks = _networks()
    evaluator = TargetQEvaluator(networks, precision)
    before = evaluator.smallest(*_points())
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(1.5)
    evaluator.copy_weights()
    after, exact = evaluator.smallest(*_points()), networks(*_points()).detach()
    assert not torch.allclose(before, after)
    assert (after - exact).square().mean().sqrt() < exact.std() / 50


def test_the_batch_may_change_from_call_to_call():
    networks = _networks()
    evaluator = TargetQEvaluator(networks, torch.float32)
    observation, action = _points()
    whole = evaluator.smallest(observation, action)
    torch.testing.assert_close(evaluator.smallest(observation[:2], action[:2]), whole[:2])
    torch.testing.assert_close(
        evaluator.smallest(observation[:, :], action[:, :3].contiguous()), whole[:, :3]
    )


@pytest.mark.parametrize("count", [1, 3])
def test_each_network_at_actions_of_its_own(count):
    networks = _networks(count=count)
    observation, action = _points()
    mine = TargetQEvaluator(networks, torch.float32).each_at_its_share(
        observation, action[:, : 3 * count].unflatten(1, (count, 3))
    )
    for index in range(count):
        expected = networks.evaluate_each(observation, action[:, 3 * index : 3 * index + 3])[
            index
        ].detach()
        torch.testing.assert_close(mine[:, index], expected, atol=1e-5, rtol=1e-5)
