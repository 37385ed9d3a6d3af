"""The squash: from latents to actions and back, and what it does to volumes."""

import math

import pytest
import torch

from sql_ros.learning.squash import (
    LARGEST_ACTION,
    log_squash_jacobian,
    log_volume,
    squash,
    unsquash,
)


def test_standard_normal_latents_are_uniform_actions():
    action = squash(torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)))
    histogram = torch.stack([torch.histc(action[:, d], 20, -1, 1) for d in range(3)]) / len(action)
    torch.testing.assert_close(histogram, torch.full((3, 20), 0.05), atol=0.003, rtol=0)


def test_unsquash_is_the_inverse():
    latent = torch.linspace(-3.5, 3.5, 101).unsqueeze(-1)
    torch.testing.assert_close(unsquash(squash(latent)), latent, atol=1e-3, rtol=0)


def test_jacobian_equals_autograd():
    latent = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(squash, latent).reshape(3, 3)
    assert log_squash_jacobian(latent).item() == pytest.approx(
        torch.linalg.slogdet(jacobian).logabsdet.item()
    )


def test_density_of_uniform_actions_is_one_over_the_volume():
    latent = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    log_normal = -0.5 * (latent.square().sum(-1) + 7 * math.log(2 * math.pi))
    torch.testing.assert_close(
        log_normal - log_squash_jacobian(latent), torch.full((5,), -log_volume(7))
    )


def test_actions_stay_inside_the_box_however_large_the_latent():
    assert squash(torch.tensor([-1e6, 1e6])).abs().max().item() <= LARGEST_ACTION < 1.0
