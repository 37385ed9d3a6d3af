"""Q at many particles without gradient gives what the networks give."""

import pytest
import torch

from sql_ros.core.networks import Scaling, TwinQ
from sql_ros.core.particle_q import ParticleQ

SCALING = Scaling((0.0, 500.0, 0.0), (1.0, 100.0, 1.0))  # in millimetres: too large for eight bits without the scaling


def _networks(*, layer_norm: bool = False, count: int = 2) -> TwinQ:
    return TwinQ(SCALING, 2, (64, 64), count, torch.Generator().manual_seed(0), layer_norm=layer_norm)


def _probes() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    observation = torch.randn(6, 3, generator=generator) + torch.tensor([0.0, 500.0, 0.0])
    return observation, 2 * torch.rand(6, 9, 2, generator=generator) - 1


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_single_precision_gives_the_same_numbers(layer_norm, count):
    networks = _networks(layer_norm=layer_norm, count=count)
    torch.testing.assert_close(ParticleQ(networks, torch.float32)(*_probes()), networks(*_probes()).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_bfloat16_is_off_by_less_than_a_fiftieth_of_the_spread_of_q(layer_norm):
    networks = _networks(layer_norm=layer_norm)
    exact = networks(*_probes()).detach()
    rough = ParticleQ(networks, torch.bfloat16)(*_probes())
    assert rough.dtype == torch.float32
    assert (rough - exact).square().mean().sqrt() < exact.std() / 50


def test_a_large_output_is_not_rounded_to_eight_bits():
    """The bias of the last layer stays in single precision: steps of Q below 1/256 of it survive."""
    networks = _networks()
    with torch.no_grad():
        for layers in networks.mlp.members:
            layers[-1].bias.add_(-100.0)
    exact, rough = networks(*_probes()).detach(), ParticleQ(networks, torch.bfloat16)(*_probes())
    assert (rough - exact).abs().max() < 0.05


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_it_follows_its_source(precision):
    networks = _networks()
    probe = ParticleQ(networks, precision)
    before = probe(*_probes())
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(1.5)
    probe.follow()
    after, exact = probe(*_probes()), networks(*_probes()).detach()
    assert not torch.allclose(before, after)
    assert (after - exact).square().mean().sqrt() < exact.std() / 50


def test_the_batch_may_change_from_call_to_call():
    networks = _networks()
    probe = ParticleQ(networks, torch.float32)
    observation, action = _probes()
    whole = probe(observation, action)
    torch.testing.assert_close(probe(observation[:2], action[:2]), whole[:2])
    torch.testing.assert_close(probe(observation[:, :], action[:, :3].contiguous()), whole[:, :3])


@pytest.mark.parametrize("count", [1, 3])
def test_each_network_at_actions_of_its_own(count):
    networks = _networks(count=count)
    observation, action = _probes()
    mine = ParticleQ(networks, torch.float32).apart(observation, action[:, : 3 * count].unflatten(1, (count, 3)))
    for index in range(count):
        expected = networks.each(observation, action[:, 3 * index : 3 * index + 3])[index].detach()
        torch.testing.assert_close(mine[:, index], expected, atol=1e-5, rtol=1e-5)
