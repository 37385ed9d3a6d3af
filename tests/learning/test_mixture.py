"""The sampler of known density: its density against the textbook's, and its draws against its
density.
"""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from sql_ros.learning.mixture import Mixture, MixtureNetwork
from sql_ros.learning.networks import Scaling
from sql_ros.learning.squash import log_squash_jacobian, squash


def _mixture(batch: int = 2, components: int = 3, size: int = 3) -> Mixture:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shear = torch.eye(size, dtype=torch.float64) + normal(batch, size, size).tril(-1)
    return Mixture(
        torch.log_softmax(normal(batch, components), -1),
        normal(batch, components, size),
        0.3 * normal(batch, components, size),
        shear,
    )


def _textbook(mixture: Mixture) -> MixtureSameFamily:
    """u = R^-1 y: mean R^-1 m, covariance R^-1 D R^-T."""
    inverse = torch.linalg.inv(mixture.shear).unsqueeze(1)  # (B, 1, A, A)
    mean = (inverse @ mixture.mean.unsqueeze(-1)).squeeze(-1)
    covariance = (
        inverse @ torch.diag_embed(torch.exp(2 * mixture.log_scale)) @ inverse.transpose(-1, -2)
    )
    return MixtureSameFamily(
        Categorical(logits=mixture.log_weight), MultivariateNormal(mean, covariance)
    )


def test_density_is_that_of_a_gaussian_mixture_behind_the_squash():
    mixture = _mixture()
    latent = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    textbook = _textbook(mixture)
    expected = torch.stack(
        [textbook.log_prob(latent[:, k]) for k in range(5)], dim=1
    ) - log_squash_jacobian(latent)
    torch.testing.assert_close(mixture.log_density(latent), expected)


def test_a_density_far_from_every_gaussian_is_finite():
    mixture = Mixture(*(tensor.float().requires_grad_() for tensor in _mixture()))
    density = mixture.log_density(torch.full((2, 1, 3), 300.0))
    assert torch.isfinite(density).all()
    assert all(
        torch.isfinite(gradient).all()
        for gradient in torch.autograd.grad(density.sum(), list(mixture))
    )


def test_draws_have_the_mean_and_covariance_of_the_density():
    mixture = _mixture()
    noise = torch.randn(
        2, 400_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    latent = mixture.draw(noise)
    textbook = _textbook(mixture)
    torch.testing.assert_close(latent.mean(1), textbook.mean, atol=0.02, rtol=0.02)
    torch.testing.assert_close(latent.var(1), textbook.variance, atol=0.05, rtol=0.03)


def test_components_are_drawn_by_their_weights():
    mixture = _mixture(batch=1)._replace(
        mean=torch.tensor([[[-50.0] * 3, [0.0] * 3, [50.0] * 3]], dtype=torch.float64),
        shear=torch.eye(3).double()[None],
    )
    latent = mixture.draw(
        torch.randn(1, 100_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    )[0, :, 0]
    shares = torch.stack(
        [
            (latent < -25).double().mean(),
            (latent.abs() < 25).double().mean(),
            (latent > 25).double().mean(),
        ]
    )
    torch.testing.assert_close(shares, mixture.log_weight.exp()[0], atol=0.006, rtol=0)


@pytest.mark.parametrize("size", [1, 7])
def test_a_fresh_sampler_acts_nearly_uniformly_in_every_state(size):
    network = MixtureNetwork(
        Scaling((0.0,) * 4, (1.0,) * 4), size, (32, 32), 16, torch.Generator().manual_seed(0)
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        action = squash(
            network(
                3 * torch.randn(8, 4, generator=generator),
                torch.randn(8, 20_000, size + 1, generator=generator),
            )
        )
    assert (action.var(dim=1).mean() - 1 / 3).abs() < 0.05
    assert action.mean(dim=(0, 1)).abs().max() < 0.35


def test_density_integrates_to_one():
    mixture = Mixture(*(tensor[:1] for tensor in _mixture(size=2)))
    axis = torch.linspace(-15, 15, 601, dtype=torch.float64)
    latent = torch.cartesian_prod(axis, axis).unsqueeze(0)
    mass = (
        torch.exp(mixture.log_density(latent) + log_squash_jacobian(latent)).sum()
        * (axis[1] - axis[0]) ** 2
    )
    assert mass.item() == pytest.approx(1.0, abs=1e-3)


def test_noise_beyond_the_last_step_still_chooses_a_component():
    mixture = _mixture(batch=1)
    noise = torch.zeros(1, 2, 4, dtype=torch.float64)
    noise[0, :, -1] = torch.tensor([-40.0, 40.0])
    assert np.isfinite(mixture.draw(noise).numpy()).all()
