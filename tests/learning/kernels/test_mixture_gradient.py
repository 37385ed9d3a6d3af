"""The hand-written gradient of the mixture, against autograd over its plain formulas."""

import torch

from sql_ros.learning.mixture import Mixture, MixtureNetwork
from sql_ros.learning.networks import Scaling


def _mixture(batch: int = 2, components: int = 3, size: int = 3) -> Mixture:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Mixture(
        torch.log_softmax(normal(batch, components), -1),
        normal(batch, components, size),
        0.3 * normal(batch, components, size),
        torch.eye(size, dtype=torch.float64) + normal(batch, size, size).tril(-1),
    )


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_density_and_gradients_are_those_of_autograd():
    fields = [field.requires_grad_() for field in _mixture()]
    latent, by_density = _normal(2, 5, 3), _normal(2, 5)
    expected = Mixture(*fields).log_density(latent)
    density, backward = Mixture(*fields).log_density_with_backward(latent)
    torch.testing.assert_close(density, expected.detach())
    for gradient, plain in zip(
        backward(by_density), torch.autograd.grad(expected, fields, by_density), strict=True
    ):
        torch.testing.assert_close(gradient, plain)


def test_the_gradient_by_the_weights_is_that_of_autograd():
    network = MixtureNetwork(
        Scaling((0.0,) * 2, (1.0,) * 2), 3, (8,), 4, torch.Generator().manual_seed(0)
    ).double()
    observation, latent, by_density = _normal(5, 2), _normal(5, 6, 3), _normal(5, 6)
    mixture, network_backward = network.distribution_with_backward(observation)
    plain = network.distribution(observation)
    for field, expected in zip(mixture, plain, strict=True):
        torch.testing.assert_close(field, expected.detach())
    _, density_backward = mixture.log_density_with_backward(latent)
    (expected,) = torch.autograd.grad(plain.log_density(latent), [network.mlp.flat], by_density)
    torch.testing.assert_close(network_backward(density_backward(by_density)), expected)


def test_a_narrow_gaussian_far_away_costs_no_digits():
    exact = _mixture()._replace(
        log_scale=torch.tensor([[[-4.0] * 3, [0.0] * 3, [0.0] * 3]] * 2).double()
    )
    latent = 3.0 + torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(1))
    rounded, _ = Mixture(*(field.float() for field in exact)).log_density_with_backward(latent)
    torch.testing.assert_close(
        rounded.double(), exact.log_density(latent.double()), atol=1e-4, rtol=0
    )


def test_a_density_far_from_every_gaussian_has_finite_gradients():
    mixture = Mixture(*(field.float() for field in _mixture()))
    density, backward = mixture.log_density_with_backward(torch.full((2, 1, 3), 300.0))
    assert torch.isfinite(density).all()
    assert all(torch.isfinite(gradient).all() for gradient in backward(torch.ones(2, 1)))
